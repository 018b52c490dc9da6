"""The state of a generation, as the disk says: the one rule that every way of starting a run uses.

`made`      parsed.txt is there: never generated again.
`unreachable`  parsed.txt or raw.txt is there and cannot be reached (a link whose target is not
            there): neither read nor made again.
`unparsed`  raw.txt is there and parsed.txt is not: paid for; only made again when asked.
`failed`    a failure is on record: only tried again when asked.
`missing`   none of these.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import Member
from genid_store.catalog.metadata import read_generation
from genid_store.fs.files import exists, is_file, is_there
from genid_store.fs.layout import METADATA, PARSED, RAW, DataRoot, is_segment
from genid_store.generation import failures
from genid_store.generation.batches import holding, open_batches
from genid_store.stages import parent_key, parent_stage, stage_names

State: TypeAlias = Literal["made", "unreachable", "unparsed", "failed", "missing"]


def has_content(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a generation is made. A folder whose staged files wait to be published is not
    made yet; the next start publishes them."""
    return is_file(root.generation(stage, gen_id) / PARSED)


def is_unreachable(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a generation has a text that cannot be reached now."""
    folder = root.generation(stage, gen_id)
    return any(is_there(path) and not is_file(path) for path in (folder / PARSED, folder / RAW))


def state_of(root: DataRoot, stage: str, gen_id: str) -> State:
    """Return the state of one generation (at most three looks at the disk)."""
    found = _state_of_texts(root, stage, gen_id)
    if found is None:
        found = "failed" if failures.read(root, stage, gen_id) is not None else "missing"
    return found


def states_of(root: DataRoot, members: Iterable[Member]) -> dict[Member, State]:
    """Return the state of each of many generations; what failed is listed once."""
    failed = {stage: failures.failed_ids(root, stage) for stage in stage_names()}
    return {
        one: _state_of_texts(root, *one)
        or ("failed" if one.gen_id in failed[one.stage] else "missing")
        for one in members
    }


def _state_of_texts(root: DataRoot, stage: str, gen_id: str) -> State | None:
    """Return the state that a generation's texts show; None where it has none."""
    if has_content(root, stage, gen_id):
        return "made"
    folder = root.generation(stage, gen_id)
    try:
        if not {PARSED, RAW}.intersection(os.listdir(folder)):
            return None
    except OSError:  # each name is looked at, to tell what is not there from what is out of reach
        pass
    if is_unreachable(root, stage, gen_id):
        return "unreachable"
    return "unparsed" if is_file(folder / RAW) else None


def parent_of(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the id of the parent that the metadata names; None: a draft, or none is named."""
    if parent_stage(stage) is None:
        return None
    return read_generation(root, stage, gen_id).parent_gen_id


def is_ready(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a run can do something for a generation at once: its own content is there (it is
    reused), or its metadata is and its parent's content too."""
    if has_content(root, stage, gen_id):
        return True
    if parent_stage(stage) is None:
        return is_file(root.generation(stage, gen_id) / METADATA)
    parent = parent_key(stage, parent_of(root, stage, gen_id))
    return parent is not None and is_segment(parent[1]) and has_content(root, *parent)


def is_wanted(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a run should be started for a generation that Dagster has no record of: it is
    ready, has neither failed nor been paid for without a parsed form, and is in no batch. A
    partition key can be any text; one that is not an id is never wanted."""
    if not is_segment(gen_id):
        return False
    state = state_of(root, stage, gen_id)
    free = state == "made" or (state == "missing" and not holding(root, stage, [gen_id]))
    return free and is_ready(root, stage, gen_id)


def wanted_ids(root: DataRoot, stage: str, gen_ids: Collection[str]) -> set[str]:
    """Return those that are wanted, as `is_wanted`: for many, at a few looks at the disk each.

    StoreError: the index cannot be used.
    """
    failed = failures.failed_ids(root, stage)
    batches = list(open_batches(root))
    above = parent_stage(stage)
    folders, parents = os.fspath(root.stage(stage)), os.fspath(root.stage(above or ""))
    known = {} if above is None else _parents_on_record(root, stage, gen_ids)
    ready: dict[str | None, bool] = {None: above is None}
    found = set()
    for gen_id in filter(is_segment, gen_ids):
        folder = f"{folders}/{gen_id}"
        if exists(f"{folder}/{PARSED}") or exists(f"{folder}/{RAW}"):
            if is_wanted(root, stage, gen_id):
                found.add(gen_id)
            continue
        if gen_id in failed or any(one.holds(stage, [gen_id]) for one in batches):
            continue
        try:
            changed = os.stat(f"{folder}/{METADATA}").st_ctime_ns
        except OSError:
            continue
        parent = known.get((gen_id, changed)) or parent_of(root, stage, gen_id)
        if parent not in ready:
            there = is_segment(parent) and is_file(f"{parents}/{parent}/{PARSED}")
            ready[parent] = there
        if ready[parent]:
            found.add(gen_id)
    return found


def _parents_on_record(
    root: DataRoot, stage: str, gen_ids: Collection[str]
) -> dict[tuple[str, int], str | None]:
    """Return the parents that the index knows, by id and when the metadata was changed (ns)."""
    query = (
        "SELECT gen_id, changed_ns, parent_gen_id FROM generation "
        "WHERE stage = ? AND gen_id IN (SELECT value FROM json_each(?))"
    )
    with StoreIndex.open(root) as index:
        rows = index.sql(query, stage, json.dumps([*gen_ids]))
    return {(gen_id, changed): parent for gen_id, changed, parent in rows}
