"""The three partitioned assets that make generations: one for each stage, one factory for all.

A partition is a generation. Many share one run, each recorded as it finishes, so that a failure or
a kill costs only what it hits. Content that is there is recorded as reused; the host's callable is
not called for it. Paths, parents, claims and writing are `generation`'s.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from genid_dagster_adapter.automation import generate_missing
from genid_dagster_adapter.generation import (
    CONCURRENCY,
    Generator,
    Maker,
    Outcome,
    make_all,
    recover,
)
from genid_dagster_adapter.partitions import partitions_def
from genid_dagster_adapter.store.layout import STAGES, DataRoot

_SHOWN = 20  # failures that one error lists


class GenerationConfig(dg.Config):
    """What one run can be told: how many calls at once, and whether to pay again for a text that
    could not be parsed."""

    concurrency: int | None = None
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
            recover(root)
            maker = Maker(
                root=root,
                generator=generate,
                provider_models=provider_models(root) if provider_models else {},
                pay_again=config.pay_again,
                stop=stop or threading.Event(),
            )
            report = _Report(context, root, observer)
            limit = config.concurrency or concurrency
            make_all(maker, stage, context.partition_keys, report, concurrency=limit)
            report.raise_for_failures()
            yield from ()  # a generator without an output: each partition is recorded by itself

        return generation

    return [build(stage) for stage in STAGES]


class _Report:
    """Records each outcome in Dagster as it comes, and remembers what did not become content."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        root: DataRoot,
        observer: Callable[[Outcome], None] | None,
    ) -> None:
        self.context, self.root, self.observer = context, root, observer
        self.incomplete: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> None:
        if outcome.complete:
            self.context.log_event(self._materialization(outcome))
        else:
            self.incomplete.append(outcome)
            self.context.log.warning(
                "%s %s %s: %s", outcome.stage, outcome.gen_id, outcome.kind, outcome.reason
            )
        if self.observer is not None:
            self.observer(outcome)

    def _materialization(self, outcome: Outcome) -> dg.AssetMaterialization:
        metadata: dict[str, Any] = {
            "outcome": outcome.kind,
            "path": dg.MetadataValue.path(str(self.root.generation(outcome.stage, outcome.gen_id))),
            "seconds": round(outcome.seconds, 3),
        }
        return dg.AssetMaterialization(
            self.context.asset_key,
            partition=outcome.gen_id,
            metadata=metadata,
            tags={"dagster/data_version": outcome.version or ""},
        )

    def raise_for_failures(self) -> None:
        """Raise dg.Failure: some generation of this run has no content; lists them."""
        if not self.incomplete:
            return
        told = [f"{o.gen_id} {o.kind}: {o.reason}" for o in self.incomplete[:_SHOWN]]
        more = len(self.incomplete) - len(told)
        summary = f"{len(self.incomplete)} generation(s) have no content; the others are recorded"
        rest = [f"and {more} more"] if more else []
        raise dg.Failure(
            description="\n".join([summary, *told, *rest]),
            allow_retries=False,
        )
