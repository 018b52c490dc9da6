"""What the assets over one data root share: its place, their names, what makes its texts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from attrs import field, frozen

from genid_dagster_adapter.translator import COHORT_ASSETS, Translator
from genid_store.cohort.inputs.tables import provider_models
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Executor, Generator
from genid_store.generation.records import Asked
from genid_store.generation.reuse import Plan
from genid_store.stages import PIPELINE


@frozen(kw_only=True)
class Setup:
    """The arguments of `build_definitions` and `generated_asset` that are about every asset.

    StoreError: `generate` cannot be called, or no call may be made at once.
    """

    data_root: Path = field(converter=Path)
    generate: Generator | dg.ConfigurableResource[Any] | None = None
    translator: Translator = field(factory=Translator)
    stages: Sequence[str] = PIPELINE
    concurrency: int = CONCURRENCY
    pool: str | None = None
    op_tags: Mapping[str, Any] | None = None
    retry_policy: dg.RetryPolicy | None = None
    backfill_policy: dg.BackfillPolicy = field(factory=dg.BackfillPolicy.single_run)

    def __attrs_post_init__(self) -> None:
        problems = []
        if self.generate is not None and not callable(self.generate):
            message = "cannot be called"
            remedy = "give the callable itself; genid_store.generation.load.load_generator finds it"
            problems.append(
                Problem(where="generate", value=self.generate, message=message, remedy=remedy)
            )
        if self.concurrency < 1:
            message, remedy = "is below 1", "allow 1 call at once or more"
            problems.append(
                Problem(where="concurrency", value=self.concurrency, message=message, remedy=remedy)
            )
        if problems:
            raise StoreError("the definitions cannot be built", problems)

    def key(self, name: str) -> dg.AssetKey:
        """Return the key of an asset."""
        return self.translator.get_asset_key(name)

    def identifier(self, name: str) -> str:
        """Return a name for Dagster that two mounted data roots do not share."""
        return self.key(name).to_python_identifier()

    def deps(self, name: str) -> list[dg.AssetDep]:
        """Return what an asset depends on: on a stage's all partitions on all."""
        all_on_all = dg.AllPartitionMapping()
        return [
            dg.AssetDep(key, partition_mapping=None if one in COHORT_ASSETS else all_on_all)
            for one, key in self.translator.upstream(name).items()
        ]

    def described(self, name: str) -> dict[str, Any]:
        """Return what an asset is called and described by, as arguments of Dagster's."""
        return {
            "key": self.key(name),
            "group_name": self.translator.get_group_name(name),
            "metadata": self.translator.get_metadata(name),
            "code_version": self.translator.get_code_version(name),
        }

    def paying(self, name: str, **more: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Return `dg.asset(...)` for an asset that calls the generator."""
        resource = isinstance(self.generate, dg.ConfigurableResource)
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            **self.described(name),
            pool=self.pool,
            op_tags=self.op_tags,
            retry_policy=self.retry_policy,
            resource_defs={self._resource: self.generate} if resource else None,
            output_required=False,
            kinds={"text"},
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
            provider_models=provider_models(root),
            asked=asked,
        )

    @property
    def _resource(self) -> str:
        # The resources are shared by all of a code location.
        return f"{self.identifier('generator')}_{id(self.generate)}"
