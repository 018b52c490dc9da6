"""The assets that build a cohort: its combos, its id, its members, their partitions. One step makes
all four by `build_cohort`, as the command does, and a refused build writes nothing."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from genid_dagster_adapter.loading import COHORT_TAG, CohortId
from genid_dagster_adapter.partitions import COHORTS, partitions_def, record_owner, register
from genid_dagster_adapter.recording import (
    chosen,
    cohort_materialization,
    membership_metadata,
    registration,
)
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import COHORT_ID, COMBOS, MEMBERSHIP, REGISTRATION
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import MAX_ROWS
from genid_store.config import Config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.ids.rollout import Rollout
from genid_store.stages import stage_names


class BuildConfig(dg.Config):
    """What a build can be asked. The cohort is the run's partition, else `cohort_id`, else
    DD_COHORT's, else computed from the tables; `k_max` and `description_level` (default: those of
    genid.toml) make the combo where the operator selected none, and `write_combos` replaces the
    operator's selection by it."""

    cohort_id: str | None = None
    k_max: int | None = None
    description_level: str | None = None
    write_combos: bool = False
    forbid_regeneration: bool = False
    drop: bool = False
    max_rows: int = MAX_ROWS


def cohort_assets(setup: Setup, rollout: Rollout, config: Config) -> dg.AssetsDefinition:
    """Return the assets. `rollout` is the state in which members get their ids."""

    combo_defaults = {"k_max": config.k_max, "description_level": config.description_level}
    prefix = setup.translator.prefix

    def spec(name: str, text: str, **more: Any) -> dg.AssetSpec:
        described = setup.described(name)
        return dg.AssetSpec(**described, deps=setup.deps(name), description=text, **more)

    manager = setup.identifier("cohort_id_io_manager")

    @dg.multi_asset(
        name=setup.identifier("build_cohort"),
        specs=[
            spec(COMBOS, "The combos of cartesian cohorts, or the operator's own.", kinds={"csv"}),
            spec(
                COHORT_ID, "The cohort's id: given, else computed from the tables."
            ).with_io_manager_key(manager),
            spec(
                MEMBERSHIP,
                "The cohort's members, each with metadata; a partition is a cohort.",
                kinds={"csv"},
                partitions_def=partitions_def(COHORTS, prefix),
            ),
            spec(REGISTRATION, "The members as partitions of the stage assets."),
        ],
        resource_defs={manager: CohortId()},
    )
    def build(
        context: dg.AssetExecutionContext, config: BuildConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        values = {**combo_defaults, **config.model_dump(exclude_none=True)}
        values["cohort_id"] = _asked_for(context, config.cohort_id)
        root, instance = DataRoot.open(setup.data_root), context.instance
        built = build_cohort(root, Options(rollout=rollout, **values))
        value = built.plan.cohort_id
        register(instance, COHORTS, [value], prefix=prefix)
        instance.add_run_tags(context.run.run_id, {COHORT_TAG: value})
        for one in chosen(root, setup.translator, value):
            yield _result(one)
        event = cohort_materialization(root, value, setup.translator, **membership_metadata(built))
        if not context.has_partition_key:
            context.log_event(event)
        yield _result(event)
        members, added = register_members(instance, root, value, prefix=prefix)
        yield _result(registration(setup.translator, [value], members, added=added))

    return build


def _result(event: dg.AssetMaterialization) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(asset_key=event.asset_key, metadata=event.metadata, tags=event.tags)


def _asked_for(context: dg.AssetExecutionContext, given: str | None) -> str | None:
    """Return the cohort that a run is to build: its partition, else what its config names, else
    what DD_COHORT says; None: the tables say. StoreError: the first two differ."""
    key = context.partition_key if context.has_partition_key else None
    if key is not None and given not in (None, key):
        message, remedy = f"is not the partition {key} that it was launched for", "give one of them"
        summary = "the run was asked for two cohorts"
        raise StoreError.of(summary, COHORT_ID, message, remedy, value=given)
    return given_cohort_id(key or given, os.environ)


def register_members(
    instance: dg.DagsterInstance, root: DataRoot, cohort_id: str, *, prefix: str = ""
) -> tuple[dict[str, int], dict[str, int]]:
    """Register a cohort's members as partitions; return members and added keys by stage. Under the
    data root's lock: of two builds at once only one counts a key as added, and no id that a
    migration is changing is registered.

    StoreError: the membership cannot be read, an id cannot be a partition's key, or the data root
    is in use.
    """
    with root_lock(root, BUILD):
        record_owner(instance, root, prefix)
        members = read_membership(root, cohort_id)
        keys = {name: [key for stage, key in members if stage == name] for name in stage_names()}
        added = {
            stage: register(instance, stage, ids, prefix=prefix) for stage, ids in keys.items()
        }
    return {stage: len(ids) for stage, ids in keys.items()}, added


def cohort_of(context: dg.AssetCheckExecutionContext) -> str:
    """Return the cohort that a run is about: its partition, else the one that was built in it (or
    in the run that it goes on with). StoreError: neither."""
    run = context.instance.get_run_by_id(context.run.run_id) or context.run
    found = run.tags.get("dagster/partition") or run.tags.get(COHORT_TAG)
    if found is None:
        remedy = "launch it for a partition (a cohort), or together with the build"
        raise StoreError.of("no cohort is known", "run", "names no cohort", remedy)
    return found
