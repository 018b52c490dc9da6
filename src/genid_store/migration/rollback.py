"""Give a store back as it was: bytes, names, times, permissions, links.

The phases of `execute`, backwards, each recorded when it is finished. As there, within a phase the
tree tells which steps are done, because no name is both a source and a target within one phase.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from genid_store.errors import StoreError
from genid_store.fs.locks import MIGRATION, block, unblock
from genid_store.migration import files
from genid_store.migration import state_folder as own
from genid_store.migration.conflicts import refuse_changes
from genid_store.migration.context import Work, set_times, work_of
from genid_store.migration.execute import stopping, sync_all
from genid_store.migration.journal import Journal
from genid_store.migration.planfile import Plan
from genid_store.migration.records import Step
from genid_store.migration.state import state_in
from genid_store.migration.verify import verify_rolled_back

Progress = Callable[[int, int], None]


def roll_back(plan: Plan, *, force: bool = False, progress: Progress | None = None) -> None:
    """Undo a plan that was begun, carried out, or rolled back in part; idempotent.

    The caller holds the data root's lock and has seen that the plan is open.

    Raises:
        StoreError: the store was changed since the migration in a way that going back would
            undo or leave without its parent, and not `force` (nothing is changed); the system
            refused a step (the same command goes on); or the store is not what it was before.
    """
    work = work_of(plan)
    with stopping(plan), Journal(plan.journal) as journal:
        if state_in(journal.records) == "migrated":
            refuse_changes(work, force=force)
        _begin(plan, journal)
        _Undoing(work, journal).run()
        problems = list(verify_rolled_back(work, _advance(plan, progress)))
        if problems and not force:
            raise StoreError(
                f"the migration {plan.plan_id} is undone, and the store is not what it was: "
                "something else changed it meanwhile (--force accepts that)",
                problems,
            )
        journal.append("rolled-back")
        unblock(plan.root)
        shutil.rmtree(plan.folder / "originals", ignore_errors=True)


def _begin(plan: Plan, journal: Journal) -> None:
    files.remove(str(plan.folder / own.RESERVE))
    if state_in(journal.records) != "rolling-back":
        block(
            plan.root,
            by=MIGRATION,
            reason=f"going back on the migration {plan.plan_id} was begun and is not finished",
            remedy="go on with `genid store rollback`",
        )
        journal.append("rollback")
    own.wait_for_makers(plan.root)


def _advance(plan: Plan, progress: Progress | None) -> Callable[[int], None]:
    total = plan.totals()["generations"]
    return lambda count: None if progress is None else progress(count, total)


class _Undoing:
    """One run of the phases backwards; what the journal says is undone is passed over."""

    def __init__(self, work: Work, journal: Journal) -> None:
        self.work, self.journal = work, journal

    def run(self) -> None:
        work = self.work
        own.drop_index(work.plan.root)
        if self.journal.has("finished", phase="files"):
            carried = self.journal.has("finished", phase="own")
            self._phase("own", lambda: own.carry_failures_back(work, carried=carried))
        if self.journal.has("finished", phase="place"):
            self._phase("files", self._files)
        if self.journal.has("finished", phase="move"):
            self._phase("place", lambda: _rename_back(work.parking, work.new, work.park))
        if self.journal.has("finished", phase="park"):
            self._phase("move", lambda: self._put_back(work.direct, work.new))
        self._phase("park", lambda: self._put_back(work.parking, work.park))
        set_times(work, migrated=False)

    def _phase(self, name: str, run: Callable[[], None]) -> None:
        if not self.journal.has("undone", phase=name):
            run()
            sync_all(self.work.plan)
            self.journal.append("undone", phase=name)

    def _files(self) -> None:
        work = self.work
        for at, change in enumerate(work.changes):
            files.put_back(work.kept_change(at), f"{work.root}/{change['path']}")

    def _put_back(self, steps: list[Step], source: Callable[[Step], str]) -> None:
        """Give folders their old names, then their files back."""
        work = self.work
        _rename_back([step for step in steps if step.moves], source, work.old)
        for step in steps:
            for at, name in enumerate(step.rewrite):
                files.put_back(work.kept(step, at), f"{work.old(step)}/{name}")


def _rename_back(
    steps: list[Step], source: Callable[[Step], str], target: Callable[[Step], str]
) -> None:
    for step in steps:
        if not os.path.lexists(target(step)):
            files.move_folder(source(step), target(step))
