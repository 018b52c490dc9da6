"""Collect the rows of a plan in membership order, each id once.

With the flag off, two tasks with one id fold into the row of the first, as in the existing
pipeline, and are counted. If the rollout covers any stage, they are an error that lists them.
Selected generations of one task fold in any case; a notice names each generation that folds.
"""

from __future__ import annotations

from collections.abc import Hashable

from genid_store.cohort.planning.records import Fold, Row
from genid_store.errors import Problem, StoreError
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

_REMEDY = "leave one of them out, or give them ids that differ in more than case"
_WHICH = "a dry run of the cohort shows which; the other one stays in the store"


class RowCollector:
    """Collects the rows of one plan.

    `rows` are in membership order, `by_stage` has them by stage and id; `folded`, `rebuilt` and
    `notices` are those of the plan.
    """

    def __init__(self, rollout: Rollout) -> None:
        self._covered = bool(rollout.stages)
        self.by_stage: dict[str, dict[str, Row]] = {stage: {} for stage in PIPELINE}
        self._made_from: dict[Row, tuple[Hashable, str]] = {}
        self.rows: list[Row] = []
        self.folded: list[Fold] = []
        self.rebuilt: list[tuple[str, str]] = []
        self.notices: list[Problem] = []
        self._problems: list[Problem] = []

    def extend(self, rows: list[Row]) -> list[Row]:
        """Add rows of one stage, each of a different task; return those whose id is new."""
        if not rows:
            return rows
        new, first = {row.gen_id: row for row in rows}, self.by_stage[rows[0].stage]
        # Nearly always all ids are new, and then no row has to be looked at by itself.
        if len(new) == len(rows) and first.keys().isdisjoint(new):
            first.update(new)
            self.rows += rows
            return rows
        start = len(self.rows)
        for row in rows:
            self._add(row, row, "")
        return self.rows[start:]

    def add(self, row: Row, *, task: Hashable, source: str) -> None:
        """Add the row that the generation `source` was rebuilt into; `task` identifies its task."""
        self.rebuilt.append((row.stage, row.gen_id))
        self._add(row, task, source)

    def _add(self, row: Row, task: Hashable, source: str) -> None:
        kept = self.by_stage[row.stage].setdefault(row.gen_id, row)
        if kept is row:
            self._made_from[row] = (task, source)
            self.rows.append(row)
            return
        kept_task, kept_source = self._made_from.get(kept, (kept, ""))
        if (kept_task, kept_source) == (task, source):
            return
        names = (kept_source or _name(kept), source or _name(row))
        if self._covered and kept_task != task:
            message = f"has the same id as {names[0]}"
            where = f"{row.stage} {names[1]}"
            problem = Problem(where=where, value=row.gen_id, message=message, remedy=_REMEDY)
            self._problems.append(problem)
        if source:  # which of the texts is used is decided by a run (see `generation.reuse`)
            where = f"{row.stage} {source}"
            message = f"folds into the member of {names[0]}, so only one of their texts is used"
            self.notices.append(Problem(where=where, message=message, remedy=_WHICH))
        self.folded.append(Fold(stage=row.stage, gen_id=row.gen_id, kept=names[0], folded=names[1]))

    def check(self) -> None:
        """Raise StoreError if tasks share an id although the rollout covers a stage."""
        if self._problems:
            raise StoreError("different tasks have the same id", self._problems)


def _name(row: Row) -> str:
    parts = (row.parent_gen_id or row.combo_id, row.template_id, row.llm_model_id, row.replicate)
    return " / ".join(map(str, parts))
