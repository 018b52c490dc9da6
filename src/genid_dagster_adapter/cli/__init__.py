"""The `genid` command: nouns (`cohort`, `store`, `rollout`) and the verbs about single ids.

Defines the tree of commands, each loaded when it is called, and turns every documented error into
one message and an exit status. No rule of ids, cohorts or stores stands here: the commands call the
library and add words.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from genid import GenIdError
    from genid_dagster_adapter.errors import AdapterError

_HERE: Final = "genid_dagster_adapter.cli"


class LazyGroup(click.Group):
    """A group whose commands are named here and imported when they are used."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy  # command name -> ("module:object", one-line help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"{_HERE}.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from their one-line help, without importing any of them."""
        rows = [(name, self._lazy[name][1]) for name in sorted(self._lazy)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    lazy={
        "cohort": ("cohort:cohort", "Build, compare, run and look at cohorts."),
        "derive": ("ids:derive", "Compute the id of a draft, an essay or an evaluation."),
        "diff": ("ids:diff", "Say why two generations have different ids."),
        "explain": ("ids:explain", "Say what an id is and how it comes about."),
        "rollout": ("rollout:rollout", "Report where the rollout stands and what comes next."),
        "store": ("store:store", "Look up, audit, adopt and migrate the generations on disk."),
    },
)
@click.version_option(package_name="genid")
def genid() -> None:
    """Deterministic ids for paid generations: same task, same id.

    Exit status: 0 done or sound, 1 refused or with findings (a refusal writes nothing), 2 usage.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status; documented errors become one message."""
    try:
        outcome = genid.main(list(arguments), prog_name="genid", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        click.echo("genid: interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        # Named here, so that `--help` need not import them: it takes half of its time.
        from genid import GenIdError
        from genid_dagster_adapter.errors import AdapterError

        if not isinstance(error, AdapterError | GenIdError):
            raise
        return _refuse(error, as_json="--json" in arguments)
    return outcome if isinstance(outcome, int) else 0


def _refuse(error: AdapterError | GenIdError, *, as_json: bool) -> int:
    click.echo(f"genid: {error}", err=True)
    if as_json:
        from genid_dagster_adapter.cli._output import print_json

        print_json(_error_record(error))
    return 1


def _error_record(error: AdapterError | GenIdError) -> dict[str, object]:
    from genid import GenIdError

    if isinstance(error, GenIdError):
        problems = [
            _problem_record(one.place, one.reason, one.remedy, one.value) for one in error.problems
        ]
        return {"error": str(error), "problems": problems}
    problems = [
        _problem_record(one.where, one.message, one.remedy, one.value) for one in error.problems
    ]
    return {"error": error.summary, "problems": problems}


def _problem_record(where: str, message: str, remedy: str, value: object) -> dict[str, str]:
    from genid_dagster_adapter.errors import NO_VALUE

    record = {"where": where, "message": message, "remedy": remedy}
    return record if value is NO_VALUE else {**record, "value": repr(value)}
