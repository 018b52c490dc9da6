"""Carry a plan out, phase by phase, so that a stop at any instant can be gone on from or undone.

Phases, each finished (and so recorded) before the next one begins:

`park`   folders whose new name another generation still bears get their new files and a name apart
`move`   every other folder gets its new files, then its new name
`place`  the parked folders get their new names
`files`  membership, manifest and selection files are replaced
`own`    the adapter's records of failed generations follow to the new ids
`verify` folders get their modification times back, and every file is digested and compared

Within a phase the tree itself tells which steps are done: a source name that is gone has moved.
That holds because no name is both a source and a target within one phase.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside
from genid_store.fs.locks import MIGRATION, block, unblock
from genid_store.migration import files
from genid_store.migration import state_folder as own
from genid_store.migration.context import Work, set_times, touched, work_of, write_before
from genid_store.migration.fingerprints import Fingerprint, digest
from genid_store.migration.journal import Journal
from genid_store.migration.planfile import Plan
from genid_store.migration.records import Step
from genid_store.migration.state import state_in, state_of
from genid_store.migration.verify import verify_migrated

Progress = Callable[[int, int], None]
_BATCH: Final = 512  # generations whose new files are brought to disk together


def execute(plan: Plan, *, progress: Progress | None = None) -> None:
    """Carry out a plan, or go on where it stopped; afterwards the store is migrated and verified.

    The caller holds the data root's lock and, where nothing was begun, has just made the plan.

    Raises:
        StoreError: the plan has blockers, or the disk no room (nothing is changed); the system
            refused a step, or verification found a difference (`--resume` or rollback then).
    """
    work = work_of(plan)
    with stopping(plan):
        own.retire_journal(plan)
        with Journal(plan.journal) as journal:
            if state_in(journal.records) == "planned":
                _refuse_blockers(work)
                _refuse_full_disk(plan)
                _begin(work, journal)
            own.wait_for_makers(plan.root)  # a resumed migration too: it may have stopped waiting
            _Execution(work, journal, progress or (lambda done, total: None)).run()
            journal.append("migrated")
            unblock(plan.root)


class stopping:  # noqa: N801 - reads as the statement it is
    """A block in which a system error means that the migration stopped and can be gone on with."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError):
            return
        place = str(error.filename or self._plan.folder)
        problem = Problem(
            where=place.removeprefix(f"{self._plan.root.path}/"),
            message=error.strerror or str(error),
            remedy=_REMEDIES[state_of(self._plan)],
        )
        raise StoreError(f"the migration {self._plan.plan_id} stopped", [problem]) from error


_REMEDIES: Final = {
    "planned": "put that right and try again; nothing was changed",
    "executing": "put that right, then go on with `genid store migrate --resume`, or go back with "
    "`genid store rollback`; nothing is lost",
    "migrated": "put that right, then run `genid store migrate --resume`; the store is migrated",
    "rolling-back": "put that right, then go on with `genid store rollback`; nothing is lost",
    "rolled-back": "put that right and try again; the store is as it was",
    "finalized": "put that right and try again; nothing was changed",
}


class _Execution:
    """One run of a plan's phases; what the journal says is finished is passed over."""

    def __init__(self, work: Work, journal: Journal, progress: Progress) -> None:
        self.work, self.journal, self.progress = work, journal, progress
        self._total = len(work.steps) + work.plan.totals()["generations"]

    def run(self) -> None:
        work = self.work
        self._phase("park", lambda: self._moves("park", work.parking, work.old, work.park))
        self._phase("move", lambda: self._moves("move", work.direct, work.old, work.new))
        self._phase("place", self._place)
        self._phase("files", self._files)
        self._phase("own", lambda: own.carry_failures(work))
        own.drop_index(work.plan.root)
        set_times(work, migrated=True)
        self._phase("verify", self._verify)

    def _phase(self, name: str, run: Callable[[], None]) -> None:
        if not self.journal.has("finished", phase=name):
            run()
            sync_all(self.work.plan)
            self.journal.append("finished", phase=name)

    def _moves(
        self, phase: str, steps: list[Step], source: Callable[[Step], str],
        target: Callable[[Step], str],
    ) -> None:  # fmt: skip
        """Rewrite and rename in batches: all new files of a batch are on disk before any of them
        takes its name."""
        first = self._recorded(phase)
        for start in range(first, len(steps), _BATCH):
            batch = [
                step
                for step in steps[start : start + _BATCH]
                if not step.moves or os.path.lexists(source(step))
            ]
            for step in batch:
                _stage(self.work, step, source(step))
            sync_all(self.work.plan)
            self.journal.append("batch", phase=phase, upto=start)
            for step in batch:
                _commit(step, source(step), target(step))
            self.progress(min(start + _BATCH, len(steps)), self._total)

    def _recorded(self, phase: str) -> int:
        """Return how many steps of a phase are known to be on disk."""
        done = [r["upto"] for r in self.journal.records if r["event"] == "batch"
                and r["phase"] == phase]  # fmt: skip
        return max(done, default=0)

    def _place(self) -> None:
        for step in self.work.parking:
            if os.path.lexists(self.work.park(step)):
                files.move_folder(self.work.park(step), self.work.new(step))

    def _files(self) -> None:
        work = self.work
        paths = [f"{work.root}/{change['path']}" for change in work.changes]
        for at, path in enumerate(paths):
            change, kept = work.changes[at], work.kept_change(at)
            files.keep(path, kept)
            original, status = files.read_kept(kept)
            if isinstance(original, str):
                _refuse_change(path, ("->", original), change["digest"])
                continue
            _refuse_change(path, digest(original), tuple(change["digest"]))
            files.write_new(path, work.new_change(change, original), kept, status)
        sync_all(work.plan)
        for path in paths:
            files.take_place(path)

    def _verify(self) -> None:
        done = len(self.work.steps)

        def advance(count: int) -> None:
            self.progress(done + count, self._total)

        problems = list(verify_migrated(self.work, advance))
        if problems:
            raise StoreError(
                f"the migration {self.work.plan.plan_id} is done and not as planned; "
                "`genid store rollback` gives back the store as it was",
                problems,
            )


def _begin(work: Work, journal: Journal) -> None:
    """Put on disk all that going back needs, then close the store to others, then say in the
    journal that the migration has begun."""
    plan = work.plan
    work.make_folders()
    own.reserve_room(plan)
    write_before(work)
    sync_all(work.plan)
    block(
        plan.root,
        by=MIGRATION,
        reason=f"the migration {plan.plan_id} was begun and is not finished",
        remedy="go on with `genid store migrate --resume`, or go back with `genid store rollback`",
    )
    journal.append("begin", plan=plan.plan_id)


def sync_all(plan: Plan) -> None:
    """Bring to disk what was written to the data root, to `gens/` and to the plan's folder, which
    may be file systems of their own."""
    devices: dict[int, str] = {}
    for folder in (plan.root.path, plan.root.gens, plan.folder):
        if folder.is_dir():
            devices.setdefault(os.stat(folder).st_dev, str(folder))
    for path in devices.values():
        files.sync_filesystem(path)


def _stage(work: Work, step: Step, folder: str) -> None:
    """Keep a step's originals and write its new files beside them.

    StoreError: an original is not what it was when the plan was made.
    """
    for at, name in enumerate(step.rewrite):
        path, kept = f"{folder}/{name}", work.kept(step, at)
        files.keep(path, kept)
        original, status = files.read_kept(kept)
        if isinstance(original, str):
            _refuse_change(path, ("->", original), step.digests[at])
            files.write_new_link(path, work.new_target(step, name, original), status)
        else:
            _refuse_change(path, digest(original), step.digests[at])
            files.write_new(path, work.new_bytes(step, name, original), kept, status)


def _refuse_change(path: str, found: Fingerprint, planned: Fingerprint) -> None:
    if found == planned:
        return
    remedy = "go back with `genid store rollback`, then plan anew"
    message = "it was changed since the plan was made"
    problem = Problem(where=path, message=message, value=found, remedy=remedy)
    raise StoreError("something else writes to the store", [problem])


def _commit(step: Step, folder: str, target: str) -> None:
    """Give a step's new files their names, then its folder its new one."""
    for name in step.rewrite:
        files.take_place(f"{folder}/{name}")
    if step.moves:
        files.move_folder(folder, target)


def _refuse_blockers(work: Work) -> None:
    plan = work.plan
    problems = [
        Problem(where=record["path"], message=record["message"], remedy=record["remedy"])
        for record in plan.records("blocker")
    ]
    problems += [_locked(place) for place in _unwritable(work)]
    if problems:
        raise StoreError(f"the plan {plan.plan_id} cannot be carried out", problems)
    check_inside(plan.root, *_outer_folders(work))


def _outer_folders(work: Work) -> set[Path]:
    """Return the folders in which something changes; a generation's own is no link if it moves."""
    root = work.plan.root
    changed = {(root.path / change["path"]).parent for change in work.changes}
    return {*(root.stage(step.stage) for step in work.steps), *changed}


def _unwritable(work: Work) -> Iterator[str]:
    """Yield the folders that this user cannot change and would have to."""
    for place in touched(work):
        if not os.access(f"{work.root}/{place}", os.W_OK | os.X_OK):
            yield place


def _locked(place: str) -> Problem:
    return Problem(
        where=place,
        message="the folder cannot be written to",
        remedy="give this user the right to write there, or use a data root that can be written",
    )


def missing_room(plan: Plan) -> Problem | None:
    """Return what is wrong where the disk has not the room that a plan takes, else None."""
    need = plan.totals()["need"] + os.path.getsize(plan.path)
    inodes = plan.totals()["rewritten"] + 64
    for folder in (plan.root.gens, plan.folder):
        if not folder.is_dir():
            continue
        free = os.statvfs(folder)
        room = free.f_bavail * free.f_frsize
        if room < need or (free.f_files > 0 and free.f_favail < inodes):
            return Problem(
                where=plan.root.relative(folder),
                message=f"the migration takes up to {need} bytes and {inodes} files",
                value=f"{room} bytes and {free.f_favail} files free",
                remedy="make room; nothing was changed",
            )
    return None


def _refuse_full_disk(plan: Plan) -> None:
    problem = missing_room(plan)
    if problem is not None:
        raise StoreError("there is not enough room on the disk", [problem])
