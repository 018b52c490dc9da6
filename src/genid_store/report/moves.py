"""What a migration would do, before one is planned: what moves, what stays and why, duplicates.

The decisions are those of `migration.number`, which the plan itself makes; nothing is written for
this preview.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import frozen

from genid_store.catalog.findings import KINDS
from genid_store.migration.number import (
    ADOPTED,
    EMPTY_SLOT,
    PARENT_STAYS,
    Decision,
    Duplicate,
    Numbered,
)
from genid_store.report.drawing import Segment, bar

_WHY: Final = {
    PARENT_STAYS: "its parent stays, and an id is made from the parent's",
    EMPTY_SLOT: "nothing was made for it, and it becomes one with a generation of the same task",
    ADOPTED: "it shares the text of the id that stands for it, and its children follow that one",
    "symlink": "its folder is a symbolic link",
}


@frozen(kw_only=True)
class StageMoves:
    """The ids of one stage: those that have the right id, get a new one, or stay as they are."""

    stage: str
    keeps: tuple[str, ...]
    moves: tuple[str, ...]
    stays: tuple[str, ...]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The bar of the three."""
        shares = {"existing": self.keeps, "make": self.moves, "repeated": self.stays}
        return bar([(name, len(ids)) for name, ids in shares.items()])


@frozen
class Staying:
    """Generations of one stage that stay for one reason: (id, detail) each."""

    stage: str
    reason: str
    why: str
    generations: tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class Moves:
    """The preview of a migration."""

    stages: tuple[StageMoves, ...]
    staying: tuple[Staying, ...]
    duplicates: tuple[Duplicate, ...]

    @property
    def moving(self) -> int:
        return sum(len(stage.moves) for stage in self.stages)


def preview(numbered: Mapping[str, Numbered]) -> Moves:
    """Return the preview of what was decided, by stage in the order given."""
    return Moves(
        stages=tuple(_stage(stage, one.decisions.values()) for stage, one in numbered.items()),
        staying=tuple(
            group
            for stage, one in numbered.items()
            for group in _staying(stage, one.decisions.values())
        ),
        duplicates=tuple(group for one in numbered.values() for group in one.duplicates),
    )


def _stage(stage: str, decisions: Iterable[Decision]) -> StageMoves:
    ids: dict[str, list[str]] = {"keeps": [], "moves": [], "stays": []}
    for one in decisions:
        ids["stays" if one.reason else "moves" if one.moves else "keeps"].append(one.old)
    return StageMoves(stage=stage, **{name: tuple(found) for name, found in ids.items()})


def _staying(stage: str, decisions: Iterable[Decision]) -> list[Staying]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in decisions:
        if one.reason:
            groups.setdefault(one.reason, []).append((one.old, one.detail))
    return [
        Staying(stage, reason, _why(reason), tuple(members))
        for reason, members in sorted(groups.items())
    ]


def _why(reason: str) -> str:
    kind = KINDS.get(reason)
    return _WHY.get(reason, reason) if kind is None else kind.meaning
