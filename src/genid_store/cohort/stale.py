"""Metadata that a build rewrites: of members under which nothing was ever made.

A legacy essay's id does not say which of its ids the draft has, and no id says how its template's
generations are made. Where the plan has another parent of the same task, or another generator, the
metadata follows as long as nothing else is there; what was made stays as it was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.lookup import with_expected
from genid_store.catalog.metadata import read_generation
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem
from genid_store.fs.files import check_inside, sweep_temporaries, write_atomic
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.fs.leases import NO_WAIT, lease, leases
from genid_store.fs.slots import folder_lease, trace_of

#: Those that can differ: an evaluation's parent is a part of each of its ids, its mode always llm.
_NAMED: Final = """
    SELECT stage, gen_id, parent_gen_id, mode FROM generation WHERE stage IN ('draft', 'essay')
"""


def find_stale(
    index: StoreIndex, rows: Sequence[Row]
) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    """Return the rows without a text whose metadata names another parent of the same task, or
    another mode, and a problem for each whose metadata is of another task; `index` is up to date.
    """
    named = {(stage, gen_id): found for stage, gen_id, *found in index.sql(_NAMED)}
    differing = [
        row
        for row in rows
        if (found := named.get((row.stage, row.gen_id))) is not None
        and _differs(row, *found)
        and content_of(f"{index.root.gens}/{row.stage}/{row.gen_id}")[0] != "parsed"
    ]
    if not differing:
        return (), ()
    planned = with_expected(index, map(Row.as_generation, rows))
    stale, problems = [], []
    for row in differing:
        stored = index.get(row.stage, row.gen_id)
        task = planned[row.stage, row.gen_id].expected["v1"]
        if stored is not None and task is not None and stored.expected["v1"] == task:
            stale.append(row)
        else:
            problems.append(_left(index.root, row, "it is of another task than the plan's"))
    return tuple(stale), tuple(problems)


def rewrite(root: DataRoot, rows: Iterable[Row]) -> tuple[Problem, ...]:
    """Let the metadata of rows that `find_stale` returned say their parent and mode; return a
    problem for each that was left, since something was made or asked for under its id.

    StoreError: a symbolic link leads out of the data root. OSError: what the system says.
    """
    left = []
    for row in rows:
        path = root.generation(row.stage, row.gen_id) / METADATA
        check_inside(root, path, leases(root) / row.stage)
        with lease(root, row.stage, folder_lease(row.gen_id), NO_WAIT) as held:
            why = trace_of(root, row.stage, row.gen_id) if held else "a run is making it"
            if why is not None:
                left.append(_left(root, row, why))
                continue
            raw = read_generation(root, row.stage, row.gen_id).raw
            parent = {} if row.parent_gen_id is None else {"parent_gen_id": row.parent_gen_id}
            document = {**raw, "mode": row.mode, **parent}
            sweep_temporaries(root, [path])
            write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False).encode())
    return tuple(left)


def _differs(row: Row, parent: str | None, mode: str | None) -> bool:
    return parent not in (None, row.parent_gen_id) or mode not in (None, row.mode)


def _left(root: DataRoot, row: Row, why: str) -> Problem:
    return Problem(
        where=root.relative(root.generation(row.stage, row.gen_id) / METADATA),
        message=f"names another parent or mode than this cohort's plan, and was left: {why}",
        remedy="run the cohort that it was built for, in that one's rollout state; or move the "
        "folder out of gens/ and build again",
    )
