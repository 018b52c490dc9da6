"""When Dagster may start a generation by itself, and the sensor that lets it.

Level-triggered: a member of some cohort is asked for while it is registered, not materialized, in
no run, has not failed (neither in Dagster nor on disk), and its parent's content is on disk. A key
that no cohort names any more (a rebuild dropped it) is never asked for, and nothing is while a
migration has the data root. Asset dependencies
gate nothing here: between two dynamic partition sets Dagster would map equal keys to each other,
and a draft's key is never an essay's.
"""

import dataclasses
from collections.abc import Sequence, Set
from pathlib import Path

import dagster as dg

from genid_store.catalog.memberships import read_memberships
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.generation import is_wanted

_CONDITION = dg.AutomationCondition


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
            wanted = {key for key in members if is_wanted(root, self.stage, key)}
        subset = context.candidate_subset.compute_intersection_with_partition_keys(wanted)
        return dg.AutomationResult(context, true_subset=subset)

    def _members(self, root: DataRoot, candidates: Set[str]) -> Set[str]:
        """Return the candidates that some cohort names; no file is read where there are none."""
        if not candidates:
            return set()
        named = read_memberships(root).cohorts_of()
        return {gen_id for stage, gen_id in named if stage == self.stage} & candidates


def _on_record(context: dg.AutomationContext[dg.AssetKey]) -> Set[str]:
    """Return the partitions that Dagster's event log has as materialized. What its own condition
    takes for missing comes of a cache, which lacks keys that were registered during the tick that
    filled it (a migration, or going back on one, registers keys with a history)."""
    return context.asset_graph_view.instance.get_materialized_partitions(context.key)


def generate_missing(data_root: Path, stage: str) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of one stage's asset. What has failed waits for a human."""
    idle = _CONDITION.missing() & ~_CONDITION.in_progress() & ~_CONDITION.execution_failed()
    condition = idle & WantedOnDisk(data_root=data_root, stage=stage)
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
