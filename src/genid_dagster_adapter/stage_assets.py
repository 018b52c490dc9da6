"""The assets that make generations: one a stage, the pipeline's and a user's from one factory.

A partition is a generation. Many share one run, each recorded as it finishes, so that a failure or
a kill costs only what it hits. Content that is there is recorded as reused; the host's callable is
not called for it. Where Dagster tries a run again that was killed, what failed in it is left to a
human. Paths, parents, leases and writing are `generation`'s.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from genid import Signature
from genid_dagster_adapter.automation import generate_missing
from genid_dagster_adapter.loading import Texts
from genid_dagster_adapter.partitions import partitions_def
from genid_dagster_adapter.recording import Recorder
from genid_dagster_adapter.setup import Setup, stage_asset_name, upstream
from genid_store.fs.layout import DataRoot
from genid_store.generation import Outcome, failures, obtain_all, recover
from genid_store.generation.asked import Asked
from genid_store.generation.reuse import plan_reuse_of

#: The tag of a run that Dagster itself launched because another one failed.
_RETRY = "dagster/retry_number"


class GenerationConfig(dg.Config):
    """What one run is asked for: how many calls at once, whether to ask again for a text that could
    not be parsed, and, for legacy members whose task is there under another id, whether to give
    them that text or to pay for another."""

    concurrency: int | None = Field(default=None, ge=1)
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False


def generated_asset(stage: type[Signature[Any]] | str, **options: Any) -> dg.AssetsDefinition:
    """Return the asset of one stage, `<stage>_generation`: any stage that is declared.

    `options` are those of `Setup`; `data_root` and `generate` (the host's callable, or a
    `ConfigurableResource` with `__call__`) are needed. A child's asset depends on its parent's, all
    partitions on all: who is whose parent is in the metadata on disk.
    """
    return stage_asset(stage if isinstance(stage, str) else stage.stage, Setup(**options))


def stage_asset(stage: str, setup: Setup) -> dg.AssetsDefinition:
    """Return the asset of one stage, as `generated_asset`."""

    @setup.paying(
        name=stage_asset_name(stage),
        deps=[
            dg.AssetDep(dep, partition_mapping=dg.AllPartitionMapping() if of else None)
            for dep, of in upstream(stage, setup.stage_key(stage)).items()
        ],
        partitions_def=partitions_def(stage, setup.partition_prefix),
        backfill_policy=setup.backfill_policy,
        automation_condition=generate_missing(setup.data_root, setup.key_prefix, stage),
        output_required=False,
        io_manager_def=Texts(setup.data_root, stage),
        kinds={"text"},
        description=f"One {stage} a partition, made by the host's callable unless it is there.",
    )
    def generation(
        context: dg.AssetExecutionContext, config: GenerationConfig
    ) -> Iterator[dg.Output[None]]:
        root = DataRoot.open(setup.data_root)
        retried = _RETRY in context.run.tags
        recover(root)
        keys = context.partition_keys
        asked = Asked(
            retry_failed=not retried,
            retry_unparsed=config.retry_unparsed and not retried,
            reuse=config.reuse,
            pay_again=config.pay_again and not retried,
        )
        executor = setup.executor(context, root, plan_reuse_of(root, stage, keys), asked)
        recorder = Recorder(context, root, setup)
        limit = config.concurrency or setup.concurrency
        if retried:
            keys = _without_failed(root, stage, keys, recorder)
        obtain_all(executor, stage, keys, recorder, concurrency=limit)
        recorder.raise_for_failures()
        yield from ()  # a generator without an output: each partition is recorded by itself

    return generation


def _without_failed(
    root: DataRoot, stage: str, keys: Sequence[str], recorder: Recorder
) -> list[str]:
    """Return the keys without those that failed before, which `recorder` gets: nobody has
    decided to pay for them again."""
    failed = failures.failed_ids(root, stage)
    for gen_id in (key for key in keys if key in failed):
        reason = "it failed before, and this run is an automatic retry: launch it by hand"
        recorder(Outcome(stage=stage, gen_id=gen_id, kind="failed", reason=reason))
    return [key for key in keys if key not in failed]
