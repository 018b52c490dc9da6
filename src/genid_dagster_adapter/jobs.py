"""The job that makes what a cohort lacks: `genid cohort run` for Dagster's UI, without the sensor.

One run for all three stages, drafts first. What is made already, what failed and what could not be
parsed is decided by the disk, as for every other way of starting a run.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.membership_metadata import stage_table
from genid_dagster_adapter.recording import Recorder
from genid_store.catalog.memberships import Member, read_membership
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import Executor, Generator, Outcome, is_ready, obtain_all, recover
from genid_store.generation.asked import Asked
from genid_store.generation.run import plan_run, refuse_paid
from genid_store.generation.workload import Workload, blocked_members, standing
from genid_store.stages import PIPELINE

#: Dagster's own retries would make as many calls again as `max_generations` allows.
_NO_RETRIES = {"dagster/max_retries": "0"}
_FAILED_BEFORE = "it failed before: `retry_failed: true` tries it again"
_UNPARSED_BEFORE = "it was not parsed: `retry_unparsed: true` asks again"


class MakeMissingConfig(dg.Config):
    """Which cohort; whether to try again what failed, and what was not parsed; for legacy members
    whose task is there, whether to give them that text or to pay again; at most how many calls of
    the generator, and how many at once."""

    cohort_id: str
    retry_failed: bool = False
    retry_unparsed: bool = False
    reuse: bool = False
    pay_again: bool = False
    max_generations: int | None = Field(default=None, ge=0)
    concurrency: int | None = Field(default=None, ge=1)


def build_missing_job(
    *,
    name: str,
    data_root: Path,
    generate: Generator,
    keys: Mapping[str, dg.AssetKey],
    provider_models: Callable[[DataRoot], Mapping[str, str]],
    partition_prefix: str,
    concurrency: int,
    observer: Callable[[Outcome], None] | None,
    stop: threading.Event | None,
) -> dg.JobDefinition:
    """Return the job; `keys` are the stage assets', by stage. Its run fails where a member that it
    was asked for has no content afterwards; what `max_generations` left is no failure."""

    @dg.op(name=f"{name}_op")
    def make_missing(context: dg.OpExecutionContext, config: MakeMissingConfig) -> None:
        root = DataRoot.open(data_root)
        members = _members(root, config.cohort_id)
        recover(root)
        register_members(context.instance, root, config.cohort_id, prefix=partition_prefix)
        asked = Asked(
            retry_failed=config.retry_failed,
            retry_unparsed=config.retry_unparsed,
            reuse=config.reuse,
            pay_again=config.pay_again,
            max_calls=config.max_generations,
        )
        reuse, work = plan_run(root, config.cohort_id, asked)
        refuse_paid(reuse, work)
        context.log.info("%s calls of the generator at most", work.total_calls)
        executor = Executor(
            root=root,
            generator=generate,
            plan=reuse,
            asked=asked,
            provider_models=provider_models(root),
            stop=stop or threading.Event(),
        )
        recorder = Recorder(context, root, keys, observer)
        for stage in PIPELINE:
            unrecorded = _unrecorded(context.instance, keys[stage], stage, work)
            ready = [gen_id for gen_id in work.of(stage) if is_ready(root, stage, gen_id)]
            limit = config.concurrency or concurrency
            obtain_all(executor, stage, [*unrecorded, *ready], recorder, concurrency=limit)
        context.add_output_metadata({"cohort_id": config.cohort_id, **_figures(root, members)})
        recorder.incomplete += _left_alone(work)
        recorder.incomplete += _blocked(root, members, work, recorder.incomplete)
        recorder.raise_for_failures()

    @dg.job(
        name=name,
        executor_def=dg.in_process_executor,
        tags=_NO_RETRIES,
        description="Make what a cohort lacks: drafts, then essays, then evaluations.",
    )
    def job() -> None:
        make_missing()

    return job


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


def _unrecorded(
    instance: dg.DagsterInstance, key: dg.AssetKey, stage: str, work: Workload
) -> list[str]:
    """Return the members that have content of which Dagster has no record: it gets one."""
    recorded = instance.get_materialized_partitions(key)
    made = (one.gen_id for one in work.made if one.stage == stage)
    return [gen_id for gen_id in made if gen_id not in recorded]


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
    root: DataRoot, members: tuple[Member, ...], work: Workload, told: Sequence[Outcome]
) -> list[Outcome]:
    """Return the members that could not be begun, as outcomes of this run; without those `told`."""
    known = {(one.stage, one.gen_id) for one in told}
    return [
        Outcome(stage=one.stage, gen_id=one.gen_id, kind="blocked", reason=one.reason)
        for one in blocked_members(root, members, work)
        if (one.stage, one.gen_id) not in known
    ]


def _figures(root: DataRoot, members: tuple[Member, ...]) -> dict[str, dg.TableMetadataValue]:
    found = standing(root, members)
    table = stage_table(
        members={stage: one.members for stage, one in found.items()},
        made={stage: one.made for stage, one in found.items()},
        missing={stage: one.missing for stage, one in found.items()},
        failed={stage: one.failed + one.unparsed for stage, one in found.items()},
    )
    return {"members": table}
