"""Building a cohort: what was prepared put on disk, under the data root's lock.

What is there already stays untouched, so that a second build writes no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from genid_store.cohort.compare import Comparison, compare
from genid_store.cohort.inputs.combos import selected_path
from genid_store.cohort.planning.records import Plan, Resolve, StoreView
from genid_store.cohort.prepare import Options, Prepared, prepare
from genid_store.cohort.seeding import Progress, keep_membership, kept_memberships, seed
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, guarded, read_bytes, sweep_temporaries, write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, LOCK_FILES, root_lock
from genid_store.stages import PIPELINE

__all__ = ["Options", "Prepared", "Report", "build", "compare", "prepare", "write"]

_REASONS: Final = 3  # problems that a notice repeats


@frozen(kw_only=True)
class Report:
    """What a build did: counts by stage, files by their path from the data root.

    `changes` compares with the rollout state of the cohort's last build, where that was another
    one; where it cannot be made out, or not be planned any more, a notice of the plan says why.
    """

    prepared: Prepared
    new: Mapping[str, int]
    existing: Mapping[str, int]
    files: tuple[str, ...]
    kept: str | None
    changes: Comparison | None = None

    @property
    def plan(self) -> Plan:
        """The plan that was built."""
        return self.prepared.plan


def build(
    root: DataRoot,
    options: Options,
    *,
    view: StoreView | None = None,
    resolve: Resolve | None = None,
    before_write: Callable[[Prepared], None] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Build a cohort under the data root's lock; a second build changes nothing.

    `view` answers for the store (default: its files); `before_write` may refuse what was prepared
    by raising; `progress` is called as (done, total) while metadata is written.

    Raises:
        StoreError: the build is refused and nothing was written; or the system failed half-way,
            and building again goes on from there.
    """
    first = None
    if not root.own.exists():  # a refused build leaves nothing behind, not even a lock
        first = prepare(root, options, view=view, resolve=resolve)
    with root_lock(root, BUILD):
        prepared = first if first is not None and _alone(root) else None
        prepared = prepared or prepare(root, options, view=view, resolve=resolve)
        if before_write is not None:
            before_write(prepared)
        try:
            changes = _changes(root, options, prepared, view, resolve)
        except StoreError as error:  # what is dropped shows in the membership all the same
            changes, prepared = None, _noticed(root, prepared, error)
        return evolve(write(root, prepared, progress=progress), changes=changes)


def write(root: DataRoot, prepared: Prepared, *, progress: Progress | None = None) -> Report:
    """Write what was prepared: combos, metadata, membership, manifest. The lock's holder calls.

    Raises:
        StoreError: the system refuses a file operation, or a symbolic link leads out of the data
            root.
    """
    plan = prepared.plan
    kept = None
    with guarded(root):
        check_inside(root, *_written(root, prepared))
        sweep_temporaries(root, _files(root, plan.cohort_id))
        seed(root, prepared.seeding.missing, progress)
        membership = root.membership(plan.cohort_id)
        if membership in prepared.files and (prepared.dropped or prepared.previous is None):
            kept = keep_membership(root, plan.cohort_id, read_bytes(membership))
        for path, data in prepared.files.items():
            write_atomic(path, data)
    new = dict.fromkeys(PIPELINE, 0)
    for row in prepared.seeding.missing:
        new[row.stage] += 1
    return Report(
        prepared=prepared,
        new=new,
        existing=prepared.seeding.existing,
        files=tuple(map(root.relative, prepared.files)),
        kept=None if kept is None else root.relative(kept),
    )


def _alone(root: DataRoot) -> bool:
    """Say whether nothing but the lock was ever made in `.genid/`: then no other build and no
    migration has changed the data root since it was looked at without the lock."""
    return {path.name for path in root.own.iterdir()} <= LOCK_FILES


def _changes(
    root: DataRoot,
    options: Options,
    prepared: Prepared,
    view: StoreView | None,
    resolve: Resolve | None,
) -> Comparison | None:
    """Compare with the last build before this one is written: afterwards its members exist.

    StoreError: the manifest does not tell its rollout state, or nothing can be planned in it now.
    """
    if prepared.recorded is None or not prepared.rollout_changed:
        return None
    if prepared.recorded.rollout is None:
        raise StoreError("the manifest does not tell it")
    return compare(root, options, prepared.recorded.rollout, view=view, resolve=resolve)


def _noticed(root: DataRoot, prepared: Prepared, error: StoreError) -> Prepared:
    """Add the notice that a build could not be compared with the one before, and why."""
    why = "; ".join([error.summary, *map(str, error.problems[:_REASONS])])
    notice = Problem(
        where=root.relative(root.manifest(prepared.plan.cohort_id)),
        message="what changes against the rollout state of the last build cannot be told: " + why,
        remedy="look at the members that are dropped and added instead",
    )
    plan = evolve(prepared.plan, notices=(*prepared.plan.notices, notice))
    return evolve(prepared, plan=plan)


def _files(root: DataRoot, cohort_id: str) -> list[Path]:
    """Return every file that a build of the cohort may write, metadata and kept files aside."""
    cohort = [root.membership(cohort_id), root.manifest(cohort_id)]
    return [*cohort, root.combo_mappings, selected_path(root)]


def _written(root: DataRoot, prepared: Prepared) -> list[Path]:
    stages = dict.fromkeys(row.stage for row in prepared.seeding.missing)
    kept = kept_memberships(root, prepared.plan.cohort_id)
    return [root.temporary, kept, *map(root.stage, stages), *prepared.files]
