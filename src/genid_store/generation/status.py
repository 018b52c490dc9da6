"""The state of a generation on disk: the one rule for every way of starting a run.

`made`         parsed.txt exists: never generated again.
`unreachable`  parsed.txt or raw.txt exists and is not a readable file (a dangling link, a folder):
               neither read nor made again.
`unparsed`     raw.txt exists, parsed.txt does not: paid for, and only made again on request.
`failed`       a failure is on record: only retried on request.
`missing`      none of these.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import inspect_generation
from genid_store.fs.files import exists, is_file, is_there
from genid_store.fs.layout import METADATA, PARSED, RAW, DataRoot, is_segment
from genid_store.generation import failures
from genid_store.generation.batches import open_batches
from genid_store.generation.content import text_version
from genid_store.ids.rollout import Rollout, is_legacy
from genid_store.stages import Member, parent_stage, stage_names

State: TypeAlias = Literal["made", "unreachable", "unparsed", "failed", "missing"]


def has_content(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Return whether a generation is made. Staged files that are not published do not count."""
    return is_file(root.generation(stage, gen_id) / PARSED)


def state_of(
    root: DataRoot, stage: str, gen_id: str, failed: Collection[str] | None = None
) -> State:
    """Return the state of one generation. `failed`, for a caller that checks many, has the ids of
    the stage with a failure on record."""
    if has_content(root, stage, gen_id):
        return "made"
    folder = root.generation(stage, gen_id)
    texts = {PARSED, RAW}
    # If the listing fails, each file is checked: it may be absent, or just out of reach.
    with contextlib.suppress(OSError):
        texts.intersection_update(os.listdir(folder))
    existing = [folder / name for name in texts if is_there(folder / name)]
    if existing:
        return "unparsed" if all(is_file(path) for path in existing) else "unreachable"
    if failed is None:
        return "missing" if failures.read(root, stage, gen_id) is None else "failed"
    return "failed" if gen_id in failed else "missing"


def is_out_of_reach(root: DataRoot, member: Member) -> bool:
    """Return whether a generation has a text, and neither that nor its record can be read."""
    if not is_segment(member.gen_id):  # an id that no folder can have
        return False
    try:
        has_text = state_of(root, *member) in ("made", "unreachable")
        return has_text and text_version(root, *member) is None
    except OSError:
        return True


def why_left(root: DataRoot, member: Member, state: State) -> str:
    """Return why a generation in a state is left alone; empty if it is not."""
    if state == "unreachable":
        return "its text exists but cannot be read: a link without a target, or not a file"
    failure = failures.read(root, *member) if state in ("failed", "unparsed") else None
    reasons = [failure.reason] if failure else []
    if state == "unparsed":
        reasons.append(paid_for(root, member))
    return "; ".join(reasons)


def paid_for(root: DataRoot, member: Member) -> str:
    """Return why a text that could not be parsed is left alone, and what to do."""
    parsed = root.relative(root.generation(*member) / PARSED)
    return f"it was paid for: write {parsed} by hand from {RAW}, or retry it"


def states_of(root: DataRoot, members: Iterable[Member]) -> dict[Member, State]:
    """Return the state of each member; the failures are listed once per stage."""
    failed = {stage: failures.failed_ids(root, stage) for stage in stage_names()}
    return {member: state_of(root, *member, failed[member.stage]) for member in members}


def wanted_ids(root: DataRoot, stage: str, gen_ids: Collection[str]) -> set[str]:
    """Return the generations to start a run for, of those that Dagster has no record of.

    They have content already, or are ready to be made: their parent has content, they have neither
    failed nor been paid for, and they are not in a batch. A partition key that is not an id is
    never wanted. Takes a few file system calls per id.

    StoreError: the index cannot be used.
    """
    failed = failures.failed_ids(root, stage)
    batches = open_batches(root)
    above = parent_stage(stage)
    folders, parents = os.fspath(root.stage(stage)), os.fspath(root.stage(above or ""))
    known = {} if above is None else _parents_on_record(root, stage, gen_ids)
    ready: dict[str | None, bool] = {None: above is None}  # by parent
    wanted = set()
    for gen_id in filter(is_segment, gen_ids):
        folder = f"{folders}/{gen_id}"
        if exists(f"{folder}/{PARSED}") or exists(f"{folder}/{RAW}"):
            if has_content(root, stage, gen_id):
                wanted.add(gen_id)
            continue
        if gen_id in failed or any(batch.holds(stage, [gen_id]) for batch in batches):
            continue
        try:
            changed = os.stat(f"{folder}/{METADATA}").st_ctime_ns
        except OSError:
            continue
        parent = known.get((gen_id, changed))
        if parent is None and above is not None:
            parent = inspect_generation(root, stage, gen_id).parent_gen_id
        if parent not in ready:
            ready[parent] = is_segment(parent) and is_file(f"{parents}/{parent}/{PARSED}")
        if ready[parent]:
            wanted.add(gen_id)
    return wanted


def _parents_on_record(
    root: DataRoot, stage: str, gen_ids: Collection[str]
) -> dict[tuple[str, int], str | None]:
    """Return the parents that the index knows, by id and change time of the metadata (ns)."""
    query = (
        "SELECT gen_id, changed_ns, parent_gen_id FROM generation "
        "WHERE stage = ? AND gen_id IN (SELECT value FROM json_each(?))"
    )
    with StoreIndex.open(root) as index:
        rows = index.sql(query, stage, json.dumps([*gen_ids]))
    return {(gen_id, changed): parent for gen_id, changed, parent in rows}


def legacy_left(root: DataRoot, rollout: Rollout) -> list[tuple[str, str]]:
    """Return the members of covered stages with legacy ids and without content, sorted.

    StoreError: a membership cannot be read.
    """
    return [
        (stage, gen_id)
        for stage, gen_id in sorted(read_memberships(root).every())
        if rollout.covers(stage) and is_legacy(gen_id) and not has_content(root, stage, gen_id)
    ]
