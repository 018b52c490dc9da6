"""An audit's findings as the pages show them: by code, each with its meaning and remedy; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import frozen

from genid_store.catalog.findings import KINDS
from genid_store.errors import NO_VALUE, Problem

_SHOWN = 120  # characters of a value that a page repeats


@frozen
class Place:
    """One finding: where, what, the value that is wrong (empty where there is none), and the
    (stage, id) of every generation that it concerns."""

    where: str
    message: str
    shown: str
    ids: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class Faults:
    """All findings of one code."""

    code: str
    meaning: str
    remedy: str
    places: tuple[Place, ...]

    @property
    def count(self) -> int:
        return len(self.places)


class _Audited(Protocol):
    """What is asked of an audit here."""

    @property
    def findings(self) -> tuple[Problem, ...]: ...


@frozen
class FaultList:
    """What an audit found, by code in the order of the codes' table.

    `partitions_seen` is False where there was no Dagster instance to compare with.
    """

    groups: tuple[Faults, ...]
    partitions_seen: bool

    @property
    def total(self) -> int:
        return sum(group.count for group in self.groups)


def by_code(audit: _Audited, *, partitions_seen: bool) -> FaultList:
    """Arrange the findings of an audit by code."""
    places: dict[str, list[Place]] = {}
    for finding in audit.findings:
        value = finding.details.get("value", finding.value)
        places.setdefault(str(finding.code), []).append(
            Place(finding.where, finding.message, _shown(value), finding.ids)
        )
    groups = tuple(
        Faults(code=code, meaning=kind.meaning, remedy=kind.remedy, places=tuple(places[code]))
        for code, kind in KINDS.items()
        if code in places
    )
    return FaultList(groups, partitions_seen)


@frozen(kw_only=True)
class ShownProblem:
    """A problem as the pages show it; `shown` is its value, empty where there is none."""

    where: str
    message: str
    remedy: str
    shown: str


def shown_problems(problems: Iterable[Problem]) -> tuple[ShownProblem, ...]:
    """Return problems as the pages show them."""
    return tuple(
        ShownProblem(
            where=problem.where,
            message=problem.message,
            remedy=problem.remedy,
            shown=_shown(problem.value),
        )
        for problem in problems
    )


def _shown(value: object) -> str:
    if value is NO_VALUE:
        return ""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
