"""Read everything that a report is about: the edge between the files and the view model.

A part that cannot be read becomes a trouble on the page; only a store whose generations cannot be
listed at all is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TypeVar

from attrs import frozen

from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import expected_of_rows, resolver
from genid_store.catalog.memberships import read_memberships
from genid_store.cohort.inputs.tables import RawTables, read_tables
from genid_store.cohort.manifest import make_manifest, recorded_rollout
from genid_store.cohort.prepare import Options, Prepared, prepare
from genid_store.errors import StoreError
from genid_store.fs.files import guarded
from genid_store.fs.jsonfile import load_json, read_json
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from genid_store.migration.plan import number_all
from genid_store.migration.scan import scan_stage
from genid_store.report.coverage import Coverage, cover
from genid_store.report.faults import FaultList, ShownProblem, by_code, shown_problems
from genid_store.report.holdings import Held, Holdings, held
from genid_store.report.moves import Moves, preview
from genid_store.report.restate import as_recorded, planned_state, restated
from genid_store.report.standing import stand
from genid_store.report.steps import CohortSteps, State, states_from, walk
from genid_store.report.view import Flag, Report, Trouble
from genid_store.stages import PIPELINE

Advance = Callable[[int, int], None]
#: Given a label, opens a progress display and yields its callback.
Watch = Callable[[str], AbstractContextManager[Advance]]
Partitions = Mapping[str, Collection[str]]
Members = tuple[tuple[str, str], ...]
Part = TypeVar("Part")


def _unwatched(label: str) -> AbstractContextManager[Advance]:
    return nullcontext(lambda done, total: None)


def gather(
    root: DataRoot,
    *,
    flag: Flag,
    version: str,
    made_at: str,
    partitions: Partitions | StoreError | None = None,
    watch: Watch = _unwatched,
) -> Report:
    """Read a data root and return the report on it; nothing but the index's cache is written.

    `partitions` are the partition keys registered in Dagster by stage, None where there is no
    instance to ask, or why it could not be asked.

    Raises:
        StoreError: the generations cannot be listed.
    """
    keys = None if isinstance(partitions, StoreError) else partitions
    with guarded(root), _refreshed(root, watch) as index:
        store = Holdings.of(held(one, one.expected["v1"]) for one in _all(index))
        with watch("auditing") as advance:
            faults, faults_trouble = _tried(root, lambda: _faults(index, keys, advance))
        tables, tables_trouble = _tried(root, lambda: read_tables(root))
        with watch("planning each step of the rollout") as advance:
            walking = _Walking(index, flag.scheme, tables, store)
            cohorts, cohorts_trouble = _tried(root, lambda: walking.cohorts(advance))
    with watch("deciding what a migration would do") as advance:
        moves, moves_trouble = _tried(root, lambda: _moves(root, advance))
    return Report(
        root=str(root.path),
        version=version,
        made_at=made_at,
        flag=flag,
        standing=stand(store.by_id.values()),
        cohorts=cohorts or (),
        cohorts_trouble=cohorts_trouble,
        tables_trouble=tables_trouble,
        faults=faults,
        faults_trouble=faults_trouble,
        dagster_trouble=Trouble.of(partitions) if isinstance(partitions, StoreError) else None,
        coverage=_coverage(store, tables),
        moves=moves,
        moves_trouble=moves_trouble,
    )


@contextmanager
def _refreshed(root: DataRoot, watch: Watch) -> Iterator[StoreIndex]:
    """Open an index that is up to date; in memory where the one on disk cannot be written."""
    with ExitStack() as opened:
        with watch("indexing the store") as advance:
            try:
                index = opened.enter_context(StoreIndex.fresh(root, advance))
            except StoreError:
                index = opened.enter_context(StoreIndex.fresh(root, advance, persist=False))
        yield index


def _all(index: StoreIndex) -> Iterator[Indexed]:
    for stage in PIPELINE:
        yield from index.iter(stage)


def _tried(root: DataRoot, part: Callable[[], Part]) -> tuple[Part | None, Trouble | None]:
    """Return a part of the report, or why there is none."""
    try:
        with guarded(root):
            return part(), None
    except StoreError as error:
        return None, Trouble.of(error)


def _faults(index: StoreIndex, partitions: Partitions | None, advance: Advance) -> FaultList:
    found = audit(index, partitions=partitions, progress=advance)
    return by_code(found, partitions_seen=partitions is not None)


def _moves(root: DataRoot, advance: Advance) -> Moves:
    scans = {}
    for done, stage in enumerate(PIPELINE):
        advance(done, len(PIPELINE))
        scans[stage] = scan_stage(root, stage)
    return preview(number_all(scans))


def _coverage(store: Holdings, tables: RawTables | None) -> Coverage:
    essays: list[Held] = store.of_stage("essay")
    wanted: list[tuple[str, str]] = []
    if tables is not None:
        wanted = [
            (template.template_id, model.llm_model_id)
            for template in tables.active_templates("evaluation")
            for model in tables.evaluation_models
        ]
    replicates = None if tables is None else tables.replicates["evaluation"]
    return cover(essays, store.of_stage("evaluation"), wanted=wanted, replicates=replicates)


@frozen
class _Walking:
    """Walks the cohorts of a data root through the rollout.

    A cohort whose membership the tables plan exactly is planned in every state. Any other was made
    from tables of another day: its recorded members are asked for again in every state.
    """

    index: StoreIndex
    scheme: str
    tables: RawTables | None
    store: Holdings

    @property
    def root(self) -> DataRoot:
        return self.index.root

    def cohorts(self, advance: Advance) -> tuple[CohortSteps, ...]:
        """Return every recorded cohort's steps; where there is none, those of the cohort that the
        tables would make.

        StoreError: there is none, and the tables do not make one.
        """
        recorded = read_memberships(self.root).members
        if not recorded:
            return self._unbuilt()
        found = []
        for done, (cohort_id, members) in enumerate(sorted(recorded.items())):
            advance(done, len(recorded))
            found.append(self._recorded(cohort_id, tuple(dict.fromkeys(members))))
        return tuple(found)

    def _unbuilt(self) -> tuple[CohortSteps, ...]:
        """Return the steps of the cohort that the tables would make."""
        planned = [
            self._prepare(None, rollout) for rollout in states_from(Rollout.OFF, self._target())
        ]
        return (
            CohortSteps(
                cohort_id=planned[0].plan.cohort_id,
                recorded=None,
                built=False,
                basis="tables",
                steps=walk(map(self._state, planned), self.store),
            ),
        )

    def _recorded(self, cohort_id: str, members: Members) -> CohortSteps:
        rollout = recorded_rollout(self.root, cohort_id)
        known = Rollout.OFF if rollout is None else rollout
        rollouts = states_from(known, self._target())
        planned, problems = self._planned(cohort_id, members, rollouts)
        states = planned or self._restated(cohort_id, members, rollouts)
        return CohortSteps(
            cohort_id=cohort_id,
            recorded=known.label
            if isinstance(rollout, Rollout)
            else f"{known.label} (no manifest)",
            built=True,
            basis="tables" if planned else "membership",
            steps=walk(states, self.store),
            problems=problems,
        )

    def _planned(
        self, cohort_id: str, members: Members, rollouts: tuple[Rollout, ...]
    ) -> tuple[list[State], tuple[ShownProblem, ...]]:
        """Return the states that the tables plan; none where they do not plan this membership."""
        if not self._same_tables(cohort_id):
            return [], ()
        try:
            first = self._prepare(cohort_id, rollouts[0])
            if {(row.stage, row.gen_id) for row in first.plan.rows} != set(members):
                return [], ()
            later = [self._prepare(cohort_id, rollout) for rollout in rollouts[1:]]
        except StoreError as error:
            return [], shown_problems(error.problems)
        return [self._state(one) for one in (first, *later)], ()

    def _prepare(self, cohort_id: str | None, rollout: Rollout) -> Prepared:
        options = Options(rollout=rollout, cohort_id=cohort_id)
        return prepare(self.root, options, resolve=resolver(self.index))

    def _state(self, prepared: Prepared) -> State:
        rows = prepared.plan.rows
        tasks = {key: verdict.v1 for key, verdict in expected_of_rows(self.index, rows).items()}
        return planned_state(rows, prepared.plan.rollout, tasks)

    def _restated(
        self, cohort_id: str, members: Members, rollouts: tuple[Rollout, ...]
    ) -> list[State]:
        ordered = sorted(members, key=lambda member: PIPELINE.index(member[0]))
        return [
            as_recorded(ordered, rollouts[0], self.store),
            *(restated(ordered, rollout, cohort_id, self.store) for rollout in rollouts[1:]),
        ]

    def _target(self) -> Rollout:
        return Rollout(scheme="phase-1" if self.scheme == "phase-1" else "v1")

    def _same_tables(self, cohort_id: str) -> bool:
        """Say whether the cohort's manifest has the templates and models of today's tables."""
        if self.tables is None:
            return False
        today = load_json(make_manifest(self.tables, (), Rollout.OFF).dump())
        try:
            recorded = read_json(self.root.manifest(cohort_id))
            return all(recorded[key] == today[key] for key in ("templates", "llms"))
        except (OSError, ValueError, TypeError, KeyError):
            return False
