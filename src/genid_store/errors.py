"""The store's errors: one class for refused input that lists every problem at once.

The identity errors of the core (`genid.GenIdError`) are raised as they are; where they come from
a file, they are collected here as problems with their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from attrs import field, frozen


class _NoValue:
    """The type of `NO_VALUE`; a class of its own, because `None` is a value that can be wrong."""

    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE: Final = _NoValue()
_LISTED: Final = 100  # problems that the text of an error lists
_SHOWN = 80  # characters of a wrong value that an error repeats


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong: where (`file:line:field`), what, the value, and what to do.

    `ways` are the options by which a call would do that, as the library calls them
    (`retry_failed`, `max_rows=7`), or functions that do (`migration.run.resume()`); whoever calls
    them otherwise says so in its own way.
    `code` is the stable name of a kind of problem (see `catalog.findings`), for those that an audit
    reports; then `ids` are the (stage, id) of the generations concerned, and `details` holds more
    for machines, as JSON values.
    """

    where: str
    message: str
    remedy: str
    value: object = NO_VALUE
    ways: tuple[str, ...] = ()
    code: str | None = None
    ids: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, Any] = field(factory=dict, eq=False)

    @property
    def field(self) -> str:
        """The last part of a place `file:field`; empty where the place is a file."""
        return self.where.rpartition(":")[2] if ":" in self.where else ""

    @property
    def text(self) -> str:
        """What is wrong, with the value where there is one, cut to a length for reading."""
        if self.value is NO_VALUE:
            return self.message
        return f"{self.message} (got {_shorten(repr(self.value))})"

    def __str__(self) -> str:
        ways = ", ".join(way if {"=", "("} & {*way} else f"{way}=True" for way in self.ways)
        return f"{self.where}: {self.text}; {self.remedy}" + (f" ({ways})" if ways else "")


class StoreError(Exception):
    """Input was refused and nothing was written. `problems` lists every reason, in input order."""

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:_LISTED]]
        if len(self.problems) > _LISTED:
            lines.append(f"  and {len(self.problems) - _LISTED} more (`problems` has them all)")
        super().__init__("\n".join([summary, *lines]))

    @classmethod
    def of(
        cls, summary: str, where: str, message: str, remedy: str, *, value: object = NO_VALUE
    ) -> Self:
        """Return the error of one problem."""
        return cls(summary, [Problem(where=where, message=message, remedy=remedy, value=value)])


def all_of(*parts: Callable[[], Any]) -> tuple[Any, ...]:
    """Return what each part gives. StoreError: lists the problems of all that refuse."""
    found, refused = [], []
    for part in parts:
        try:
            found.append(part())
        except StoreError as error:
            refused.append(error)
    if refused:
        problems = [problem for error in refused for problem in error.problems]
        raise StoreError("; ".join(error.summary for error in refused), problems)
    return tuple(found)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}… ({len(text)} characters)"
