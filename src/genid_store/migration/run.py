"""The four things one does with a migration: plan, execute, roll back, finalize; each under the
data root's lock."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import MIGRATION, root_lock, unblock
from genid_store.migration import files
from genid_store.migration import state_folder as own
from genid_store.migration.context import BEFORE
from genid_store.migration.execute import execute
from genid_store.migration.journal import Journal
from genid_store.migration.plan import Duplicates, make_plan
from genid_store.migration.planfile import Plan, plans_folder
from genid_store.migration.rollback import roll_back
from genid_store.migration.state import State, open_plans, the_open_plan

Progress = Callable[[int, int], None]


def plan(
    root: DataRoot, *, duplicates: Duplicates = "renumber", progress: Progress | None = None
) -> Plan:
    """Plan a migration and write the plan below `.genid/`; nothing else is written.

    StoreError: as `make_plan`; or a migration is under way.
    """
    with _locked(root):
        _refuse_unfinished(root)
        return make_plan(root, duplicates=duplicates, progress=progress)


def migrate(
    root: DataRoot,
    *,
    duplicates: Duplicates = "renumber",
    expected: str | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Plan and carry out a migration; a store with nothing to move is left as it is.

    `expected` is the id of a plan that was looked at before: where the store comes to another one
    now, nothing is done.

    Raises:
        StoreError: as `make_plan` and `execute`; the store is not what it was when `expected`
            was made; another migration was not finished, rolled back or finalized.
    """
    with _locked(root):
        _refuse_unfinished(root)
        made = make_plan(root, duplicates=duplicates, progress=progress)
        if expected is not None and made.plan_id != expected:
            raise _other_plan(made, expected)
        if has_work(made):
            _refuse_open(root)
        if has_work(made) or made.totals()["blockers"]:  # which are refused, moves or none
            execute(made, progress=progress)
        return made


def resume(root: DataRoot, *, progress: Progress | None = None) -> Plan:
    """Go on with the migration that stopped; one that was carried out already stays as it is.

    StoreError: as `execute`; none was begun; or going back was begun (then go on with that).
    """
    with _locked(root):
        found, state = the_open_plan(root)
        if state == "rolling-back":
            remedy = "finish that with `genid store rollback`"
            raise _refused("going back was begun", ".genid/migrations", found.plan_id, remedy)
        if state == "executing":
            execute(found, progress=progress)
        return found


def rollback(
    root: DataRoot,
    plan_id: str | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Give the store back as it was before the open migration (or the one named).

    StoreError: as `roll_back`; or no such migration is open.
    """
    with _locked(root):
        found, _ = the_open_plan(root, plan_id)
        roll_back(found, force=force, progress=progress)
        return found


def finalize(root: DataRoot, plan_id: str | None = None) -> Plan:
    """Give up the way back: delete the originals of the migration that was carried out.

    The plan, its mapping and its journal stay. StoreError: no such migration was carried out, or
    it is not finished.
    """
    with _locked(root):
        found, state = the_open_plan(root, plan_id)
        if state != "migrated":
            remedy = "go on with `genid store migrate --resume` or `genid store rollback`"
            raise _refused("the migration is not finished", found.plan_id, state, remedy)
        with Journal(found.journal) as journal:
            journal.append("finalized")
        shutil.rmtree(found.folder / "originals", ignore_errors=True)
        for name in (BEFORE, own.RESERVE, "failures.json"):
            files.remove(os.fspath(found.folder / name))
        return found


def has_work(made: Plan) -> bool:
    """Say whether carrying out a plan would change anything."""
    totals = made.totals()
    return bool(totals["moves"] or totals["references"] or totals["files"])


@contextmanager
def _locked(root: DataRoot) -> Iterator[None]:
    with guarded(root):
        check_inside(root, root.own, plans_folder(root))
        own.make_own(root)
        with root_lock(root, MIGRATION):
            if not _unfinished(root):
                unblock(root)  # a process died after closing the store, or at the end
            yield


def _unfinished(root: DataRoot) -> list[tuple[Plan, State]]:
    return [(found, state) for found, state in open_plans(root) if state != "migrated"]


def _refuse_unfinished(root: DataRoot) -> None:
    for found, state in open_plans(root):
        if state != "migrated":
            remedy = (
                "go on with `genid store migrate --resume`, or back with `genid store rollback`"
            )
            raise _refused("a migration is not finished", found.plan_id, state, remedy)


def _refuse_open(root: DataRoot) -> None:
    for found, state in open_plans(root):
        remedy = "give up its way back with `genid store finalize`, or roll it back"
        raise _refused("an earlier migration is open", found.plan_id, state, remedy)


def _other_plan(made: Plan, expected: str) -> StoreError:
    remedy = "look at the new plan, then name that one; nothing was changed"
    return _refused("the store is not what it was", expected, made.plan_id, remedy)


def _refused(summary: str, where: str, value: str, remedy: str) -> StoreError:
    return StoreError(summary, [Problem(where=where, message=summary, value=value, remedy=remedy)])
