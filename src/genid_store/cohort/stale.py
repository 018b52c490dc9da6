"""Find and rewrite the metadata of members for which nothing has been generated yet.

A draft may exist under several ids, and a legacy essay's id does not depend on which of them is
its parent. No id depends on the template's generator. If the plan has another parent of the same
task, or another generator, the metadata is brought into line with it, but only as long as the
folder holds nothing else: it must keep describing what was generated from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.lookup import with_expected
from genid_store.catalog.metadata import read_generation
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem
from genid_store.fs.files import check_inside, sweep_temporaries, write_atomic
from genid_store.fs.jsonfile import dump_object
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.fs.leases import NO_WAIT, lease, leases
from genid_store.fs.slots import folder_lease, trace_of

#: Evaluations cannot differ: the parent is part of all their ids, and their mode is always llm.
_RECORDED: Final = """
    SELECT stage, gen_id, parent_gen_id, mode FROM generation WHERE stage IN ('draft', 'essay')
"""


def find_stale(
    index: StoreIndex, rows: Sequence[Row]
) -> tuple[tuple[Row, ...], tuple[Problem, ...]]:
    """Return the rows whose metadata names another parent of the same task or another mode.

    Rows with a text are left out. For a row whose metadata is of another task there is a problem
    instead. `index` is up to date.
    """
    recorded = {(stage, gen_id): fields for stage, gen_id, *fields in index.sql(_RECORDED)}
    differing = [
        row
        for row in rows
        if row.stage != "evaluation"
        and (known := recorded.get((row.stage, row.gen_id))) is not None
        and (known[0] not in (None, row.parent_gen_id) or known[1] not in (None, row.mode))
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
            problems.append(_unchanged(index.root, row, "it is of another task than the plan's"))
    return tuple(stale), tuple(problems)


def rewrite(root: DataRoot, rows: Iterable[Row]) -> tuple[Problem, ...]:
    """Update parent and mode in the metadata of rows that `find_stale` returned.

    Return a problem for each file that was left unchanged, because something was generated or
    requested under its id.

    StoreError: a symbolic link leads out of the data root. OSError: a file operation failed.
    """
    problems = []
    for row in rows:
        path = root.generation(row.stage, row.gen_id) / METADATA
        check_inside(root, path, leases(root) / row.stage)
        # A run reads the metadata under this lease, so none can be using the old parent or mode.
        with lease(root, row.stage, folder_lease(row.gen_id), NO_WAIT) as has_folder:
            reason = trace_of(root, row.stage, row.gen_id) if has_folder else "a run is making it"
            raw = read_generation(root, row.stage, row.gen_id).raw
            if reason is None and not raw:
                reason = "it was damaged in the meantime"
            if reason is not None:
                problems.append(_unchanged(root, row, reason))
                continue
            parent = {} if row.parent_gen_id is None else {"parent_gen_id": row.parent_gen_id}
            document = {**raw, "mode": row.mode, **parent}
            sweep_temporaries(root, [path])
            write_atomic(path, dump_object(document))
    return tuple(problems)


def _unchanged(root: DataRoot, row: Row, reason: str) -> Problem:
    return Problem(
        where=root.relative(root.generation(row.stage, row.gen_id) / METADATA),
        message=f"names another parent or mode than this cohort's plan, and was left: {reason}",
        remedy="run the cohort that it was built for, in that one's rollout state; or move the "
        "folder out of gens/ and build again",
    )
