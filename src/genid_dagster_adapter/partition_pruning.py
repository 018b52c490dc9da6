"""Find and delete partition keys that no cohort names any more; the only place that deletes keys
which no migration replaced.
"""

from __future__ import annotations

import os

import dagster as dg

from genid_dagster_adapter.partitions import partition_set, registered
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.locks import BUILD, root_lock
from genid_store.migration.cohort_files import read_members
from genid_store.stages import PIPELINE


def unowned(
    instance: dg.DagsterInstance, root: DataRoot, *, prefix: str = ""
) -> dict[str, list[str]]:
    """Return the registered keys of each stage that are no cohort's members, in their order.

    StoreError: a membership cannot be read, so nobody can tell.
    """
    # The keys first: a key is some cohort's member by the time that it is registered.
    keys = {stage: registered(instance, stage, prefix=prefix) for stage in PIPELINE}
    members = _members(root)
    return {
        stage: [key for key in found if (stage, key) not in members]
        for stage, found in keys.items()
    }


def prune(
    instance: dg.DagsterInstance, root: DataRoot, *, prefix: str = ""
) -> dict[str, list[str]]:
    """Delete the keys that `unowned` finds, and return them. Their events stay in Dagster's log.

    Holds the data root's lock meanwhile, as a build does: no key becomes a member's between looking
    and deleting.

    StoreError: as `unowned`, or the data root is in use; nothing is deleted then.
    """
    with root_lock(root, BUILD):
        found = unowned(instance, root, prefix=prefix)
        for stage, keys in found.items():
            for key in keys:
                instance.delete_dynamic_partition(partition_set(stage, prefix), key)
    return found


def _members(root: DataRoot) -> set[tuple[str, str]]:
    members: set[tuple[str, str]] = set()
    problems = []
    names = sorted(os.listdir(root.cohorts)) if root.cohorts.is_dir() else []
    for path in (root.membership(name) for name in names if is_segment(name)):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        found = read_members(data)
        members.update(found)
        if not found and data.strip() != b"stage,gen_id":
            where, remedy = root.relative(path), "rebuild the cohort, or restore the file"
            message = "it is not the two columns stage and gen_id"
            problems.append(Problem(where=where, message=message, remedy=remedy))
    if problems:
        raise StoreError("the members of all cohorts cannot be told", problems)
    return members
