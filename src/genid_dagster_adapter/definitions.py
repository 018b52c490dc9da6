"""The adapter's Dagster definitions: one call that returns a fresh object, all of it overridable.

The environment is read here and nowhere below: GENID_DATA_ROOT, DD_DETERMINISTIC_GEN_IDS and
DD_GEN_ID_SCHEME, where the arguments do not say otherwise. No resource is defined, so that the
result merges into any project.
"""

import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import dagster as dg

from genid_dagster_adapter.assets import BuildObserver, build_cohort_assets
from genid_dagster_adapter.automation import generation_sensor
from genid_dagster_adapter.building import provider_models
from genid_dagster_adapter.checks import build_cohort_checks
from genid_dagster_adapter.errors import AdapterError, Problem
from genid_dagster_adapter.generation import CONCURRENCY, Generator, Outcome
from genid_dagster_adapter.rollout import Rollout
from genid_dagster_adapter.stage_assets import build_stage_assets

DATA_ROOT = "GENID_DATA_ROOT"


def build_definitions(
    *,
    data_root: str | os.PathLike[str] | None = None,
    generate: Generator | None = None,
    rollout: Rollout | None = None,
    key_prefix: Sequence[str] = (),
    group_name: str = "genid",
    partition_prefix: str = "",
    concurrency: int = CONCURRENCY,
    automation: Literal["stopped", "running"] = "stopped",
    automation_interval: int = 30,
    code_version: str = "1",
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    build_observer: BuildObserver | None = None,
    observer: Callable[[Outcome], None] | None = None,
    stop: threading.Event | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dg.Definitions:
    """Return the cohort assets, their checks and a job; with `generate` the stage assets and their
    sensor too.

    `generate` is the host's callable; `concurrency` is how many of its calls run at once in a run.
    `key_prefix`, `group_name` and `partition_prefix` keep the assets and partition sets apart from
    a project's others. `automation` is the state in which the sensor starts: generations are paid
    for, so it is "stopped" unless the host says otherwise. `executor=None` leaves the choice to the
    project that these definitions are merged into (each step of another executor imports Dagster
    anew). `build_observer`, `observer` and `stop` are for a caller in the run's own process.

    AdapterError: no data root is given, or a variable of the rollout is not understood.
    """
    root = _data_root(data_root, environ)
    state = Rollout.from_env(environ) if rollout is None else rollout
    _accept_young_interfaces()
    cohort = build_cohort_assets(
        data_root=root,
        rollout=state,
        key_prefix=key_prefix,
        group_name=group_name,
        partition_prefix=partition_prefix,
        observer=build_observer,
    )
    stages = (
        []
        if generate is None
        else build_stage_assets(
            data_root=root,
            generate=generate,
            provider_models=provider_models,
            key_prefix=key_prefix,
            group_name=group_name,
            partition_prefix=partition_prefix,
            concurrency=concurrency,
            code_version=code_version,
            observer=observer,
            stop=stop,
        )
    )
    checks = build_cohort_checks(
        data_root=root,
        membership=cohort[2].key,
        registration=cohort[3].key,
        partition_prefix=partition_prefix,
    )
    name = "_".join([*key_prefix, "genid"])
    sensor = generation_sensor(
        [asset.key for asset in stages],
        name=f"{name}_generation",
        running=automation == "running",
        interval=automation_interval,
    )
    return dg.Definitions(
        assets=[*cohort, *stages],
        asset_checks=[checks],
        jobs=[
            dg.define_asset_job(  # in one process: its steps are short
                cohort_job_name(key_prefix),
                dg.AssetSelection.assets(*cohort) | dg.AssetSelection.checks(checks),
                executor_def=dg.in_process_executor,
                description="Build a cohort and check it.",
            )
        ],
        sensors=[sensor] if stages else [],
        executor=executor,
    )


def cohort_job_name(key_prefix: Sequence[str] = ()) -> str:
    """Return the name of the job that builds a cohort."""
    return "_".join([*key_prefix, "genid_cohort"])


def _accept_young_interfaces() -> None:
    """Keep Dagster quiet about interfaces that it may still change: they are used knowingly, and
    the lowest and highest Dagster are tested."""
    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(dagster|genid)")


def _data_root(given: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    value = given if given is not None else environ.get(DATA_ROOT)
    if value:
        return Path(value).resolve()
    problem = Problem(
        where=DATA_ROOT,
        message="no data root is given",
        remedy="set it to the pipeline's data folder, or pass data_root=",
    )
    raise AdapterError("the definitions need a data root", [problem])
