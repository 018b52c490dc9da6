"""Records as JSON values: the one converter behind every `--json`, loaded where one is printed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

from attrs import fields, has

from genid import GenIdError
from genid_store.cli._output import flags
from genid_store.errors import NO_VALUE, Problem, StoreError


def values(record: Any) -> Any:
    """Return a record as JSON values, field by field; an error and a problem in their one shape.

    That shape is `{"error": …, "problems": [{"where", "message", "remedy"}, …]}`, with a `value`
    where there is one, and the `code`, `ids` and `details` of a finding. What JSON lacks (NaN and
    the infinities, bytes, paths, UUIDs) are texts.
    """
    if isinstance(record, str | int | None):
        return record
    if isinstance(record, bytes):
        return record.decode("utf-8", "backslashreplace")
    if isinstance(record, Mapping):
        return {_key(key): values(one) for key, one in record.items()}
    if isinstance(record, Iterable):
        found = [values(one) for one in record]
        return sorted(found) if isinstance(record, Set) else found
    named = _fields(record)
    if named is not None:
        return values(named)
    return record if isinstance(record, float) and math.isfinite(record) else str(record)


def _key(key: Any) -> str:
    """Return the key of a mapping as text, a tuple's parts with a space between them."""
    return " ".join(map(_key, key)) if isinstance(key, tuple) else str(values(key))


def _fields(record: Any) -> dict[str, Any] | None:
    """Return what a record holds by name; None: it is not a record."""
    if isinstance(record, StoreError):
        return {"error": record.summary, "problems": record.problems}
    if isinstance(record, GenIdError):
        found = (
            Problem(where=one.place, message=one.reason, remedy=one.remedy, value=one.value)
            for one in record.problems
        )
        return {"error": str(record), "problems": found}
    if isinstance(record, Problem):
        shape = {"where": record.where, "message": record.message, "remedy": remedy(record)}
        value = {} if record.value is NO_VALUE else {"value": repr(record.value)}
        coded = {name: getattr(record, name) for name in ("code", "ids", "details")}
        return shape | value | (coded if record.code else {})
    if not has(type(record)):
        return None
    names = (one.name for one in fields(type(record)))
    return {name: getattr(record, name) for name in names if not name.startswith("_")}


def remedy(problem: Problem) -> str:
    """Return what to do about a problem, its options as those of a command."""
    return problem.remedy + flags(problem.ways)


def told(problem: Problem) -> str:
    """Return a problem as one line, as `str` does for those who call the library."""
    return f"{problem.where}: {problem.text}; {remedy(problem)}"
