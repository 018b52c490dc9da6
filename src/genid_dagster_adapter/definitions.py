"""The adapter's Dagster definitions: one call that returns a fresh object, all of it overridable.

The environment is read here, for what no argument says, and passed down. What the assets and checks
do is in their own modules.
"""

import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from genid_dagster_adapter.assets import cohort_assets
from genid_dagster_adapter.checks import cohort_checks
from genid_dagster_adapter.generations import generated_asset, missing_asset
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import MEMBERSHIP, Translator
from genid_store.config import effective_rollout, read_config
from genid_store.errors import StoreError, require
from genid_store.fs.layout import DataRoot
from genid_store.generation.load import load_stages
from genid_store.generation.pool import CONCURRENCY
from genid_store.generation.records import Generator
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
    environ: Mapping[str, str] | None = None,
    **knobs: Any,
) -> dg.Definitions:
    """Return the cohort assets, their checks and the job that builds a cohort, and with `generate`
    the stage assets, their sensor and the job that makes what is missing.

    `generate` is the host's callable, or a `ConfigurableResource` with `__call__`; a run makes
    `concurrency` calls concurrently. The sensor starts in the state `automation` and ticks every
    `automation_interval` seconds. `executor` is only for definitions that are a project by
    themselves. `knobs` are further fields of `Setup`: `pool`, `op_tags`, `retry_policy`,
    `backfill_policy`. `data_root` defaults to GENID_DATA_ROOT, `rollout` to that of genid.toml or
    of its variables.

    StoreError: there is no data root, or a variable of the rollout or an argument cannot be used.
    """
    require(
        "the definitions cannot be built",
        automation=(automation, automation in ("stopped", "running"), 'use "stopped" or "running"'),
        rollout=(rollout, isinstance(rollout, Rollout | None), "give Rollout.parse(...) of it"),
    )
    environ = os.environ if environ is None else environ  # no default, which `help` would show
    root = _data_root(data_root, environ)
    config = read_config(DataRoot(root))
    state = effective_rollout(config, environ) if rollout is None else rollout
    setup = Setup(
        data_root=root,
        generate=generate,
        translator=translator or Translator(),
        stages=(*PIPELINE, *load_stages(DataRoot(root), config)),
        concurrency=concurrency,
        **knobs,
    )
    with warnings.catch_warnings():
        # Young interfaces are used knowingly, and tested with the lowest and the newest Dagster.
        for category in (dg.BetaWarning, dg.PreviewWarning):
            warnings.filterwarnings("ignore", category=category, module=r"(dagster|genid)")
        cohort, checks = cohort_assets(setup, state, config), cohort_checks(setup)
        selection = dg.AssetSelection.assets(cohort) | dg.AssetSelection.checks(checks)
        name, text = _name(setup, "genid_cohort"), "Build a cohort and check it."
        assets, sensors = [cohort], []
        jobs = [dg.define_asset_job(name, selection, description=text)]
        if generate is not None:
            stages = [generated_asset(stage, setup) for stage in setup.stages]
            missing = missing_asset(setup)
            assets += [*stages, missing]
            name, text = _name(setup, "genid_make_missing"), "Make what a cohort lacks."
            jobs.append(dg.define_asset_job(name, [missing], description=text))
            # A backfill makes one run for a range of keys. Plain run requests would make one run
            # for each key, and each run takes seconds to start.
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
    # Dagster does not merge different objects under one resource key, and so refuses two data roots
    # with the same partition sets. One data root is always the same interned string.
    sets = f"data_root_of_{setup.translator.prefix}partitions"
    key = re.sub(r"[^A-Za-z0-9_]", lambda match: f"_{ord(match[0]):x}_", sets)
    return dg.Definitions(
        assets=assets,
        asset_checks=[checks],
        jobs=jobs,
        sensors=sensors,
        resources={key: sys.intern(str(root))},
        executor=executor,
    )


def _name(setup: Setup, name: str) -> str:
    """Return the name of a job or a sensor; keys may contain characters that those may not."""
    prefix = setup.translator.get_asset_key(MEMBERSHIP).path[:-1]
    return re.sub(r"[^A-Za-z0-9_]", "_", "_".join([*prefix, name]))


def _data_root(
    data_root: str | os.PathLike[str] | dg.EnvVar | None, environ: Mapping[str, str]
) -> Path:
    """Return the absolute path of the data root. StoreError: none is given."""
    variable = "GENID_DATA_ROOT"
    if isinstance(data_root, dg.EnvVar):  # a str, but its value is the name of the variable
        variable, data_root = data_root.env_var_name, None
    value = environ.get(variable) if data_root is None else data_root
    if value:
        return Path(value).resolve()
    summary = "the definitions need a data root"
    remedy = "set it to the pipeline's data folder, or pass data_root="
    raise StoreError.of(summary, variable, "no data root is given", remedy)
