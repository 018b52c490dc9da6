"""Findings about relations between generations: parents, cycles, duplicates and names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import groupby
from operator import itemgetter

from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import by_preference
from genid_store.catalog.metadata import stage_fields
from genid_store.catalog.reader import undeclared_stages
from genid_store.errors import Problem
from genid_store.fs.layout import METADATA
from genid_store.stages import parent_stage, stage_names

_Key = tuple[str, str]  # stage and id
_Cycle = tuple[_Key, ...]
CohortsOf = Mapping[_Key, list[str]]  # as `Memberships.cohorts_of`
SameTexts = Mapping[_Key, frozenset[str]]  # as `StoreIndex.same_texts`


def references(index: StoreIndex, only: Set[_Key] | None = None) -> Iterator[Problem]:
    """Yield orphans, parents of the wrong stage, and each cycle once; only for those in `only`.

    A parent is looked up in its proper stage, then in any other, so that cycles through wrong
    stages are found as well.
    """
    cycles: dict[_Key, _Cycle] = {}
    for generation in _astray(index):
        if only is not None and (generation.stage, generation.gen_id) not in only:
            continue
        if not _cycle(index, generation, cycles):
            yield _misplaced(index, generation)
    for cycle in sorted({cycle for cycle in cycles.values() if cycle}):
        stage, gen_id = cycle[0]
        yield finding(
            findings.CYCLE,
            f"gens/{stage}/{gen_id}/{METADATA}",
            field=stage_fields(stage).parent or "parent_gen_id",
            message=" → ".join(f"{stage} {gen_id}" for stage, gen_id in (*cycle, cycle[0])),
            ids=cycle,
        )


def duplicates(index: StoreIndex, cohorts: CohortsOf, texts: SameTexts) -> Iterator[Problem]:
    """Yield each task with several generations, with their cohorts and content.

    Generations that share a text by copying (`texts`) count as one.
    """
    query = "SELECT v1 FROM generation WHERE v1 NOTNULL GROUP BY v1 HAVING count(*) > 1 ORDER BY v1"
    groups = [by_preference(index, index.by_expected("v1", v1)) for (v1,) in index.sql(query)]
    for group in groups:
        first = group[0]
        count = len({texts.get((member.stage, member.gen_id), member.gen_id) for member in group})
        if count == 1:
            continue
        yield finding(
            findings.DUPLICATE,
            f"gens/{first.stage}/{first.gen_id}",
            message=f"{count} generations of the task {first.expected['v1']}: "
            + ", ".join(map(_named, group)),
            ids=tuple((member.stage, member.gen_id) for member in group),
            details={
                "task": first.expected["v1"],
                "generations": [
                    {
                        "gen_id": member.gen_id,
                        "family": member.family,
                        "origin_cohort_id": member.origin_cohort_id,
                        "cohorts": cohorts.get((member.stage, member.gen_id), []),
                        "has_content": member.has_content,
                        "adopted_from": member.adopted_from,
                    }
                    for member in group
                ],
            },
        )


def _named(member: Indexed) -> str:
    origin = "" if member.adopted_from is None else f" (from {member.adopted_from})"
    return f"{member.gen_id}{origin}"


def names(index: StoreIndex) -> Iterator[Problem]:
    """Yield ids that differ only in case, entries that are not a generation's folder, and folders
    of stages that are not declared."""
    # Of ids that differ only in case, at least one has an upper case letter.
    query = (
        "SELECT stage, lower(gen_id), gen_id FROM generation WHERE (stage, lower(gen_id)) IN"
        " (SELECT stage, lower(gen_id) FROM generation WHERE gen_id <> lower(gen_id))"
        " ORDER BY 1, 2, 3"
    )
    for (stage, _), rows in groupby(index.stream(query), key=itemgetter(0, 1)):
        ids = [gen_id for _, _, gen_id in rows]
        if len(ids) == 1:
            continue
        yield finding(
            findings.CASE_COLLISION,
            f"gens/{stage}/{ids[0]}",
            message=f"differ in case only: {', '.join(ids)}",
            ids=tuple((stage, gen_id) for gen_id in ids),
        )
    for stage, name in index.sql("SELECT stage, name FROM stray ORDER BY stage, name"):
        yield finding(
            findings.STRAY_ENTRY,
            f"gens/{stage}/{name}",
            message="is not a folder that a generation can have",
        )
    for stage in undeclared_stages(index.root):
        yield finding(findings.UNDECLARED_STAGE, f"gens/{stage}")


def _astray(index: StoreIndex) -> Iterator[Indexed]:
    """Yield the generations whose parent is not in its proper stage, and drafts with a parent."""
    absent = (
        "SELECT gen_id FROM generation AS child WHERE stage = ? AND parent_gen_id NOTNULL"
        " AND NOT EXISTS (SELECT 1 FROM generation AS above"
        " WHERE above.gen_id = child.parent_gen_id AND above.stage = ?) ORDER BY gen_id"
    )
    for stage in stage_names():  # a root has no parent stage, so any parent of it is astray
        for (gen_id,) in index.sql(absent, stage, parent_stage(stage)):
            if (generation := index.get(stage, gen_id)) is not None:
                yield generation


def _cycle(index: StoreIndex, start: Indexed, cycles: dict[_Key, _Cycle]) -> _Cycle:
    """Return the cycle that contains a generation, its smallest member first; () if there is none.

    `cycles` caches the result for every generation on the path, so that each is visited once.
    """
    path: dict[_Key, None] = {}
    current: Indexed | None = start
    while current is not None:
        key = (current.stage, current.gen_id)
        if key in cycles:
            break
        if key in path:
            cycle = list(path)[list(path).index(key) :]
            least = cycle.index(min(cycle))
            cycles.update(dict.fromkeys(cycle, (*cycle[least:], *cycle[:least])))
            break
        path[key] = None
        current = _any_parent(index, current)
    for key in path:
        cycles.setdefault(key, ())
    return cycles[start.stage, start.gen_id]


def _any_parent(index: StoreIndex, generation: Indexed) -> Indexed | None:
    if generation.parent_gen_id is None:
        return None
    parents = index.find(generation.parent_gen_id)
    proper = parent_stage(generation.stage)
    return next((one for one in parents if one.stage == proper), parents[0] if parents else None)


def _misplaced(index: StoreIndex, generation: Indexed) -> Problem:
    parent = generation.parent_gen_id
    elsewhere = _any_parent(index, generation)
    code, message = findings.PARENT_STAGE, f"a {generation.stage} has no parent"
    proper = parent_stage(generation.stage)
    if proper is not None:
        if elsewhere is None:
            code, message = findings.ORPHAN, f"there is no {proper} {parent}"
        else:
            message = f"{parent} is not of the stage {proper} but of {elsewhere.stage}"
    return finding(
        code,
        f"gens/{generation.stage}/{generation.gen_id}/{METADATA}",
        field=stage_fields(generation.stage).parent or "parent_gen_id",
        message=message,
        ids=((generation.stage, generation.gen_id),),
        details={"parent_gen_id": parent},
    )
