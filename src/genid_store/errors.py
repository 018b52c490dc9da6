"""The store's errors: one class that lists every problem of an input together.

The core's errors (`genid.GenIdError`) are raised unchanged. Those about a value in a file become
problems of a StoreError, with the value's place in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Self

from attrs import field, frozen

from genid.errors import NO_VALUE

__all__ = ["NO_VALUE", "Problem", "StoreError", "all_of", "counted", "require"]

_LISTED: Final = 100  # problems that an error's text lists
_SHOWN: Final = 80  # characters of a value that an error's text repeats


@frozen(kw_only=True)
class Problem:
    """One problem: where it is (`file:line:field`), what it is, the value, and what to do about it.

    `ways` are the arguments (`retry_failed`, `max_rows=7`) or functions (`migration.run.resume()`)
    of the library that apply the remedy; a command shows its own options for them.
    A problem that an audit reports has a `code`, the stable name of its kind (see
    `catalog.findings`), the (stage, id) of the generations concerned in `ids`, and more JSON values
    for programs in `details`.
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
        """The last part of a place `file:field`, or an empty text if the place is a file."""
        return self.where.rpartition(":")[2] if ":" in self.where else ""

    @property
    def text(self) -> str:
        """The message, with the value, if there is one, shortened."""
        if self.value is NO_VALUE:
            return self.message
        return f"{self.message} (got {_shorten(repr(self.value))})"

    def __str__(self) -> str:
        ways = ", ".join(way if {"=", "("} & {*way} else f"{way}=True" for way in self.ways)
        return f"{self.where}: {self.text}; {self.remedy}" + (f" ({ways})" if ways else "")


class StoreError(Exception):
    """A refusal, or what could not be done. `problems` has every reason, in input order."""

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        lines = [f"  {problem}" for problem in self.problems[:_LISTED]]
        if len(self.problems) > _LISTED:
            lines.append(f"  and {len(self.problems) - _LISTED} more (`problems` has them all)")
        super().__init__("\n".join([summary, *lines]))

    @classmethod
    def of(
        cls,
        summary: str,
        where: str,
        message: str,
        remedy: str,
        *,
        value: object = NO_VALUE,
        ways: tuple[str, ...] = (),
    ) -> Self:
        """Return an error with one problem."""
        problem = Problem(where=where, message=message, remedy=remedy, value=value, ways=ways)
        return cls(summary, [problem])


def require(summary: str, **arguments: tuple[object, bool, str]) -> None:
    """Check arguments, each given with whether it is sound, and the remedy if it is not.

    StoreError: lists those that are not sound.
    """
    problems = [
        Problem(where=name, value=value, message="cannot be used", remedy=remedy)
        for name, (value, is_sound, remedy) in arguments.items()
        if not is_sound
    ]
    if problems:
        raise StoreError(summary, problems)


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


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, whose plural ends in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}… ({len(text)} characters)"
