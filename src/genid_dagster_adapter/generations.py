"""The assets that make generations: one for each stage, and one for all that a cohort lacks.

Many generations share a run, and each is recorded as it finishes, so that a failure or a kill costs
only the generations it hits. Whether a generation is made, failed or unparsed is read from disk,
never from Dagster. What may be paid for is decided in the store.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from attrs import evolve
from pydantic import Field

from genid import Signature
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.automation import Wanted
from genid_dagster_adapter.events import plan
from genid_dagster_adapter.loading import Texts
from genid_dagster_adapter.partitions import COHORTS, partitions_def
from genid_dagster_adapter.recording import NO_RETRIES, Recorder, all_made, as_result, config_keys
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import GENERATIONS, MEMBERSHIP, stage_asset_name
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.prepare import require_cohort
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.generation.batches import open_batches
from genid_store.generation.once import recover
from genid_store.generation.pool import obtain_all
from genid_store.generation.records import Asked
from genid_store.generation.reuse import REMEDY_WAYS, plan_reuse_of
from genid_store.generation.run import obtain_work, plan_run, refuse_paid
from genid_store.generation.status import states_of
from genid_store.generation.workload import unfinished
from genid_store.stages import Member, parent_stage


class GenerationConfig(dg.Config):
    """The options of a run that makes generations: `concurrency` limits concurrent calls, and
    `retry_unparsed` requests another text for what could not be parsed. If the store has a legacy
    member's task under another id, `reuse` gives it that text, and `pay_again` pays for another."""

    concurrency: int | None = Field(default=None, ge=1)
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False


def generated_asset(
    signature: type[Signature[Any]] | str, setup: Setup | None = None, **options: Any
) -> dg.AssetsDefinition:
    """Return the asset `<stage>_generation` of any declared stage. `options` are the fields of
    `Setup`, of which `data_root` and `generate` are required."""
    setup = setup or Setup(**options)
    translator = setup.translator
    stage = signature if isinstance(signature, str) else signature.stage
    name, parent = stage_asset_name(stage), parent_stage(stage)
    condition = Wanted(setup.data_root, stage, translator.of_stage(parent) if parent else None)

    @setup.paying(
        name,
        deps=setup.deps(translator.upstream(name)),
        partitions_def=partitions_def(stage, translator.prefix),
        backfill_policy=setup.backfill_policy,
        automation_condition=condition,
        io_manager_def=Texts(setup.data_root, stage),
        description=f"One {stage} a partition, made by the host's callable unless it is there.",
    )
    def generation(
        context: dg.AssetExecutionContext, config: GenerationConfig
    ) -> Iterator[dg.Output[None]]:
        root, keys = DataRoot.open(setup.data_root), context.partition_keys
        recover(root)
        asked = Asked(retry_failed=True, **config.model_dump(exclude={"concurrency"}))
        # The daemon's retry was nobody's decision to pay again for failures and unparsed texts.
        if "dagster/retry_number" in context.run.tags:
            asked = Asked(reuse=config.reuse)
        members = [Member(stage, key) for key in keys if is_segment(key)]
        executor = setup.executor(context, root, plan_reuse_of(root, members), asked)
        recorder = Recorder(context, root, translator)
        limit = config.concurrency or setup.concurrency
        obtain_all(executor, stage, keys, recorder, concurrency=limit)
        recorder.raise_for_failures(config)
        # A generator without an output: the recorder has logged each partition's event.
        yield from ()

    return generation


class MakeMissingConfig(GenerationConfig):
    """The options of a run that makes what a cohort lacks: `retry_failed` retries what failed, and
    `max_generations` limits the calls of the generator."""

    retry_failed: bool = False
    max_generations: int | None = Field(default=None, ge=0)


def missing_asset(setup: Setup) -> dg.AssetsDefinition:
    """Return the asset `cohort_generations`, materialized for each cohort with nothing missing.

    Materializing it makes what is missing in one run, ancestors first. The run fails if a member
    that it was to make has no content afterwards; if `max_generations` or a batch left members to a
    later run, it only logs an observation of the cohort's members by state.
    """
    translator = setup.translator

    @setup.paying(
        GENERATIONS,
        deps=setup.deps([MEMBERSHIP, *map(stage_asset_name, setup.stages)]),
        partitions_def=partitions_def(COHORTS, translator.prefix),
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        description="A cohort whose members are all made; materializing it makes what is missing.",
    )
    def make_missing(
        context: dg.AssetExecutionContext, config: MakeMissingConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        root, cohort_id = DataRoot.open(setup.data_root), context.partition_key
        # A retry by the daemon would make as many calls as `max_generations` allows once more.
        context.instance.add_run_tags(context.run.run_id, NO_RETRIES)
        members = read_membership(root, require_cohort(root, cohort_id))
        recover(root)
        register_members(context.instance, root, cohort_id, prefix=translator.prefix)
        options = config.model_dump(exclude={"concurrency", "max_generations"})
        asked = Asked(max_calls=config.max_generations, **options)
        work = plan_run(root, cohort_id, members, asked)
        try:
            refuse_paid(work)
        except StoreError as error:
            problems = [str(evolve(problem, ways=())) for problem in error.problems]
            lines = [error.summary, *problems, *config_keys(context, REMEDY_WAYS)]
            raise dg.Failure("\n".join(lines), allow_retries=False) from None
        context.log.info("%s calls of the generator at most", work.total_calls)
        plan(context, [(translator.of_stage(stage), gen_id) for stage, gen_id in work.todo])
        recorder = Recorder(context, root, translator)
        recorder.record_made(work.made)
        executor = setup.executor(context, root, work.decider.plan, asked)
        obtain_work(executor, work, recorder, concurrency=config.concurrency or setup.concurrency)
        left, states = recorder.incomplete, states_of(root, members)
        left += unfinished(root, states, work, left, executor.stop.why)
        event = all_made(translator, cohort_id, states)
        recorder.raise_for_failures(config, **event.metadata)
        waiting = {decision.label for decision in work.waiting.values()}
        if "in a batch" in waiting:
            context.log.warning("; ".join(map(str, open_batches(root))))
        if waiting.isdisjoint({"in a batch", "over the limit"}):
            yield as_result(event)
        else:
            key, shown = event.asset_key, event.metadata
            context.log_event(dg.AssetObservation(key, partition=cohort_id, metadata=shown))

    return make_missing
