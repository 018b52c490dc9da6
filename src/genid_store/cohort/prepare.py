"""Prepare a build: read tables, selection and store once, check them, and plan the cohort.

Everything that is wrong is refused here, before anything is written. Writes nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from attrs import evolve, field, frozen

from genid_store.catalog.memberships import (
    check_new_cohort_id,
    cohort_ids,
    dump_membership,
    read_membership,
)
from genid_store.catalog.reader import DirectReader
from genid_store.catalog.recorded import Recorded, read_recorded
from genid_store.cohort.compare import Comparison, compare_plans
from genid_store.cohort.inputs import combos as combo_files
from genid_store.cohort.inputs.combos import Combo
from genid_store.cohort.inputs.selection import CohortMode, Selection, read_selection
from genid_store.cohort.inputs.tables import RawTables, read_tables
from genid_store.cohort.manifest import computed_cohort_id, make_manifest
from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.plan import count_rows, plan_cohort
from genid_store.cohort.planning.records import Inputs, Plan, Resolve, Row
from genid_store.cohort.regeneration import Repeat
from genid_store.cohort.seeding import members_of
from genid_store.errors import Problem, StoreError, all_of
from genid_store.fs.csvfile import read_text
from genid_store.fs.files import guarded, is_there, read_bytes
from genid_store.fs.jsonfile import dump_object
from genid_store.fs.layout import LONGEST_ID, DataRoot, check_segment
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE, Member

MAX_ROWS: Final = 1_000_000
_SIMILAR: Final = 0.75  # the least similarity of a suggested id; `winter` and `wintre` have 0.83
_NO_TEXT: Final = "does not exist, and new members are made from it"


@frozen(kw_only=True)
class Options:
    """The options of a build. `cohort_id` is None to compute the id.

    `k_max` and `description_level` make the combo where none is selected (None: the default).
    `write_combos` writes `selected_combo_mappings.csv` from the concepts, even if it exists or the
    mode does not need it. `forbid_regeneration` refuses a member whose task has content under
    another id. `drop` lets members with a text leave the cohort. A plan of more than `max_rows`
    rows is refused before it is made.
    """

    rollout: Rollout
    cohort_id: str | None = None
    k_max: int | None = None
    description_level: str | None = None
    write_combos: bool = False
    forbid_regeneration: bool = False
    drop: bool = False
    max_rows: int = MAX_ROWS


@frozen(kw_only=True)
class Prepared:
    """A cohort that can be built: its plan, and everything that the build would write.

    `files` are the files other than metadata whose content would change, in the order of writing.
    `previous` is the membership that would be replaced, empty if there is none, None if it cannot
    be parsed. `added` are the planned members that it lacks, `dropped` its members that are not
    planned. `recorded` is what the existing manifest says, and `rollout_changed` whether the last
    build was in another rollout state, or in an unknown one.

    The fields from `missing` on need the store's index, so `build.plan_build` fills them in.
    `missing` are the members without metadata, `stale` those whose metadata has to be rewritten.
    """

    inputs: Inputs = field(repr=False)
    plan: Plan
    files: Mapping[Path, bytes] = field(repr=False)
    previous: tuple[Member, ...] | None = field(repr=False)
    added: tuple[Member, ...] = field(repr=False)
    dropped: tuple[Member, ...] = field(repr=False)
    recorded: Recorded | None
    rollout_changed: bool
    missing: tuple[Row, ...] = field(default=(), repr=False)
    stale: tuple[Row, ...] = field(default=(), repr=False)
    repeats: tuple[Repeat, ...] = ()
    changes: Comparison | None = None


def prepare(root: DataRoot, options: Options, *, resolve: Resolve | None = None) -> Prepared:
    """Read, check and plan a cohort; `resolve` is passed to `plan_cohort`.

    StoreError: the tables, the selection or the store do not give a valid cohort.
    """
    with guarded(root):
        if options.cohort_id is not None:
            check_segment(options.cohort_id, what="the cohort id", where="cohort id")
        # Read together, so that one error lists the problems of all inputs.
        tables, (selection, catalogue), selected = all_of(
            partial(read_tables, root, partial(_id_problems, root, options.rollout)),
            partial(_read_selection, root, options),
            partial(combo_files.read_selected, root),
        )
        combos, combo_writes = _choose_combos(root, options, tables, catalogue, selected)
        chosen = (combo.combo_id for combo in combos or ())
        manifest = make_manifest(tables, chosen, options.rollout)
        inputs = Inputs(
            tables=tables,
            combos=combos or (),
            selection=selection,
            rollout=options.rollout,
            cohort_id=options.cohort_id or computed_cohort_id(manifest, selection.file),
        )
        check_new_cohort_id(root, inputs.cohort_id)
        # Counted before anything is planned, because a huge plan may not fit into memory.
        if (count := count_rows(inputs)) > options.max_rows:
            summary, where = "the cohort would be very large", "1_raw/replication_config.csv"
            message = f"the tables come to {count:,} rows, the limit is {options.max_rows:,}"
            remedy, ways = "lower the counts, or confirm them", (f"max_rows={count}",)
            raise StoreError.of(summary, where, message, remedy, ways=ways)
        plan = plan_cohort(inputs, DirectReader(root), resolve)
        if combos is None:
            manifest["combos"] = sorted({row.combo_id for row in plan.rows})
        if selected is not None and selection.mode is CohortMode.CARTESIAN:
            plan = evolve(plan, notices=(*plan.notices, *_not_applied(options, inputs.combos)))
        return _prepared(root, inputs, plan, manifest, combo_writes)


def compare(
    root: DataRoot, prepared: Prepared, before: Rollout, resolve: Resolve | None = None
) -> Comparison:
    """Plan a prepared cohort under `before` as well, and return the differences.

    StoreError: the cohort cannot be planned in that state.
    """
    view = DirectReader(root)
    with guarded(root):
        old = plan_cohort(evolve(prepared.inputs, rollout=before), view, resolve)
    recorded = prepared.recorded
    comparison = compare_plans(old, prepared.plan, view)
    # A membership that was built in another state does not show what `before` would drop.
    if recorded is not None and recorded.rollout != before:
        return comparison
    planned = set(members_of(old.rows))
    previous = prepared.previous or ()
    if root.membership(prepared.plan.cohort_id) not in prepared.files:
        previous = members_of(prepared.plan.rows)
    unplanned = tuple(member for member in previous if member not in planned)
    return evolve(comparison, unplanned=unplanned)


def find_cohort_id(root: DataRoot, options: Options) -> str:
    """Return the cohort's id: the given one, else computed from the tables.

    StoreError: the id cannot name a folder, or none is given although a selection names the
        members.
    """
    if options.cohort_id is not None:
        return check_segment(options.cohort_id, what="the cohort id", where="cohort id")
    combos = (combo.combo_id for combo in combo_files.read_selected(root) or ())
    manifest = make_manifest(read_tables(root), combos, options.rollout)
    return computed_cohort_id(manifest, read_selection(root).file)


def require_cohort(root: DataRoot, cohort_id: str) -> str:
    """Return the id of a cohort if it has been built. StoreError: it has not."""
    path = root.membership(cohort_id)
    if is_there(path):
        return cohort_id
    summary, message = f"the cohort {cohort_id} was not built", "there is no such cohort"
    remedy = "build it, or look for it among the existing ones"
    if similar := " or ".join(similar_cohorts(root, cohort_id)):
        remedy = f"did you mean {similar}?"
    raise StoreError.of(summary, root.relative(path), message, remedy)


def similar_cohorts(root: DataRoot, cohort_id: str) -> list[str]:
    """Return the existing cohorts whose id resembles this one, the most similar first."""
    built = [other for other in cohort_ids(root) if is_there(root.membership(other))]
    return get_close_matches(cohort_id, built, cutoff=_SIMILAR)


def _read_selection(root: DataRoot, options: Options) -> tuple[Selection, tuple[Combo, ...] | None]:
    """Read the selection, and the catalogue of combos if the cohort's combos come from it.

    The modes over selected generations take their combos from those. They do not read the
    catalogue, so that a fault in it does not stop them. StoreError: either has problems.
    """
    selection = read_selection(root)
    is_needed = selection.mode is CohortMode.CARTESIAN or options.write_combos
    return selection, combo_files.read_catalogue(root) if is_needed else None


def _id_problems(root: DataRoot, rollout: Rollout, tables: RawTables) -> Sequence[Problem]:
    """Return what planning would refuse about the ids of tables; nothing if the selection, which
    says what would be planned, cannot be used itself."""
    try:
        selection, combos = read_selection(root), combo_files.read_selected(root) or ()
    except StoreError:
        return ()
    inputs = Inputs(
        tables=tables, combos=combos, selection=selection, rollout=rollout, cohort_id=""
    )
    try:
        check_axes(inputs)
    except StoreError as error:
        return error.problems
    return ()


def _choose_combos(
    root: DataRoot,
    options: Options,
    tables: RawTables,
    catalogue: tuple[Combo, ...] | None,
    selected: tuple[Combo, ...] | None,
) -> tuple[tuple[Combo, ...] | None, dict[Path, bytes]]:
    """Return the combos of the cohort, None if there is no selection of them, and files to write.

    StoreError: no combo can be made, or one contradicts the catalogue.
    """
    if catalogue is None:
        return selected, {}
    if selected is not None and not options.write_combos:
        combo_files.new_to(catalogue, selected)
        return selected, {}
    made = (
        combo_files.make_combo(
            tables.active_concepts,
            k_max=options.k_max,
            description_level=options.description_level,
            now=datetime.now(UTC),
        ),
    )
    files: dict[Path, bytes] = {}
    new = combo_files.new_to(catalogue, made)
    if new:
        path = root.combo_mappings
        files[path] = (
            combo_files.appended(read_bytes(path), new) if is_there(path) else combo_files.dump(new)
        )
    if selected != made:
        files[combo_files.selected_path(root)] = combo_files.dump(made)
    return made, files


def _not_applied(options: Options, combos: Sequence[Combo]) -> Iterator[Problem]:
    """Yield a notice for each selected combo that is of another kind than was asked for."""
    for combo in combos:
        for name in ("k_max", "description_level"):
            asked, selected = getattr(options, name), getattr(combo, name)
            if asked is not None and str(asked) != selected:
                yield Problem(
                    where=combo.where,
                    message=f"the selected combo has {name} {selected}, and {asked} is not applied",
                    remedy="to apply it, delete the file, or let a build replace it",
                    ways=("write_combos",),
                )


def _prepared(
    root: DataRoot,
    inputs: Inputs,
    plan: Plan,
    manifest: Mapping[str, Any],
    combo_writes: Mapping[Path, bytes],
) -> Prepared:
    membership = root.membership(plan.cohort_id)
    wanted = {
        membership: dump_membership(map(itemgetter(0, 1), plan.rows)),
        root.manifest(plan.cohort_id): dump_object(manifest),
    }
    before = {path: read_bytes(path) if is_there(path) else None for path in wanted}
    changed = {path: data for path, data in wanted.items() if before[path] != data}
    previous: tuple[Member, ...] | None = ()
    problems: tuple[Problem, ...] = ()
    # An unchanged membership names the planned members, so only a different one has to be parsed.
    if membership in changed and before[membership] is not None:
        try:
            previous = read_membership(root, plan.cohort_id)
        except StoreError as error:
            previous, problems = None, error.problems
    if foreign := {stage for stage, _ in previous or ()} - {*PIPELINE}:
        where = root.relative(membership)
        message = f"has members of stages that no table plans: {', '.join(sorted(foreign))}"
        remedy = "give another cohort id; a declared cohort is run as it stands"
        raise StoreError.of("the cohort was not built from tables", where, message, remedy)
    recorded = read_recorded(root, plan.cohort_id)
    added: tuple[Member, ...] = ()
    dropped: tuple[Member, ...] = ()
    if membership in changed:
        members = members_of(plan.rows)
        former, planned = set(previous or ()), set(members)
        added = tuple(member for member in members if member not in former)
        dropped = tuple(member for member in previous or () if member not in planned)
    return Prepared(
        inputs=inputs,
        plan=evolve(plan, notices=(*plan.notices, *problems)),
        files={**combo_writes, **changed},
        previous=previous,
        added=added,
        dropped=dropped,
        recorded=recorded,
        rollout_changed=recorded is not None and recorded.rollout != plan.rollout,
    )


def check_possible(
    root: DataRoot, rows: Sequence[Row], missing: Sequence[Row], combos: Sequence[Combo]
) -> list[Problem]:
    """Return a notice for each template and concept that new members need and that has no text.

    There are no notices about a folder that does not exist, since a host may keep all of its texts
    elsewhere.

    StoreError: a member's id is too long for genid's own files, or a template cannot be read as
        text.
    """
    problems = [
        Problem(
            where=row.stage,
            value=row.gen_id,
            message=f"is longer than {LONGEST_ID} characters, so nothing could be made under it",
            remedy="take it out of the selection, or use a deterministic id",
        )
        for row in rows
        if len(row.gen_id) > LONGEST_ID
    ]
    templates = {(row.stage, row.template_id) for row in missing if row.mode == "llm"}
    drafted = {row.combo_id for row in missing if row.stage == "draft"}
    concepts = {
        (combo.description_level, concept)
        for combo in combos
        if combo.combo_id in drafted
        for concept in combo.concept_ids
    }
    notices = []
    for folder, texts in (("templates", templates), ("concepts", concepts)):
        for kind, name in sorted(texts):
            path = root.path / folder / kind / f"{name}.txt"
            if not is_there(path):
                if is_there(root.path / folder):
                    where, remedy = root.relative(path), "write it before you run the cohort"
                    notices.append(Problem(where=where, message=_NO_TEXT, remedy=remedy))
            elif folder == "templates":
                read_text(root, path, problems)
    if problems:
        raise StoreError("some members could never be made", problems)
    return notices
