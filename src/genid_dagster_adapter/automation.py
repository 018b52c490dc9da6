"""When Dagster may start a generation by itself.

Level-triggered: a member of some cohort is asked for while it is registered, not materialized, in
no run, has not failed (neither in Dagster nor on disk), and its parent's content is on disk. Not a
legacy member whose task is there under another id, nor a key that no cohort names any more, and
nothing while a migration has the data root. An essay does not wait for the drafts of others.
"""

import dataclasses
from collections.abc import Set
from pathlib import Path
from typing import Any, Final

import dagster as dg

from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.generation import wanted_ids
from genid_store.generation.reuse import undecided

#: Each makes partitions wait.
_HOLDS: Final[tuple[Any, ...]] = (
    dg.AutomationCondition.in_progress(),
    dg.AutomationCondition.execution_failed(),
)
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


@dataclasses.dataclass(frozen=True)
class Wanted(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions of a stage's asset that are some cohort's members, not materialized,
    wanted (`generation.wanted_ids`), in no run and not failed; evaluated in the host's code server.

    One condition and not a tree of Dagster's, which for each of its nodes reads all keys several
    times to keep what came of it: at 100,000 keys that takes longer than all that is done here.
    """

    data_root: Path
    stage: str
    parent: dg.AssetKey | None

    @property
    def name(self) -> str:
        return f"{self.stage}: registered, missing, idle, not failed, parent made"

    async def evaluate(  # type: ignore[override]  # as Dagster's own: it awaits either
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        candidates = context.candidate_subset
        keys = self._on_disk(context, candidates.expensively_compute_partition_keys())
        subset = candidates.compute_intersection_with_partition_keys(keys)
        if keys:
            found = []
            for number, condition in enumerate(_HOLDS):
                child = context.for_child_condition(condition, [number], subset)
                result = await child.evaluate_async()
                found.append(result.true_subset.expensively_compute_partition_keys())
            running, failed = found
            keys -= running
            keys -= failed - self._parent_made_since(context, failed)
            subset = candidates.compute_intersection_with_partition_keys(keys)
        return dg.AutomationResult(context, true_subset=subset)

    def _on_disk(
        self, context: dg.AutomationContext[dg.AssetKey], candidates: Set[str]
    ) -> set[str]:
        """Return the wanted ones; none while the data root is blocked by a migration."""
        root = DataRoot(self.data_root)
        if blocked(root) is not None:  # a run would stop at once, and count as failed from then on
            return set()
        # Not by Dagster's own condition: it asks a cache, which lacks keys that were registered
        # during the tick that filled it (a migration or a rollback registers keys with a history).
        # The event log has them.
        log = context.asset_graph_view.instance
        missing = candidates - log.get_materialized_partitions(context.key)
        if not missing:
            return set()
        members = read_memberships(root).by_stage()[self.stage]
        wanted = wanted_ids(root, self.stage, missing & {*members})
        return wanted - undecided(root, self.stage, wanted)

    def _parent_made_since(
        self, context: dg.AutomationContext[dg.AssetKey], failed: Set[str]
    ) -> set[str]:
        """Return those whose parent was made after they were last asked for: they failed for want
        of it, as where somebody launches a child too early, and nothing was paid."""
        if self.parent is None or not failed:
            return set()
        instance = context.asset_graph_view.instance
        asked = instance.get_latest_storage_id_by_partition(context.key, _PLANNED)
        made = instance.get_latest_storage_id_by_partition(self.parent, _MADE)
        root = DataRoot(self.data_root)
        above = {key: read_generation(root, self.stage, key).parent_gen_id for key in failed}
        return {key for key in failed if made.get(above[key] or "", 0) > asked.get(key, 0)}
