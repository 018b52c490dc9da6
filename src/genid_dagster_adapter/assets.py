"""The four assets that build a cohort: its combos, its id, its members, their partitions.

Thin: the rules are `cohort`'s and the steps are `building`'s; each asset takes one and tells
Dagster what came of it. The cohort's id goes from asset to asset as metadata of the run's own
events, so that two builds at once cannot mix, whatever executor runs them.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dagster as dg
from attrs import frozen

from genid_dagster_adapter.building import Built, build_members, find_cohort_id, write_combos
from genid_dagster_adapter.cohort import combos as combo_files
from genid_dagster_adapter.cohort.build import Options
from genid_dagster_adapter.cohort.membership import Progress, read_membership
from genid_dagster_adapter.errors import AdapterError, Problem
from genid_dagster_adapter.membership_metadata import membership_metadata, stage_table
from genid_dagster_adapter.partitions import register
from genid_dagster_adapter.rollout import Rollout
from genid_dagster_adapter.store.layout import STAGES, DataRoot

COHORT_ID = "cohort_id"  # the asset, and the metadata key under which its value travels


class CombosConfig(dg.Config):
    """How the combo is made where the operator selected none; `write_anew` replaces a selection."""

    k_max: int = combo_files.DEFAULT_K_MAX
    description_level: str = combo_files.DEFAULT_DESCRIPTION_LEVEL
    write_anew: bool = False


class CohortIdConfig(dg.Config):
    """The cohort's id; without one it is DD_COHORT's, else computed from the tables."""

    cohort_id: str | None = None


class MembershipConfig(dg.Config):
    """Whether to refuse paying a second time, and whether a migrated cohort may be rebuilt."""

    forbid_regeneration: bool = False
    rebuild_migrated: bool = False


@frozen(kw_only=True)
class BuildObserver:
    """What a caller in the run's own process is told; the command line shows it."""

    built: Callable[[Built], None] = lambda built: None
    registered: Callable[[Mapping[str, int]], None] = lambda added: None
    progress: Progress = lambda done, total: None


def build_cohort_assets(
    *,
    data_root: Path,
    rollout: Rollout,
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    partition_prefix: str = "",
    observer: BuildObserver | None = None,
) -> list[dg.AssetsDefinition]:
    """Return the assets, parents first. `rollout` is the state in which members get their ids."""
    seen = observer or BuildObserver()
    prefix = list(key_prefix) or None

    @dg.asset(key_prefix=prefix, group_name=group_name, code_version="1", kinds={"csv"})
    def selected_combo_mappings(config: CombosConfig) -> dg.MaterializeResult[None]:
        """The combos that cartesian cohorts are about; the operator's own file is used as it is."""
        options = Options(
            rollout=rollout,
            k_max=config.k_max,
            description_level=config.description_level,
            write_combos=config.write_anew,
        )
        combos = write_combos(DataRoot.open(data_root), options)
        return dg.MaterializeResult(metadata={"combos": _combo_table(combos)})

    @dg.asset(
        name=COHORT_ID,
        key_prefix=prefix,
        group_name=group_name,
        deps=[selected_combo_mappings],
        code_version="1",
    )
    def cohort_id(config: CohortIdConfig) -> dg.MaterializeResult[None]:
        """The cohort's id: given, else computed from what the tables hold."""
        options = Options(rollout=rollout, cohort_id=config.cohort_id)
        value = find_cohort_id(DataRoot.open(data_root), options)
        return dg.MaterializeResult(metadata={COHORT_ID: value}, data_version=dg.DataVersion(value))

    @dg.asset(
        key_prefix=prefix,
        group_name=group_name,
        deps=[cohort_id],
        code_version="1",
        kinds={"csv"},
    )
    def cohort_membership(
        context: dg.AssetExecutionContext, config: MembershipConfig
    ) -> dg.MaterializeResult[None]:
        """The cohort's members and the metadata of those that the store does not have yet."""
        value = carried_cohort_id(context.instance, context.run.run_id, cohort_id.key)
        built = build_members(
            DataRoot.open(data_root),
            Options(rollout=rollout, cohort_id=value, rebuild_migrated=config.rebuild_migrated),
            forbid_regeneration=config.forbid_regeneration,
            progress=seen.progress,
        )
        seen.built(built)
        return dg.MaterializeResult(metadata=membership_metadata(built))

    @dg.asset(key_prefix=prefix, group_name=group_name, deps=[cohort_membership], code_version="1")
    def register_cohort_partitions(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        """The cohort's members as partitions of the stage assets; none is ever removed here."""
        value = carried_cohort_id(context.instance, context.run.run_id, cohort_membership.key)
        members, added = register_members(
            context.instance, DataRoot.open(data_root), value, prefix=partition_prefix
        )
        seen.registered(added)
        return dg.MaterializeResult(
            metadata={COHORT_ID: value, "partitions": stage_table(members=members, added=added)}
        )

    return [selected_combo_mappings, cohort_id, cohort_membership, register_cohort_partitions]


def register_members(
    instance: dg.DagsterInstance, root: DataRoot, cohort_id: str, *, prefix: str = ""
) -> tuple[dict[str, int], dict[str, int]]:
    """Register a cohort's members as partitions; return members and added keys by stage.

    AdapterError: the membership cannot be read, or an id cannot be a partition's key.
    """
    members = read_membership(root, cohort_id)
    keys = {stage: [one.gen_id for one in members if one.stage == stage] for stage in STAGES}
    added = {stage: register(instance, stage, ids, prefix=prefix) for stage, ids in keys.items()}
    return {stage: len(ids) for stage, ids in keys.items()}, added


def carried_cohort_id(instance: dg.DagsterInstance, run_id: str, upstream: dg.AssetKey) -> str:
    """Return the cohort id that `upstream` gave in this run, else in its last one.

    AdapterError: it was never materialized.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    mine = [entry.asset_materialization for entry in instance.all_logs(run_id, of_type=kind)]
    latest = instance.get_latest_materialization_event(upstream)
    found = [event for event in mine if event is not None and event.asset_key == upstream]
    found += (
        []
        if latest is None or latest.asset_materialization is None
        else [latest.asset_materialization]
    )
    for event in found:
        if COHORT_ID in event.metadata:
            return str(event.metadata[COHORT_ID].value)
    name = upstream.to_user_string()
    problem = Problem(
        where=name,
        message="it has not been materialized",
        remedy=f"materialize {name} together with this asset, or before it",
    )
    raise AdapterError("no cohort is known", [problem])


def _combo_table(combos: Sequence[combo_files.Combo]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({"combo_id": one.combo_id, "concepts": ", ".join(sorted(one.concept_ids))})
        for one in combos
    ]
    columns = [dg.TableColumn("combo_id", "string"), dg.TableColumn("concepts", "string")]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))
