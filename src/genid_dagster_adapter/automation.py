"""When Dagster may start a generation by itself, and the sensor that lets it.

Level-triggered: a member of some cohort is asked for while it is registered, not materialized, in
no run, has not failed (neither in Dagster nor on disk), and its parent's content is on disk. A
legacy member whose task is there under another id is not asked for, a key that no cohort names any
more (a rebuild dropped it) never, and nothing is while a migration has the data root. Asset
dependencies gate nothing here: an essay does not wait for the drafts of others.
"""

import dataclasses
from collections.abc import Sequence, Set
from pathlib import Path

import dagster as dg

from genid import parse_id
from genid_dagster_adapter.setup import stage_asset_name
from genid_store.catalog.memberships import read_memberships
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.generation import wanted_ids
from genid_store.generation.batches import open_batches
from genid_store.generation.reuse import plan_reuse_of
from genid_store.generation.status import parent_of
from genid_store.stages import parent_stage

_CONDITION = dg.AutomationCondition
_PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_MADE = dg.DagsterEventType.ASSET_MATERIALIZATION


@dataclasses.dataclass(frozen=True)
class WantedOnDisk(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions that are some cohort's members and wanted (`generation.is_wanted`),
    for none while the data root is blocked by a migration.

    Evaluated in the host's code server; reads the memberships and the candidates' metadata.
    """

    data_root: Path
    stage: str

    @property
    def name(self) -> str:
        return f"wanted_on_disk({self.stage})"

    def evaluate(
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        root = DataRoot(self.data_root)
        wanted: set[str] = set()
        if blocked(root) is None:  # a run would stop at once, and count as failed from then on
            candidates = context.candidate_subset.expensively_compute_partition_keys()
            members = self._members(root, candidates)
            members = members and members - _on_record(context)
            wanted = wanted_ids(root, self.stage, members)
            wanted -= _left_alone(root, self.stage, wanted)
        subset = context.candidate_subset.compute_intersection_with_partition_keys(wanted)
        return dg.AutomationResult(context, true_subset=subset)

    def _members(self, root: DataRoot, candidates: Set[str]) -> Set[str]:
        """Return the candidates that some cohort names; no file is read where there are none."""
        if not candidates:
            return set()
        named = read_memberships(root).cohorts_of()
        return {gen_id for stage, gen_id in named if stage == self.stage} & candidates


@dataclasses.dataclass(frozen=True)
class ParentMadeSince(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions whose parent was made after they were last asked for: they failed for
    want of it, as where somebody launches a child too early, and nothing was paid."""

    data_root: Path
    key_prefix: tuple[str, ...]
    stage: str

    @property
    def name(self) -> str:
        return f"parent_made_since({self.stage})"

    def evaluate(
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        candidates = context.candidate_subset.expensively_compute_partition_keys()
        above = parent_stage(self.stage)
        later: set[str] = set()
        if candidates and above is not None:
            instance = context.asset_graph_view.instance
            parent = dg.AssetKey([*self.key_prefix, stage_asset_name(above)])
            asked = instance.get_latest_storage_id_by_partition(context.key, _PLANNED)
            made = instance.get_latest_storage_id_by_partition(parent, _MADE)
            for key in candidates:
                name = parent_of(DataRoot(self.data_root), self.stage, key)
                if name is not None and made.get(name, 0) > asked.get(key, 0):
                    later.add(key)
        subset = context.candidate_subset.compute_intersection_with_partition_keys(later)
        return dg.AutomationResult(context, true_subset=subset)


def _left_alone(root: DataRoot, stage: str, gen_ids: Set[str]) -> Set[str]:
    """Return the members whose task is in a batch under another id, and legacy ones whose task is
    there under another id: a run refuses these until somebody says whether to give them that text
    or to pay again; `calls_to_make` names them."""
    older = [one for one in gen_ids if parse_id(one).family != "v1"]
    if not older:
        return set()
    plan, batches = plan_reuse_of(root, stage, older), open_batches(root)
    waiting = {
        member.gen_id
        for member, task in plan.tasks.items()
        if any(one.holds(stage, [task.name]) for one in batches)
    }
    return waiting | {one.gen_id for one in plan.refused}


def _on_record(context: dg.AutomationContext[dg.AssetKey]) -> Set[str]:
    """Return the partitions that Dagster's event log has as materialized. What its own condition
    takes for missing comes of a cache, which lacks keys that were registered during the tick that
    filled it (a migration, or going back on one, registers keys with a history)."""
    return context.asset_graph_view.instance.get_materialized_partitions(context.key)


def generate_missing(
    data_root: Path, key_prefix: Sequence[str], stage: str
) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of one stage's asset. What has failed waits for a human, but for what
    was asked for before its parent was there."""
    since = ParentMadeSince(data_root=data_root, key_prefix=tuple(key_prefix), stage=stage)
    idle = _CONDITION.missing() & ~_CONDITION.in_progress()
    condition = (
        idle
        & ~(_CONDITION.execution_failed() & ~since)
        & WantedOnDisk(data_root=data_root, stage=stage)
    )
    return condition.with_label(f"{stage}: registered, missing, idle, not failed, parent made")


def generation_sensor(
    keys: Sequence[dg.AssetKey], *, name: str, running: bool, interval: int
) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions every `interval` seconds.

    It starts stopped unless `running`: generations are paid for, so a host switches it on. It asks
    for backfills: those make one run of each range of keys, where a request for runs makes one of
    each key, and a run costs seconds.
    """
    status = dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
    return dg.AutomationConditionSensorDefinition(
        name,
        target=dg.AssetSelection.assets(*keys),
        use_user_code_server=True,
        emit_backfills=True,
        default_status=status,
        minimum_interval_seconds=interval,
    )
