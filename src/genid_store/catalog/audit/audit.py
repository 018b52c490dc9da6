"""Audit a store or one of its cohorts: counts by family, and every fault.

A fault is a `Problem` with a code of `catalog.findings` and the ids that it concerns. Legacy ids,
ids that cannot be verified and coerced fields are states, which are counted, and not faults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Final

from attrs import evolve, field, frozen

from genid_store.catalog import findings
from genid_store.catalog.audit.content import CONTENT_CODES, content_findings
from genid_store.catalog.audit.references import CohortsOf, SameTexts, duplicates, names, references
from genid_store.catalog.findings import finding
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import children, replicates, tasks_of
from genid_store.catalog.memberships import Memberships, cohort_ids, read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.stages import Member, stage_names

#: Every generation, and whether it was made for itself (`Store.once`), and not for a cohort.
_MEMBERS: Final = """
    SELECT stage, gen_id, family = 'v1' AND recomputes AND origin_cohort_id IS NULL FROM generation
"""


@frozen(kw_only=True)
class FamilyCount:
    """The number of generations of a stage and family, and of those whose ids recompute."""

    stage: str
    family: str
    generations: int
    recomputing: int


@frozen(kw_only=True)
class Audit:
    """The result of an audit, with `findings` in the order of the codes' table, then by place.

    `content` counts the generations with a parsed text by stage, `coerced` the coerced fields by
    kind, and `cohorts` the members of each cohort.
    """

    root: str
    families: tuple[FamilyCount, ...]
    content: Mapping[str, int]
    coerced: Mapping[str, int]
    cohorts: Mapping[str, int]
    findings: tuple[Problem, ...] = field(repr=False)

    @property
    def sound(self) -> bool:
        """Whether there are no findings."""
        return not self.findings

    def by_code(self) -> dict[str, list[Problem]]:
        """Return the findings by code, in the order of the codes' table."""
        by_code: dict[str, list[Problem]] = {}
        for problem in self.findings:
            by_code.setdefault(str(problem.code), []).append(problem)
        return by_code


def audit(
    index: StoreIndex,
    *,
    partitions: Mapping[str, Collection[str]] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit the store of a refreshed index.

    `partitions` has the registered partition keys by stage. It is None without a Dagster instance,
    and then no partitions are audited. `progress` is called as (done, total generations).
    """
    memberships = read_memberships(index.root)
    cohorts = memberships.cohorts_of()
    texts: SameTexts = {}
    found: list[Problem] = []
    try:
        texts = index.same_texts
    except StoreError as error:
        found += (evolve(one, code=findings.RECORD_MALFORMED) for one in error.problems)
    content = dict.fromkeys(stage_names(), 0)
    found += [
        *_metadata(index),
        *references(index),
        *duplicates(index, cohorts, texts),
        *names(index),
        *content_findings(index, content, progress),
        *_membership(index, memberships, cohorts, texts),
        *_cohorts(index.root),
        *unowned(memberships, partitions or {}),
    ]
    return Audit(
        root=str(index.root.path),
        families=_families(index),
        content=content,
        coerced=_coerced(index),
        cohorts={name: len(members) for name, members in memberships.members.items()},
        findings=_ordered(found),
    )


def audit_members(
    index: StoreIndex, members: AbstractSet[tuple[str, str]], *, codes: AbstractSet[str]
) -> tuple[Problem, ...]:
    """Return the findings with these codes about the members of one cohort, examining no others."""
    stored = [(stage, gen_id) for stage, gen_id in sorted(members) if index.get(stage, gen_id)]
    found = [*_metadata(index, stored)]
    if not codes.isdisjoint({findings.ORPHAN, findings.PARENT_STAGE, findings.CYCLE}):
        found += references(index, members)
    if not codes.isdisjoint(CONTENT_CODES):
        found += content_findings(index, {}, only=stored)
    return _ordered(problem for problem in found if problem.code in codes)


def unowned(
    memberships: Memberships, partitions: Mapping[str, Collection[str]]
) -> Iterator[Problem]:
    """Yield registered partition keys that no cohort names, none if a membership is unreadable."""
    if memberships.problems or not partitions:
        return
    named = memberships.every()
    for stage, keys in partitions.items():
        for key in sorted(keys):
            if (stage, key) not in named:
                yield finding(
                    findings.PARTITION_WITHOUT_MEMBERSHIP,
                    f"Dagster, {stage} partitions",
                    message=f"{key} is registered and no cohort names it",
                    ids=((stage, key),),
                )


def _ordered(found: Iterable[Problem]) -> tuple[Problem, ...]:
    order = {code: place for place, code in enumerate(findings.KINDS)}
    return tuple(
        sorted(found, key=lambda each: (order[str(each.code)], each.where, each.message, each.ids))
    )


def _families(index: StoreIndex) -> tuple[FamilyCount, ...]:
    query = (
        "SELECT stage, family, count(*), sum(recomputes) FROM generation"
        " GROUP BY stage, family ORDER BY stage, family"
    )
    return tuple(
        FamilyCount(stage=stage, family=family, generations=count, recomputing=recomputing)
        for stage, family, count, recomputing in index.sql(query)
    )


def _coerced(index: StoreIndex) -> dict[str, int]:
    """Return how often each field was coerced, by field name but not by value."""
    counts: dict[str, int] = {}
    for *_, coerced in index.unusual("coerced"):
        for text in coerced:
            kind = "replicate read from another type" if text.startswith("replicate r") else text
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def _metadata(
    index: StoreIndex, only: Iterable[tuple[str, str]] | None = None
) -> Iterator[Problem]:
    """Yield the problems of single generations' metadata and ids, from the index."""
    if only is None:
        found = (*index.unusual("problems"), *index.unusual("id_problems"))
        only = sorted({(stage, gen_id) for stage, gen_id, _ in found})
    for stage, gen_id in only:
        generation = index.get(stage, gen_id)
        for problem in () if generation is None else generation.problems:
            yield evolve(problem, ids=((stage, gen_id),))


def _cohorts(root: DataRoot) -> Iterator[Problem]:
    """Yield cohort ids that differ only in case, and malformed manifests."""
    ids = cohort_ids(root)
    for _, group in groupby(sorted(ids, key=str.lower), key=str.lower):
        first, *others = group
        if others:
            same = ", ".join((first, *others))
            message = f"cohorts that differ in case only: {same}"
            yield finding(findings.CASE_COLLISION, f"cohorts/{first}", message=message)
    for cohort_id in ids:
        recorded = read_recorded(root, cohort_id)
        if recorded is not None and recorded.rollout is None:
            where = root.relative(root.manifest(cohort_id))
            yield finding(findings.MANIFEST_MALFORMED, where, message=recorded.flaw)


def _membership(
    index: StoreIndex, memberships: Memberships, named: CohortsOf, texts: SameTexts
) -> Iterator[Problem]:
    for problem in memberships.problems:
        message = f"{problem.message}; what no cohort names was not judged"
        yield evolve(problem, message=message, remedy=findings.KINDS[str(problem.code)].remedy)
    absent, unnamed = set(named), []
    # Rows are streamed, so that only the generations without a cohort are held in memory.
    for *member, alone in index.stream(_MEMBERS) if memberships.members else ():
        key = Member(member[0], member[1])
        absent.discard(key)
        if key not in named and not alone:
            unnamed.append(key)
    for stage, gen_id in sorted(absent):
        cohorts = named[stage, gen_id]
        yield finding(
            findings.MEMBER_WITHOUT_GENERATION,
            f"cohorts/{cohorts[0]}/membership.csv",
            message=f"names {stage} {gen_id}, which the store does not hold",
            ids=((stage, gen_id),),
            details={"cohorts": cohorts},
        )
    if memberships.problems or not memberships.members:
        return  # an unreadable file may name them, or there are no cohorts at all
    needed = _needed(index, unnamed, named, texts)
    for stage, gen_id in sorted(set(unnamed) - needed):
        known = index.get(stage, gen_id)
        empty = known is not None and known.looked and known.content is None
        yield finding(
            findings.GENERATION_WITHOUT_MEMBERSHIP,
            f"gens/{stage}/{gen_id}",
            message=f"no cohort names it{', and nothing was made for it' if empty else ''}",
            ids=((stage, gen_id),),
            details={"empty": empty},
        )


def _needed(
    index: StoreIndex, unnamed: Collection[Member], named: CohortsOf, texts: SameTexts
) -> set[Member]:
    """Return the `unnamed` generations that a member needs: it has or may be given their text, or
    it, or such a text, comes from them."""
    held = {(member[0], texts[member]) for member in named.keys() & texts.keys()}
    numbers = replicates(index) if unnamed else []

    def serves(known: Indexed) -> bool:
        """Return whether this is a member, or has a text for one. While a text's task is unknown,
        it may be any member's; but a v1 id names its task by itself."""
        key = Member(known.stage, known.gen_id)
        if key in named or (known.stage, texts.get(key)) in held:
            return True
        if known.content is None and known.looked:
            return False
        if known.expected["v1"] is None and known.family != "v1" and not known.has_no_v1_id:
            return True
        for task in (known.gen_id, *tasks_of(index, known, numbers)):
            same = [one.gen_id for one in index.by_expected("v1", task)]
            if any((known.stage, gen_id) in named for gen_id in (task, *same)):
                return True
        return False

    # From the first down, and then up from each that serves: a chain may be long, or a cycle.
    above: dict[Member, Member | None] = dict.fromkeys(unnamed)
    found, serving = list(above), []
    for member in found:
        known = index.get(*member)
        if known is not None and serves(known):
            serving.append(member)
            continue
        for child in () if known is None else children(index, known):
            key = Member(child.stage, child.gen_id)
            if key not in above:
                found.append(key)
            above[key] = member
    needed = set[Member]()
    for member in serving:
        above_it: Member | None = member
        while above_it is not None and above_it not in needed:
            needed.add(above_it)
            above_it = above[above_it]
    return needed
