"""The four assets that build a cohort: its combos, its id, its members, their partitions.

Thin: the rules are `cohort`'s and the steps are `building`'s; each asset takes one and tells
Dagster what came of it. The cohort's id goes from asset to asset as metadata of the run's own
events, so that two builds at once cannot mix, whatever executor runs them.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from attrs import frozen

from genid_dagster_adapter.membership_metadata import membership_metadata, stage_table
from genid_dagster_adapter.partitions import register
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options
from genid_store.cohort.building import Built, build_members, find_cohort_id, write_combos
from genid_store.cohort.inputs import combos as combo_files
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.seeding import Progress
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

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
    def selected_combo_mappings(
        context: dg.AssetExecutionContext, config: CombosConfig
    ) -> dg.MaterializeResult[None]:
        """The combos that cartesian cohorts are about; the operator's own file is used as it is.
        Nothing is written where the cohort that they are for would be refused."""
        given = _configured(context.run, cohort_id).get("cohort_id")
        told = _configured(context.run, cohort_membership)
        options = Options(
            rollout=rollout,
            cohort_id=given_cohort_id(given if isinstance(given, str) else None, os.environ),
            k_max=config.k_max,
            description_level=config.description_level,
            write_combos=config.write_anew,
            rebuild_migrated=told.get("rebuild_migrated") is True,
        )
        combos = write_combos(
            DataRoot.open(data_root),
            options,
            forbid_regeneration=told.get("forbid_regeneration") is True,
        )
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
        value = carried_cohort_id(context.instance, context.run, cohort_id.key)
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
        value = carried_cohort_id(context.instance, context.run, cohort_membership.key)
        members, added = register_members(
            context.instance, DataRoot.open(data_root), value, prefix=partition_prefix
        )
        seen.registered(added)
        return dg.MaterializeResult(
            metadata={COHORT_ID: value, "partitions": stage_table(members=members, added=added)}
        )

    return [selected_combo_mappings, cohort_id, cohort_membership, register_cohort_partitions]


def _configured(run: dg.DagsterRun, asset: dg.AssetsDefinition) -> Mapping[str, object]:
    """Return the config that an asset was given in a run, empty where it was given none."""
    ops: Any = run.run_config.get("ops", {})
    config: Mapping[str, object] = ops.get(asset.op.name, {}).get("config", {})
    return config


def register_members(
    instance: dg.DagsterInstance, root: DataRoot, cohort_id: str, *, prefix: str = ""
) -> tuple[dict[str, int], dict[str, int]]:
    """Register a cohort's members as partitions; return members and added keys by stage.

    Holds the data root's lock meanwhile: of two builds at once only one counts a key as added, and
    no id that a migration is changing is registered.

    StoreError: the membership cannot be read, an id cannot be a partition's key, or the data root
    is in use.
    """
    with root_lock(root, BUILD):
        members = read_membership(root, cohort_id)
        keys = {stage: [one.gen_id for one in members if one.stage == stage] for stage in PIPELINE}
        added = {
            stage: register(instance, stage, ids, prefix=prefix) for stage, ids in keys.items()
        }
    return {stage: len(ids) for stage, ids in keys.items()}, added


def carried_cohort_id(
    instance: dg.DagsterInstance, run: dg.DagsterRun, upstream: dg.AssetKey
) -> str:
    """Return the cohort id that `upstream` gave in this run, else in the run that this one goes on
    with (a re-execution from the failed step), else the last one it gave at all.

    StoreError: it was never materialized.
    """
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    for run_id in _lineage(instance, run):
        for entry in instance.all_logs(run_id, of_type=kind):
            found = _cohort_id_in(entry.asset_materialization, upstream)
            if found is not None:
                return found
    latest = instance.get_latest_materialization_event(upstream)
    found = None if latest is None else _cohort_id_in(latest.asset_materialization, upstream)
    if found is not None:
        return found
    name = upstream.to_user_string()
    problem = Problem(
        where=name,
        message="it has not been materialized",
        remedy=f"materialize {name} together with this asset, or before it",
    )
    raise StoreError("no cohort is known", [problem])


def _lineage(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[str]:
    """Yield the run, the run that it re-executes, and so on."""
    before: dg.DagsterRun | None = run
    while before is not None:
        yield before.run_id
        parent = before.parent_run_id
        before = None if parent is None else instance.get_run_by_id(parent)


def _cohort_id_in(event: dg.AssetMaterialization | None, upstream: dg.AssetKey) -> str | None:
    if event is None or event.asset_key != upstream or COHORT_ID not in event.metadata:
        return None
    return str(event.metadata[COHORT_ID].value)


def _combo_table(combos: Sequence[combo_files.Combo]) -> dg.TableMetadataValue:
    records = [
        dg.TableRecord({"combo_id": one.combo_id, "concepts": ", ".join(sorted(one.concept_ids))})
        for one in combos
    ]
    columns = [dg.TableColumn("combo_id", "string"), dg.TableColumn("concepts", "string")]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))
