"""Why no v1 id can be derived for some generations. A migration leaves them as they are."""

from __future__ import annotations

from itertools import chain
from typing import Final

from attrs import field, frozen

from genid_store.catalog import findings
from genid_store.catalog.findings import KINDS
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.report.listed import ROWS, Listed
from genid_store.stages import parent_stage, stage_names

_PARENT_STAYS: Final = "parent-stays"
_PARENT: Final = "its parent has no v1 id, and its own is made from that"
#: The problems of metadata that do not keep an id from being derived.
_HARMLESS: Final = {
    findings.FOLDER_MISMATCH, findings.STAGE_MISMATCH, findings.ID_NOT_RECOMPUTED,
}  # fmt: skip


@frozen
class WithoutV1:
    """The generations of one stage that have no v1 id for one reason, as (id, detail)."""

    stage: str
    reason: str
    why: str
    generations: Listed = field(factory=Listed)


def without_v1(index: StoreIndex) -> tuple[WithoutV1, ...]:
    """Return the generations without a v1 id, by stage and reason."""
    return tuple(chain.from_iterable(_of_stage(index, stage) for stage in stage_names()))


def _of_stage(index: StoreIndex, stage: str) -> list[WithoutV1]:
    groups: dict[str, WithoutV1] = {}
    query = "SELECT gen_id FROM generation WHERE stage = ? AND v1 IS NULL ORDER BY gen_id"
    for (gen_id,) in index.stream(query, stage):
        generation = index.get(stage, gen_id)
        if generation is not None:
            reason, why, detail = _reason(index, generation)
            group = groups.setdefault(reason, WithoutV1(stage, reason, why))
            group.generations.add((gen_id, detail), ROWS)
    return [groups[reason] for reason in sorted(groups)]


def _reason(index: StoreIndex, generation: Indexed) -> tuple[str, str, str]:
    """Return why a generation has no v1 id: code, meaning, detail."""
    problems = [problem for problem in generation.problems if problem.code not in _HARMLESS]
    only_unfit = all(problem.code == findings.FIELD_UNFIT for problem in problems)
    stage = parent_stage(generation.stage)
    if stage is not None and only_unfit:
        parent = index.get(stage, generation.parent_gen_id or "")
        if parent is None:
            detail = f"no {stage} has the id {generation.parent_gen_id!r} that parent_gen_id names"
            return findings.ORPHAN, KINDS[findings.ORPHAN].meaning, detail
        if parent.expected["v1"] is None or not problems:
            return _PARENT_STAYS, _PARENT, f"its {stage} {generation.parent_gen_id} has none"
    code = str(problems[0].code)
    return code, KINDS[code].meaning, str(problems[0])
