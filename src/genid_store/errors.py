"""The store's errors: one class for refused input that lists every problem at once.

The identity errors of the core (`genid.GenIdError`) are raised as they are; where they come from
a file, they are gathered here as problems with their place.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen


class _NoValue:
    """The type of `NO_VALUE`; a class of its own, because `None` is a value that can be wrong."""

    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE: Final = _NoValue()
_SHOWN = 80  # characters of a wrong value that an error repeats


@frozen(kw_only=True)
class Problem:
    """One thing that is wrong: where (`file:line:field`), what, the value, and what to do.

    `code` is the stable name of the kind of problem, for the kinds that an audit counts.
    """

    where: str
    message: str
    remedy: str
    value: object = NO_VALUE
    code: str | None = None

    def __str__(self) -> str:
        value = "" if self.value is NO_VALUE else f" (got {_shorten(repr(self.value))})"
        return f"{self.where}: {self.message}{value}; {self.remedy}"


class StoreError(Exception):
    """Input was refused and nothing was written. `problems` lists every reason, in input order."""

    def __init__(self, summary: str, problems: Iterable[Problem] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}… ({len(text)} characters)"
