"""`genid cohort run`: build a cohort, then make what is missing with the host's callable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict
from click.shell_completion import CompletionItem

from genid_store.catalog.memberships import Member, read_membership
from genid_store.cli._errors import INTERRUPTED
from genid_store.cli._options import (
    build_options,
    cohort_option,
    instance_options,
    wanted_build,
)
from genid_store.cli._output import (
    data_root_option,
    json_option,
    print_json,
    print_rest,
    print_table,
    progress_bar,
)
from genid_store.cohort.build import Options, build_cohort, plan_build
from genid_store.cohort.manifest import read_recorded
from genid_store.cohort.prepare import find_cohort_id, known_cohort_id
from genid_store.cohort.regeneration import Repeat
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import CONCURRENCY, Generator
from genid_store.generation.load import load_generator
from genid_store.generation.workload import blocked_members, failed_members, plan_work, standing
from genid_store.stages import PIPELINE

if TYPE_CHECKING:
    from genid_dagster_adapter.running import Done

_SHOWN = 10  # failures that people are shown


class _GeneratorType(click.ParamType[Generator]):
    name = "MODULE:CALLABLE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Generator:
        if callable(value):
            found: Generator = value
            return found
        try:
            return load_generator(value)
        except StoreError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


@click.command(short_help="Build a cohort and make what is missing.")
@data_root_option
@cohort_option
@click.option(
    "--generate",
    type=_GeneratorType(),
    required=True,
    help="The host's callable, MODULE:CALLABLE or FILE.py:CALLABLE.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=CONCURRENCY,
    show_default=True,
    help="How many calls run at once.",
)
@click.option("--max-generations", type=click.IntRange(min=0), help="At most this many calls.")
@click.option("--retry-failed", is_flag=True, help="Try again what failed or was not parsed.")
@click.option("--dry-run", is_flag=True, help="Say how many calls would be made; write nothing.")
@build_options
@instance_options
@json_option
def run(
    *,
    root: DataRoot,
    cohort_id: str | None,
    generate: Generator,
    concurrency: int,
    max_generations: int | None,
    retry_failed: bool,
    dry_run: bool,
    options: Mapping[str, Any],
    instance: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Build a cohort and make what is missing; what is there is never made again.

    A migrated cohort is run from its membership as it stands. Ctrl-C lets the calls in flight
    finish and records them; running again goes on from there. Exit status: 0 all members are made
    (or were left by --max-generations), 1 some failed or could not be begun, 130 interrupted.
    """
    wanted = wanted_build(root, cohort_id, options)
    if dry_run:
        return _dry_run(root, wanted, as_json=as_json, retry=retry_failed, cap=max_generations)
    from genid_dagster_adapter.running import run_members

    repeats: tuple[Repeat, ...] = ()
    if _runs_as_it_stands(root, wanted):
        known = known_cohort_id(root, wanted)
    else:
        with progress_bar("building") as progress:
            built = build_cohort(root, wanted, progress=progress)
        known, repeats = built.plan.cohort_id, built.repeats
    with progress_bar("generating") as progress:
        done = run_members(
            root,
            known,
            generate,
            rollout=wanted.rollout,
            concurrency=concurrency,
            max_calls=max_generations,
            retry_failed=retry_failed,
            progress=progress,
            key_prefix=instance["asset_prefix"],
            partition_prefix=instance["partition_prefix"],
        )
    summary = _summary(root, known, done, repeats)
    print_json(summary) if as_json else _print_summary(summary)
    if done.interrupted:
        return INTERRUPTED
    return 1 if summary["failed"] or summary["blocked"] else 0


def _runs_as_it_stands(root: DataRoot, options: Options) -> bool:
    """Say whether a migration has changed the cohort since it was built: then its tables no longer
    say who its members are. StoreError: no id is given, and none can be computed."""
    if options.rebuild_migrated or (options.cohort_id is None and options.write_combos):
        return False  # the id is computed from the combos, which are to be written first
    recorded = read_recorded(root, find_cohort_id(root, options))
    return recorded is not None and recorded.migrated is not None


def _dry_run(
    root: DataRoot, options: Options, *, as_json: bool, retry: bool, cap: int | None
) -> int:
    repeats: tuple[Repeat, ...] = ()
    dropped = 0
    with progress_bar("planning") as progress:
        if _runs_as_it_stands(root, options):
            known = known_cohort_id(root, options)
            work = plan_work(root, read_membership(root, known), retry_failed=retry, max_calls=cap)
        else:
            planned = plan_build(root, options, progress=progress)
            known, repeats, dropped = planned.plan.cohort_id, planned.repeats, len(planned.dropped)
            rows = planned.plan.rows
            members = [Member(row.stage, row.gen_id) for row in rows]
            work = plan_work(
                root,
                members,
                retry_failed=retry,
                max_calls=cap,
                planned={Member(row.stage, row.gen_id): row for row in rows},
            )
    record = {
        "cohort_id": known,
        "dry_run": True,
        "calls": [
            {"stage": stage, "model": model, "calls": count}
            for (stage, model), count in work.calls.items()
        ],
        "total_calls": work.total_calls,
        "copies": len(work.todo) - work.total_calls,
        "already_made": len(work.made),
        "left_alone": dict(sorted(Counter(work.waiting.values()).items())),
        "repeated_work": len(repeats),
        "dropped": dropped,
    }
    print_json(record) if as_json else _print_dry_run(record)
    return 0


def _print_dry_run(record: Mapping[str, Any]) -> None:
    click.echo(f"cohort {record['cohort_id']}: {record['total_calls']} calls would be made")
    print_table(
        ("stage", "model", "calls"),
        [(one["stage"], one["model"], one["calls"]) for one in record["calls"]],
    )
    click.echo(f"copies: {record['copies']}, already made: {record['already_made']}")
    for why, count in record["left_alone"].items():
        click.echo(f"left alone, {why}: {count}")
    if record["dropped"]:
        click.echo(
            f"dropped: {record['dropped']} former members; a run begins with a build from today's "
            "tables"
        )
    _print_repeats(record["repeated_work"])


def _summary(
    root: DataRoot, cohort_id: str, done: Done, repeats: tuple[Repeat, ...]
) -> dict[str, Any]:
    """Return what a run came to. `reused` are members that had content before it."""
    kinds = Counter((one.stage, one.kind) for one in done.outcomes)
    members = read_membership(root, cohort_id)
    stages = {
        stage: {
            "members": found.members,
            "made": kinds[stage, "made"],
            "copied": kinds[stage, "copied"],
            "reused": found.made - kinds[stage, "made"] - kinds[stage, "copied"],
            "failed": found.failed + found.unparsed,
            "missing": found.missing,
        }
        for stage, found in standing(root, members).items()
    }
    failures = [
        {"stage": one.stage, "gen_id": one.gen_id, "state": one.state, "reason": one.reason}
        for one in failed_members(root, members)
    ]
    blocked = [] if done.interrupted else blocked_members(root, members, done.workload)
    return {
        "cohort_id": cohort_id,
        "interrupted": done.interrupted,
        "calls": sum(count for (_, kind), count in kinds.items() if kind not in _FREE),
        "stages": stages,
        "failed": len(failures),
        "failures": failures,
        "blocked": [asdict(one) for one in blocked],
        "left_by_limit": sum(why == "over the limit" for why in done.workload.waiting.values()),
        "repeated_work": len(repeats),
    }


_FREE = {"copied", "reused", "blocked", "stopped"}


def _print_summary(summary: Mapping[str, Any]) -> None:
    columns = ("members", "made", "copied", "reused", "failed", "missing")
    click.echo(f"cohort {summary['cohort_id']}: {summary['calls']} generator calls")
    print_table(
        ("stage", *columns),
        [(stage, *(summary["stages"][stage][name] for name in columns)) for stage in PIPELINE],
    )
    for one in summary["failures"][:_SHOWN]:
        click.echo(f"{one['state']}: {one['stage']} {one['gen_id']}: {one['reason']}")
    if summary["failed"] > _SHOWN:
        click.echo(f"and {summary['failed'] - _SHOWN} more (`genid cohort status --json`)")
    _print_blocked(summary)
    if summary["failed"]:
        click.echo("--retry-failed tries them again")
    if summary["left_by_limit"]:
        click.echo(f"left by --max-generations: {summary['left_by_limit']}")
    if summary["interrupted"]:
        click.echo("interrupted; what was being made is recorded: run again to go on")
    _print_repeats(summary["repeated_work"])


def _print_blocked(summary: Mapping[str, Any]) -> None:
    """Print what is blocked by itself; of what hangs on that, or on a failure, only how many."""
    told = {one["gen_id"] for one in (*summary["failures"], *summary["blocked"])}
    first = [one for one in summary["blocked"] if one["parent_gen_id"] not in told]
    for one in first[:_SHOWN]:
        click.echo(f"blocked: {one['stage']} {one['gen_id']}: {one['reason']}")
    print_rest(len(first), _SHOWN)
    behind = len(summary["blocked"]) - len(first)
    if behind:
        click.echo(f"blocked by these: {behind}")


def _print_repeats(count: int) -> None:
    if count:
        click.echo(
            f"repeated work: {count} members had been paid for under another id "
            "(`genid store adopt` takes it over for deterministic ids)"
        )
