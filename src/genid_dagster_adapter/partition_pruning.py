"""Find and delete partition keys that no cohort names any more; the only place that deletes keys
which no migration replaced.
"""

from __future__ import annotations

import dagster as dg

from genid_dagster_adapter.partitions import partition_set, registered
from genid_store.catalog.memberships import read_memberships
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.stages import PIPELINE


def unowned(
    instance: dg.DagsterInstance, root: DataRoot, *, prefix: str = ""
) -> dict[str, list[str]]:
    """Return the registered keys of each stage that are no cohort's members, in their order.

    StoreError: a membership cannot be read, so nobody can tell.
    """
    # The keys first: a key is some cohort's member by the time that it is registered.
    keys = {stage: registered(instance, stage, prefix=prefix) for stage in PIPELINE}
    members = read_memberships(root).every()
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
