"""Records as JSON values: the one converter behind every `--json`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

from attrs import fields, has

from genid import GenIdError
from genid_store.cli._output import flags
from genid_store.errors import NO_VALUE, Problem, StoreError


def values(record: Any) -> Any:
    """Return a record as JSON values, field by field.

    An error becomes `{"error": …, "problems": [{"where", "message", "remedy"}, …]}`. A problem with
    a value has `value`, too, and a finding has `code`, `ids` and `details`. Values that JSON lacks
    (NaN and the infinities, bytes, paths, UUIDs) become texts.
    """
    if isinstance(record, str | int | None):
        return record
    if isinstance(record, bytes):
        return record.decode("utf-8", "backslashreplace")
    if isinstance(record, Mapping):
        return {_key(key): values(value) for key, value in record.items()}
    if isinstance(record, Iterable):
        entries = [values(entry) for entry in record]
        return sorted(entries) if isinstance(record, Set) else entries
    named = _fields(record)
    if named is not None:
        return values(named)
    return record if isinstance(record, float) and math.isfinite(record) else str(record)


def _key(key: Any) -> str:
    """Return the key of a mapping as text, a tuple's parts with a space between them."""
    return " ".join(map(_key, key)) if isinstance(key, tuple) else str(values(key))


def _fields(record: Any) -> dict[str, Any] | None:
    """Return the public fields of a record by name; None if it is not a record."""
    if isinstance(record, StoreError):
        return {"error": record.summary, "problems": record.problems}
    if isinstance(record, GenIdError):
        problems = (
            Problem(where=found.place, message=found.reason, remedy=found.remedy, value=found.value)
            for found in record.problems
        )
        return {"error": str(record), "problems": problems}
    if isinstance(record, Problem):
        shape = {"where": record.where, "message": record.message, "remedy": remedy(record)}
        value = {} if record.value is NO_VALUE else {"value": repr(record.value)}
        coded = {name: getattr(record, name) for name in ("code", "ids", "details")}
        return shape | value | (coded if record.code else {})
    if not has(type(record)):
        return None
    names = (attribute.name for attribute in fields(type(record)))
    return {name: getattr(record, name) for name in names if not name.startswith("_")}


def remedy(problem: Problem) -> str:
    """Return what to do about a problem, with the command's options for it."""
    return problem.remedy + flags(problem.ways)


def told(problem: Problem) -> str:
    """Return a problem as one line, with the command's options where `str` has the library's."""
    return f"{problem.where}: {problem.text}; {remedy(problem)}"
