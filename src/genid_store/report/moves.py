"""What a migration would change, as the index has it: which ids would move, and which stay and why.

Nothing is planned for this outlook: of several generations of one task (a finding of the audit) it
says nothing but that they move or have the right id.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from attrs import field, frozen

from genid_store.catalog import findings
from genid_store.catalog.findings import KINDS
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.report.listed import ROWS, Listed
from genid_store.stages import PIPELINE, parent_stage

_PARENT_STAYS: Final = "parent-stays"
_PARENT: Final = "its parent stays, and an id is made from the parent's"
#: The codes of what is wrong with metadata and keeps no id from being derived.
_HARMLESS: Final = {
    findings.FOLDER_MISMATCH, findings.STAGE_MISMATCH, findings.ID_NOT_RECOMPUTED,
}  # fmt: skip


@frozen(kw_only=True)
class StageMoves:
    """The ids of one stage: those that are right, get another one, or stay because none can be
    derived."""

    stage: str
    keeps: Listed = field(factory=Listed)
    moves: Listed = field(factory=Listed)
    stays: Listed = field(factory=Listed)


@frozen
class Staying:
    """Generations of one stage that stay for one reason: (id, detail) each."""

    stage: str
    reason: str
    why: str
    generations: Listed = field(factory=Listed)


@frozen(kw_only=True)
class Moves:
    """The outlook on a migration."""

    stages: tuple[StageMoves, ...]
    staying: tuple[Staying, ...]

    @property
    def moving(self) -> int:
        return sum(len(stage.moves) for stage in self.stages)


def preview(index: StoreIndex) -> Moves:
    """Return what a migration of the store would change."""
    return Moves(
        stages=tuple(_stage(index, stage) for stage in PIPELINE),
        staying=tuple(chain.from_iterable(_staying(index, stage) for stage in PIPELINE)),
    )


def _stage(index: StoreIndex, stage: str) -> StageMoves:
    found = StageMoves(stage=stage)
    query = "SELECT gen_id, v1 FROM generation WHERE stage = ? ORDER BY gen_id"
    for gen_id, v1 in index.stream(query, stage):
        kind = found.stays if v1 is None else found.keeps if v1 == gen_id else found.moves
        kind.add(gen_id)
    return found


def _staying(index: StoreIndex, stage: str) -> list[Staying]:
    groups: dict[str, Staying] = {}
    for one in _underivable(index, stage):
        reason, why, detail = _reason(index, one)
        group = groups.setdefault(reason, Staying(stage, reason, why))
        group.generations.add((one.gen_id, detail), ROWS)
    return [groups[reason] for reason in sorted(groups)]


def _underivable(index: StoreIndex, stage: str) -> Iterator[Indexed]:
    query = "SELECT gen_id FROM generation WHERE stage = ? AND v1 IS NULL ORDER BY gen_id"
    for (gen_id,) in index.stream(query, stage):
        if (found := index.get(stage, gen_id)) is not None:
            yield found


def _reason(index: StoreIndex, one: Indexed) -> tuple[str, str, str]:
    """Return why a generation has no v1 id: code, meaning, detail."""
    wrong = [found for found in one.problems if found.code not in _HARMLESS]
    unfit = [found for found in wrong if found.code == findings.FIELD_UNFIT]
    above = parent_stage(one.stage)
    if above is not None and len(wrong) == len(unfit):
        parent = index.get(above, one.parent_gen_id or "")
        if parent is None:
            detail = f"no {above} has the id {one.parent_gen_id!r} that parent_gen_id names"
            return findings.ORPHAN, KINDS[findings.ORPHAN].meaning, detail
        if parent.expected["v1"] is None or not unfit:
            return _PARENT_STAYS, _PARENT, f"its {above} {one.parent_gen_id} stays"
    return str(wrong[0].code), KINDS[str(wrong[0].code)].meaning, str(wrong[0])
