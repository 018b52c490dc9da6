"""The assets that make generations: one a stage, the pipeline's and a user's from one factory, and
one of all that a cohort lacks.

Many generations share one run, each recorded as it finishes, so that a failure or a kill costs only
what it hits. What is made, failed or unparsed is decided by the disk alone.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from genid import Signature
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.automation import Wanted
from genid_dagster_adapter.events import plan
from genid_dagster_adapter.loading import Texts
from genid_dagster_adapter.partitions import COHORTS, partitions_def
from genid_dagster_adapter.recording import Recorder, all_made
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import GENERATIONS, MEMBERSHIP, stage_asset_name
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.prepare import require_cohort
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.generation import Outcome, obtain_all, recover
from genid_store.generation.batches import open_batches
from genid_store.generation.records import Asked
from genid_store.generation.reuse import plan_reuse_of
from genid_store.generation.run import obtain_work, plan_run, refuse_paid
from genid_store.generation.status import states_of
from genid_store.generation.workload import unfinished
from genid_store.stages import Member, parent_stage, stage_names

#: Dagster's own retries would make as many calls again as `max_generations` allows.
NO_RETRIES = {"dagster/max_retries": "0"}
_REMEDY = "`retry_failed: true` retries what failed, `retry_unparsed: true` what was not parsed"


class GenerationConfig(dg.Config):
    """How many calls run at once, whether to ask again for a text that could not be parsed, and
    whether legacy members whose task is there under another id get that text or are paid for."""

    concurrency: int | None = Field(default=None, ge=1)
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False

    def asked(self, **more: Any) -> Asked:
        """Return what a run is asked for beyond what is missing."""
        return Asked(**self.model_dump(exclude={"concurrency", "max_generations", *more}), **more)


def generated_asset(
    signature: type[Signature[Any]] | str, setup: Setup | None = None, **options: Any
) -> dg.AssetsDefinition:
    """Return the asset of one stage, `<stage>_generation`: any stage that is declared.

    `options` are those of `Setup`; `data_root` and `generate` are needed. A child's asset depends
    on its parent's, all partitions on all: who is whose parent is in the metadata on disk.
    """
    setup = setup or Setup(**options)
    stage = signature if isinstance(signature, str) else signature.stage
    above = parent_stage(stage)

    @setup.paying(
        stage_asset_name(stage),
        deps=setup.deps(stage_asset_name(stage)),
        partitions_def=partitions_def(stage, setup.translator.prefix),
        backfill_policy=setup.backfill_policy,
        automation_condition=Wanted(
            setup.data_root, stage, setup.translator.of_stage(above) if above else None
        ),
        io_manager_def=Texts(setup.data_root, stage),
        description=f"One {stage} a partition, made by the host's callable unless it is there.",
    )
    def generation(
        context: dg.AssetExecutionContext, config: GenerationConfig
    ) -> Iterator[dg.Output[None]]:
        root = DataRoot.open(setup.data_root)
        recover(root)
        keys = context.partition_keys
        asked = config.asked(retry_failed=True)
        if "dagster/retry_number" in context.run.tags:  # nobody decided to pay again for failures
            asked = Asked(reuse=config.reuse)
        members = [Member(stage, key) for key in keys if is_segment(key)]
        executor = setup.executor(context, root, plan_reuse_of(root, members), asked)
        recorder = Recorder(context, root, setup)
        limit = config.concurrency or setup.concurrency
        obtain_all(executor, stage, keys, recorder, concurrency=limit)
        recorder.raise_for_failures()
        yield from ()  # a generator without an output: each partition is recorded by itself

    return generation


class MakeMissingConfig(GenerationConfig):
    """Further, whether to try again what failed, and at most how many calls of the generator."""

    retry_failed: bool = False
    max_generations: int | None = Field(default=None, ge=0)


def missing_asset(setup: Setup) -> dg.AssetsDefinition:
    """Return the asset of cohorts of which nothing is missing; materializing it makes what is, in
    one run for all stages, ancestors first. The run fails where a member that it was asked for has
    no content afterwards; what `max_generations` left leaves the cohort unmaterialized alone."""

    prefix = setup.translator.prefix

    @setup.paying(
        GENERATIONS,
        deps=[
            setup.key(MEMBERSHIP),
            *(
                dg.AssetDep(
                    setup.translator.of_stage(one), partition_mapping=dg.AllPartitionMapping()
                )
                for one in setup.stages
            ),
        ],
        partitions_def=partitions_def(COHORTS, prefix),
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        description="A cohort whose members are all made; materializing it makes what is missing.",
    )
    def make_missing(
        context: dg.AssetExecutionContext, config: MakeMissingConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        root, cohort_id = DataRoot.open(setup.data_root), context.partition_key
        context.instance.add_run_tags(context.run.run_id, NO_RETRIES)
        members = read_membership(root, require_cohort(root, cohort_id))
        recover(root)
        register_members(context.instance, root, cohort_id, prefix=prefix)
        asked = config.asked(max_calls=config.max_generations)
        work = plan_run(root, cohort_id, members, asked)
        refuse_paid(work)
        context.log.info("%s calls of the generator at most", work.total_calls)
        recorder = Recorder(context, root, setup)
        key_of = setup.translator.of_stage
        plan(context, [(key_of(stage), gen_id) for stage, gen_id in work.todo])
        on_record = {
            stage: context.instance.get_materialized_partitions(key_of(stage))
            for stage in stage_names()
        }
        for stage, gen_id in work.made:
            if gen_id not in on_record[stage]:
                recorder(Outcome(stage=stage, gen_id=gen_id, kind="reused"))
        executor = setup.executor(context, root, work.decider.plan, asked)
        obtain_work(executor, work, recorder, concurrency=config.concurrency or setup.concurrency)
        states = states_of(root, members)
        recorder.incomplete += unfinished(root, states, work, recorder.incomplete)
        event = all_made(setup.translator, cohort_id, states)
        figures = event.metadata
        recorder.raise_for_failures(_REMEDY, **figures)
        left = {one.label for one in work.waiting.values()}
        if "in a batch" in left:
            context.log.warning("; ".join(map(str, open_batches(root))))
        if {"over the limit", "in a batch"} & left:
            context.log_event(
                dg.AssetObservation(context.asset_key, partition=cohort_id, metadata=figures)
            )
        else:
            yield dg.MaterializeResult(metadata=figures, tags=event.tags)

    return make_missing
