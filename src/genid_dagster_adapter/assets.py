"""The assets that build a cohort: its combos, its id, its members and their registration.

One step makes all four with the store's `build_cohort`, as the command does, and a refused build
writes nothing. Generations are made in `generations`.
"""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg

from genid_dagster_adapter import recording
from genid_dagster_adapter.loading import COHORT_TAG, CohortId
from genid_dagster_adapter.partitions import COHORTS, partitions_def, record_owner, register
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
    """The options of a build.

    The cohort is the run's partition, else `cohort_id`, else DD_COHORT, else computed from the
    tables. If the operator has selected no combos, `k_max` and `description_level` (default: those
    of genid.toml) determine them; `write_combos` replaces the operator's selection.
    """

    cohort_id: str | None = None
    k_max: int | None = None
    description_level: str | None = None
    write_combos: bool = False
    forbid_regeneration: bool = False
    drop: bool = False
    max_rows: int = MAX_ROWS


def cohort_assets(setup: Setup, rollout: Rollout, config: Config) -> dg.AssetsDefinition:
    """Return the assets. `rollout` determines which ids the members get."""
    combo_defaults = {"k_max": config.k_max, "description_level": config.description_level}
    prefix = setup.translator.prefix

    def spec(name: str, description: str, **more: Any) -> dg.AssetSpec:
        deps = setup.deps(setup.translator.upstream(name))
        return dg.AssetSpec(**setup.described(name), deps=deps, description=description, **more)

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
        values["cohort_id"] = _requested_cohort(context, config.cohort_id)
        root, instance = DataRoot.open(setup.data_root), context.instance
        built = build_cohort(root, Options(rollout=rollout, **values))
        cohort_id = built.plan.cohort_id
        register(instance, COHORTS, [cohort_id], prefix=prefix)
        instance.add_run_tags(context.run.run_id, {COHORT_TAG: cohort_id})
        yield from map(recording.as_result, recording.last_built(root, cohort_id, setup.translator))
        event = recording.cohort_materialization(root, cohort_id, setup.translator, built)
        # A result has the run's partition. In a run without one, only an event can name the cohort.
        if not context.has_partition_key:
            context.log_event(event)
        yield recording.as_result(event)
        counts = register_members(instance, root, cohort_id, prefix=prefix)
        yield recording.as_result(recording.registration(setup.translator, [cohort_id], *counts))

    return build


def _requested_cohort(context: dg.AssetExecutionContext, configured: str | None) -> str | None:
    """Return the cohort that a run is to build, None if it follows from the tables. StoreError:
    the run's partition and its config name different cohorts."""
    key = context.partition_key if context.has_partition_key else None
    if key is not None and configured not in (None, key):
        message, remedy = f"is not the partition {key} that it was launched for", "give one of them"
        summary = "the run was asked for two cohorts"
        raise StoreError.of(summary, COHORT_ID, message, remedy, value=configured)
    return given_cohort_id(key or configured, os.environ)


def register_members(
    instance: dg.DagsterInstance, root: DataRoot, cohort_id: str, *, prefix: str = ""
) -> tuple[dict[str, int], dict[str, int]]:
    """Register a cohort's members as partitions; return by stage how many there are and are new.

    StoreError: the membership cannot be read, an id cannot be a key, or the data root is in use.
    """
    # Under the lock, concurrent builds do not both count a key as added, and no id is registered
    # that a migration is about to replace.
    with root_lock(root, BUILD):
        record_owner(instance, root, prefix)
        members = read_membership(root, cohort_id)
        keys = {name: [key for stage, key in members if stage == name] for name in stage_names()}
        added = {of: register(instance, of, ids, prefix=prefix) for of, ids in keys.items()}
    return {stage: len(ids) for stage, ids in keys.items()}, added
