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
#: Options that come together; described where `cohort build` is.
GROUPS: Final = {
    "those of a build": (
        "--k-max", "--description-level", "--write-combos", "--forbid-regeneration", "--drop",
        "--max-rows",
    ),
    "those about Dagster": (
        "--asset-prefix", "--partition-prefix", "--translator", "--no-dagster",
    ),
}  # fmt: skip
#: Commands that differ in the fields of their stage alone; the page has the first of them.
ALIKE: Final = (("derive", "essay"), ("derive", "evaluation"))
_COMMANDS: Final = """\
# The commands

Every command of `genid` and its options, written from the commands by
`tests/docs/written_pages.py`. The options of a build, and those about Dagster, are described with
`genid cohort build`; `genid derive essay` and `genid derive evaluation` take their own stage's
fields as `genid derive draft` does, and so does a stage that the data root's `genid.toml` names
(`genid derive --data-root DIR STAGE`). `--help` shows all options everywhere.

| for all commands | |
|---|---|
| `--data-root DIR` | the data root; else `GENID_DATA_ROOT` |
| `--cohort-id ID` | the cohort; else `DD_COHORT`, else it is computed from the tables |
| `--json` | one JSON document on standard output; one with `error` is a [refusal](errors.md) |
| exit status | 0 done, 1 refused or with findings or failures, 2 usage, 130 interrupted |
| progress | on standard error after a second, and only on a terminal |
| `DAGSTER_HOME` | the Dagster instance; without it the embedded one in `.genid/dagster` |

For completion, with the names of the cohorts, `eval "$(_GENID_COMPLETE=bash_source genid)"` goes
into `~/.bashrc` (bash 4.4 or newer), the same with `zsh_source` into `~/.zshrc` after `compinit`,
and `_GENID_COMPLETE=fish_source genid | source` into `~/.config/fish/completions/genid.fish`.
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

- `duplicate`: a reused text is one generation under two ids and not a duplicate.
- `content-drift`: looked at where the digest of the template's text was recorded.
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
    entries = (f"{_entry(path)}\n\n" for path in verbs(genid) if path not in ALIKE)
    rows = (f"| `{one.code}` | {one.meaning} | {one.remedy} |\n" for one in KINDS.values())
    return {
        DOCS / "commands.md": "".join([_COMMANDS, "\n", *entries]).rstrip() + "\n",
        DOCS / "finding-codes.md": "".join([_FINDINGS, *rows, _NOTES]),
    }


def _entry(path: tuple[str, ...]) -> str:
    """Return the paragraph about one command: what it does, then its options."""
    command = find(path)
    context = click.Context(command, info_name=" ".join(("genid", *path)))
    params = [one for one in command.get_params(context) if "--help" not in one.opts]
    arguments = [one.make_metavar(context) for one in params if isinstance(one, click.Argument)]
    options = {one.opts[0]: one for one in params if isinstance(one, click.Option)}
    shared: list[str] = [name for name in SHARED if name in options]
    for title, names in GROUPS.items():
        if set(names) <= set(options) and path != ("cohort", "build"):
            shared.append(title)
            options = {name: one for name, one in options.items() if name not in names}
    head = (
        f"**`{' '.join(('genid', *path, *arguments))}`** {' '.join((command.help or '').split())}"
    )
    if shared:
        head += f" Takes {', '.join(f'`{one}`' if one in SHARED else one for one in shared)}."
    own = [_option(one, context) for name, one in options.items() if name not in SHARED]
    lines = [textwrap.fill(text, 110, break_on_hyphens=False) for text in (head, "; ".join(own))]
    return "\\\n".join(filter(None, lines))  # a line break, so that the options stand apart


def _option(option: click.Option, context: click.Context) -> str:
    """Return an option in the words of its help."""
    usage, text = option.get_help_record(context) or ("", "")
    usage = usage.replace(" RANGE", "")
    text = _unwrapped(text).rstrip(".")
    return f"`{usage}` {text[:1].lower()}{text[1:]}"


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text, encoding="utf-8")
