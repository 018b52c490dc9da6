"""The adapter as a Dagster component, set up by `defs.yaml` alone, with paths relative to the
project's root. The definitions themselves are those of `definitions`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg

from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.translator import Translator
from genid_store.fs.layout import DataRoot
from genid_store.generation.load import load_generator
from genid_store.generation.pool import CONCURRENCY


def _doc(description: str) -> dg.Resolver:
    """Return a resolver that describes a field in the JSON schema; Dagster drops the description of
    pydantic's own `Field` if there is a default."""
    resolver: dg.Resolver = dg.Resolver.default(description=description)
    return resolver


class _Scaffolder(dg.Scaffolder[Any]):
    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        dg.scaffold_component(request, {"data_root": "data"})


@dg.scaffold_with(_Scaffolder)
class GenidCohorts(dg.Component, dg.Model, dg.Resolvable):
    """Cohorts with deterministic ids: their assets, checks, jobs and sensor.

    genid.toml, or DD_DETERMINISTIC_GEN_IDS and DD_GEN_ID_SCHEME, determine the rollout.
    """

    data_root: Annotated[
        str, _doc("The pipeline's data folder, relative to the project, or `{{ env.NAME }}`.")
    ]
    generate: Annotated[
        str | None,
        _doc("The host's callable, MODULE:CALLABLE or FILE.py:CALLABLE; else no stage assets."),
    ] = None
    key_prefix: Annotated[Sequence[str], _doc("What the keys of all assets begin with.")] = ()
    group_name: Annotated[str, _doc("The group of all assets.")] = "genid"
    partition_prefix: Annotated[
        str | None,
        _doc("What the partition sets begin with, global to an instance; with key_prefix."),
    ] = None
    concurrency: Annotated[int, _doc("How many calls one run makes at once.")] = CONCURRENCY
    automation: Annotated[
        Literal["stopped", "running"], _doc("The state in which the sensor starts.")
    ] = "stopped"
    pool: Annotated[str | None, _doc("The concurrency pool of the runs that pay.")] = None

    def get_translator(self) -> Translator:
        """Return the translator; a subclass may return its own."""
        return Translator(
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            partition_prefix=self.partition_prefix,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return `build_definitions(...)` with these attributes; the project chooses the executor.

        StoreError: the data root does not exist, or as `build_definitions`.
        """
        project, name = Path(context.project_root), self.generate
        if name is not None and ".py:" in name:  # a file, not a module
            name = str(project / name)
        return build_definitions(
            data_root=DataRoot.open(project / self.data_root).path,
            generate=None if name is None else load_generator(name, where="generate"),
            translator=self.get_translator(),
            concurrency=self.concurrency,
            automation=self.automation,
            pool=self.pool,
        )
