"""The assets that build a cohort: its combos, its id, its members, their partitions.

One step makes all four: it calls `build_cohort`, as the command does, so that everything is read
and planned once, and a refused build writes nothing. The rules are `genid_store.cohort`'s.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import dagster as dg

from genid_dagster_adapter.membership_metadata import membership_metadata, stage_table
from genid_dagster_adapter.partitions import register
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs import combos as combo_files
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import MAX_ROWS
from genid_store.config import Config
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

COMBOS: Final = "selected_combo_mappings"
COHORT_ID: Final = "cohort_id"  # the asset, and the metadata key under which its value is shown
MEMBERSHIP: Final = "cohort_membership"
REGISTRATION: Final = "register_cohort_partitions"


class BuildConfig(dg.Config):
    """What a build can be asked. Without `cohort_id` the id is DD_COHORT's, else computed from the
    tables; `k_max` and `description_level` (default: those of genid.toml) make the combo where the
    operator selected none, and `write_combos` replaces the operator's selection by it."""

    cohort_id: str | None = None
    k_max: int | None = None
    description_level: str | None = None
    write_combos: bool = False
    forbid_regeneration: bool = False
    drop: bool = False
    max_rows: int = MAX_ROWS
    rebuild_migrated: bool = False


def build_cohort_assets(
    *,
    data_root: Path,
    rollout: Rollout,
    config: Config,
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    partition_prefix: str = "",
) -> dg.AssetsDefinition:
    """Return the assets. `rollout` is the state in which members get their ids."""

    combo_defaults = {"k_max": config.k_max, "description_level": config.description_level}

    def key(name: str) -> dg.AssetKey:
        return dg.AssetKey([*key_prefix, name])

    def spec(name: str, text: str, *deps: str, kinds: Sequence[str] = ()) -> dg.AssetSpec:
        return dg.AssetSpec(
            key(name),
            deps=[key(one) for one in deps],
            description=text,
            group_name=group_name,
            code_version="1",
            kinds=set(kinds),
        )

    @dg.multi_asset(
        name=key("build_cohort").to_python_identifier(),
        specs=[
            spec(COMBOS, "The combos of cartesian cohorts, or the operator's own.", kinds=["csv"]),
            spec(COHORT_ID, "The cohort's id: given, else computed from the tables.", COMBOS),
            spec(MEMBERSHIP, "The cohort's members, each with metadata.", COHORT_ID, kinds=["csv"]),
            spec(REGISTRATION, "The members as partitions of the stage assets.", MEMBERSHIP),
        ],
    )
    def build(
        context: dg.AssetExecutionContext, config: BuildConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        values = {**combo_defaults, **config.model_dump(exclude_none=True)}
        values["cohort_id"] = given_cohort_id(config.cohort_id, os.environ)
        root = DataRoot.open(data_root)
        built = build_cohort(root, Options(rollout=rollout, **values))
        value = built.plan.cohort_id
        combos = _combo_table(built.prepared.inputs.combos)
        yield dg.MaterializeResult(asset_key=key(COMBOS), metadata={"combos": combos})
        yield dg.MaterializeResult(
            asset_key=key(COHORT_ID),
            metadata={COHORT_ID: value},
            data_version=dg.DataVersion(value),
        )
        yield dg.MaterializeResult(asset_key=key(MEMBERSHIP), metadata=membership_metadata(built))
        members, added = register_members(context.instance, root, value, prefix=partition_prefix)
        table = stage_table(members=members, added=added)
        yield dg.MaterializeResult(
            asset_key=key(REGISTRATION), metadata={COHORT_ID: value, "partitions": table}
        )

    return build


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
