"""What one does with a migration: plan, migrate, resume, roll back, finish; each under the data
root's lock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from attrs import evolve

from genid_store.catalog.renamed import forget_renamed, write_renamed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import MIGRATION, block, root_lock, unblock
from genid_store.fs.trees import remove_tree
from genid_store.migration import swap as swapping
from genid_store.migration.build import Advance, Work, build, clear, missing_room
from genid_store.migration.plan import Progress, make_plan
from genid_store.migration.planfile import Plan, plans_folder
from genid_store.migration.rollback import Carried, CarryingBack
from genid_store.migration.swap import State, Swap, Times, open_migration, read_swap
from genid_store.migration.verify import Verifying
from genid_store.migration.waiting import wait_for_makers

_REASON: Final = "a migration exchanges the store and is not finished"
_REMEDY: Final = "resume with `genid store migrate --resume`, or undo with `genid store rollback`"
_INDEX: Final = ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")
_Open = tuple[Plan, Swap] | None


def plan(root: DataRoot, *, tables: tuple[str, ...] = (), progress: Progress | None = None) -> Plan:
    """Plan a migration and write the plan below `.genid/`; nothing else is written.

    StoreError: as `make_plan`; or a migration is not finished.
    """
    with _locked(root) as found:
        _refuse_unfinished(found)
        return make_plan(root, tables=tables, progress=progress)


def migrate(
    root: DataRoot,
    *,
    tables: tuple[str, ...] = (),
    expected: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan a migration and carry it out; a store with nothing to move is left as it is.

    `expected` is the id of a plan that was looked at before: where the store comes to another one
    now, nothing is done.

    Raises:
        StoreError: as `make_plan`; the store is not what it was when `expected` was made; another
            migration was neither rolled back nor finished; the plan has blockers, or the disk no
            room; or what was built is not as planned. In all of these the store is as it was.
    """
    with _locked(root, closed=True) as found:
        _refuse_unfinished(found)
        made = make_plan(root, tables=tables, progress=progress)
        if expected is not None and made.plan_id != expected:
            remedy = "look at the new plan, then name that one; nothing was changed"
            raise _refused("the store is not what it was", expected, made.plan_id, remedy)
        if made.has_work() and found is not None:
            remedy = "give up its rollback with `genid store migrate --finish`, or roll it back"
            raise _refused("an earlier migration is open", found[0].plan_id, "migrated", remedy)
        blockers = [
            Problem(where=one["path"], message=one["message"], remedy=one["remedy"])
            for one in made.records("blocker")
        ]
        if blockers:
            raise StoreError(f"the plan {made.plan_id} cannot be carried out", blockers)
        if made.has_work():
            _carry_out(made, progress)
        return made


def resume(root: DataRoot) -> Plan:
    """Finish the exchange that was stopped; a store that is migrated already stays as it is.

    StoreError: none was begun (a build that was stopped left nothing to resume); rolling back was
    begun; or a place is not as it was left.
    """
    with _locked(root) as found:
        made, swap = _open(found)
        if swap.state == "swapping-back":
            remedy = "finish that with `genid store rollback`"
            raise _refused("rolling back was begun", made.plan_id, swap.state, remedy)
        _finish_swap(made, swap)
        return made


def rollback(root: DataRoot, *, progress: Progress | None = None) -> tuple[Plan, list[Carried]]:
    """Give the store back as it was before the open migration, with what was made since.

    Returns the plan, and what was taken along or had changed, as (path, what).

    StoreError: no migration is open; or a place is not as it was left.
    """
    with _locked(root, closed=True) as found:
        made, swap = _open(found)
        carried: list[Carried] = []
        if swap.state != "swapping-back":
            # Of an exchange that was stopped, the places that are exchanged, wholly or half.
            begun = tuple(one for one in swap.places if swapping.is_exchanged(made, one))
            paths = [one.path for one in begun]
            if swap.state == "migrated":
                back = CarryingBack(Work.of(made), carried)
                paths += back.run(_advance(made, progress, times=1))
            else:
                swapping.roll_forward(made, evolve(swap, places=begun))
            swap = _begin(made, paths, swap.times, back=True)
        _finish_swap(made, swap)
        return made, carried


def finish(root: DataRoot) -> Plan:
    """Give up rolling back: delete the former tree of the migration that was carried out.

    The plan, its mapping and the record of renamed ids stay.

    StoreError: no migration is open, or it is not carried out.
    """
    with _locked(root) as found:
        made, swap = _open(found)
        _refuse_unfinished(found)
        evolve(swap, state="finished", places=()).write(made)
        clear(root)
        return made


def state_of(plan: Plan) -> State:
    """Return where a plan stands. StoreError: its journal is damaged."""
    return read_swap(plan).state


def _carry_out(made: Plan, progress: Progress | None) -> None:
    """Build, verify, exchange. StoreError, OSError: nothing was changed, or `--resume` goes on."""
    problem = missing_room(made)
    if problem is not None:
        raise StoreError("there is not enough room on the disk", [problem])
    work, advance = Work.of(made), _advance(made, progress, times=2)
    times = swapping.folder_times(made, work.places())
    try:
        paths = build(work, advance)
        problems = list(Verifying(work).problems(advance))
        if problems:
            raise StoreError("what was built is not as planned; nothing was changed", problems)
        swap = _begin(made, paths, times)
    except BaseException:
        if not read_swap(made).unfinished:
            with contextlib.suppress(OSError, StoreError):
                clear(made.root)
        raise
    _finish_swap(made, swap, work)


def _begin(made: Plan, paths: list[str], times: Times, *, back: bool = False) -> Swap:
    """Close the store until the exchange is finished, and write it down."""
    block(made.root, by=MIGRATION, reason=_REASON, remedy=_REMEDY)
    return swapping.begin(made, paths, times, back=back)


def _finish_swap(made: Plan, swap: Swap, work: Work | None = None) -> None:
    """Roll an exchange forward, and bring our own records level with it."""
    if swap.unfinished:
        done = swapping.roll_forward(made, swap)
        if done.state == "migrated":
            moves = (work or Work.of(made)).mapping.items()
            rows = ((stage, old, new) for stage, moved in moves for old, new in moved.items())
            write_renamed(made.root, made.plan_id, rows)
        else:
            forget_renamed(made.root, made.plan_id)
        for name in _INDEX:  # a cache, which the next reader builds again
            remove_tree(str(made.root.own / name))
        swapping.restore_times(made, swap)
        done.write(made)
        if done.state == "rolled-back":
            clear(made.root)
            swapping.restore_times(made, swap)
    unblock(made.root)


def _advance(made: Plan, progress: Progress | None, *, times: int) -> Advance:
    if progress is None:
        return lambda: None
    totals, done = made.totals(), count(1)
    total = (totals["generations"] + totals["strays"]) * times
    return lambda: progress(next(done), total)


@contextmanager
def _locked(root: DataRoot, *, closed: bool = False) -> Iterator[_Open]:
    """Hold the data root's lock and yield the open migration; what a killed one left is cleared.

    `closed`: no generation begins inside the block, and those that are being made end before it.
    """
    with guarded(root):
        check_inside(root, root.own, plans_folder(root), root.own / "renamed")
        _make_own(root)
        with root_lock(root, MIGRATION):
            found = open_migration(root)
            if found is None or not found[1].unfinished:
                unblock(root)  # a process died before the exchange began, or after its end
                clear(root, keep=None if found is None else found[0].plan_id)
                if closed:
                    reason, remedy = "the store is being migrated", "wait until that has ended"
                    block(root, by=MIGRATION, reason=reason, remedy=remedy, while_locked=True)
            try:
                if closed:
                    wait_for_makers(root)
                yield found
            finally:
                held = open_migration(root) if closed else None
                if closed and (held is None or not held[1].unfinished):
                    unblock(root)


def _make_own(root: DataRoot) -> None:
    """Make `.genid/` where it is absent, without a trace in the times of the data root's folder."""
    with contextlib.suppress(FileExistsError):
        before = os.stat(root.path)
        os.mkdir(root.own)
        with contextlib.suppress(OSError):
            os.utime(root.path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _open(found: _Open) -> tuple[Plan, Swap]:
    if found is None:
        problem = Problem(
            where=".genid/migrations",
            message="none is carried out: none was begun, or it was rolled back or finished",
            remedy="`genid store migrate` makes a plan, `--execute` carries it out",
        )
        raise StoreError("there is no open migration", [problem])
    return found


def _refuse_unfinished(found: _Open) -> None:
    if found is not None and found[1].unfinished:
        raise _refused("a migration is not finished", found[0].plan_id, found[1].state, _REMEDY)


def _refused(summary: str, where: str, value: str, remedy: str) -> StoreError:
    return StoreError(summary, [Problem(where=where, message=summary, value=value, remedy=remedy)])
