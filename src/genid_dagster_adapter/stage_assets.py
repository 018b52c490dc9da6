"""The three partitioned assets that make generations: one for each stage, one factory for all.

A partition is a generation. Many share one run, each recorded as it finishes, so that a failure or
a kill costs only what it hits. Content that is there is recorded as reused; the host's callable is
not called for it. Where Dagster tries a failed run again by itself, what failed in it is left to a
human. Paths, parents, leases and writing are `generation`'s.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from genid_dagster_adapter.automation import generate_missing
from genid_dagster_adapter.partitions import partitions_def
from genid_dagster_adapter.recording import Recorder
from genid_store.fs.layout import DataRoot
from genid_store.generation import (
    CONCURRENCY,
    Executor,
    Generator,
    Outcome,
    failures,
    obtain_all,
    recover,
)
from genid_store.generation.asked import Asked
from genid_store.generation.reuse import plan_reuse_of
from genid_store.stages import PIPELINE

#: The tag of a run that Dagster itself launched because another one failed.
_RETRY = "dagster/retry_number"


class GenerationConfig(dg.Config):
    """What one run can be told: how many calls at once, whether to ask again for a text that could
    not be parsed, and, for legacy members whose task is there under another id, whether to give
    them that text or to pay for another."""

    concurrency: int | None = Field(default=None, ge=1)
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False


def stage_asset_name(stage: str) -> str:
    """Return the name of a stage's asset."""
    return f"{stage}_generation"


def build_stage_assets(
    *,
    data_root: Path,
    generate: Generator,
    provider_models: Callable[[DataRoot], Mapping[str, str]] | None = None,
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    partition_prefix: str = "",
    concurrency: int = CONCURRENCY,
    code_version: str = "1",
    observer: Callable[[Outcome], None] | None = None,
    stop: threading.Event | None = None,
) -> list[dg.AssetsDefinition]:
    """Return `draft_generation`, `essay_generation` and `evaluation_generation`.

    `generate` is the host's callable; it is called from `concurrency` threads at once, in one run.
    `observer` sees each outcome, in the run's own process, right after Dagster recorded it.
    Once `stop` is set no other call begins, and what was not begun stays missing.
    """

    def build(stage: str) -> dg.AssetsDefinition:
        @dg.asset(
            name=stage_asset_name(stage),
            key_prefix=list(key_prefix) or None,
            group_name=group_name,
            partitions_def=partitions_def(stage, partition_prefix),
            backfill_policy=dg.BackfillPolicy.single_run(),
            automation_condition=generate_missing(data_root, stage),
            output_required=False,
            code_version=code_version,
            kinds={"text"},
            description=f"One {stage} a partition, made by the host's callable unless it is there.",
        )
        def generation(
            context: dg.AssetExecutionContext, config: GenerationConfig
        ) -> Iterator[dg.Output[None]]:
            root = DataRoot.open(data_root)
            retried = _RETRY in context.run.tags
            recover(root)
            keys = context.partition_keys
            executor = Executor(
                root=root,
                generator=generate,
                plan=plan_reuse_of(root, stage, keys),
                provider_models=provider_models(root) if provider_models else {},
                asked=Asked(
                    retry_failed=not retried,
                    retry_unparsed=config.retry_unparsed and not retried,
                    reuse=config.reuse,
                    pay_again=config.pay_again and not retried,
                ),
                stop=stop or threading.Event(),
            )
            recorder = Recorder(context, root, {stage: context.asset_key}, observer)
            limit = config.concurrency or concurrency
            if retried:
                keys = _without_failed(root, stage, keys, recorder)
            obtain_all(executor, stage, keys, recorder, concurrency=limit)
            recorder.raise_for_failures()
            yield from ()  # a generator without an output: each partition is recorded by itself

        return generation

    return [build(stage) for stage in PIPELINE]


def _without_failed(
    root: DataRoot, stage: str, keys: Sequence[str], recorder: Recorder
) -> list[str]:
    """Return the keys without those that failed before, which are told to `recorder`: nobody has
    decided to pay for them again."""
    failed = failures.failed_ids(root, stage)
    for gen_id in (key for key in keys if key in failed):
        reason = "it failed before, and this run is an automatic retry: launch it by hand"
        recorder(Outcome(stage=stage, gen_id=gen_id, kind="failed", reason=reason))
    return [key for key in keys if key not in failed]
