"""Collect everything that a report shows, as one record.

A part that cannot be read becomes an error on the page. Only a store whose generations cannot be
listed or audited is refused.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Final, TypeVar

from attrs import field, frozen

from genid_store.catalog.audit.audit import Audit, audit
from genid_store.catalog.findings import (
    DUPLICATE,
    GENERATION_WITHOUT_MEMBERSHIP,
    PARTITION_WITHOUT_MEMBERSHIP,
)
from genid_store.catalog.index.query import StoreIndex, content_of
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
from genid_store.report.coverage import Coverage, cover
from genid_store.report.listed import Listed
from genid_store.report.steps import CohortSteps, Now, walk_cohorts
from genid_store.report.without_v1 import WithoutV1, without_v1
from genid_store.stages import PIPELINE, stage_names

Advance = Callable[[int, int], None]
#: Opens a progress display with a label, and yields its callback.
Watch = Callable[[str], AbstractContextManager[Advance]]
Part = TypeVar("Part")

_EVALUATIONS: Final = (
    "SELECT parent_gen_id, template_id, llm_model_id FROM generation WHERE stage = 'evaluation'"
)
_ESSAYS: Final = (
    "SELECT gen_id FROM generation WHERE stage = 'essay' ORDER BY coalesce(combo_id, ''),"
    " coalesce(template_id, ''), coalesce(llm_model_id, ''), coalesce(replicate, 0), gen_id"
)
#: The findings that keep no member from its text.
_MAY_STAY: Final = {DUPLICATE, GENERATION_WITHOUT_MEMBERSHIP, PARTITION_WITHOUT_MEMBERSHIP}
_REUSED: Final = "Members without a text whose task has one under another id"
#: Every family and its meaning, in the order in which they are drawn: the target first.
FAMILIES: Final = {
    "v1": "deterministic, the format of today",
    "phase-1": "deterministic, the first helpers",
    "legacy": "one cohort's own",
    "foreign": "made by hand or by older tools",
    "unverifiable": "looks like phase-1, and its metadata does not confirm it",
}


@frozen(kw_only=True)
class StageCounts:
    """The ids of one stage: by family, by whether they have a parsed text, and by their v1 id:
    the id itself, another one, or none because none can be derived."""

    stage: str
    families: Mapping[str, Listed] = field(factory=lambda: {name: Listed() for name in FAMILIES})
    made: Listed = field(factory=Listed)
    waiting: Listed = field(factory=Listed)
    has_v1: Listed = field(factory=Listed)
    other_v1: Listed = field(factory=Listed)
    without_v1: Listed = field(factory=Listed)

    def add(self, generation: Indexed) -> None:
        """Count one generation."""
        gen_id, v1 = generation.gen_id, generation.expected["v1"]
        self.families[generation.family].add(gen_id)
        (self.made if generation.has_content else self.waiting).add(gen_id)
        differs = self.without_v1 if v1 is None else self.other_v1
        (self.has_v1 if v1 == gen_id else differs).add(gen_id)

    @property
    def total(self) -> int:
        return len(self.made) + len(self.waiting)

    @property
    def shares(self) -> list[tuple[str, int]]:
        """The number of ids of each family."""
        return [(family, len(ids)) for family, ids in self.families.items()]


@frozen(kw_only=True)
class Report:
    """The state of one data root.

    A part that could not be read is empty and has an entry in `errors`: flag, tables, cohorts,
    dagster or batches. Two reports on the same state differ in `made_at` alone. `to_pay`,
    `in_batch` and `to_copy` count the tasks of all cohorts, each once, that a run today would pay
    for, has in a batch, or would copy from their draft. `reused` counts the members that it would
    give a text which the store has under another id.
    `partitions_seen` is False if there was no Dagster instance to compare with.
    """

    root: str
    version: str
    made_at: str
    flag: Rollout | None
    stages: tuple[StageCounts, ...]
    cohorts: tuple[CohortSteps, ...]
    to_pay: int
    in_batch: int
    to_copy: int
    reused: int
    audit: Audit = field(repr=False)
    partitions_seen: bool
    coverage: Coverage = field(repr=False)
    without_v1: tuple[WithoutV1, ...] = field(repr=False)
    batches: tuple[Batch, ...] = ()
    errors: Mapping[str, StoreError] = field(factory=dict)

    def of_family(self, family: str) -> int:
        """Return the number of generations with an id of this family."""
        return sum(len(stage.families[family]) for stage in self.stages)

    @property
    def total(self) -> int:
        return sum(stage.total for stage in self.stages)

    @property
    def waiting(self) -> int:
        """The number of generations without a parsed text."""
        return sum(len(stage.waiting) for stage in self.stages)

    @property
    def built(self) -> int:
        """The number of cohorts that are built."""
        return sum(cohort.built for cohort in self.cohorts)

    @property
    def verdict(self) -> tuple[str, str]:
        """The most important fact in one sentence, and the command to run next.

        Findings come first, because a run leaves the members that they concern; but not those that
        may stay as they are.
        """
        root = f"--data-root {shlex.quote(self.root)}"
        findings = self.audit.findings
        faults = [finding for finding in findings if not _is_about_empty_slots(finding)]
        empty = sum(bool(finding.details.get("empty")) for finding in findings)
        sound = "The store is sound"
        if empty:
            sound += f" but for {empty} empty slots of no cohort, for which nothing was paid"
        if self.reused and _MAY_STAY.issuperset(finding.code for finding in faults):
            name = next(shlex.quote(one.cohort_id) for one in self.cohorts if one.steps[0].reused)
            command = f"genid cohort run --dry-run {root} --cohort-id {name}"
            return f"{_REUSED}: {self.reused}.", command
        if faults:
            count = f"{len(faults)} finding{'s' if len(faults) > 1 else ''}"
            sentence = f"The store is not sound: {count} of the audit."
            return sentence, f"genid store audit {root}"
        if self.batches:
            sentence = f"{sound}; open batches at a provider: {len(self.batches)}."
            return sentence, f"genid batch list {root}"
        if not self.built:
            return f"{sound}, and no cohort is built yet.", f"genid cohort build {root}"
        for left, of_what in ((self.to_pay, "to be paid for"), (self.to_copy, "to be copied")):
            if left:
                return f"{sound}; tasks still {of_what}: {left}.", f"genid cohort list {root}"
        return f"{sound}, and every member has its text.", f"genid cohort list {root}"

    @property
    def facts(self) -> tuple[tuple[str, int], ...]:
        """The most important numbers, by name."""
        return (
            ("generations", self.total),
            ("with content", self.total - self.waiting),
            ("with a deterministic id", self.of_family("v1") + self.of_family("phase-1")),
            ("cohorts", self.built),
            ("tasks still to be paid for", self.to_pay),
            ("tasks in a batch at a provider", self.in_batch),
            ("tasks that a run would copy", self.to_copy),
            ("members whose text is under another id", self.reused),
            ("audit findings", len(self.audit.findings)),
            ("evaluations that no build has planned", len(self.coverage.missing)),
            ("generations whose v1 id is another", sum(len(one.other_v1) for one in self.stages)),
        )


def _is_about_empty_slots(finding: Problem) -> bool:
    """Return whether a finding concerns only slots without a text: one that no cohort names, or
    duplicates of which at most one has a text."""
    if finding.code == DUPLICATE:
        return [one["has_content"] for one in finding.details["generations"]].count(True) <= 1
    return bool(finding.details.get("empty"))


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
    """Return the report on a data root; only the cache of the index is written.

    An invalid rollout in `environ` is shown in the report and not refused.

    Raises:
        StoreError: the generations cannot be listed or audited.
    """
    errors: dict[str, StoreError] = {}

    def tried(name: str, part: Callable[[], Part], default: Part) -> Part:
        try:
            with guarded(root):
                return part()
        except StoreError as error:
            errors[name] = error
        return default

    flag = tried("flag", lambda: effective_rollout(read_config(root), environ), None)
    keys = tried("dagster", lambda: partition_keys(root, partition_prefix), None)
    batches: list[Batch] = tried("batches", partial(open_batches, root), [])
    now = Now(batches=batches)
    with guarded(root), _refreshed(root, watch) as index:
        stages = [_counts(index, stage) for stage in stage_names()]
        with watch("auditing") as advance:
            audited = audit(index, partitions=keys, progress=advance)
        tables = tried("tables", lambda: read_tables(root), None)
        scheme = (flag or Rollout.OFF).scheme
        with watch("planning each step of the rollout") as advance:
            walk = partial(walk_cohorts, index, tables, scheme, now, advance)
            cohorts: list[CohortSteps] = tried("cohorts", walk, [])
        coverage = _coverage(index, tables)
        reasons = without_v1(index)
    kinds = Counter(now.kinds.values())
    return Report(
        root=str(root.path),
        version=version,
        made_at=made_at,
        flag=flag,
        stages=tuple(counts for counts in stages if counts.total or counts.stage in PIPELINE),
        cohorts=tuple(cohorts),
        to_pay=kinds["to_pay"],
        in_batch=kinds["in_batch"],
        to_copy=kinds["copied"],
        reused=kinds["reused"],
        audit=audited,
        partitions_seen=keys is not None,
        coverage=coverage,
        without_v1=reasons,
        batches=tuple(batches),
        errors=errors,
    )


@contextmanager
def _refreshed(root: DataRoot, watch: Watch) -> Iterator[StoreIndex]:
    """Open an up-to-date index; in memory if the one on disk cannot be written."""
    with ExitStack() as opened:
        with watch("indexing the store") as advance:
            try:
                index = opened.enter_context(StoreIndex.fresh(root, advance))
            except StoreError:
                index = opened.enter_context(StoreIndex.fresh(root, advance, persist=False))
        yield index


def _counts(index: StoreIndex, stage: str) -> StageCounts:
    counts = StageCounts(stage=stage)
    for generation in index.iter(stage):
        counts.add(generation)
    return counts


def _coverage(index: StoreIndex, tables: RawTables | None) -> Coverage:
    """Return the coverage of the essays that have a text or are members of a cohort."""
    essays = _covered_essays(index)
    present: Counter[tuple[str, str]] = Counter()
    orphans = 0
    for parent, template, model in index.stream(_EVALUATIONS):
        if parent in essays and template and model:
            present[template, model] += 1
        else:
            orphans += 1
    wanted: list[tuple[str, str]] = []
    if tables is not None:
        wanted = [
            (template.template_id, model.llm_model_id)
            for template in tables.active_templates("evaluation")
            for model in tables.evaluation_models
        ]
    return cover(
        (essay for gen_id in essays if (essay := index.get("essay", gen_id)) is not None),
        lambda gen_id: index.children("evaluation", gen_id),
        present,
        wanted=wanted,
        replicates=None if tables is None else tables.replicates["evaluation"],
        orphans=orphans,
    )


def _covered_essays(index: StoreIndex) -> dict[str, None]:
    """Return the ids of these essays, in the order of the page."""
    members = set(read_memberships(index.root).by_stage()["essay"])
    return {
        gen_id: None
        for (gen_id,) in index.stream(_ESSAYS)
        if gen_id in members or content_of(str(index.root.generation("essay", gen_id)))[0]
    }
