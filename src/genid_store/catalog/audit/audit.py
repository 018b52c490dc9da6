"""Whether a store is sound: counts by family, and every fault with its stable code and its ids.

Legacy ids, ids that cannot be verified and leniently read fields are states: counted, no findings.
The codes and their remedies are those of `findings`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from genid_store.catalog.audit import content as audit_content
from genid_store.catalog.audit import kinds as findings
from genid_store.catalog.audit import references as audit_references
from genid_store.catalog.audit.finding import Finding
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.memberships import Memberships, read_memberships


@frozen(kw_only=True)
class FamilyCount:
    """How many generations of a stage have ids of a family, and how many of those recompute."""

    stage: str
    family: str
    generations: int
    recomputing: int


@frozen(kw_only=True)
class Audit:
    """What an audit found; `findings` are in order of their codes' table, then of place.

    `content` counts, by stage, the generations with a parsed text; `lenient` how often a field was
    read leniently, by what was read from where.
    """

    root: str
    families: tuple[FamilyCount, ...]
    content: Mapping[str, int]
    lenient: Mapping[str, int]
    cohorts: Mapping[str, int]
    findings: tuple[Finding, ...] = field(repr=False)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def by_code(self) -> dict[str, list[Finding]]:
        """Return the findings by code, in the order of the codes' table."""
        found: dict[str, list[Finding]] = {}
        for finding in self.findings:
            found.setdefault(finding.code, []).append(finding)
        return found


def audit(
    index: StoreIndex,
    *,
    partitions: Mapping[str, Collection[str]] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit the store of a refreshed index.

    `partitions` gives the registered partition keys by stage; None where there is no Dagster
    instance, so that they are not looked at. `progress` is called as (done, total generations).
    """
    memberships = read_memberships(index.root)
    texts = audit_references.copies(index)
    content = audit_content.Content.of(index, progress)
    found = [
        *_problems(index),
        *audit_references.references(index),
        *audit_references.duplicates(index, memberships, texts),
        *audit_references.names(index),
        *content.findings,
        *_membership(index, memberships, texts),
        *_partitions(memberships, partitions or {}),
    ]
    order = {code: place for place, code in enumerate(findings.KINDS)}
    return Audit(
        root=str(index.root.path),
        families=_families(index),
        content=content.made,
        lenient=_lenient(index),
        cohorts={name: len(set(members)) for name, members in memberships.members.items()},
        findings=tuple(sorted(found, key=lambda one: (order[one.code], one.where, one.message))),
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


def _lenient(index: StoreIndex) -> dict[str, int]:
    """Return how often each field was read leniently; values are left out, names are not."""
    counts: dict[str, int] = {}
    for stage, gen_id in index.sql("SELECT stage, gen_id FROM generation WHERE lenient NOTNULL"):
        generation = index.get(stage, gen_id)
        for words in () if generation is None else generation.lenient:
            kind = "replicate read from another type" if words.startswith("replicate r") else words
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def _problems(index: StoreIndex) -> Iterator[Finding]:
    """Yield what is wrong with single generations' metadata and ids, as the index has it."""
    query = (
        "SELECT stage, gen_id FROM generation"
        " WHERE metadata_problems NOTNULL OR id_problems NOTNULL"
    )
    for stage, gen_id in index.sql(query):
        generation = index.get(stage, gen_id)
        for flaw in () if generation is None else generation.problems:
            yield Finding(
                code=flaw.code or "",
                where=flaw.where,
                message=flaw.message,
                ids=((stage, gen_id),),
                details=_details(flaw.value),
            )


def _details(value: object) -> dict[str, Any]:
    known = isinstance(value, str | int | float | bool | None | list | dict)
    return {"value": value} if known else {}


def _membership(
    index: StoreIndex, memberships: Memberships, texts: Mapping[tuple[str, str], str]
) -> Iterator[Finding]:
    for flaw in memberships.problems:
        message = f"{flaw.message}; what no cohort names was not judged"
        yield Finding(code=flaw.code or "", where=flaw.where, message=message)
    stored = set(index.sql("SELECT stage, gen_id FROM generation"))
    named = memberships.cohorts_of()
    for stage, gen_id in sorted(named.keys() - stored):
        cohorts = named[stage, gen_id]
        yield Finding(
            code=findings.MEMBER_WITHOUT_GENERATION,
            where=f"cohorts/{cohorts[0]}/membership.csv",
            message=f"names {stage} {gen_id}, which the store does not hold",
            ids=((stage, gen_id),),
            details={"cohorts": cohorts},
        )
    if memberships.problems:
        return  # what seems to be nobody's may be named where it cannot be read
    held = {(member[0], texts[member]) for member in named.keys() & texts.keys()}
    for stage, gen_id in sorted(stored - named.keys()):
        if (stage, texts.get((stage, gen_id), "")) in held:
            continue  # an adopted copy, or what it was adopted from, is named in its place
        yield Finding(
            code=findings.GENERATION_WITHOUT_MEMBERSHIP,
            where=f"gens/{stage}/{gen_id}",
            message="no cohort names it",
            ids=((stage, gen_id),),
        )


def _partitions(
    memberships: Memberships, partitions: Mapping[str, Collection[str]]
) -> Iterator[Finding]:
    if memberships.problems:
        return
    named = {member for members in memberships.members.values() for member in members}
    for stage, keys in partitions.items():
        for key in sorted(keys):
            if (stage, key) not in named:
                yield Finding(
                    code=findings.PARTITION_WITHOUT_MEMBERSHIP,
                    where=f"Dagster, {stage} partitions",
                    message=f"{key} is registered and no cohort names it",
                    ids=((stage, key),),
                )
