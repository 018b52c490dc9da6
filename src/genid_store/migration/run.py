"""What a caller does with a migration: plan, migrate, resume, roll back, finish. Each of them holds
the data root's lock."""

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

from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.renamed import forget_renamed, write_renamed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import held, leases
from genid_store.fs.locks import END_IT, MIGRATION, Block, block, root_lock, unblock
from genid_store.fs.trees import remove_tree
from genid_store.generation.batches import refuse_open
from genid_store.migration import swap as swapping
from genid_store.migration.build import Advance, build, clear, missing_room
from genid_store.migration.plan import make_plan
from genid_store.migration.planfile import Plan, plans_folder
from genid_store.migration.rollback import Carried, CarryingBack
from genid_store.migration.swap import REMEDY, Swap, folder_times, open_migration, read_swap
from genid_store.migration.verify import Verifying, only_in_former

_INDEX: Final = ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm")
_POLL: Final = 0.2  # seconds between two checks of the leases
_PATIENCE: Final = 3600.0  # seconds that a migration waits for leases before it gives up
_INTERVAL: Final = 30.0  # seconds between two log lines about what is waited for
_LOG: Final = logging.getLogger(__name__)


def plan(root: DataRoot, *, tables: tuple[str, ...] = (), progress: Progress | None = None) -> Plan:
    """Plan a migration and write the plan below `.genid/`; nothing else is written.

    StoreError: as `make_plan`; or a migration is unfinished.
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

    `expected` is the id of a plan that was reviewed before.

    StoreError: as `make_plan`; the store no longer results in the plan `expected`; another
    migration was neither rolled back nor finished; the plan has blockers, or the disk no room; or
    what was built is not as planned. In all of these cases the store is unchanged.
    """
    with _locked(root, closed=True) as found:
        _refuse_unfinished(found)
        made = make_plan(root, tables=tables, progress=progress)
        if expected is not None and made.plan_id != expected:
            summary = "nothing was changed: the store comes to another plan"
            message = "the store is not what it was, or the plan's id is mistyped"
            remedy = "look at the new plan, then name that one"
            raise StoreError.of(summary, expected, message, remedy, value=made.plan_id)
        if made.has_work() and found is not None:
            remedy, ways = "finish it, or roll it back", ("migration.run.finish()", END_IT[1])
            raise _refused("an earlier migration is open", found, remedy, ways)
        blockers = [
            Problem(where=record["path"], message=record["message"], remedy=record["remedy"])
            for record in made.records("blocker")
        ]
        if blockers:
            raise StoreError(f"the plan {made.plan_id} cannot be carried out", blockers)
        if made.has_work():
            _carry_out(made, progress)
        return made


def resume(root: DataRoot) -> Plan:
    """Finish an interrupted exchange; a store that is already migrated is left as it is.

    StoreError: none was begun; a rollback was; or a place is not as the journal left it.
    """
    with _locked(root) as found:
        swap = _open(found)
        if swap.state == "swapping-back":
            raise _refused("rolling back was begun", swap, "roll back again", END_IT[1:])
        _finish_swap(swap)
        return swap.plan


def rollback(root: DataRoot, *, progress: Progress | None = None) -> tuple[Plan, list[Carried]]:
    """Restore the store from before the open migration, with what was made since; return the plan,
    and what was carried along or had changed.

    StoreError: no migration is open; or a place is not as the journal left it.
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
                begun.roll_forward()  # only these: the OS may refuse the others for good
            paths = dict.fromkeys([*(place.path for place in begun.places), *more])
            swap = swapping.begin(swap.plan, paths, swap.times, back=True)
        _finish_swap(swap)
        return swap.plan, carried


def finish(root: DataRoot) -> Plan:
    """Delete the former tree, after which there is no rollback. The plan and the record of renamed
    ids are kept.

    StoreError: no migration is open, it is unfinished, or the former tree has files that were
    written there after planning.
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
    """Build, verify, exchange. StoreError, OSError: nothing was changed, or `resume` goes on."""
    problem = missing_room(made)
    if problem is not None:
        raise StoreError("there is not enough space on the disk", [problem])
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
    """Roll an exchange forward and bring our own records level with it."""
    root, plan_id = swap.plan.root, swap.plan.plan_id
    if swap.unfinished:
        done = swap.roll_forward()
        if done.state == "migrated":
            moves = swap.plan.work.mapping.items()
            rows = ((stage, old, new) for stage, moved in moves for old, new in moved.items())
            write_renamed(root, plan_id, rows)
        else:
            forget_renamed(root, plan_id)
        for name in _INDEX:  # only a cache, which the next reader builds again
            remove_tree(str(root.own / name))
        swap.restore_times()
        # The journal is closed last: until then a kill leaves it to be rolled forward again.
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
    """Hold the data root's lock and yield the open migration; what a killed one left is removed.

    `closed`: no generation starts inside the block, and those in progress end before it.
    """
    with guarded(root):
        check_inside(root, root.own, plans_folder(root), root.own / "renamed")
        with contextlib.suppress(FileExistsError):  # must not change the times of the data root
            before = os.stat(root.path)
            os.mkdir(root.own)
            with contextlib.suppress(OSError):
                os.utime(root.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with root_lock(root, MIGRATION):
            found = open_migration(root)
            if found is None or not found.unfinished:
                # A process died before its exchange began, or after it ended.
                unblock(root)
                clear(root, keep=None if found is None else found.plan.plan_id)
                if closed:
                    reason, remedy = "the store is being migrated", "wait until that has ended"
                    ours = Block(by=MIGRATION, reason=reason, remedy=remedy, while_locked=True)
                    block(root, ours)
            try:
                if closed:
                    wait_for_makers(root)
                yield found
            finally:
                found = open_migration(root) if closed else None
                if closed and (found is None or not found.unfinished):
                    unblock(root)


def wait_for_makers(root: DataRoot, *, limit: float = _PATIENCE) -> None:
    """Return when no lease is held: generations that are in progress are paid for, and end first.
    The log says immediately, and every `_INTERVAL` seconds, what is waited for.

    StoreError: some are still held after `limit` seconds, or generations are in a batch at a
    provider; nothing was changed.
    """
    began = time.monotonic()
    logged = began - _INTERVAL
    while busy := held(root):
        now = time.monotonic()
        if now - began >= limit:
            message = f"another process still makes it after {limit:.0f} s"
            remedy = "end that process or let it finish, then run the same command again"
            places = [root.relative(leases(root).joinpath(*lease)) for lease in busy]
            problems = [Problem(where=one, message=message, remedy=remedy) for one in places]
            raise StoreError("generations are being made; nothing was changed", problems)
        if now - logged >= _INTERVAL:
            logged = now
            text = "waiting for %d generations in progress, such as %s/%s; interrupting is safe"
            _LOG.warning(text, len(busy), *busy[0])
        time.sleep(_POLL)
    refuse_open(root)


def _open(found: Swap | None) -> Swap:
    if found is not None:
        return found
    summary, where = "there is no open migration", ".genid/migrations"
    message = "none was begun, or it was stopped before a change, rolled back or finished"
    remedy, ways = "plan one and carry it out", ("migration.run.migrate()",)
    raise StoreError.of(summary, where, message, remedy, ways=ways)


def _refuse_unfinished(found: Swap | None) -> None:
    if found is not None and found.unfinished:
        raise _refused("a migration is not finished", found, REMEDY, END_IT)


def _refused(summary: str, found: Swap, remedy: str, ways: tuple[str, ...]) -> StoreError:
    where, value = found.plan.plan_id, found.state
    return StoreError.of(summary, where, summary, remedy, value=value, ways=ways)
