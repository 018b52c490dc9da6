"""Build a cohort: read everything once, plan once, and write under the data root's lock.

Both the command and Dagster's assets call this. Existing metadata stays unchanged, except what
`cohort.stale` finds; a second build writes no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Final

from attrs import evolve, frozen

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.refresh import Progress, without_collection
from genid_store.catalog.lookup import stored_id
from genid_store.catalog.memberships import kept_memberships
from genid_store.cohort.compare import Comparison
from genid_store.cohort.inputs.combos import selected_path
from genid_store.cohort.planning.records import Plan, Resolve, Row
from genid_store.cohort.prepare import Options, Prepared, check_possible, compare, prepare
from genid_store.cohort.regeneration import (
    Repeat,
    find_repeats,
    refuse_leaving,
    refuse_repeats,
)
from genid_store.cohort.seeding import find_missing, keep_membership, seed
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

__all__ = ["Built", "Options", "Prepared", "build_cohort", "compare_with", "plan_build"]

#: The generations of a stage whose metadata.json was readable. As one text with commas between the
#: ids, which have none: a row for each would take twice as long.
_DESCRIBED: Final = """
    SELECT ifnull(group_concat(gen_id), '') FROM generation WHERE stage = ? AND changed_ns > 0
"""
_REASONS: Final = 3  # problems that a notice quotes


@frozen(kw_only=True)
class Built:
    """The result of a build.

    `new` and `existing` count, by stage, the members whose metadata was created and those that had
    it; the metadata of `rewritten` of the latter was updated. `files` are the other files written,
    and `kept` is the copy of the replaced membership, as paths from the data root. `changes`
    compares with the rollout state of the cohort's last build, if that was another one; if it
    cannot, a notice of the plan says why. `repeats` are the members that would be paid for twice.
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

    `progress` is called as (done, total) while the store is read and while metadata is written;
    `announce` is called with what will be written, before that, and may refuse it; if the data root
    changes meanwhile, it is called again.

    Raises:
        StoreError: the build is refused and nothing was written; or a file operation failed, and
            building again completes what was begun.
    """
    # Without `.genid/`, plan first without the lock: a refused build must leave nothing behind, and
    # the lock is a file.
    with guarded(root):
        is_new = not is_there(root.own)
    plan = partial(plan_build, root, options, progress=progress, announce=announce)
    prepared = plan() if is_new else None
    with root_lock(root, BUILD):
        # If `.genid/` has only the lock, no other build or migration has changed the data root
        # since it was read without the lock, so the plan still holds.
        with guarded(root):
            is_unchanged = {path.name for path in root.own.iterdir()} <= LOCK_FILES
        if prepared is None or not is_unchanged:
            prepared = plan()
        return _write(root, prepared, progress)


@without_collection()
def plan_build(
    root: DataRoot,
    options: Options,
    *,
    progress: Progress | None = None,
    announce: Callable[[Prepared], None] | None = None,
) -> Prepared:
    """Plan a cohort, with everything that a build reports about it, and `announce` it.

    Writes nothing but the index, and not even that if the data root has no `.genid/` yet.

    Raises:
        StoreError: the build would be refused.
    """
    with guarded(root), _index(root, progress, persist=is_there(root.own)) as (index, resolve):
        prepared = prepare(root, options, resolve=resolve)
        rows = prepared.plan.rows
        undescribed = {
            stage: of_stage.keys() - index().sql(_DESCRIBED, stage)[0][0].split(",")
            for stage, of_stage in prepared.plan.by_stage.items()
        }
        unknown = [row for row in rows if row.gen_id in undescribed[row.stage]]
        missing = find_missing(root, unknown)
        notices = check_possible(root, rows, missing, prepared.inputs.combos)
        stale: tuple[Row, ...] = ()
        if len(missing) < len(rows):
            stale, unchanged = find_stale(index(), rows)
            notices += unchanged
        prepared = evolve(_with_notices(prepared, notices), missing=missing, stale=stale)
        repeats = find_repeats(index(), rows, unknown)
        if options.forbid_regeneration:
            refuse_repeats(repeats)
        changes = None
        if prepared.rollout_changed:
            changes, notices = _changes(root, prepared, resolve)
            prepared = _with_notices(prepared, notices)
        if prepared.dropped and not options.drop:
            refuse_leaving(index(), rows, prepared.added, prepared.dropped, changes)
    prepared = evolve(prepared, repeats=repeats, changes=changes)
    if announce is not None:
        announce(prepared)
    return prepared


def compare_with(
    root: DataRoot,
    options: Options,
    before: Rollout | None = None,
    *,
    progress: Progress | None = None,
) -> Comparison:
    """Plan a cohort under `before` and under `options.rollout`, and return the differences.

    If `before` is None it is the rollout state of the cohort's last build, off if there was none.
    Writes nothing, not even the index.

    Raises:
        StoreError: the cohort cannot be planned in one of the states.
    """
    with _index(root, progress, persist=False) as (index, resolve):
        prepared = prepare(root, options, resolve=resolve)
        if before is None:
            recorded = prepared.recorded
            before = (None if recorded is None else recorded.rollout) or Rollout.OFF
        result = compare(root, prepared, before, resolve)
        new = [change.new for change in result.changes if change.new is not None]
        repeats = find_repeats(index(), new, new)
    held = {(repeat.stage, repeat.gen_id): repeat.held for repeat in repeats}
    changes = (
        evolve(one, new_held=held.get((one.stage, one.new.gen_id), ())) if one.new else one
        for one in result.changes
    )
    return evolve(result, changes=tuple(changes))


@contextmanager
def _index(
    root: DataRoot, progress: Progress | None, *, persist: bool
) -> Iterator[tuple[Callable[[], StoreIndex], Resolve]]:
    """Yield a function that returns the store's index, refreshed at its first call, and one that
    resolves ids with it. A build that is refused before that does not even change the index."""
    with ExitStack() as stack:
        fresh = partial(StoreIndex.fresh, root, progress, persist=persist)
        index = cache(lambda: stack.enter_context(fresh()))
        yield index, lambda stage, gen_id: stored_id(index(), stage, gen_id)


def _write(root: DataRoot, prepared: Prepared, progress: Progress | None) -> Built:
    """Write what was prepared: metadata first, then membership and manifest, which refer to it.

    StoreError: a file operation fails, or a symbolic link leads out of the data root.
    """
    cohort_id = prepared.plan.cohort_id
    membership, manifest = root.membership(cohort_id), root.manifest(cohort_id)
    kept = None
    unchanged: tuple[Problem, ...] = ()
    with guarded(root):
        stages = map(root.stage, dict.fromkeys(row.stage for row in prepared.missing))
        former = kept_memberships(root, cohort_id)
        check_inside(root, root.temporary, former, *stages, *prepared.files)
        sweep_temporaries(root, [membership, manifest, root.combo_mappings, selected_path(root)])
        seed(root, prepared.missing, progress)
        if prepared.stale:
            unchanged = rewrite(root, prepared.stale)
            prepared = _with_notices(prepared, unchanged)
        # Kept before it is replaced, if it has members that the new one lacks, or is unreadable.
        if membership in prepared.files and (prepared.dropped or prepared.previous is None):
            kept = keep_membership(root, cohort_id, read_bytes(membership))
        for path, data in prepared.files.items():
            write_atomic(path, data)
    missing = Counter(row.stage for row in prepared.missing)
    counts = prepared.plan.counts()
    return Built(
        prepared=prepared,
        plan=prepared.plan,
        new={stage: missing[stage] for stage in counts},
        existing={stage: count - missing[stage] for stage, count in counts.items()},
        rewritten=len(prepared.stale) - len(unchanged),
        files=tuple(map(root.relative, prepared.files)),
        kept=None if kept is None else root.relative(kept),
        changes=prepared.changes,
        repeats=prepared.repeats,
    )


def _changes(
    root: DataRoot, prepared: Prepared, resolve: Resolve
) -> tuple[Comparison | None, list[Problem]]:
    """Compare the plan with the rollout state of the last build; if that fails, say why in a
    notice, since the added and dropped members are known all the same."""
    try:
        if prepared.recorded is None or prepared.recorded.rollout is None:
            raise StoreError("the manifest does not give it")
        return compare(root, prepared, prepared.recorded.rollout, resolve), []
    except StoreError as error:
        reasons = "; ".join([error.summary, *map(str, error.problems[:_REASONS])])
    notice = Problem(
        where=root.relative(root.manifest(prepared.plan.cohort_id)),
        message=f"cannot compare with the rollout state of the last build: {reasons}",
        remedy="look at the members that are dropped and added instead",
    )
    return None, [notice]


def _with_notices(prepared: Prepared, problems: Iterable[Problem]) -> Prepared:
    """Return a prepared cohort with further notices of its plan."""
    plan = evolve(prepared.plan, notices=(*prepared.plan.notices, *problems))
    return evolve(prepared, plan=plan)
