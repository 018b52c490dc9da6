"""Compare a cohort in two rollout states: old id -> new id, member by member.

Nothing is written. Only ids and numbers can differ, since the members of both states fill the same
slots.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from attrs import frozen

from genid_store.cohort.planning.records import Plan, Row, StoreView
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE, Member, parent_key


@frozen(kw_only=True)
class Change:
    """One slot in both states: its members, None if a state has no member for it.

    `old_exists` and `new_exists` say whether the store has a generation under that id; `new_held`
    are the other ids with the text of a new member that has none.
    """

    stage: str
    old: Row | None
    new: Row | None
    old_exists: bool
    new_exists: bool
    new_held: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the id differs."""
        return self.old is None or self.new is None or self.old.gen_id != self.new.gen_id


@frozen(kw_only=True)
class Comparison:
    """A cohort in two rollout states, in the membership order of the second.

    `unplanned` are the members of the cohort's last build that the current tables do not plan even
    in the first state, so that a build drops them in either. Empty if that build was in another
    state.
    """

    before: Rollout
    after: Rollout
    changes: tuple[Change, ...]
    unplanned: tuple[Member, ...] = ()

    def changed(self) -> dict[str, int]:
        """Return the number of members with different ids, by stage."""
        counts = dict.fromkeys(PIPELINE, 0)
        for change in self.changes:
            counts[change.stage] += change.changed
        return counts


def compare_plans(old: Plan, new: Plan, view: StoreView) -> Comparison:
    """Return the differences between two plans of one cohort."""
    changes = tuple(
        Change(
            stage=stage,
            old=before,
            new=after,
            old_exists=before is not None and view.has(stage, before.gen_id),
            new_exists=after is not None and view.has(stage, after.gen_id),
        )
        for stage, before, after in _pairs(old, new)
    )
    return Comparison(before=old.rollout, after=new.rollout, changes=changes)


def _pairs(old: Plan, new: Plan) -> Iterator[tuple[str, Row | None, Row | None]]:
    """Yield the members of both plans that fill the same slot, with its stage.

    They are in the order of the new plan; the members of the old one without a counterpart follow.
    """
    # New id -> old id, known for rebuilt rows and completed stage by stage for the children.
    ids: dict[tuple[str, str], str] = {}
    for (_, old_id), row_key in zip(old.rebuilt, new.rebuilt, strict=True):
        ids.setdefault(row_key, old_id)
    partners: dict[tuple[str, str], Row] = {}
    for stage in PIPELINE:
        for before, after in _stage_pairs(old.by_stage[stage], new.by_stage[stage], ids):
            partners.setdefault((stage, after.gen_id), before)
            ids.setdefault((stage, after.gen_id), before.gen_id)
    used = set()
    for row in new.rows:
        partner = partners.get((row.stage, row.gen_id))
        used.add(partner)
        yield row.stage, partner, row
    yield from ((row.stage, row, None) for row in old.rows if row not in used)


def _stage_pairs(
    old: Mapping[str, Row], new: Mapping[str, Row], ids: Mapping[tuple[str, str], str]
) -> Iterator[tuple[Row, Row]]:
    """Yield the pairs of one stage; `ids` has the old ids of the parents. In a cell, the rows that
    kept their id come first, then the others in order."""
    old_cells: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in old.values():
        old_cells[_cell(row, row.parent_gen_id)].append(row)
    new_cells: dict[tuple[str | None, tuple[str, ...]], list[Row]] = defaultdict(list)
    for row in new.values():
        before = old.get(ids.get((row.stage, row.gen_id), ""))
        if before is not None:
            yield before, row
        else:
            # The parent may have a new id, too; the old plan has the cell under the old one.
            parent = parent_key(row.stage, row.parent_gen_id)
            old_parent = None if parent is None else ids.get(parent, parent.gen_id)
            new_cells[row.parent_gen_id, _cell(row, old_parent)].append(row)
    for (_, cell), rows in new_cells.items():
        kept = {row.gen_id for row in old_cells[cell]} & {row.gen_id for row in rows}
        yield from ((old[row.gen_id], row) for row in rows if row.gen_id in kept)
        renamed = (row for row in old_cells[cell] if row.gen_id not in kept)
        yield from zip(renamed, (row for row in rows if row.gen_id not in kept), strict=False)


def _cell(row: Row, parent: str | None) -> tuple[str, ...]:
    if row.stage == "draft":
        return (row.combo_id, row.template_id, row.llm_model_id)
    return (parent or "", row.template_id, row.llm_model_id)
