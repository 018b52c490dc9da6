"""The `genid` command: nouns (`cohort`, `store`, …) and verbs (`derive`, `explain`, …).

Defines the tree of commands, each imported when it is called, and turns every documented error into
one message and an exit status. The package has no rules about ids, cohorts or stores: commands call
the library and print what it returns.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

import click

from genid_store.cli._screen import OutputError, standard_streams

_HERE: Final = "genid_store.cli"


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy  # command name -> ("module:object", one-line help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        place, help_line = self._lazy[cmd_name]
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)
        command.short_help = help_line
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one-line help, without importing the lazy ones."""
        helps = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        rows = sorted((helps | {name: line for name, (_, line) in self._lazy.items()}).items())
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _declare_stages(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """Import the module that declares a user's stages, before any command looks at them."""
    if value and not ctx.resilient_parsing:
        from genid_store.generation.load import load_module

        load_module(value, where="--stages or GENID_STAGES")


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "color": True,  # click must not strip escape sequences: `_screen` writes them out
    },
    lazy={
        "batch": ("batch:batch", "List and cancel the batches at a provider."),
        "cohort": ("cohort:cohort", "Build, compare, run and look at cohorts."),
        "dagster": ("dagster:dagster", "Bring Dagster's records level with the disk."),
        "derive": ("derive:derive", "Compute the id of a draft, an essay or an evaluation."),
        "explain": ("explain:explain", "Show what an id is, or how two differ."),
        "init": ("init:init", "Create a data root that can be built and run immediately."),
        "report": ("report:report", "Write one page about a store and its rollout."),
        "rollout": ("rollout:rollout", "Finish the rollout."),
        "store": ("store:store", "Audit and migrate the generations on disk."),
    },
)
@click.version_option(package_name="generation-ids")
@click.option(
    "--stages",
    metavar="MODULE",
    envvar="GENID_STAGES",
    is_eager=True,
    expose_value=False,
    callback=_declare_stages,
    help="Import this module (or FILE.py), which declares stages beside the pipeline's.",
)
def genid() -> None:
    """Deterministic ids for paid generations: same task, same id.

    Exit status: 0 done or sound, 1 refused or with findings, 2 usage, 130 interrupted. A refusal
    writes nothing.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; documented errors become one message."""
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    try:
        with standard_streams(as_json=as_json):
            return _run(arguments, as_json=as_json)
    except OutputError as error:
        if not error.reader_gone:  # not an error: `| head` closes its end early
            sys.stderr.write(f"genid: standard output cannot be written: {error}\n")
        return 1


def _run(arguments: Sequence[str], *, as_json: bool) -> int:
    try:
        outcome = genid.main(list(arguments), prog_name="genid", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except Exception as error:
        # Imported here, because it would take half of the time of `--help`.
        from genid_store.cli._errors import refuse

        status = refuse(error, as_json=as_json)
        if status is None:
            raise
        return status
    return outcome if isinstance(outcome, int) else 0
