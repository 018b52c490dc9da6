"""The asset that makes what a cohort lacks: `genid cohort run` in Dagster, without the sensor.

A partition is a cohort. One run for all stages, ancestors first. What is made already, what failed
and what could not be parsed is decided by the disk, as for every other way of starting a run. A
partition that is materialized is a cohort of which nothing is missing.
"""

import logging
from collections.abc import Iterator, Sequence

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventBatchMetadata,
    generate_event_batch_id,
)
from pydantic import Field

from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.membership_metadata import stage_table
from genid_dagster_adapter.partitions import cohorts_def
from genid_dagster_adapter.recording import Recorder
from genid_dagster_adapter.setup import MEMBERSHIP, Setup
from genid_store.catalog.memberships import Member, read_membership
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import Outcome, recover
from genid_store.generation.asked import Asked
from genid_store.generation.batches import open_batches
from genid_store.generation.run import obtain_work, plan_run, refuse_paid
from genid_store.generation.status import states_of
from genid_store.generation.workload import Workload, blocked_members, count_states

GENERATIONS = "cohort_generations"
#: Dagster's own retries would make as many calls again as `max_generations` allows.
NO_RETRIES = {"dagster/max_retries": "0"}
_FAILED_BEFORE = "it failed before: `retry_failed: true` tries it again"
_UNPARSED_BEFORE = "it was not parsed: `retry_unparsed: true` asks again"


class MakeMissingConfig(dg.Config):
    """Whether to try again what failed, and what was not parsed; for legacy members whose task is
    there, whether to give them that text or to pay again; at most how many calls of the generator,
    and how many at once."""

    retry_failed: bool = False
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False
    max_generations: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=1)


def missing_asset(setup: Setup) -> dg.AssetsDefinition:
    """Return the asset. Its run fails where a member that it was asked for has no content
    afterwards; what `max_generations` left is not a failure, but leaves the cohort unfinished."""

    @setup.paying(
        name=GENERATIONS,
        deps=[
            setup.key(MEMBERSHIP),
            *(
                dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
                for key in map(setup.stage_key, setup.stages)
            ),
        ],
        partitions_def=cohorts_def(setup.partition_prefix),
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        output_required=False,
        kinds={"text"},
        description="A cohort whose members are all made; materializing it makes what is missing.",
    )
    def make_missing(
        context: dg.AssetExecutionContext, config: MakeMissingConfig
    ) -> Iterator[dg.MaterializeResult[None]]:
        root, cohort_id = DataRoot.open(setup.data_root), context.partition_key
        context.instance.add_run_tags(context.run.run_id, NO_RETRIES)
        members = _members(root, cohort_id)
        recover(root)
        register_members(context.instance, root, cohort_id, prefix=setup.partition_prefix)
        asked = Asked(
            retry_failed=config.retry_failed,
            retry_unparsed=config.retry_unparsed,
            reuse=config.reuse,
            pay_again=config.pay_again,
            max_calls=config.max_generations,
        )
        reuse, work = plan_run(root, cohort_id, asked)
        refuse_paid(reuse, work)
        context.log.info("%s calls of the generator at most", work.total_calls)
        recorder = Recorder(context, root, setup)
        _plan_materializations(context, setup, work)
        for stage, gen_id in _unrecorded(context.instance, setup, work):
            recorder(Outcome(stage=stage, gen_id=gen_id, kind="reused"))
        executor = setup.executor(context, root, reuse, asked)
        obtain_work(executor, work, recorder, concurrency=config.concurrency or setup.concurrency)
        recorder.incomplete += _left_alone(work)
        recorder.incomplete += _blocked(root, members, work, recorder.incomplete)
        figures = _figures(root, members)
        recorder.raise_for_failures(figures)
        if "in a batch" in work.waiting.values():
            context.log.warning("; ".join(map(str, open_batches(root))))
        if {"over the limit", "in a batch"} & set(work.waiting.values()):
            context.log_event(
                dg.AssetObservation(context.asset_key, partition=cohort_id, metadata=figures)
            )
        else:
            yield dg.MaterializeResult(metadata=figures)

    return make_missing


def _plan_materializations(context: dg.AssetExecutionContext, setup: Setup, work: Workload) -> None:
    """Tell Dagster which partitions this run is going to make, as its own backfills do: they are
    in progress from now on, and automation asks for none of them."""
    events = [
        DagsterEvent.build_asset_materialization_planned_event(
            context.run.job_name,
            str(context.op_execution_context.get_step_execution_context().step.key),
            AssetMaterializationPlannedData(setup.keys()[stage], partition=gen_id),
        )
        for stage, gen_id in work.todo
    ]
    batch = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for event in events:
        context.instance.report_dagster_event(
            event,
            context.run.run_id,
            logging.DEBUG,
            batch_metadata=DagsterEventBatchMetadata(batch, event is events[-1]),
        )


def _members(root: DataRoot, cohort_id: str) -> tuple[Member, ...]:
    """Return the cohort's members. StoreError: there is no such cohort."""
    path = root.membership(cohort_id)
    if path.is_file():
        return read_membership(root, cohort_id)
    problem = Problem(
        where=root.relative(path),
        message="there is no such cohort",
        remedy="build it first (the job that builds a cohort, or `genid cohort build`)",
    )
    raise StoreError(f"the cohort {cohort_id} was not built", [problem])


def _unrecorded(instance: dg.DagsterInstance, setup: Setup, work: Workload) -> list[Member]:
    """Return the members that have content of which Dagster has no record: it gets one."""
    recorded = {
        stage: instance.get_materialized_partitions(key) for stage, key in setup.keys().items()
    }
    return [one for one in work.made if one.gen_id not in recorded[one.stage]]


def _left_alone(work: Workload) -> list[Outcome]:
    """Return the members that failed before, as outcomes of this run."""
    return [
        Outcome(
            stage=member.stage,
            gen_id=member.gen_id,
            kind="unparsed" if why == "unparsed" else "failed",
            reason=_UNPARSED_BEFORE if why == "unparsed" else _FAILED_BEFORE,
        )
        for member, why in work.waiting.items()
        if why in {"failed", "unparsed"}
    ]


def _blocked(
    root: DataRoot, members: tuple[Member, ...], work: Workload, reported: Sequence[Outcome]
) -> list[Outcome]:
    """Return the members that could not be begun, without those `reported`, as outcomes."""
    known = {(one.stage, one.gen_id) for one in reported}
    return [
        Outcome(stage=one.stage, gen_id=one.gen_id, kind="blocked", reason=one.reason)
        for one in blocked_members(root, members, work)
        if (one.stage, one.gen_id) not in known
    ]


def _figures(root: DataRoot, members: tuple[Member, ...]) -> dict[str, dg.TableMetadataValue]:
    found = count_states(states_of(root, members))
    table = stage_table(
        members={stage: one.members for stage, one in found.items()},
        made={stage: one.made for stage, one in found.items()},
        missing={stage: one.missing for stage, one in found.items()},
        failed={stage: one.failed + one.unparsed for stage, one in found.items()},
    )
    return {"members": table}
