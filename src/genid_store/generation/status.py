"""The state of a generation, as the disk says: the one rule that every way of starting a run uses.

`made`      parsed.txt is there: never generated again.
`unreachable`  parsed.txt or raw.txt is there and cannot be reached (a link whose target is not
            there, a folder): neither read nor made again.
`unparsed`  raw.txt is there and parsed.txt is not: paid for; only made again when asked.
`failed`    a failure is on record: only tried again when asked.
`missing`   none of these.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable
from typing import Final, Literal, TypeAlias

from genid import SCHEMES, parse_id
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.fs.files import exists, is_file, is_there
from genid_store.fs.layout import METADATA, PARSED, RAW, DataRoot, is_segment
from genid_store.generation import failures
from genid_store.generation.batches import open_batches
from genid_store.ids.rollout import Rollout
from genid_store.stages import Member, parent_stage, stage_names

State: TypeAlias = Literal["made", "unreachable", "unparsed", "failed", "missing"]

#: What is said of a text that could not be parsed.
UNPARSED: Final = (
    "it was paid for and has no parsed.txt: write that file by hand, or have it made again"
)


def has_content(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a generation is made. A folder whose staged files wait to be published is not
    made yet; the next start publishes them."""
    return is_file(root.generation(stage, gen_id) / PARSED)


def state_of(
    root: DataRoot, stage: str, gen_id: str, failed: Collection[str] | None = None
) -> State:
    """Return the state of one generation; `failed` has the ids of its stage with a failure on
    record, where many are looked at."""
    if has_content(root, stage, gen_id):
        return "made"
    folder = root.generation(stage, gen_id)
    texts = {PARSED, RAW}
    # where that fails each is looked at, to tell what is not there from what is out of reach
    with contextlib.suppress(OSError):
        texts.intersection_update(os.listdir(folder))
    there = [folder / name for name in texts if is_there(folder / name)]
    if there:
        return "unparsed" if all(is_file(path) for path in there) else "unreachable"
    if failed is None:
        return "missing" if failures.read(root, stage, gen_id) is None else "failed"
    return "failed" if gen_id in failed else "missing"


def why_left(root: DataRoot, member: Member, state: State) -> str:
    """Return why a generation is left in a state; empty where nothing keeps it."""
    if state == "unreachable":
        return "its text is there and cannot be reached: a link without a target, or not a file"
    failure = failures.read(root, *member) if state in ("failed", "unparsed") else None
    return failure.reason if failure else UNPARSED if state == "unparsed" else ""


def states_of(root: DataRoot, members: Iterable[Member]) -> dict[Member, State]:
    """Return the state of each of many generations; what failed is listed once."""
    failed = {stage: failures.failed_ids(root, stage) for stage in stage_names()}
    return {one: state_of(root, *one, failed[one.stage]) for one in members}


def wanted_ids(root: DataRoot, stage: str, gen_ids: Collection[str]) -> set[str]:
    """Return those for which a run should be started although Dagster has no record of them: they
    are ready, have neither failed nor been paid for without a parsed form, and are in no batch.

    A partition key can be any text; one that is not an id is never wanted. A few looks at the disk
    each. StoreError: the index cannot be used.
    """
    failed = failures.failed_ids(root, stage)
    batches = open_batches(root)
    above = parent_stage(stage)
    folders, parents = os.fspath(root.stage(stage)), os.fspath(root.stage(above or ""))
    known = {} if above is None else _parents_on_record(root, stage, gen_ids)
    ready: dict[str | None, bool] = {None: above is None}
    found = set()
    for gen_id in filter(is_segment, gen_ids):
        folder = f"{folders}/{gen_id}"
        if exists(f"{folder}/{PARSED}") or exists(f"{folder}/{RAW}"):
            if has_content(root, stage, gen_id):
                found.add(gen_id)
            continue
        if gen_id in failed or any(one.holds(stage, [gen_id]) for one in batches):
            continue
        try:
            changed = os.stat(f"{folder}/{METADATA}").st_ctime_ns
        except OSError:
            continue
        parent = known.get((gen_id, changed))
        if parent is None and above is not None:
            parent = read_generation(root, stage, gen_id).parent_gen_id
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


def legacy_left(root: DataRoot, rollout: Rollout) -> list[tuple[str, str]]:
    """Return the members of covered stages that have legacy ids and are not made yet, in order.

    StoreError: a membership cannot be read.
    """
    return [
        (stage, gen_id)
        for stage, gen_id in sorted(read_memberships(root).every())
        if rollout.covers(stage)
        and parse_id(gen_id).family not in SCHEMES
        and not has_content(root, stage, gen_id)
    ]
