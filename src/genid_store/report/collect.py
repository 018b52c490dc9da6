"""Read everything that a report is about, and the report as one record.

A part that cannot be read becomes an error on the page; only a store whose generations cannot be
listed or audited at all is refused.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final, TypeVar

from attrs import field, frozen

from genid_store.catalog.audit.audit import Audit, audit
from genid_store.catalog.findings import DUPLICATE
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.memberships import read_memberships
from genid_store.cohort.inputs.tables import RawTables, read_tables
from genid_store.config import effective_rollout, read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import guarded
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import Batch, open_batches
from genid_store.hooks import partition_keys
from genid_store.ids.rollout import Rollout
from genid_store.migration.number import Numbered
from genid_store.migration.scan import decide
from genid_store.report.coverage import Coverage, cover
from genid_store.report.drawing import Segment, bar
from genid_store.report.moves import Moves, preview
from genid_store.report.steps import CohortSteps, walk_cohorts
from genid_store.stages import PIPELINE, stage_names

Advance = Callable[[int, int], None]
#: Given a label, opens a progress display and yields its callback.
Watch = Callable[[str], AbstractContextManager[Advance]]
Part = TypeVar("Part")

_REUSED: Final = "members have no text, but the store holds one of their task under another id."
#: family -> what it is, in the order in which it is drawn: the target first.
FAMILIES: Final = {
    "v1": "deterministic, the format of today",
    "phase-1": "deterministic, the first helpers",
    "legacy": "one cohort's own",
    "foreign": "made by hand or by older tools",
    "unverifiable": "looks like phase-1, and its metadata does not confirm it",
}


@frozen(kw_only=True)
class StageCounts:
    """The ids of one stage by family, those with a parsed text, and those that wait for one."""

    stage: str
    families: Mapping[str, tuple[str, ...]]
    made: tuple[str, ...]
    waiting: tuple[str, ...]

    @property
    def total(self) -> int:
        return len(self.made) + len(self.waiting)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The bar of the families."""
        return bar([(family, len(ids)) for family, ids in self.families.items()])


@frozen(kw_only=True)
class Report:
    """One data root at one moment. A part that could not be made is None, and its error says why.

    `made_at` is a text and the only thing that differs between two reports on one state.
    `partitions_seen` is False where there was no Dagster instance to compare with.
    """

    root: str
    version: str
    made_at: str
    flag: Rollout | None
    flag_error: StoreError | None
    stages: tuple[StageCounts, ...]
    cohorts: tuple[CohortSteps, ...]
    cohorts_error: StoreError | None
    tables_error: StoreError | None
    audit: Audit = field(repr=False)
    partitions_seen: bool
    dagster_error: StoreError | None
    coverage: Coverage = field(repr=False)
    moves: Moves | None = field(repr=False)
    moves_error: StoreError | None
    batches: tuple[Batch, ...] = ()
    batches_error: StoreError | None = None

    def of_family(self, family: str) -> int:
        """How many generations have an id of this family."""
        return sum(len(stage.families[family]) for stage in self.stages)

    @property
    def total(self) -> int:
        return sum(stage.total for stage in self.stages)

    @property
    def waiting(self) -> int:
        """Generations without a parsed text."""
        return sum(len(stage.waiting) for stage in self.stages)

    @property
    def built(self) -> int:
        """How many cohorts there are."""
        return sum(cohort.built for cohort in self.cohorts)

    @property
    def to_pay(self) -> int:
        """Calls that running every cohort as it is now would pay for."""
        return len({key for cohort in self.cohorts for key in cohort.steps[0].to_pay})

    @property
    def to_copy(self) -> int:
        """Members that running every cohort as it is now would copy from their draft."""
        return len({key for cohort in self.cohorts for key in cohort.steps[0].copied})

    @property
    def reused(self) -> int:
        """Members without a text whose task has one under another id, as the cohorts are now."""
        return len({key for cohort in self.cohorts for key in cohort.steps[0].reused})

    @property
    def verdict(self) -> tuple[str, str]:
        """What matters most in one sentence, and the command to run next; money comes first."""
        root = f"--data-root {shlex.quote(self.root)}"
        faults = [one for one in self.audit.findings if not _is_about_nothing(one)]
        empty = sum(bool(one.details.get("empty")) for one in self.audit.findings)
        sound = "The store is sound"
        if empty:
            sound += f" but for {empty} empty slots of no cohort, for which nothing was paid"
        if self.reused:
            cohort = next(one for one in self.cohorts if one.steps[0].reused)
            name = shlex.quote(cohort.cohort_id)
            command = f"genid cohort run --dry-run {root} --cohort-id {name}"
            return f"{self.reused} {_REUSED}", command
        if faults:
            count = f"{len(faults)} finding{'s' if len(faults) > 1 else ''}"
            sentence = f"The store is not sound: {count} of the audit."
            return sentence, f"genid store audit {root}"
        if in_batch := sum(len(one.members) for one in self.batches):
            sentence = f"{sound}; {in_batch} members are in a batch at a provider."
            return sentence, f"genid batch list {root}"
        if not self.built:
            return f"{sound}, and no cohort is built yet.", f"genid cohort build {root}"
        if self.to_pay:
            sentence = f"{sound}; {self.to_pay} members are still to be paid for."
            return sentence, f"genid cohort list {root}"
        return f"{sound}, and every member has its text.", f"genid cohort list {root}"

    @property
    def facts(self) -> tuple[tuple[str, int | None], ...]:
        """The report in a few numbers; None where one could not be found out."""
        moving = None if self.moves is None else self.moves.moving
        return (
            ("generations", self.total),
            ("with content", self.total - self.waiting),
            ("with a deterministic id", self.of_family("v1") + self.of_family("phase-1")),
            ("cohorts", self.built),
            ("members still to be paid for", self.to_pay),
            ("members that a run would copy", self.to_copy),
            ("members whose text is under another id", self.reused),
            ("audit findings", len(self.audit.findings)),
            ("evaluations that no build has planned", self.coverage.missing),
            ("generations a migration would move", moving),
        )


def _is_about_nothing(found: Problem) -> bool:
    """Say whether a finding concerns slots without a text alone: one that no cohort names, or one
    of a task that has its text elsewhere."""
    if found.code == DUPLICATE:
        return [one["has_content"] for one in found.details["generations"]].count(True) <= 1
    return bool(found.details.get("empty"))


def _unwatched(label: str) -> AbstractContextManager[Advance]:
    return nullcontext(lambda done, total: None)


def gather(
    root: DataRoot,
    *,
    environ: Mapping[str, str],
    version: str,
    made_at: str,
    partition_prefix: str = "",
    watch: Watch = _unwatched,
) -> Report:
    """Read a data root and return the report on it; nothing but the index's cache is written.

    A wrong rollout state in `environ` is shown, not refused: a report is not a build.

    Raises:
        StoreError: the generations cannot be listed or audited.
    """
    flag, flag_error = _tried(root, lambda: effective_rollout(read_config(root), environ))
    keys, dagster_error = _tried(root, lambda: partition_keys(root, partition_prefix))
    with guarded(root), _refreshed(root, watch) as index:
        stored = {stage: list(index.iter(stage)) for stage in stage_names()}
        with watch("auditing") as advance:
            found = audit(index, partitions=keys, progress=advance)
        tables, tables_error = _tried(root, lambda: read_tables(root))
        with watch("planning each step of the rollout") as advance:
            cohorts, cohorts_error = _tried(
                root, lambda: walk_cohorts(index, tables, flag.scheme if flag else "v1", advance)
            )
    named = read_memberships(root).cohorts_of()
    judged = [one for one in stored["essay"] if one.content or (one.stage, one.gen_id) in named]
    batches, batches_error = _tried(root, lambda: tuple(open_batches(root)))
    with watch("deciding what a migration would do") as advance:
        moves, moves_error = _tried(root, lambda: _moves(root, advance))
    return Report(
        root=str(root.path),
        version=version,
        made_at=made_at,
        flag=flag,
        flag_error=flag_error,
        stages=tuple(
            _counts(stage, ones) for stage, ones in stored.items() if ones or stage in PIPELINE
        ),
        cohorts=cohorts or (),
        cohorts_error=cohorts_error,
        tables_error=tables_error,
        audit=found,
        partitions_seen=keys is not None,
        dagster_error=dagster_error,
        coverage=_coverage(judged, stored["evaluation"], tables),
        moves=moves,
        moves_error=moves_error,
        batches=batches or (),
        batches_error=batches_error,
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


def _tried(root: DataRoot, part: Callable[[], Part]) -> tuple[Part | None, StoreError | None]:
    """Return a part of the report, or why there is none."""
    try:
        with guarded(root):
            return part(), None
    except StoreError as error:
        return None, error


def _counts(stage: str, stored: list[Indexed]) -> StageCounts:
    return StageCounts(
        stage=stage,
        families={
            family: tuple(one.gen_id for one in stored if one.family == family)
            for family in FAMILIES
        },
        made=tuple(one.gen_id for one in stored if one.has_content),
        waiting=tuple(one.gen_id for one in stored if not one.has_content),
    )


def _moves(root: DataRoot, advance: Advance) -> Moves:
    numbered: dict[str, Numbered] = {}
    for done, stage in enumerate(PIPELINE):
        advance(done, len(PIPELINE))
        numbered[stage] = decide(root, stage, numbered)
    return preview(numbered)


def _coverage(
    essays: list[Indexed], evaluations: list[Indexed], tables: RawTables | None
) -> Coverage:
    if tables is None:
        return cover(essays, evaluations, wanted=(), replicates=None)
    templates, models = tables.active_templates("evaluation"), tables.evaluation_models
    wanted = [(one.template_id, model.llm_model_id) for one in templates for model in models]
    return cover(essays, evaluations, wanted=wanted, replicates=tables.replicates["evaluation"])
