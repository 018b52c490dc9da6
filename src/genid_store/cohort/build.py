"""Building a cohort: everything read once, planned once, and written under the data root's lock.

This is what the command and Dagster's assets call. What is there already stays untouched, but for
metadata that `cohort.stale` finds; a second build writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Final

from attrs import evolve, frozen

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import resolver
from genid_store.cohort.compare import Comparison
from genid_store.cohort.inputs.combos import selected_path
from genid_store.cohort.planning.records import Plan, Resolve, Row
from genid_store.cohort.prepare import Options, Prepared, check_possible, compare, prepare
from genid_store.cohort.regeneration import (
    Repeat,
    find_leaving,
    find_repeats,
    refuse_leaving,
    refuse_repeats,
)
from genid_store.cohort.seeding import find_missing, keep_membership, kept_memberships, seed
from genid_store.cohort.stale import find_stale, rewrite
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import (
    check_inside,
    guarded,
    is_there,
    read_bytes,
    sweep_temporaries,
    write_atomic,
)
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, LOCK_FILES, root_lock
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE, Member

__all__ = ["Built", "Options", "Prepared", "build_cohort", "compare_with", "plan_build"]

#: Called as (done, total) while the store is read and while metadata is written.
Progress = Callable[[int, int], None]

#: The generations of a stage that have a metadata.json which could be read.
_DESCRIBED: Final = "SELECT gen_id FROM generation WHERE stage = ? AND changed_ns > 0"
_REASONS: Final = 3  # problems that a notice repeats


@frozen(kw_only=True)
class Built:
    """What a build did: members that are new and that had metadata, by stage; of how many of these
    it was `rewritten`; files by their path from the data root; where the membership that it
    replaced is kept.

    `changes` says what differs from the rollout state of the cohort's last build, where that was
    another one (where it cannot be compared, a notice of the plan says why); `repeats` are the
    members that would be paid for a second time.
    """

    prepared: Prepared
    plan: Plan
    new: Mapping[str, int]
    existing: Mapping[str, int]
    rewritten: int
    files: tuple[str, ...]
    kept: str | None
    changes: Comparison | None
    repeats: tuple[Repeat, ...]


def build_cohort(
    root: DataRoot,
    options: Options,
    *,
    progress: Progress | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> Built:
    """Build a cohort under the data root's lock; a second build changes nothing.

    `progress` is called as (done, total) while the store is read and metadata is written;
    `announce` with what will be written, right before it is.

    Raises:
        StoreError: the build is refused and nothing was written; or the system failed half-way,
            and building again completes it.
    """
    with guarded(root):
        is_new = not is_there(root.own)  # a refused build leaves nothing behind, not even a lock
    first = plan_build(root, options, progress=progress) if is_new else None
    with root_lock(root, BUILD):
        # Where `.genid/` holds nothing but the lock, no other build and no migration has changed
        # the data root since it was looked at without the lock.
        with guarded(root):
            alone = {path.name for path in root.own.iterdir()} <= LOCK_FILES
        if first is None or not alone:
            first = plan_build(root, options, progress=progress)
        if announce is not None:
            announce(first)
        return _write(root, first, progress)


def plan_build(root: DataRoot, options: Options, *, progress: Progress | None = None) -> Prepared:
    """Plan a cohort with all that a build says about it; nothing but the index is written, and not
    even that where the data root has no `.genid/` yet.

    Raises:
        StoreError: the build would be refused.
    """
    with guarded(root), _Index(root, progress, persist=is_there(root.own)) as index:
        prepared = prepare(root, options, resolve=index.resolve)
        rows = prepared.plan.rows
        described = {
            stage: {gen_id for (gen_id,) in index.opened.sql(_DESCRIBED, stage)}
            for stage in PIPELINE
        }
        unknown = [row for row in rows if row.gen_id not in described[row.stage]]
        with guarded(root):
            seeding = find_missing(root, rows, unknown)
            notices = check_possible(root, rows, seeding.missing, prepared.inputs.combos)
        stale: tuple[Row, ...] = ()
        if any(seeding.existing.values()):
            stale, others = find_stale(index.opened, rows)
            notices += others
        plan = evolve(prepared.plan, notices=(*prepared.plan.notices, *notices))
        prepared = evolve(prepared, plan=plan, seeding=seeding, stale=stale)
        repeats = find_repeats(index.opened, rows, unknown)
        if options.forbid_regeneration:
            refuse_repeats(repeats)
        changes = None
        if prepared.rollout_changed:
            try:
                changes = _changes(root, prepared, index.resolve)
            except StoreError as error:  # what is dropped shows in the membership all the same
                prepared = _noticed(prepared, [_not_compared(root, prepared, error)])
        leaving: tuple[Member, ...] = ()
        if prepared.dropped:
            leaving = find_leaving(index.opened, prepared.dropped, rows, changes)
            if not options.drop:
                refuse_leaving(leaving, len(prepared.added), len(prepared.dropped))
    return evolve(prepared, repeats=repeats, changes=changes, leaving=leaving)


def compare_with(
    root: DataRoot,
    options: Options,
    before: Rollout | None = None,
    *,
    progress: Progress | None = None,
) -> Comparison:
    """Plan a cohort under `before` (None: as its last build was, else off) and under
    `options.rollout`, and return what differs; nothing is written, `.genid/` included.

    Raises:
        StoreError: the cohort cannot be planned in one of the states.
    """
    with _Index(root, progress, persist=False) as index:
        prepared = prepare(root, options, resolve=index.resolve)
        if before is None:
            recorded = prepared.recorded
            before = (None if recorded is None else recorded.rollout) or Rollout.OFF
        return compare(root, prepared, before, index.resolve)


class _Index(ExitStack):
    """The store's index, refreshed when it is first needed: what is refused before that leaves even
    the index as it was."""

    def __init__(self, root: DataRoot, progress: Progress | None, *, persist: bool) -> None:
        super().__init__()
        self._root, self._progress, self._persist = root, progress, persist

    @cached_property
    def opened(self) -> StoreIndex:
        fresh = StoreIndex.fresh(self._root, self._progress, persist=self._persist)
        return self.enter_context(fresh)

    def resolve(self, stage: str, gen_id: str) -> str | None:
        """Return the id under which the store holds a generation that another id names."""
        return resolver(self.opened)(stage, gen_id)


def _write(root: DataRoot, prepared: Prepared, progress: Progress | None) -> Built:
    """Write what was prepared: combos, metadata, membership, manifest.

    Raises:
        StoreError: the system refuses a file operation, or a symbolic link leads out of the data
            root.
    """
    plan = prepared.plan
    kept = None
    left: tuple[Problem, ...] = ()
    with guarded(root):
        stages = dict.fromkeys(row.stage for row in prepared.seeding.missing)
        kept_there = kept_memberships(root, plan.cohort_id)
        written = [root.temporary, kept_there, *map(root.stage, stages), *prepared.files]
        check_inside(root, *written)
        cohort = [root.membership(plan.cohort_id), root.manifest(plan.cohort_id)]
        sweep_temporaries(root, [*cohort, root.combo_mappings, selected_path(root)])
        seed(root, prepared.seeding.missing, progress)
        if prepared.stale:
            left = rewrite(root, prepared.stale)
            prepared = _noticed(prepared, left)
        membership = root.membership(plan.cohort_id)
        if membership in prepared.files and (prepared.dropped or prepared.previous is None):
            kept = keep_membership(root, plan.cohort_id, read_bytes(membership))
        for path, data in prepared.files.items():
            write_atomic(path, data)
    new = dict.fromkeys(PIPELINE, 0)
    for row in prepared.seeding.missing:
        new[row.stage] += 1
    return Built(
        prepared=prepared,
        plan=prepared.plan,
        new=new,
        existing=prepared.seeding.existing,
        rewritten=len(prepared.stale) - len(left),
        files=tuple(map(root.relative, prepared.files)),
        kept=None if kept is None else root.relative(kept),
        changes=prepared.changes,
        repeats=prepared.repeats,
    )


def _changes(root: DataRoot, prepared: Prepared, resolve: Resolve) -> Comparison:
    """Compare with the last build before this one is written: afterwards its members exist.

    StoreError: the manifest does not tell its rollout state, or nothing can be planned in it now.
    """
    if prepared.recorded is None or prepared.recorded.rollout is None:
        raise StoreError("the manifest does not tell it")
    return compare(root, prepared, prepared.recorded.rollout, resolve)


def _noticed(prepared: Prepared, problems: Iterable[Problem]) -> Prepared:
    """Add notices to a plan."""
    plan = evolve(prepared.plan, notices=(*prepared.plan.notices, *problems))
    return evolve(prepared, plan=plan)


def _not_compared(root: DataRoot, prepared: Prepared, error: StoreError) -> Problem:
    """Return the notice that a build could not be compared with the one before, and why."""
    why = "; ".join([error.summary, *map(str, error.problems[:_REASONS])])
    return Problem(
        where=root.relative(root.manifest(prepared.plan.cohort_id)),
        message="what changes against the rollout state of the last build cannot be shown: " + why,
        remedy="look at the members that are dropped and added instead",
    )
