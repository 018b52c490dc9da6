"""Report why a command stopped: a message, a JSON document with `--json`, and the exit status."""

from __future__ import annotations

import sys
from typing import Final

import click

from genid import GenIdError
from genid_store.cli import _output as output
from genid_store.cli._values import remedy
from genid_store.errors import StoreError

REFUSED: Final = 1
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def refuse(error: Exception, *, as_json: bool) -> int | None:
    """Print why a command stopped and return its exit status; None: the error is a bug."""
    status, shown = REFUSED, error
    if isinstance(error, click.Abort):
        status, shown = INTERRUPTED, StoreError("interrupted")
    elif isinstance(error, click.ClickException):
        cause = error.__cause__
        status = error.exit_code
        shown = cause if isinstance(cause, StoreError) else StoreError(error.format_message())
    elif isinstance(error, OSError) and isinstance(error.errno, int):
        shown = _from_system(error)  # libraries' own OSErrors, as those of `requests`, have none
    elif not isinstance(error, StoreError | GenIdError):
        return None
    if isinstance(error, click.ClickException):
        error.show()
    else:
        sys.stderr.write(f"genid: {_brief(shown)}\n")
    if as_json:
        output.print_json(shown)
    return status


def _from_system(error: OSError) -> StoreError:
    """Return an error of the system (permissions, a full disk, a lost mount) as a refusal."""
    from genid_store.fs.files import remedy_of

    where, message = str(error.filename or "the system"), error.strerror or str(error)
    summary = "a file operation failed"
    return StoreError.of(summary, where, message or type(error).__name__, remedy_of(error))


def _brief(error: Exception) -> str:
    """Return the summary of an error, its first problems, and how many more there are."""
    if not isinstance(error, StoreError):
        return str(error)
    lines, previous = [error.summary], ""
    for problem in error.problems[: output.SHOWN]:
        text = f"{problem.text}; {remedy(problem)}"
        lines.append(f"{problem.where}: {'the same' if text == previous else text}")
        previous = text
    if len(error.problems) > output.SHOWN:
        lines.append(f"and {len(error.problems) - output.SHOWN} more (--json lists all)")
    return "\n  ".join(lines)
