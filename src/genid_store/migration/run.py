"""What one does with a migration: plan, migrate, resume, roll back, finish; each under the data
root's lock."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

from attrs import evolve

from genid_store.catalog.renamed import forget_renamed, write_renamed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import held, leases
from genid_store.fs.locks import END_IT, MIGRATION, block, root_lock, unblock
from genid_store.fs.trees import remove_tree
from genid_store.generation.batches import refuse_open
from genid_store.migration import swap as swapping
from genid_store.migration.build import Advance, build, clear, missing_room
from genid_store.migration.plan import Progress, make_plan
from genid_store.migration.planfile import Plan, plans_folder
from genid_store.migration.rollback import Carried, CarryingBack
from genid_store.migration.swap import REMEDY, Swap, folder_times, open_migration, read_swap
from genid_store.migration.verify import Verifying, only_in_former

_INDEX: Final = ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")
_POLL: Final = 0.2  # seconds between two looks at a task that is being made
_PATIENCE: Final = 3600.0  # seconds that a migration waits for those before it gives up
_INTERVAL: Final = 30.0  # seconds between two lines in the log about what is waited for
_NAMED: Final = 5  # tasks that one of them names
_LOG: Final = logging.getLogger(__name__)


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

    `expected` is the id of a plan that was looked at before.

    StoreError: as `make_plan`; the store does not come to the plan `expected` any more; another
    migration was neither rolled back nor finished; the plan has blockers, or the disk no room; or
    what was built is not as planned. In all of these the store is as it was.
    """
    with _locked(root, closed=True) as found:
        _refuse_unfinished(found)
        made = make_plan(root, tables=tables, progress=progress)
        if expected is not None and made.plan_id != expected:
            remedy = "look at the new plan, then name that one; nothing was changed"
            summary = "the store is not what it was"
            raise StoreError.of(summary, expected, summary, remedy, value=made.plan_id)
        if made.has_work() and found is not None:
            remedy, ways = "finish it, or roll it back", ("migration.run.finish()", END_IT[1])
            raise _refused("an earlier migration is open", found, remedy, ways)
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

    StoreError: none was begun, or rolling back was; or a place is not as it was left.
    """
    with _locked(root) as found:
        swap = _open(found)
        if swap.state == "swapping-back":
            raise _refused("rolling back was begun", swap, "go on with that", END_IT[1:])
        _finish_swap(swap)
        return swap.plan


def rollback(root: DataRoot, *, progress: Progress | None = None) -> tuple[Plan, list[Carried]]:
    """Give the store back as it was before the open migration, with what was made since; return the
    plan, and what was taken along or had changed.

    StoreError: no migration is open; or a place is not as it was left.
    """
    with _locked(root, closed=True) as found:
        swap = _open(found)
        carried: list[Carried] = []
        if swap.state != "swapping-back":
            more: list[str] = []
            begun = swap.begun()
            if swap.state == "migrated":
                advance = _advance(swap.plan, progress, times=1)
                more = CarryingBack(swap.plan, carried).run(advance)
            else:
                begun.roll_forward()  # of those alone: the others may be refused for ever
            paths = dict.fromkeys([*(place.path for place in begun.places), *more])
            swap = swapping.begin(swap.plan, paths, swap.times, back=True)
        _finish_swap(swap)
        return swap.plan, carried


def finish(root: DataRoot) -> Plan:
    """Give up rolling back: delete the former tree, but neither the plan nor the renamed ids.

    StoreError: no migration is open, it is not carried out, or the former tree has files that were
    written there after they were planned.
    """
    with _locked(root) as found:
        swap = _open(found)
        _refuse_unfinished(found)
        if problems := list(only_in_former(swap.plan)):
            raise StoreError("the former store has files that nothing else has", problems)
        evolve(swap, state="finished", places=()).write()
        clear(root)
        return swap.plan


# -- the exchange ----------------------------------------------------------------------------------
def _carry_out(made: Plan, progress: Progress | None) -> None:
    """Build, verify, exchange. StoreError, OSError: nothing was changed, or `--resume` goes on."""
    problem = missing_room(made)
    if problem is not None:
        raise StoreError("there is not enough room on the disk", [problem])
    times, advance = folder_times(made), _advance(made, progress, times=2)
    try:
        paths = build(made, advance)
        problems = list(Verifying(made).problems(advance))
        if problems:
            raise StoreError("what was built is not as planned; nothing was changed", problems)
        swap = swapping.begin(made, paths, times)
    except BaseException:
        if not read_swap(made).unfinished:
            with contextlib.suppress(OSError, StoreError):
                clear(made.root)
        raise
    _finish_swap(swap)


def _finish_swap(swap: Swap) -> None:
    """Roll an exchange forward, and bring our own records level with it."""
    root, plan_id = swap.plan.root, swap.plan.plan_id
    if swap.unfinished:
        done = swap.roll_forward()
        if done.state == "migrated":
            moves = swap.plan.work.mapping.items()
            rows = ((stage, old, new) for stage, moved in moves for old, new in moved.items())
            write_renamed(root, plan_id, rows)
        else:
            forget_renamed(root, plan_id)
        for name in _INDEX:  # a cache, which the next reader builds again
            remove_tree(str(root.own / name))
        swap.restore_times()
        done.write()
        if done.state == "rolled-back":
            clear(root)
            swap.restore_times()
    unblock(root)


def _advance(made: Plan, progress: Progress | None, *, times: int) -> Advance:
    if progress is None:
        return lambda: None
    totals, done = made.totals(), count(1)
    total = (totals["generations"] + totals["strays"]) * times
    return lambda: progress(next(done), total)


# -- the lock --------------------------------------------------------------------------------------
@contextmanager
def _locked(root: DataRoot, *, closed: bool = False) -> Iterator[Swap | None]:
    """Hold the data root's lock and yield the open migration; what a killed one left is cleared.

    `closed`: no generation begins inside the block, and those that are being made end before it.
    """
    with guarded(root):
        check_inside(root, root.own, plans_folder(root), root.own / "renamed")
        with contextlib.suppress(FileExistsError):  # made without a trace in the root's times
            before = os.stat(root.path)
            os.mkdir(root.own)
            with contextlib.suppress(OSError):
                os.utime(root.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with root_lock(root, MIGRATION):
            found = open_migration(root)
            if found is None or not found.unfinished:
                unblock(root)  # a process died before the exchange began, or after its end
                clear(root, keep=None if found is None else found.plan.plan_id)
                if closed:
                    reason, remedy = "the store is being migrated", "wait until that has ended"
                    block(root, by=MIGRATION, reason=reason, remedy=remedy, while_locked=True)
            try:
                if closed:
                    wait_for_makers(root)
                yield found
            finally:
                held_open = open_migration(root) if closed else None
                if closed and (held_open is None or not held_open.unfinished):
                    unblock(root)


def wait_for_makers(root: DataRoot, *, limit: float = _PATIENCE) -> None:
    """Return when nobody holds a lease: those given before the store was closed are paid for, and
    end first. Says in the log what it waits for, at once and every `_INTERVAL` seconds.

    StoreError: some were still held after `limit` seconds, or generations are in a batch at a
    provider; nothing was changed.
    """
    began = time.monotonic()
    logged = began - _INTERVAL
    while busy := [f"{stage}/{task}" for stage, task in held(root)]:
        now = time.monotonic()
        if now - began >= limit:
            message = f"another process still makes it after {limit:.0f} s"
            remedy = "end that process or let it finish, then run the same command again"
            places = [root.relative(leases(root) / one) for one in busy]
            problems = [Problem(where=one, message=message, remedy=remedy) for one in places]
            raise StoreError("generations are being made; nothing was changed", problems)
        if now - logged >= _INTERVAL:
            logged = now
            more = [f"and {len(busy) - _NAMED} more"] if len(busy) > _NAMED else []
            names = ", ".join([*busy[:_NAMED], *more])
            message = "waiting for generations that are being made: %s; interrupting is safe"
            _LOG.warning(message, names)
        time.sleep(_POLL)
    refuse_open(root)


def _open(found: Swap | None) -> Swap:
    if found is None:
        problem = Problem(
            where=".genid/migrations",
            message="none is carried out: none was begun, or it was rolled back or finished",
            remedy="plan one and carry it out",
            ways=("migration.run.migrate()",),
        )
        raise StoreError("there is no open migration", [problem])
    return found


def _refuse_unfinished(found: Swap | None) -> None:
    if found is not None and found.unfinished:
        raise _refused("a migration is not finished", found, REMEDY, END_IT)


def _refused(summary: str, found: Swap, remedy: str, ways: tuple[str, ...]) -> StoreError:
    where, value = found.plan.plan_id, found.state
    problem = Problem(where=where, message=summary, value=value, remedy=remedy, ways=ways)
    return StoreError(summary, [problem])
