"""What the assets over one data root share: where it is, what makes its texts, what Dagster runs
them with."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from attrs import field, frozen

from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Executor, Generator, Outcome
from genid_store.generation.asked import Asked
from genid_store.generation.reuse import Plan
from genid_store.stages import PIPELINE, parent_stage, stage_names

#: The assets of a cohort's members, and of their registration as partitions.
MEMBERSHIP, REGISTRATION = "cohort_membership", "register_cohort_partitions"
#: The code version of what is made, unless the host gives one.
CODE_VERSION = "1"


def stage_asset_name(stage: str) -> str:
    """Return the name of a stage's asset."""
    return f"{stage}_generation"


def upstream(stage: str, asset: dg.AssetKey) -> dict[dg.AssetKey, str | None]:
    """Return what a stage's asset depends on, each with the stage that it is the asset of: the
    parent's, and for the pipeline's stages what registers their partitions."""
    named: dict[str, str | None] = {REGISTRATION: None} if stage in PIPELINE else {}
    above = parent_stage(stage)
    if above is not None and above != stage:
        named[stage_asset_name(above)] = above
    return {dg.AssetKey([*asset.path[:-1], name]): of for name, of in named.items()}


@frozen(kw_only=True)
class Setup:
    """The arguments of `build_definitions` and `generated_asset` that are about every asset."""

    data_root: Path = field(converter=Path)
    generate: Generator | dg.ConfigurableResource[Any] | None = None
    key_prefix: Sequence[str] = ()
    group_name: str | None = None
    partition_prefix: str = ""
    stages: Sequence[str] = PIPELINE
    concurrency: int = CONCURRENCY
    code_version: str = CODE_VERSION
    provider_models: Callable[[DataRoot], Mapping[str, str]] = lambda root: {}
    pool: str | None = None
    op_tags: Mapping[str, Any] | None = None
    retry_policy: dg.RetryPolicy | None = None
    backfill_policy: dg.BackfillPolicy = field(factory=dg.BackfillPolicy.single_run)
    observer: Callable[[Outcome], None] | None = None
    stop: threading.Event = field(factory=threading.Event)

    def key(self, name: str) -> dg.AssetKey:
        return dg.AssetKey([*self.key_prefix, name])

    def stage_key(self, stage: str) -> dg.AssetKey:
        return self.key(stage_asset_name(stage))

    def keys(self) -> dict[str, dg.AssetKey]:
        """Return the asset keys of all stages, by stage."""
        return {stage: self.stage_key(stage) for stage in stage_names()}

    def paying(self, **more: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Return `dg.asset(...)` for an asset that calls the generator."""
        resource = isinstance(self.generate, dg.ConfigurableResource)
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            key_prefix=list(self.key_prefix) or None,
            group_name=self.group_name,
            code_version=self.code_version,
            pool=self.pool,
            op_tags=self.op_tags,
            retry_policy=self.retry_policy,
            resource_defs={self._resource: self.generate} if resource else None,
            **more,
        )
        return decorator

    def executor(
        self, context: dg.AssetExecutionContext, root: DataRoot, plan: Plan, asked: Asked
    ) -> Executor:
        """Return what obtains generations in a run."""
        generate: Any = self.generate
        if isinstance(generate, dg.ConfigurableResource):
            generate = getattr(context.resources, self._resource)
        return Executor(
            root=root,
            generator=generate,
            plan=plan,
            provider_models=self.provider_models(root),
            asked=asked,
            stop=self.stop,
        )

    @property
    def _resource(self) -> str:
        """The generator's key among the resources, which are shared by all of a code location."""
        return f"{self.key('generator').to_python_identifier()}_{id(self.generate)}"
