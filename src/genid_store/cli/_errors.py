"""Why a command stopped: words for people, one JSON document for machines, and the exit status.

The shape of that document is the same everywhere:
`{"error": …, "problems": [{"where", "message", "remedy", "value"}, …]}`; `value` is left out where
there is none, and the list is empty where `error` says it all. Loaded only when it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Final, TypeGuard

import click

from genid import GenIdError
from genid_store.cli import _output as output
from genid_store.errors import NO_VALUE, Problem, StoreError

REFUSED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it


def refuse(error: Exception, *, as_json: bool) -> int | None:
    """Say why a command stopped and return its exit status; None: no documented refusal."""
    if isinstance(error, click.Abort):
        _tell("interrupted")
        status, document = INTERRUPTED, _document("interrupted")
    elif isinstance(error, click.ClickException):
        error.show()
        status, document = error.exit_code, _misuse(error)
    elif isinstance(error, ModuleNotFoundError) and error.name == "dagster":
        extra = "pip install '.[dagster]' in a checkout"
        words = f"this command is part of an extra of generation-ids: {extra}"
        _tell(words)
        status, document = USAGE, _document(words)
    elif isinstance(error, StoreError | GenIdError) or _is_systems(error):
        known = _of_system(error) if isinstance(error, OSError) else error
        _tell(_brief(known))
        status, document = REFUSED, error_record(known)
    else:
        return None
    if as_json:
        output.print_json(document)
    return status


def error_record(error: StoreError | GenIdError) -> dict[str, Any]:
    """Return an error as JSON values, in the one shape."""
    if isinstance(error, StoreError):
        return _document(error.summary, problem_records(error.problems))
    problems = [_problem(one.place, one.reason, one.remedy, one.value) for one in error.problems]
    return _document(str(error), problems)


def problem_records(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Return problems as JSON values, in the one shape."""
    return [_problem(one.where, one.message, _remedy(one), one.value) for one in problems]


def _remedy(problem: Problem) -> str:
    return problem.remedy + output.flags(problem.ways)


def _document(error: str, problems: Iterable[dict[str, str]] = ()) -> dict[str, Any]:
    return {"error": error, "problems": list(problems)}


def _problem(where: str, message: str, remedy: str, value: object) -> dict[str, str]:
    record = {"where": where, "message": message, "remedy": remedy}
    return record if value is NO_VALUE else {**record, "value": repr(value)}


def _misuse(error: click.ClickException) -> dict[str, Any]:
    """Return a usage error as JSON values: the refusal that it comes from, where there is one."""
    cause = error.__cause__
    if isinstance(cause, StoreError):
        return error_record(cause)
    return _document(error.format_message())


def _is_systems(error: Exception) -> TypeGuard[OSError]:
    """Say whether the system refused something. A library's error about its own matters can be an
    OSError too (those of `requests` are); the system's have a number."""
    return isinstance(error, OSError) and isinstance(error.errno, int)


def _of_system(error: OSError) -> StoreError:
    """Return what the system refused (a right, a disk, a lost mount) as a refusal of ours."""
    from genid_store.fs.files import remedy_of

    problem = Problem(
        where=str(error.filename or "the system"),
        message=error.strerror or str(error) or type(error).__name__,
        remedy=remedy_of(error),
    )
    return StoreError("the system refused a file operation", [problem])


def _brief(error: StoreError | GenIdError) -> str:
    """Return what people read of an error: the first problems, and how many there are more. Words
    that were just said are not repeated."""
    if not isinstance(error, StoreError):
        return str(error)
    lines, last = [error.summary], ""
    for one in error.problems[: output.SHOWN]:
        words = f"{one.text}; {_remedy(one)}"
        lines.append(f"{one.where}: {'the same' if words == last else words}")
        last = words
    if len(error.problems) > output.SHOWN:
        lines.append(f"and {len(error.problems) - output.SHOWN} more (--json lists all)")
    return "\n  ".join(lines)


def _tell(text: str) -> None:
    sys.stderr.write(f"genid: {text}\n")
