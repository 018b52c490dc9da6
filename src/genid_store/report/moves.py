"""What a migration would do, before one is planned: counts, what stays and why, duplicates; pure.

The decisions are those of `migration.number`, which the plan itself makes; nothing is
written for this preview.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

_WHY = {
    PARENT_STAYS: "its parent stays, and an id is made of the parent's",
    EMPTY_SLOT: "nothing was made for it, and it becomes one with a generation of the same task",
    ADOPTED: "its text was adopted under the id that stands for it, and its children follow that",
    "symlink": "its folder is a symbolic link",
}


@frozen(kw_only=True)
class StageMoves:
    """One stage: how many generations get a new id, have the right one, or stay as they are."""

    stage: str
    moves: int
    keeps: int
    stays: int

    @property
    def total(self) -> int:
        return self.moves + self.keeps + self.stays

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The bar of the three."""
        return bar([("existing", self.keeps), ("make", self.moves), ("repeated", self.stays)])


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
        return sum(stage.moves for stage in self.stages)

    @property
    def stay(self) -> int:
        return sum(stage.stays for stage in self.stages)

    @property
    def renumbered(self) -> int:
        """How many generations get another replicate number than they claim."""
        return sum(len(group.renumbered) for group in self.duplicates)


def preview(numbered: Mapping[str, Numbered]) -> Moves:
    """Return the preview of what was decided, by stage in the order of the stages."""
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
    moves = keeps = stays = 0
    for decision in decisions:
        moves += decision.moves and not decision.reason
        stays += bool(decision.reason)
        keeps += not decision.moves and not decision.reason
    return StageMoves(stage=stage, moves=moves, keeps=keeps, stays=stays)


def _staying(stage: str, decisions: Iterable[Decision]) -> list[Staying]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for decision in decisions:
        if decision.reason:
            groups.setdefault(decision.reason, []).append((decision.source.gen_id, decision.detail))
    return [
        Staying(stage, reason, _why(reason), tuple(members))
        for reason, members in sorted(groups.items())
    ]


def _why(reason: str) -> str:
    kind = KINDS.get(reason)
    return kind.meaning if kind is not None else _WHY.get(reason, reason)
