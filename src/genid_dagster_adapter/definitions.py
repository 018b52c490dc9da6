"""The adapter's Dagster definitions: one call that returns a fresh object, all of it overridable.

The environment is read here and nowhere below, where the arguments do not say otherwise. The one
resource is the data root, named after the partition sets: so Dagster itself refuses a location in
which two data roots have the same sets.
"""

import os
import re
import sys
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from genid_dagster_adapter.assets import cohort_assets
from genid_dagster_adapter.checks import cohort_checks
from genid_dagster_adapter.generations import NO_RETRIES, generated_asset, missing_asset
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import MEMBERSHIP, Translator
from genid_store.config import effective_rollout, read_config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Generator
from genid_store.generation.load import load_stages
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE


def build_definitions(
    *,
    data_root: str | os.PathLike[str] | dg.EnvVar | None = None,
    generate: Generator | dg.ConfigurableResource[Any] | None = None,
    rollout: Rollout | None = None,
    translator: Translator | None = None,
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
    how many of its calls a run makes at once. `automation` is the state in which the sensor starts,
    `automation_interval` the seconds between its ticks. `executor` is for definitions that are a
    project by themselves. `knobs` are further fields of `Setup`: `pool`, `op_tags`,
    `retry_policy`, `backfill_policy`.

    StoreError: no data root is given, a variable of the rollout is not understood, or an argument
    cannot be used.
    """
    if automation not in ("stopped", "running"):
        message, remedy = "is not a state of the sensor", 'give "stopped" or "running"'
        summary = "the definitions cannot be built"
        raise StoreError.of(summary, "automation", message, remedy, value=automation)
    root = _data_root(data_root, environ)
    config = read_config(DataRoot(root))
    further = load_stages(DataRoot(root), config)
    setup = Setup(
        data_root=root,
        generate=generate,
        translator=translator or Translator(),
        stages=(*PIPELINE, *further),
        concurrency=concurrency,
        **knobs,
    )
    state = effective_rollout(config, environ) if rollout is None else rollout
    with warnings.catch_warnings():
        # They may still change: used knowingly, tested with the lowest and the highest Dagster.
        for young in (dg.BetaWarning, dg.PreviewWarning):
            warnings.filterwarnings("ignore", category=young, module=r"(dagster|genid)")
        cohort, checks = cohort_assets(setup, state, config), cohort_checks(setup)
        assets, sensors = [cohort], []
        job = partial(dg.define_asset_job, executor_def=executor)
        selection = dg.AssetSelection.assets(cohort) | dg.AssetSelection.checks(checks)
        text = "Build a cohort and check it."
        jobs = [job(_name(setup, "genid_cohort"), selection, description=text)]
        if generate is not None:
            stages = [generated_asset(one, setup) for one in setup.stages]
            assets += [*stages, missing := missing_asset(setup)]
            name, text = "genid_make_missing", "Make what a cohort lacks, ancestors first."
            only = dg.AssetSelection.assets(missing)
            jobs.append(job(_name(setup, name), only, tags=NO_RETRIES, description=text))
            # It starts stopped unless asked: generations are paid for. It asks for backfills: those
            # make one run of each range of keys, where a request for runs makes one of each key,
            # and a run costs seconds.
            sensors.append(
                dg.AutomationConditionSensorDefinition(
                    _name(setup, "genid_generation"),
                    target=dg.AssetSelection.assets(*stages),
                    use_user_code_server=True,
                    emit_backfills=True,
                    default_status=dg.DefaultSensorStatus[automation.upper()],
                    minimum_interval_seconds=automation_interval,
                )
            )
    # Dagster refuses to merge two objects under one name, and a data root has one string.
    name = f"data_root_of_{setup.translator.prefix}partitions"
    sets = re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):x}_", name)
    return dg.Definitions(
        assets=assets,
        asset_checks=[checks],
        jobs=jobs,
        sensors=sensors,
        resources={sets: sys.intern(str(root))},
        executor=executor,
    )


def _name(setup: Setup, name: str) -> str:
    """Return a name that Dagster takes for a job or a sensor: keys may hold what those may not."""
    prefix = setup.key(MEMBERSHIP).path[:-1]
    return re.sub(r"[^A-Za-z0-9_]", "_", "_".join([*prefix, name]))


def _data_root(
    given: str | os.PathLike[str] | dg.EnvVar | None, environ: Mapping[str, str]
) -> Path:
    name = "GENID_DATA_ROOT"
    if isinstance(given, dg.EnvVar):  # which is a str, of the variable's name
        name, given = given.env_var_name, None
    value = environ.get(name) if given is None else given
    if value:
        return Path(value).resolve()
    remedy = "set it to the pipeline's data folder, or pass data_root="
    raise StoreError.of("the definitions need a data root", name, "no data root is given", remedy)
