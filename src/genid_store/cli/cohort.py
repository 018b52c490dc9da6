"""`genid cohort build|list|status`; `compare` and `run` have modules of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from genid import parse_id
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.cli import LazyGroup
from genid_store.cli import _output as output
from genid_store.cli._options import (
    build_options,
    cohort_option,
    instance_options,
    let_follow,
    wanted_build,
)
from genid_store.cli._unmade import (
    batch_records,
    failure_records,
    print_batches,
    print_failures,
    print_remedies,
    print_repeats,
)
from genid_store.cli._values import told
from genid_store.cohort.build import Built, build_cohort
from genid_store.cohort.prepare import Prepared, find_cohort_id, require_cohort
from genid_store.errors import Problem, counted
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE, Member


@click.group(
    cls=LazyGroup,
    lazy={
        "compare": (
            "cohort_compare:compare",
            "Show what another rollout state would change; write nothing.",
        ),
        "run": ("cohort_run:run", "Make what a cohort lacks."),
    },
)
def cohort() -> None:
    """Build, compare, run and look at cohorts.

    The rollout state is that of DD_DETERMINISTIC_GEN_IDS and DD_GEN_ID_SCHEME where they are set,
    else that of genid.toml in the data root, else legacy ids.
    """


@cohort.command(short_help="Write a cohort's membership and its members' metadata.")
@output.store_options
@cohort_option
@build_options
@instance_options
def build(*, root: DataRoot, cohort_id: str | None, as_json: bool, **options: Any) -> None:
    """Write a cohort's membership and metadata; a Dagster instance that exists follows.

    A second build changes nothing. A refused one writes nothing (exit status 1).
    """
    wanted = wanted_build(cohort_id, options)
    with output.progress_bar("building") as progress:
        built = build_cohort(root, wanted, progress=progress, announce=_announce)
    record = _record(built, let_follow(root, options))
    output.print_json(record) if as_json else _print_built(record)


def _announce(prepared: Prepared) -> None:
    """Print notices, and how a rebuild changes the members, before anything is written."""
    plan = prepared.plan
    output.print_list([f"notice: {told(notice)}" for notice in plan.notices], err=True)
    if prepared.previous != () and (prepared.added or prepared.dropped):
        click.echo(
            f"cohort {plan.cohort_id}: {counted(len(plan.rows), 'member')} planned; "
            f"adds {len(prepared.added)}, drops {len(prepared.dropped)}",
            err=True,
        )


def _record(built: Built, followed: Sequence[str]) -> dict[str, Any]:
    """Return what a build did and what `let_follow` returned, for machines and people."""
    plan, changes = built.plan, built.changes
    counts: dict[str, Mapping[str, int]] = {
        "members": plan.counts(),
        "copies": Counter(row.stage for row in plan.rows if row.mode == "copy"),
        "new_metadata": built.new,
        "already_there": built.existing,
    }
    return {
        "cohort_id": plan.cohort_id,
        "mode": str(plan.mode),
        "rollout": plan.rollout.label,
        "scheme": plan.rollout.scheme,
        "stages": {
            stage: {name: by_stage[stage] for name, by_stage in counts.items()}
            for stage in PIPELINE
        },
        "combos": built.prepared.inputs.combos,
        "metadata_rewritten": built.rewritten,
        "files": built.files,
        "added": len(built.prepared.added),
        "dropped": built.prepared.dropped,
        "kept_membership": built.kept,
        "folded": len(plan.folded),
        "fill_up": plan.fill_up,
        "repeated_work": built.repeats,
        "rollout_changes": changes
        and {
            "before": changes.before.label,
            "after": changes.after.label,
            "ids_changed": changes.changed(),
        },
        "notices": plan.notices,
        "followed": followed,
    }


def _print_built(record: Mapping[str, Any]) -> None:
    """Print the record of a build for people, without its notices, which `_announce` printed."""
    scheme = "" if record["rollout"] == "off" else f" ({record['scheme']})"
    click.echo(
        f"cohort {record['cohort_id']}: {record['mode']}, rollout {record['rollout']}{scheme}"
    )
    for combo in record["combos"][: output.SHOWN]:
        about = f"{counted(len(combo.concept_ids), 'concept')}, k_max {combo.k_max}"
        click.echo(f"combo {combo.combo_id}: {about}, level {combo.description_level}")
    output.print_stages(record["stages"])
    if rewritten := record["metadata_rewritten"]:
        members = counted(rewritten, "member")
        click.echo(f"rewrote the metadata of {members} under which nothing was ever made")
    if fill_up := record["fill_up"]:
        click.echo(
            f"fill-up: {counted(fill_up.added, 'evaluation')} added in "
            f"{counted(len(fill_up.missing), 'cell')}; "
            f"fully covered: {counted(len(fill_up.covered_essays), 'essay')}"
        )
    if record["folded"]:
        click.echo(
            f"folded: {counted(record['folded'], 'task')} came to an id that was there already"
        )
    if changes := record["rollout_changes"]:
        counts = ", ".join(f"{n} {stage}" for stage, n in changes["ids_changed"].items())
        states = f"{changes['before']} before, {changes['after']} now"
        click.echo(f"rollout: {states}; ids that differ: {counts}")
    if dropped := record["dropped"]:
        members = counted(len(dropped), "former member")
        click.echo(f"dropped: {members}; kept in {record['kept_membership']}")
        output.print_list([f"{member.stage} {member.gen_id}" for member in dropped], indent="  ")
    if repeats := record["repeated_work"]:
        print_repeats(len(repeats))
        lines = []
        for one in repeats:
            more = f" and {len(one.held) - 1} more" if one.held[1:] else ""
            lines.append(f"{one.stage} {one.gen_id}\n    as {one.held[0]}{more}")
        output.print_list(lines, indent="  ", shown=output.SHOWN // 2)
    for line in record["followed"]:
        click.echo(line)


@cohort.command("list", short_help="List the cohorts and how much of them is made.")
@output.store_options
def list_command(root: DataRoot, as_json: bool) -> int:
    """List the cohorts with their members and how many of them are made."""
    with output.progress_bar("looking"):
        memberships = read_memberships(root)
        records = [
            _listed(root, cohort_id, members, memberships.problems)
            for cohort_id, members in memberships.members.items()
        ]
    status = int(bool(memberships.problems))
    if as_json:
        output.print_json({"cohorts": records, "malformed": memberships.problems})
        return status
    if not records:
        click.echo("no cohort is built yet")
    for record in records:
        record["ids"] = ", ".join(f"{count} {name}" for name, count in record["families"].items())
    columns = ("cohort_id", "rollout", "ids", "members", "made", "missing", "failed")
    output.print_table(records, columns)
    for problem in memberships.problems:
        click.echo(told(problem))
    return status


def _listed(
    root: DataRoot, cohort_id: str, members: Iterable[Member], problems: Iterable[Problem]
) -> dict[str, Any]:
    """Return how much of a cohort is made; all counts are 0 if its membership is malformed."""
    from genid_store.generation.status import states_of  # not needed by `build`
    from genid_store.generation.workload import count_states

    start = f"{root.relative(root.membership(cohort_id))}:"
    malformed = any(problem.where.startswith(start) for problem in problems)
    states = states_of(root, () if malformed else members)
    counts = Counter[str]()
    for by_state in count_states(states).values():
        counts.update(by_state)
    recorded = read_recorded(root, cohort_id)
    rollout = recorded.rollout if recorded is not None and recorded.stated else None
    families = Counter(str(parse_id(gen_id).family) for _, gen_id in members)
    return {
        "cohort_id": cohort_id,
        "rollout": "not recorded" if rollout is None else rollout.label,
        "families": dict(sorted(families.items())),
        **{name: counts[name] for name in ("members", "made", "missing")},
        "failed": counts["failed"] + counts["unparsed"],
    }


@cohort.command(short_help="Show what of a cohort is made, missing and failed.")
@output.store_options
@cohort_option
def status(root: DataRoot, cohort_id: str | None, as_json: bool) -> None:
    """Show a cohort's members by stage: made, missing, failed, why they failed, and which of them
    are in a batch."""
    from genid_store.generation.status import states_of
    from genid_store.generation.workload import count_states, failed_members

    known = require_cohort(root, find_cohort_id(root, wanted_build(cohort_id)))
    with output.progress_bar("looking"):
        members = read_membership(root, known)
        states = states_of(root, members)
        stages, failed = count_states(states), failed_members(root, states)
        batches = batch_records(root, members)
    failures = failure_records(failed)
    if as_json:
        output.print_json(
            {"cohort_id": known, "stages": stages, "failures": failures, "batches": batches}
        )
        return
    click.echo(f"cohort {known}")
    output.print_stages(stages)
    print_failures(failures)
    print_remedies(failures)
    print_batches(batches)
