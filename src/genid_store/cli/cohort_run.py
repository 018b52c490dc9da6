"""`genid cohort run`: make what a cohort lacks with the host's callable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import click
from attrs import fields_dict

from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import Generation
from genid_store.cli import _output as output
from genid_store.cli._errors import INTERRUPTED
from genid_store.cli._options import (
    build_options,
    cohort_option,
    instance_options,
    let_follow,
    wanted_build,
)
from genid_store.cli._unmade import (
    batch_records,
    described,
    failure_records,
    print_batches,
    print_failures,
    print_remedies,
)
from genid_store.cli._values import told
from genid_store.cli.batch import HostType
from genid_store.cohort.build import Options, build_cohort, plan_build
from genid_store.cohort.inputs.tables import provider_models
from genid_store.cohort.prepare import Prepared, find_cohort_id, similar_cohorts
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot
from genid_store.generation.batch import BatchHost, is_batch
from genid_store.generation.pool import CONCURRENCY
from genid_store.generation.records import Asked, Generator, Kind, Outcome, never_called
from genid_store.generation.run import Done, Progress, plan_run, refuse_paid, run_cohort
from genid_store.generation.status import states_of
from genid_store.generation.workload import (
    Workload,
    blocked_members,
    count_states,
    failed_members,
    left_by_limit,
    left_members,
)
from genid_store.stages import PIPELINE, Member, stage_names


@click.command
@output.store_options
@cohort_option
@click.option(
    "--generate",
    type=HostType(),
    help="The host's callable, MODULE:CALLABLE or FILE.py:CALLABLE; it may be async, or a batch.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=CONCURRENCY,
    show_default=True,
    help="How many calls run at once.",
)
@click.option(
    "--max-generations", "max_calls", type=click.IntRange(min=0), help="At most this many calls."
)
@click.option("--retry-failed", is_flag=True, help="Retry what failed.")
@click.option("--retry-unparsed", is_flag=True, help="Retry what was not parsed.")
@click.option(
    "--reuse", is_flag=True, help="Give legacy members the text that their task has already."
)
@click.option("--reuse-only", is_flag=True, help="Reuse existing texts, but call no one.")
@click.option(
    "--pay-again",
    is_flag=True,
    help="Pay for legacy members whose task the store has, and for texts that are out of reach.",
)
@click.option("--no-wait", is_flag=True, help="Leave batches to the next run, which collects them.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; write nothing.")
@build_options
@instance_options
def run(
    *,
    root: DataRoot,
    cohort_id: str | None,
    generate: Generator | BatchHost | None,
    concurrency: int,
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Make what a cohort lacks; a task that the store has, under any id, is not paid for again.

    An existing cohort is run with its membership as it is; a new one is built first. A member whose
    task the store has under another id gets that text. Ctrl-C lets the calls in flight finish and
    records them, and leaves batches at the provider; the next run continues. Exit status: 0 all
    members are made (or were left by --max-generations or --reuse-only, or are in a batch), 1 some
    failed or could not be begun, 130 interrupted.
    """
    asked = Asked(**{name: options.pop(name) for name in fields_dict(Asked)})
    wanted = wanted_build(cohort_id, options)
    if dry_run:
        return _dry_run(root, wanted, asked, as_json=as_json)
    if generate is None and not asked.reuse_only:
        raise click.UsageError("give --generate, the host's callable (or --reuse-only)")
    cohort_id = find_cohort_id(root, wanted)
    new = not is_there(root.membership(cohort_id))
    if new:
        awaited = generate is not None and is_batch(generate) and not no_wait

        def announce(prepared: Prepared) -> None:
            _announce_new(root, wanted, prepared)
            planned, cohort = _planned(prepared), prepared.plan.cohort_id
            work = plan_run(root, cohort, tuple(planned), asked, planned=planned, awaited=awaited)
            refuse_paid(work, planned)

        with output.progress_bar("building") as progress:
            build_cohort(root, wanted, progress=progress, announce=announce)
    with output.progress_bar("generating") as bar:
        done = run_cohort(
            root,
            cohort_id,
            generate or never_called,
            asked,
            concurrency=concurrency,
            wait=not no_wait,
            provider_models=provider_models(root),
            progress=lambda state: bar(state.done, state.calls, _described(state)),
        )
    messages = let_follow(root, options)
    summary = {"new": new, **_summary(root, cohort_id, done)}
    if as_json:
        output.print_json({**summary, "dagster": messages})
    else:
        _print_summary(summary, messages)
    if done.interrupted:
        return INTERRUPTED
    return 1 if summary["failed"] or summary["blocked"] or summary["refused"] else 0


def _described(state: Progress) -> str:
    if state.interrupted:
        return f"interrupted: {state.in_flight} in flight end first (Ctrl-C again leaves them)"
    batches = f", {state.in_batches} in batches" if state.in_batches else ""
    return f"generating: {state.in_flight} in flight, {state.failed} failed{batches}"


def _announce_new(root: DataRoot, wanted: Options, prepared: Prepared) -> None:
    """Print what is odd about a new cohort, before anything is written or paid for.

    A mistyped id, for one, would make a new cohort instead of running an existing one.
    """
    cohort_id = prepared.plan.cohort_id
    similar = [] if wanted.cohort_id is None else similar_cohorts(root, cohort_id)
    lines = [
        f"cohort {cohort_id} does not exist, and a run builds it; did you mean {name}?"
        for name in similar
    ]
    lines += map(told, prepared.plan.notices)
    output.print_list([f"notice: {line}" for line in lines], err=True)


def _planned(prepared: Prepared) -> dict[Member, Generation]:
    """Return the members of a cohort that is not written yet."""
    return {Member(row.stage, row.gen_id): row.as_generation() for row in prepared.plan.rows}


def _dry_run(root: DataRoot, wanted: Options, asked: Asked, *, as_json: bool) -> int:
    with output.progress_bar("planning") as progress:
        cohort_id = find_cohort_id(root, wanted)
        built = is_there(root.membership(cohort_id))
        planned = None
        if not built:
            announce = partial(_announce_new, root, wanted)
            planned = _planned(plan_build(root, wanted, progress=progress, announce=announce))
        members = read_membership(root, cohort_id) if planned is None else tuple(planned)
        work = plan_run(root, cohort_id, members, asked, planned=planned)
    record = {"new": not built, **_work_record(cohort_id, work)}
    if as_json:
        output.print_json(record)
    else:
        _print_dry_run(record)
    return 0


def _work_record(cohort_id: str, work: Workload) -> dict[str, Any]:
    calls = Counter[str]()
    for (stage, _), count in work.calls.items():
        calls[stage] += count
    groups = (work.made, work.adopted, work.waiting, work.todo)
    there, reused, left, todo = (Counter(member.stage for member in group) for group in groups)
    unmade = left_members(work)
    failed = (one for one in unmade if one.kind != "blocked")
    return {
        "cohort_id": cohort_id,
        "dry_run": True,
        "stages": {
            stage: {
                "members": there[stage] + left[stage] + todo[stage],
                "calls": calls[stage],
                "copied": todo[stage] - reused[stage] - calls[stage],
                "reused": reused[stage],
                "there": there[stage],
                "left": left[stage],
            }
            for stage in stage_names()
            if stage in PIPELINE or there[stage] + left[stage] + todo[stage]
        },
        "calls": [
            {"stage": stage, "model": model, "calls": count}
            for (stage, model), count in work.calls.items()
        ],
        "total_calls": work.total_calls,
        "reused": [
            {"stage": member.stage, "gen_id": member.gen_id, "adopted_from": source}
            for member, source in work.adopted.items()
        ],
        "left": dict(sorted(Counter(why.label for why in work.waiting.values()).items())),
        "failures": [{**one, "former_run": True} for one in failure_records(failed)],
        "blocked": [_blocked_record(work, one) for one in unmade if one.kind == "blocked"],
    }


def _blocked_record(work: Workload, blocked: Outcome) -> dict[str, Any]:
    generation = work.read(Member(blocked.stage, blocked.gen_id))
    return {
        "stage": blocked.stage,
        "gen_id": blocked.gen_id,
        "parent_gen_id": generation.parent_gen_id,
        "reason": blocked.reason + output.flags(blocked.ways),
    }


def _print_dry_run(record: Mapping[str, Any]) -> None:
    new = " (not built yet)" if record["new"] else ""
    click.echo(f"cohort {record['cohort_id']}{new}: {record['total_calls']} calls would be made")
    output.print_stages(record["stages"])
    output.print_table(record["calls"])
    if reused := record["reused"]:
        click.echo("reused, the text that their task has under another id:")
        lines = [
            f"{member['stage']} {member['gen_id']}\n    from {member['adopted_from']}"
            for member in reused
        ]
        output.print_list(lines, indent="  ", shown=output.SHOWN // 2)
    for label, count in record["left"].items():
        click.echo(f"left, {label}: {count}")
    print_failures(record["failures"])
    _print_blocked(record)
    print_remedies(record["failures"])


def _summary(root: DataRoot, cohort_id: str, done: Done) -> dict[str, Any]:
    """Return the result of a run as JSON values."""
    kinds = Counter((outcome.stage, outcome.kind) for outcome in done.outcomes)
    states = states_of(root, done.workload.members)
    unusable = (one for one in done.outcomes if one.kind in {"failed", "unparsed"})
    now = {Member(outcome.stage, outcome.gen_id): outcome for outcome in unusable}
    # The disk may have refused the record of a failure, too: this run alone knows its reason.
    off_record = {member: one for member, one in now.items() if states[member] == "missing"}
    incomplete = [*failed_members(root, states), *off_record.values()]
    states |= dict.fromkeys(off_record, "failed")
    stages = {
        stage: {
            "members": count["members"],
            "made": kinds[stage, "made"],
            "copied": kinds[stage, "copied"],
            "reused": kinds[stage, "adopted"],
            "there": count["made"] - sum(kinds[stage, kind] for kind in _MADE_NOW),
            "failed": count["failed"],
            "unparsed": count["unparsed"],
            "missing": count["missing"],
        }
        for stage, count in count_states(states).items()
    }
    failures = [
        {**failure, "former_run": (failure["stage"], failure["gen_id"]) not in now}
        for failure in failure_records(incomplete)
    ]
    refused = [
        {"stage": outcome.stage, "gen_id": outcome.gen_id, "reason": outcome.reason}
        for outcome in done.outcomes
        if outcome.kind == "refused"
    ]
    in_batches = [Member(one.stage, one.gen_id) for one in done.outcomes if one.kind == "waiting"]
    blocked = [] if done.interrupted else blocked_members(done.workload, in_batches, done.stopped)
    limited = done.workload.decider.asked.max_calls is not None
    shown = {record["gen_id"] for record in refused} | {member.gen_id for member in now}
    return {
        "cohort_id": cohort_id,
        "interrupted": done.interrupted,
        "calls": sum(kinds[stage, kind] for stage in stages for kind in _PAID),
        "stages": stages,
        "failed": len(failures),
        "failed_now": len(now),
        "failures": failures,
        "refused": refused,
        "blocked": [
            _blocked_record(done.workload, one) for one in blocked if one.gen_id not in shown
        ],
        "batches": batch_records(root, done.workload.members),
        "left_by_limit": len(left_by_limit(done.workload)) if limited else 0,
    }


_MADE_NOW: Final[tuple[Kind, ...]] = ("made", "copied", "adopted")
_PAID: Final[tuple[Kind, ...]] = ("made", "failed", "unparsed")


def _print_summary(summary: Mapping[str, Any], messages: list[str]) -> None:
    new = " (built just now)" if summary["new"] else ""
    click.echo(f"cohort {summary['cohort_id']}{new}: {summary['calls']} generator calls")
    output.print_stages(summary["stages"])
    print_failures(summary["failures"])
    output.print_list([f"not begun: {described(record)}" for record in summary["refused"]])
    _print_blocked(summary)
    print_batches(summary["batches"])
    print_remedies(summary["failures"])
    if summary["left_by_limit"]:
        click.echo(f"left by --max-generations: {summary['left_by_limit']}")
    if summary["interrupted"]:
        click.echo("interrupted; the calls in flight are recorded: the next run continues")
    for message in messages:
        click.echo(message)


def _print_blocked(summary: Mapping[str, Any]) -> None:
    """Print the members with an obstacle of their own; count those behind them or a failure."""
    names = ("failures", "blocked", "refused")
    shown = {record["gen_id"] for name in names for record in summary.get(name, ())}
    first = [record for record in summary["blocked"] if record["parent_gen_id"] not in shown]
    output.print_list([f"blocked: {described(record)}" for record in first])
    behind = len(summary["blocked"]) - len(first)
    if behind:
        click.echo(f"blocked by these: {behind}")
