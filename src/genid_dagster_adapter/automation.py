"""The automation condition: which generations Dagster may start by itself.

The condition is level-triggered: it requests a cohort's member as long as it is registered, not
materialized, in no run, has not failed in Dagster or on disk, and its parent has content on disk;
an essay does not wait for other essays' drafts. It never requests a key that no cohort names, a
legacy member whose task the store has under another id, or anything during a migration.
"""

import dataclasses
from collections.abc import Set
from pathlib import Path
from typing import Any, Final

import dagster as dg

from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import inspect_generation
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.generation.reuse import undecided
from genid_store.generation.status import wanted_ids

_RUNNING: Final[Any] = dg.AutomationCondition.in_progress()
_FAILED: Final[Any] = dg.AutomationCondition.execution_failed()
_PLANNED: Final = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_MADE: Final = dg.DagsterEventType.ASSET_MATERIALIZATION


@dataclasses.dataclass(frozen=True)
class Wanted(dg.AutomationCondition[dg.AssetKey]):
    """The condition of one stage's asset, evaluated in the host's code server.

    It is one condition instead of a tree of Dagster's own: those read all keys several times for
    each node to store its result, which at 100,000 keys takes longer than everything done here.
    """

    data_root: Path
    stage: str
    parent: dg.AssetKey | None

    @property
    def name(self) -> str:
        """The condition's name as the UI shows it."""
        return f"{self.stage}: registered, missing, idle, not failed, parent made"

    async def evaluate(  # type: ignore[override]  # Dagster awaits the result if it has to
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        """Return the partitions to request."""
        candidates = context.candidate_subset
        keys = self._on_disk(context, candidates.expensively_compute_partition_keys())
        # Dagster's conditions are slow: evaluate them last, and only over what is left.
        if keys:
            subset = candidates.compute_intersection_with_partition_keys(keys)
            children = []
            for number, child in enumerate((_RUNNING, _FAILED)):
                result = await context.for_child_condition(child, [number], subset).evaluate_async()
                children.append(result.true_subset.expensively_compute_partition_keys())
            running, failed = children
            keys -= running | (failed - self._parent_made_since(context, failed))
            # A run may have ended after the first look, and so be in progress no more.
            keys = self._on_disk(context, keys)
        subset = candidates.compute_intersection_with_partition_keys(keys)
        return dg.AutomationResult(context, true_subset=subset)

    def _on_disk(
        self, context: dg.AutomationContext[dg.AssetKey], candidates: Set[str]
    ) -> set[str]:
        """Return the candidates without a materialization that the store says can be made."""
        root = DataRoot(self.data_root)
        # A run would stop immediately, and its partitions would count as failed.
        if blocked(root) is not None:
            return set()
        # Dagster's condition `missing` asks a cache, which lacks keys registered during the tick
        # that filled it. A migration and a rollback register keys with a history, which only the
        # event log has then.
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
        """Return the failed keys whose parent was made after their last request: they failed for
        want of it, as when a child is launched by hand too early, and nothing was paid for."""
        if self.parent is None or not failed:
            return set()
        instance = context.asset_graph_view.instance
        requested = instance.get_latest_storage_id_by_partition(context.key, _PLANNED)
        made = instance.get_latest_storage_id_by_partition(self.parent, _MADE)
        root = DataRoot(self.data_root)
        parents = {key: inspect_generation(root, self.stage, key).parent_gen_id for key in failed}
        return {key for key in failed if made.get(parents[key] or "", 0) > requested.get(key, 0)}
