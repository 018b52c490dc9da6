"""Writes the pages that list what the code has: `python tests/docs/written_pages.py`.

`docs/commands.md` is written from the help of the commands, `docs/finding-codes.md` from the kinds
of findings. What holds for all of them is here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from genid_store.catalog.findings import KINDS
from genid_store.cli import genid

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
#: Options that many commands share; described once, at the head of the page.
SHARED: Final = ("--data-root", "--cohort-id", "--json")
_COMMANDS: Final = """\
# The commands

Every command of `genid` and its options. This page is written from the commands by
`tests/docs/written_pages.py`; `--help` shows the same in the shell.

| for all commands | |
|---|---|
| `--data-root DIR` | the data root; else `GENID_DATA_ROOT` |
| `--cohort-id ID` | the cohort; else `DD_COHORT`, else it is computed from the tables |
| `--json` | one JSON document on standard output; one with `error` is a [refusal](errors.md) |
| exit status | 0 done, 1 refused or with findings or failures, 2 usage, 130 interrupted |
| output | results on standard output, errors on standard error; `NO_COLOR` switches colour off |
| progress | on standard error after a second, and only on a terminal |
| `DAGSTER_HOME` | the Dagster instance; without it the embedded one in `.genid/dagster` |

Completion in the shell, with the names of the data root's cohorts:

| shell | file | line |
|---|---|---|
| bash 4.4 or newer | `~/.bashrc` | `eval "$(_GENID_COMPLETE=bash_source genid)"` |
| zsh | `~/.zshrc`, after `compinit` | `eval "$(_GENID_COMPLETE=zsh_source genid)"` |
| fish | `~/.config/fish/completions/genid.fish` | `_GENID_COMPLETE=fish_source genid \\| source` |
"""

_FINDINGS: Final = """\
# Finding codes

What `genid store audit` can report. A code never changes its meaning and is never used for anything
else; `--json` lists each finding's code, place, ids and remedy. The page is written from the code
(`tests/docs/written_pages.py`).

These are states, counted in the report, and not findings: legacy, foreign and unverifiable ids;
generations without content; fields read from an older key (`draft_template`, `model_id`, …) or
coerced (`replicate` as `"3"` or `3.0`); a `replicate` that is missing and counts as 1; an essay
without a model, which has its draft's.

| code | meaning | remedy |
|---|---|---|
"""
_NOTES: Final = """\

- `duplicate`: legacy ids belong to a cohort, so one task that three cohorts made is three samples,
  all worth keeping. A reused text is one generation under two ids and not a duplicate.
- `content-drift`: looked at where the digest of the template's text was recorded and its file is
  there. The id names the slot and not the content, so it does not change with the text.
- `membership-unreadable`, `membership-malformed`: which generations and partitions no cohort names
  is not judged meanwhile.
- `partition-without-membership`: looked at where there is a Dagster instance.
"""


def verbs(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command below a group that does something itself."""
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from verbs(found, (*path, name))


def find(path: tuple[str, ...]) -> click.Command:
    """Return the command that some words name."""
    command: click.Command = genid
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


def pages() -> dict[Path, str]:
    """Return the text of each written page."""
    blocks = ("\n".join([*_block(path), ""]) for path in verbs(genid))
    rows = (f"| `{one.code}` | {one.meaning} | {one.remedy} |\n" for one in KINDS.values())
    return {
        DOCS / "commands.md": "\n".join([_COMMANDS, *blocks]),
        DOCS / "finding-codes.md": "".join([_FINDINGS, *rows, _NOTES]),
    }


def _block(path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines about one command."""
    command = find(path)
    context = click.Context(command, info_name=" ".join(("genid", *path)))
    params = [one for one in command.get_params(context) if "--help" not in one.opts]
    arguments = [one.make_metavar(context) for one in params if isinstance(one, click.Argument)]
    names = {name for one in params for name in one.opts}
    yield f"## genid {' '.join(path)}\n"
    shared = [*arguments, *(name for name in SHARED if name in names)]
    takes = f" Takes {', '.join(f'`{one}`' for one in shared)}." if shared else ""
    yield textwrap.fill(" ".join((command.help or "").split()) + takes, 100)
    options = [one for one in params if isinstance(one, click.Option)]
    rows = [_row(one, context) for one in options if one.opts[0] not in SHARED]
    if rows:
        yield "\n".join(["", *rows])


def _row(option: click.Option, context: click.Context) -> str:
    """Return an option as an entry of a list, in the words of its help."""
    usage, text = option.get_help_record(context) or ("", "")
    usage = usage.replace(" RANGE", "")
    return f"- `{usage}`: {' '.join(text.split())}"


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
