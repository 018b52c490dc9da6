"""What all assets over one data root share: its path, their names and the host's callable.

Defines the Dagster arguments that follow from these. No asset is defined here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from attrs import field, frozen

from genid_dagster_adapter.translator import COHORT_ASSETS, Translator
from genid_store.cohort.inputs.tables import provider_models
from genid_store.errors import require
from genid_store.fs.layout import DataRoot
from genid_store.generation.once import Executor
from genid_store.generation.pool import CONCURRENCY
from genid_store.generation.records import Asked, Generator
from genid_store.generation.reuse import Plan
from genid_store.stages import PIPELINE


@frozen(kw_only=True)
class Setup:
    """The arguments of `build_definitions` and `generated_asset` that apply to every asset; those
    after `concurrency` are Dagster's own, for the assets that call the generator.

    StoreError: lists those of the first that cannot be used.
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
        call, names, limit = self.generate, self.translator, self.concurrency
        finds = "give the callable itself; genid_store.generation.load.load_generator finds it"
        require(
            "the definitions cannot be built",
            generate=(call, call is None or callable(call), finds),
            translator=(names, isinstance(names, Translator), "give a Translator"),
            stages=(self.stages, not isinstance(self.stages, str), "give a list of names"),
            concurrency=(limit, type(limit) is int and limit >= 1, "give a whole number from 1 up"),
        )

    def identifier(self, name: str) -> str:
        """Return a Python identifier for a Dagster object, different for each mounted data root."""
        return self.translator.get_asset_key(name).to_python_identifier()

    def deps(self, names: Sequence[str]) -> list[dg.AssetDep]:
        """Return dependencies on assets; on a stage's, each partition depends on all."""
        all_on_all = dg.AllPartitionMapping()
        mappings = {name: None if name in COHORT_ASSETS else all_on_all for name in names}
        return [
            dg.AssetDep(self.translator.get_asset_key(name), partition_mapping=mapping)
            for name, mapping in mappings.items()
        ]

    def described(self, name: str) -> dict[str, Any]:
        """Return the arguments by which an asset or a spec is named and described."""
        return {
            "key": self.translator.get_asset_key(name),
            "group_name": self.translator.get_group_name(name),
            "metadata": self.translator.get_metadata(name),
            "code_version": self.translator.get_code_version(name),
        }

    def paying(self, name: str, **more: Any) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """Return `dg.asset(...)` for an asset that calls the generator."""
        is_resource = isinstance(self.generate, dg.ConfigurableResource)
        decorator: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            **self.described(name),
            pool=self.pool,
            op_tags=self.op_tags,
            retry_policy=self.retry_policy,
            resource_defs={self._resource: self.generate} if is_resource else None,
            output_required=False,
            kinds={"text"},
            **more,
        )
        return decorator

    def executor(
        self, context: dg.AssetExecutionContext, root: DataRoot, plan: Plan, asked: Asked
    ) -> Executor:
        """Return the executor of a run; a generator that is a resource comes from the run."""
        generate: Any = self.generate
        if isinstance(generate, dg.ConfigurableResource):
            generate = getattr(context.resources, self._resource)
        models = provider_models(root)
        return Executor(
            root=root, generator=generate, plan=plan, provider_models=models, asked=asked
        )

    @property
    def _resource(self) -> str:
        # A code location has one namespace of resources, and two assets may have two generators.
        return f"{self.identifier('generator')}_{id(self.generate)}"
