"""Read everything that a report is about, and the report as one record.

A part that cannot be read becomes an error on the page; only a store whose generations cannot be
listed or audited at all is refused.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Final, TypeVar

from attrs import field, frozen

from genid_store.catalog.audit.audit import Audit, audit
from genid_store.catalog.findings import DUPLICATE
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.memberships import read_memberships
from genid_store.cohort.inputs.tables import RawTables, read_tables
from genid_store.config import effective_rollout, read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import guarded
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import Batch, open_batches
from genid_store.hooks import partition_keys
from genid_store.ids.rollout import Rollout
from genid_store.report.coverage import Coverage, cover
from genid_store.report.listed import Listed
from genid_store.report.moves import Moves, preview
from genid_store.report.steps import CohortSteps, Walk, walk_cohorts
from genid_store.stages import PIPELINE, stage_names

Advance = Callable[[int, int], None]
#: Given a label, opens a progress display and yields its callback.
Watch = Callable[[str], AbstractContextManager[Advance]]
Part = TypeVar("Part")

_EVALUATIONS: Final = (
    "SELECT parent_gen_id, template_id, llm_model_id FROM generation WHERE stage = 'evaluation'"
)
_ESSAYS: Final = (
    "SELECT gen_id FROM generation WHERE stage = 'essay' ORDER BY coalesce(combo_id, ''),"
    " coalesce(template_id, ''), coalesce(llm_model_id, ''), coalesce(replicate, 0), gen_id"
)
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
    families: Mapping[str, Listed] = field(factory=lambda: {one: Listed() for one in FAMILIES})
    made: Listed = field(factory=Listed)
    waiting: Listed = field(factory=Listed)

    @property
    def total(self) -> int:
        return len(self.made) + len(self.waiting)

    @property
    def shares(self) -> list[tuple[str, int]]:
        """How many there are of each family."""
        return [(family, len(ids)) for family, ids in self.families.items()]


@frozen(kw_only=True)
class Report:
    """One data root at one moment. A part that could not be made is empty, and `errors` has why,
    by its name: flag, tables, cohorts, dagster, batches.

    `made_at` is a text and the only thing that differs between two reports on one state.
    `to_pay`, `to_copy` and `reused` are the members of all cohorts as they are now, each counted
    once, that a run would pay for, copy from their draft, or give a text that the store has under
    another id. `partitions_seen` is False where there was no Dagster instance to compare with.
    """

    root: str
    version: str
    made_at: str
    flag: Rollout | None
    stages: tuple[StageCounts, ...]
    cohorts: tuple[CohortSteps, ...]
    to_pay: int
    to_copy: int
    reused: int
    audit: Audit = field(repr=False)
    partitions_seen: bool
    coverage: Coverage = field(repr=False)
    moves: Moves = field(repr=False)
    batches: tuple[Batch, ...] = ()
    errors: Mapping[str, StoreError] = field(factory=dict)

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
    def facts(self) -> tuple[tuple[str, int], ...]:
        """The report in a few numbers."""
        return (
            ("generations", self.total),
            ("with content", self.total - self.waiting),
            ("with a deterministic id", self.of_family("v1") + self.of_family("phase-1")),
            ("cohorts", self.built),
            ("members still to be paid for", self.to_pay),
            ("members that a run would copy", self.to_copy),
            ("members whose text is under another id", self.reused),
            ("audit findings", len(self.audit.findings)),
            ("evaluations that no build has planned", len(self.coverage.missing)),
            ("generations a migration would move", self.moves.moving),
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
    errors: dict[str, StoreError] = {}

    def tried(name: str, part: Callable[[], Part]) -> Part | None:
        try:
            with guarded(root):
                return part()
        except StoreError as error:
            errors[name] = error
        return None

    flag = tried("flag", lambda: effective_rollout(read_config(root), environ))
    keys = tried("dagster", lambda: partition_keys(root, partition_prefix))
    with guarded(root), _refreshed(root, watch) as index:
        stages = [_counts(index, stage) for stage in stage_names()]
        with watch("auditing") as advance:
            found = audit(index, partitions=keys, progress=advance)
        tables = tried("tables", lambda: read_tables(root))
        scheme = flag.scheme if flag else "v1"
        with watch("planning each step of the rollout") as advance:
            walk = tried("cohorts", lambda: walk_cohorts(index, tables, scheme, advance)) or Walk()
        coverage = _coverage(index, tables)
        moves = preview(index)
    asked = Counter(walk.now.values())
    return Report(
        root=str(root.path),
        version=version,
        made_at=made_at,
        flag=flag,
        stages=tuple(one for one in stages if one.total or one.stage in PIPELINE),
        cohorts=tuple(walk.cohorts),
        to_pay=asked["to_pay"],
        to_copy=asked["copied"],
        reused=asked["reused"],
        audit=found,
        partitions_seen=keys is not None,
        coverage=coverage,
        moves=moves,
        batches=tried("batches", lambda: tuple(open_batches(root))) or (),
        errors=errors,
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


def _counts(index: StoreIndex, stage: str) -> StageCounts:
    counts = StageCounts(stage=stage)
    for one in index.iter(stage):
        counts.families[one.family].add(one.gen_id)
        (counts.made if one.has_content else counts.waiting).add(one.gen_id)
    return counts


def _coverage(index: StoreIndex, tables: RawTables | None) -> Coverage:
    """Return the map of the essays that have a text, or that a cohort names."""
    judged = _judged(index)
    present: Counter[tuple[str, str]] = Counter()
    orphans = 0
    for parent, template, model in index.stream(_EVALUATIONS):
        if parent in judged and template and model:
            present[template, model] += 1
        else:
            orphans += 1
    wanted: list[tuple[str, str]] = []
    if tables is not None:
        templates, models = tables.active_templates("evaluation"), tables.evaluation_models
        wanted = [(one.template_id, model.llm_model_id) for one in templates for model in models]
    return cover(
        (one for gen_id in judged if (one := index.get("essay", gen_id)) is not None),
        lambda essay: index.children("evaluation", essay),
        present,
        wanted=wanted,
        replicates=None if tables is None else tables.replicates["evaluation"],
        orphans=orphans,
    )


def _judged(index: StoreIndex) -> dict[str, None]:
    """Return the ids of those essays, in the order of the page."""
    members = read_memberships(index.root).members.values()
    named = {gen_id for ones in members for stage, gen_id in ones if stage == "essay"}
    return {
        gen_id: None
        for (gen_id,) in index.stream(_ESSAYS)
        if gen_id in named or content_of(str(index.root.generation("essay", gen_id)))[0]
    }
