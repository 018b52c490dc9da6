"""Why a command stopped: words for people, one JSON document for machines, and the exit status.

Loaded only when it is needed.
"""

from __future__ import annotations

import sys
from typing import Final, TypeGuard

import click

from genid import GenIdError
from genid_store.cli import _output as output
from genid_store.cli._values import remedy, told
from genid_store.errors import StoreError

REFUSED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def refuse(error: Exception, *, as_json: bool) -> int | None:
    """Say why a command stopped and return its exit status; None: no documented refusal."""
    status, shown = REFUSED, error
    if isinstance(error, click.Abort):
        status, shown = INTERRUPTED, StoreError("interrupted")
    elif isinstance(error, click.ClickException):
        cause = error.__cause__
        status = error.exit_code
        shown = cause if isinstance(cause, StoreError) else StoreError(error.format_message())
    elif isinstance(error, ModuleNotFoundError) and error.name == "dagster":
        extra = "pip install '.[dagster]' in a checkout"
        status = USAGE
        shown = StoreError(f"this command is part of an extra of generation-ids: {extra}")
    elif _is_systems(error):
        shown = _of_system(error)
    elif not isinstance(error, StoreError | GenIdError):
        return None
    if isinstance(error, click.ClickException):
        error.show()
    else:
        sys.stderr.write(f"genid: {_brief(shown)}\n")
    if as_json:
        output.print_json(shown)
    return status


def _is_systems(error: Exception) -> TypeGuard[OSError]:
    """Say whether the system refused something. A library's error about its own matters can be an
    OSError too (those of `requests` are); the system's have a number."""
    return isinstance(error, OSError) and isinstance(error.errno, int)


def _of_system(error: OSError) -> StoreError:
    """Return what the system refused (a right, a disk, a lost mount) as a refusal of ours."""
    from genid_store.fs.files import remedy_of

    where, message = str(error.filename or "the system"), error.strerror or str(error)
    summary = "a file operation failed"
    return StoreError.of(summary, where, message or type(error).__name__, remedy_of(error))


def _brief(error: Exception) -> str:
    """Return what people read of an error: the first problems, and how many there are more. Words
    that were just said are not repeated."""
    if not isinstance(error, StoreError):
        return str(error)
    lines, last = [error.summary], ""
    for one in error.problems[: output.SHOWN]:
        words = f"{one.text}; {remedy(one)}"
        lines.append(f"{one.where}: the same" if words == last else told(one))
        last = words
    if len(error.problems) > output.SHOWN:
        lines.append(f"and {len(error.problems) - output.SHOWN} more (--json lists all)")
    return "\n  ".join(lines)
