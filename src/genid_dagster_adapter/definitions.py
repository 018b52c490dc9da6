"""The adapter's Dagster definitions: one call that returns a fresh object, all of it overridable.

The environment is read here and nowhere below: GENID_DATA_ROOT, DD_DETERMINISTIC_GEN_IDS and
DD_GEN_ID_SCHEME, where the arguments do not say otherwise. No resource is defined, so that the
result merges into any project.
"""

import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import dagster as dg

from genid_dagster_adapter.assets import MEMBERSHIP, REGISTRATION, build_cohort_assets
from genid_dagster_adapter.automation import generation_sensor
from genid_dagster_adapter.checks import build_cohort_checks
from genid_dagster_adapter.jobs import build_missing_job
from genid_dagster_adapter.stage_assets import build_stage_assets
from genid_store.cohort.inputs.tables import provider_models
from genid_store.config import effective_rollout, read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Generator, Outcome
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

DATA_ROOT = "GENID_DATA_ROOT"


def build_definitions(
    *,
    data_root: str | os.PathLike[str] | None = None,
    generate: Generator | None = None,
    rollout: Rollout | None = None,
    key_prefix: Sequence[str] = (),
    group_name: str = "genid",
    partition_prefix: str | None = None,
    concurrency: int = CONCURRENCY,
    automation: Literal["stopped", "running"] = "stopped",
    automation_interval: int = 30,
    code_version: str = "1",
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    observer: Callable[[Outcome], None] | None = None,
    stop: threading.Event | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dg.Definitions:
    """Return the cohort assets, their checks and the job that builds a cohort; with `generate` the
    stage assets, their sensor and the job that makes what is missing too.

    `generate` is the host's callable; `concurrency` is how many of its calls run at once in a run.
    `key_prefix`, `group_name` and `partition_prefix` keep the assets and partition sets apart from
    a project's others; with a `key_prefix` the partition sets' prefix must be given too ("" for
    none), since they are global to an instance. `automation` is the state in which the sensor
    starts: generations are paid for, so it is "stopped" unless the host says otherwise.
    `executor=None` leaves the choice to the project that these definitions are merged into (each
    step of another executor imports Dagster again). `observer` and `stop` are for a caller in the
    run's own process.

    StoreError: no data root is given, a variable of the rollout is not understood, or an argument
    cannot be used.
    """
    _check_arguments(generate, key_prefix, partition_prefix, concurrency, automation)
    partition_prefix = partition_prefix or ""
    root = _data_root(data_root, environ)
    config = read_config(DataRoot(root))
    state = effective_rollout(config, environ) if rollout is None else rollout
    _accept_young_interfaces()
    cohort = build_cohort_assets(
        data_root=root,
        rollout=state,
        config=config,
        key_prefix=key_prefix,
        group_name=group_name,
        partition_prefix=partition_prefix,
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
        membership=dg.AssetKey([*key_prefix, MEMBERSHIP]),
        registration=dg.AssetKey([*key_prefix, REGISTRATION]),
        partition_prefix=partition_prefix,
    )
    sensor = generation_sensor(
        [asset.key for asset in stages],
        name=_name(key_prefix, "genid_generation"),
        running=automation == "running",
        interval=automation_interval,
    )
    jobs: list[dg.JobDefinition | dg.UnresolvedAssetJobDefinition] = [
        dg.define_asset_job(  # in one process: its steps are short
            cohort_job_name(key_prefix),
            dg.AssetSelection.assets(cohort) | dg.AssetSelection.checks(checks),
            executor_def=dg.in_process_executor,
            description="Build a cohort and check it.",
        )
    ]
    if generate is not None:
        jobs.append(
            build_missing_job(
                name=missing_job_name(key_prefix),
                data_root=root,
                generate=generate,
                keys={stage: asset.key for stage, asset in zip(PIPELINE, stages, strict=True)},
                provider_models=provider_models,
                partition_prefix=partition_prefix,
                concurrency=concurrency,
                observer=observer,
                stop=stop,
            )
        )
    return dg.Definitions(
        assets=[cohort, *stages],
        asset_checks=[checks],
        jobs=jobs,
        sensors=[sensor] if stages else [],
        executor=executor,
    )


def cohort_job_name(key_prefix: Sequence[str] = ()) -> str:
    """Return the name of the job that builds a cohort."""
    return _name(key_prefix, "genid_cohort")


def missing_job_name(key_prefix: Sequence[str] = ()) -> str:
    """Return the name of the job that makes what a cohort lacks."""
    return _name(key_prefix, "genid_make_missing")


def _name(key_prefix: Sequence[str], name: str) -> str:
    """Return a name that Dagster takes for a job or a sensor: keys may hold what those may not."""
    return re.sub(r"[^A-Za-z0-9_]", "_", "_".join([*key_prefix, name]))


def _check_arguments(
    generate: object,
    key_prefix: Sequence[str],
    partition_prefix: str | None,
    concurrency: int,
    automation: str,
) -> None:
    problems = []
    if generate is not None and not callable(generate):
        message = "cannot be called"
        remedy = "give the callable itself; genid_store.generation.load.load_generator finds it"
        problems.append(Problem(where="generate", value=generate, message=message, remedy=remedy))
    if isinstance(key_prefix, str):
        message, remedy = "is one text", f"give its parts: [{key_prefix!r}]"
        problems.append(Problem(where="key_prefix", message=message, remedy=remedy))
    if key_prefix and partition_prefix is None:
        remedy = f'give one, e.g. "{"_".join(key_prefix)}_" ("" for the sets draft_gens, …)'
        message = "is missing beside key_prefix: partition sets are global to an instance"
        problems.append(Problem(where="partition_prefix", message=message, remedy=remedy))
    if concurrency < 1:
        message, remedy = "is below 1", "allow 1 call at once or more"
        problems.append(
            Problem(where="concurrency", value=concurrency, message=message, remedy=remedy)
        )
    if automation not in ("stopped", "running"):
        message, remedy = "is no state of a sensor", 'give "stopped" or "running"'
        problems.append(
            Problem(where="automation", value=automation, message=message, remedy=remedy)
        )
    if problems:
        raise StoreError("the definitions cannot be built", problems)


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
    raise StoreError("the definitions need a data root", [problem])
