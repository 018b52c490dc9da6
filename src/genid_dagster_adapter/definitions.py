"""The adapter's Dagster definitions: one call that returns a fresh object, all of it overridable.

The environment is read here and nowhere below: GENID_DATA_ROOT, DD_DETERMINISTIC_GEN_IDS and
DD_GEN_ID_SCHEME, where the arguments do not say otherwise. The result merges into any project. Its
one resource is the data root, named after the partition sets: Dagster itself so refuses a location
in which two data roots have the same sets.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from genid_dagster_adapter.assets import cohort_assets
from genid_dagster_adapter.automation import generation_sensor
from genid_dagster_adapter.checks import cohort_checks
from genid_dagster_adapter.jobs import NO_RETRIES, missing_asset
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.stage_assets import stage_asset
from genid_store.cohort.inputs.tables import provider_models
from genid_store.config import Config, effective_rollout, read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Generator
from genid_store.generation.load import load_stages
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

DATA_ROOT = "GENID_DATA_ROOT"


def build_definitions(
    *,
    data_root: str | os.PathLike[str] | dg.EnvVar | None = None,
    generate: Generator | dg.ConfigurableResource[Any] | None = None,
    rollout: Rollout | None = None,
    key_prefix: Sequence[str] = (),
    group_name: str = "genid",
    partition_prefix: str | None = None,
    concurrency: int = CONCURRENCY,
    automation: Literal["stopped", "running"] = "stopped",
    automation_interval: int = 30,
    executor: dg.ExecutorDefinition | None = None,
    environ: Mapping[str, str] = os.environ,
    **knobs: Any,
) -> dg.Definitions:
    """Return the cohort assets, their checks and the job that builds a cohort; with `generate` the
    stage assets, their sensor and the job that makes what is missing too.

    `generate` is the host's callable, or a `ConfigurableResource` with `__call__`; `concurrency` is
    how many of its calls run at once in a run. `key_prefix`, `group_name` and `partition_prefix`
    keep the assets and partition sets apart from a project's others; with a `key_prefix` the
    partition sets' prefix must be given too ("" for none), since they are global to an instance.
    `automation` is the state in which the sensor starts: generations are paid for, so it is
    "stopped" unless the host says otherwise. `executor` is for definitions that are a project by
    themselves; without it the project that they are merged into has its own. `knobs` are further
    fields of `Setup`: `code_version`, `pool`, `op_tags`, `retry_policy`, `backfill_policy`, and
    `observer` and `stop` for a caller in the run's own process.

    StoreError: no data root is given, a variable of the rollout is not understood, or an argument
    cannot be used.
    """
    _check_arguments(generate, key_prefix, partition_prefix, concurrency, automation)
    root = _data_root(data_root, environ)
    config, further = read_config(DataRoot(root)), load_stages(DataRoot(root))
    setup = Setup(
        data_root=root,
        generate=generate,
        key_prefix=key_prefix,
        group_name=group_name,
        partition_prefix=partition_prefix or "",
        stages=(*PIPELINE, *further),
        concurrency=concurrency,
        provider_models=provider_models,
        **knobs,
    )
    state = effective_rollout(config, environ) if rollout is None else rollout
    with _young_interfaces():
        return _definitions(
            setup,
            state,
            config,
            executor,
            running=automation == "running",
            every=automation_interval,
        )


def _definitions(
    setup: Setup,
    rollout: Rollout,
    config: Config,
    executor: dg.ExecutorDefinition | None,
    *,
    running: bool,
    every: int,
) -> dg.Definitions:
    cohort, checks = cohort_assets(setup, rollout, config), cohort_checks(setup)
    assets = [cohort]
    jobs = [
        dg.define_asset_job(
            cohort_job_name(setup.key_prefix),
            dg.AssetSelection.assets(cohort) | dg.AssetSelection.checks(checks),
            executor_def=executor,
            description="Build a cohort and check it.",
        )
    ]
    sensors = []
    if setup.generate is not None:
        stages, missing = [stage_asset(one, setup) for one in setup.stages], missing_asset(setup)
        assets += [*stages, missing]
        jobs.append(
            dg.define_asset_job(
                missing_job_name(setup.key_prefix),
                dg.AssetSelection.assets(missing),
                executor_def=executor,
                tags=NO_RETRIES,
                description="Make what a cohort lacks, ancestors first.",
            )
        )
        name = _name(setup.key_prefix, "genid_generation")
        keys = [asset.key for asset in stages]
        sensors.append(generation_sensor(keys, name=name, running=running, interval=every))
    # Dagster refuses to merge two objects under one name, and a data root has one string.
    name = f"data_root_of_{setup.partition_prefix}partitions"
    sets = re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):x}_", name)
    return dg.Definitions(
        assets=assets,
        asset_checks=[checks],
        jobs=jobs,
        sensors=sensors,
        resources={sets: sys.intern(str(setup.data_root))},
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
        message, remedy = "is not a state of the sensor", 'give "stopped" or "running"'
        problems.append(
            Problem(where="automation", value=automation, message=message, remedy=remedy)
        )
    if problems:
        raise StoreError("the definitions cannot be built", problems)


@contextmanager
def _young_interfaces() -> Iterator[None]:
    """Keep Dagster quiet, for a block, about interfaces that it may still change: they are used
    knowingly, and the lowest and highest Dagster are tested."""
    with warnings.catch_warnings():
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(dagster|genid)")
        yield


def _data_root(
    given: str | os.PathLike[str] | dg.EnvVar | None, environ: Mapping[str, str]
) -> Path:
    if isinstance(given, dg.EnvVar):  # which is a str, of the variable's name
        name = given.env_var_name
        given = environ.get(name, "")
    else:
        name = DATA_ROOT
    value = given if given is not None else environ.get(DATA_ROOT)
    if value:
        return Path(value).resolve()
    problem = Problem(
        where=name,
        message="no data root is given",
        remedy="set it to the pipeline's data folder, or pass data_root=",
    )
    raise StoreError("the definitions need a data root", [problem])
