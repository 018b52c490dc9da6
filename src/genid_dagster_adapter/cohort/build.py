"""Building a cohort: the edge that reads tables, selection and store, plans, and calls the writer.

`prepare` reads and refuses; it writes nothing. `write` puts what was prepared on disk; what is
there already stays untouched, so that a second build writes no file. `build` is both, under the
data root's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from attrs import evolve, field, frozen

from genid_dagster_adapter.cohort import combos as combo_files
from genid_dagster_adapter.cohort.combos import Combo
from genid_dagster_adapter.cohort.manifest import (
    Manifest,
    make_manifest,
    recorded_rollout,
    required,
)
from genid_dagster_adapter.cohort.membership import (
    Member,
    Progress,
    Seeding,
    find_missing,
    keep_membership,
    membership_bytes,
    read_membership,
    seed,
)
from genid_dagster_adapter.cohort.plan import plan_cohort
from genid_dagster_adapter.cohort.records import Inputs, Plan, Resolve, StoreView
from genid_dagster_adapter.cohort.selection import CohortMode, Selection, read_selection
from genid_dagster_adapter.cohort.tables import RawTables, read_tables
from genid_dagster_adapter.errors import AdapterError, Problem
from genid_dagster_adapter.rollout import Rollout
from genid_dagster_adapter.store.guard import check_inside, guarded
from genid_dagster_adapter.store.layout import STAGES, DataRoot, check_segment, write_atomic
from genid_dagster_adapter.store.lock import BUILD, root_lock
from genid_dagster_adapter.store.reader import DirectReader


@frozen(kw_only=True)
class Options:
    """What an operator says about a build. `cohort_id` is the given one, None to compute it.

    `write_combos` writes `selected_combo_mappings.csv` anew from the concepts although it is
    there, or although the mode does not need it.
    """

    rollout: Rollout
    cohort_id: str | None = None
    k_max: int = combo_files.DEFAULT_K_MAX
    description_level: str = combo_files.DEFAULT_DESCRIPTION_LEVEL
    write_combos: bool = False


@frozen(kw_only=True)
class Prepared:
    """A cohort that can be built: its plan, and everything that would be written.

    `files` are the files other than metadata, in the order of writing, those that would change
    alone. `previous` is the membership that was there, None where it cannot be made out.
    """

    plan: Plan
    manifest: Manifest
    tables: RawTables = field(repr=False)
    seeding: Seeding = field(repr=False)
    files: Mapping[Path, bytes] = field(repr=False)
    previous: tuple[Member, ...] | None = field(repr=False)
    previous_rollout: Rollout | Literal["unreadable"] | None

    @property
    def dropped(self) -> tuple[Member, ...]:
        """The members that the rebuilt cohort no longer has, in their order."""
        now = {(row.stage, row.gen_id) for row in self.plan.rows}
        return tuple(member for member in self.previous or () if member not in now)

    @property
    def rollout_changed(self) -> bool:
        """Whether the cohort was built before, in another rollout state."""
        return self.previous_rollout not in (None, self.plan.rollout)


@frozen(kw_only=True)
class Report:
    """What a build did: counts by stage, files by their path from the data root."""

    prepared: Prepared
    new: Mapping[str, int]
    existing: Mapping[str, int]
    files: tuple[str, ...]
    kept: str | None

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
        AdapterError: the build is refused and nothing was written; or the system failed half-way,
            and building again goes on from there.
    """
    if not root.own.exists():  # a refused build leaves nothing behind, not even a lock
        prepare(root, options, view=view, resolve=resolve)
    with root_lock(root, BUILD):
        prepared = prepare(root, options, view=view, resolve=resolve)
        if before_write is not None:
            before_write(prepared)
        return write(root, prepared, progress=progress)


def prepare(
    root: DataRoot,
    options: Options,
    *,
    view: StoreView | None = None,
    resolve: Resolve | None = None,
    now: datetime | None = None,
) -> Prepared:
    """Read, check and plan; write nothing.

    Raises:
        AdapterError: the tables, the selection or the store do not give a sound cohort.
    """
    with guarded(root):
        if options.cohort_id is not None:
            check_segment(options.cohort_id, what="the cohort id", where="cohort id")
        tables, selection = read_tables(root), read_selection(root)
        combos, combo_writes = _combos(root, options, tables, selection, now or datetime.now(UTC))
        manifest = make_manifest(
            tables, (combo.combo_id for combo in combos or ()), options.rollout
        )
        cohort_id = required(options.cohort_id, manifest, selection.file)
        inputs = Inputs(
            tables=tables,
            combos=combos or (),
            selection=selection,
            rollout=options.rollout,
            cohort_id=cohort_id,
        )
        plan = plan_cohort(inputs, view or DirectReader(root), resolve)
        if combos is None:
            used = tuple(sorted({row.combo_id for row in plan.rows}))
            manifest = evolve(manifest, combos=used)
        return _prepared(root, plan, manifest, tables, combo_writes)


def write(root: DataRoot, prepared: Prepared, *, progress: Progress | None = None) -> Report:
    """Write what was prepared: combos, metadata, membership, manifest. The lock's holder calls.

    Raises:
        AdapterError: the system refuses a file operation, or a symbolic link leads out of the data
            root.
    """
    plan = prepared.plan
    kept = None
    with guarded(root):
        check_inside(root, *_written(root, prepared))
        if prepared.seeding.missing:
            seed(root, prepared.seeding.missing, progress)
        membership = root.membership(plan.cohort_id)
        if membership in prepared.files and (prepared.dropped or prepared.previous is None):
            kept = keep_membership(root, plan.cohort_id, membership.read_bytes())
        for path, data in prepared.files.items():
            write_atomic(path, data)
    new = dict.fromkeys(STAGES, 0)
    for row in prepared.seeding.missing:
        new[row.stage] += 1
    return Report(
        prepared=prepared,
        new=new,
        existing=prepared.seeding.existing,
        files=tuple(map(root.relative, prepared.files)),
        kept=None if kept is None else root.relative(kept),
    )


def _combos(
    root: DataRoot, options: Options, tables: RawTables, selection: Selection, now: datetime
) -> tuple[tuple[Combo, ...] | None, dict[Path, bytes]]:
    """Return the selected combos, None where nobody selected any, and the files to write."""
    selected, catalogue = combo_files.read_selected(root), combo_files.read_catalogue(root)
    needed = selected is None and selection.mode is CohortMode.CARTESIAN
    if not needed and not options.write_combos:
        combo_files.new_to(catalogue, selected or ())
        return selected, {}
    made = (
        combo_files.make_combo(
            tables.active_concepts,
            k_max=options.k_max,
            description_level=options.description_level,
            now=now,
        ),
    )
    files: dict[Path, bytes] = {}
    new = combo_files.new_to(catalogue, made)
    if new:
        path = root.combo_mappings
        files[path] = combo_files.appended(path.read_bytes() if path.exists() else b"", new)
    if selected != made:
        files[combo_files.selected_path(root)] = combo_files.dump(made)
    return made, files


def _prepared(
    root: DataRoot,
    plan: Plan,
    manifest: Manifest,
    tables: RawTables,
    combo_writes: Mapping[Path, bytes],
) -> Prepared:
    wanted = {
        root.membership(plan.cohort_id): membership_bytes(plan.rows),
        root.manifest(plan.cohort_id): manifest.dump(),
    }
    changed = {path: data for path, data in wanted.items() if _bytes(path) != data}
    previous, problems = _previous(root, plan.cohort_id)
    return Prepared(
        plan=evolve(plan, notices=(*plan.notices, *problems)),
        manifest=manifest,
        tables=tables,
        seeding=find_missing(root, plan.rows),
        files={**combo_writes, **changed},
        previous=previous,
        previous_rollout=recorded_rollout(root, plan.cohort_id),
    )


def _previous(
    root: DataRoot, cohort_id: str
) -> tuple[tuple[Member, ...] | None, tuple[Problem, ...]]:
    """Return the members that the cohort has, None with the reason where that cannot be told."""
    try:
        return read_membership(root, cohort_id), ()
    except AdapterError as error:
        return None, error.problems


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _written(root: DataRoot, prepared: Prepared) -> list[Path]:
    stages = dict.fromkeys(row.stage for row in prepared.seeding.missing)
    return [root.own, root.temporary, *map(root.stage, stages), *prepared.files]
