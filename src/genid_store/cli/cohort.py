"""`genid cohort`: build, list, status; `compare` and `run` have modules of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from attrs import asdict

from genid import parse_id
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.cli import LazyGroup
from genid_store.cli import _output as output
from genid_store.cli._errors import problem_records
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
)
from genid_store.cohort.build import Built, build_cohort
from genid_store.cohort.prepare import Prepared, known_cohort_id
from genid_store.errors import Problem
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE, Member


@click.group(
    cls=LazyGroup,
    lazy={
        "compare": (
            "cohort_compare:compare",
            "Say what another rollout state would change; write nothing.",
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
def build(
    *,
    root: DataRoot,
    cohort_id: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Write a cohort's membership and metadata; a Dagster instance that is there follows.

    A second build changes nothing. A refused one writes nothing (exit status 1).
    """
    wanted = wanted_build(root, cohort_id, options)
    with output.progress_bar("building") as progress:
        built = build_cohort(root, wanted, progress=progress, announce=_announce)
    record = built_record(built, let_follow(root, options))
    output.print_json(record) if as_json else print_built(record)
    return 0


def _announce(prepared: Prepared) -> None:
    """Say before a build writes what is odd about it, and how a rebuild changes its members."""
    output.print_list([f"notice: {problem}" for problem in prepared.plan.notices], err=True)
    if prepared.previous != () and (prepared.added or prepared.dropped):
        plan = prepared.plan
        click.echo(
            f"cohort {plan.cohort_id}: {len(plan.rows)} members planned; "
            f"adds {len(prepared.added)}, drops {len(prepared.dropped)}",
            err=True,
        )


def built_record(built: Built, followed: Sequence[str]) -> dict[str, Any]:
    """Return a build, and what `after_change` says, as JSON values."""
    plan = built.plan
    members = plan.counts()
    copies = Counter(row.stage for row in plan.rows if row.mode == "copy")
    return {
        "cohort_id": plan.cohort_id,
        "mode": str(plan.mode),
        "rollout": plan.rollout.label,
        "scheme": plan.rollout.scheme,
        "stages": {
            stage: {
                "members": members[stage],
                "copies": copies[stage],
                "new_metadata": built.new[stage],
                "already_there": built.existing[stage],
            }
            for stage in PIPELINE
        },
        "combos": [
            {
                "combo_id": one.combo_id,
                "concepts": sorted(one.concept_ids),
                "k_max": one.k_max,
                "description_level": one.description_level,
            }
            for one in built.prepared.inputs.combos
        ],
        "metadata_rewritten": built.rewritten,
        "files": list(built.files),
        "added": len(built.prepared.added),
        "dropped": [list(member) for member in built.prepared.dropped],
        "kept_membership": built.kept,
        "folded": len(plan.folded),
        "fill_up": None
        if plan.fill_up is None
        else {
            "added": plan.fill_up.added,
            "missing_cells": len(plan.fill_up.missing),
            "covered_essays": list(plan.fill_up.covered_essays),
        },
        "repeated_work": [asdict(one) for one in built.repeats],
        "rollout_changes": None
        if built.changes is None
        else {
            "before": built.changes.before.label,
            "after": built.changes.after.label,
            "ids_changed": built.changes.changed(),
        },
        "notices": problem_records(plan.notices),
        "followed": list(followed),
    }


def print_built(record: Mapping[str, Any]) -> None:
    """Print the record of a build for people; its notices were said before it wrote."""
    scheme = "" if record["rollout"] == "off" else f" ({record['scheme']})"
    click.echo(
        f"cohort {record['cohort_id']}: {record['mode']}, rollout {record['rollout']}{scheme}"
    )
    for one in record["combos"][: output.SHOWN]:
        about = f"{len(one['concepts'])} concepts, k_max {one['k_max']}"
        click.echo(f"combo {one['combo_id']}: {about}, level {one['description_level']}")
    output.print_stages(record["stages"])
    if rewritten := record["metadata_rewritten"]:
        click.echo(f"rewrote the metadata of {rewritten} members under which nothing was ever made")
    if filled := record["fill_up"]:
        click.echo(
            f"fill-up: {filled['added']} evaluations added in {filled['missing_cells']} cells; "
            f"{len(filled['covered_essays'])} essays were fully covered"
        )
    if record["folded"]:
        click.echo(f"folded: {record['folded']} tasks came to an id that was there already")
    if changes := record["rollout_changes"]:
        counts = ", ".join(f"{n} {stage}" for stage, n in changes["ids_changed"].items())
        states = f"{changes['before']} before, {changes['after']} now"
        click.echo(f"rollout: {states}; ids that differ: {counts}")
    if dropped := record["dropped"]:
        click.echo(f"dropped: {len(dropped)} former members; kept in {record['kept_membership']}")
        output.print_list([f"{stage} {gen_id}" for stage, gen_id in dropped], indent="  ")
    if repeated := record["repeated_work"]:
        click.echo(
            f"text under another id: {len(repeated)} members; `genid cohort run` gives it to those "
            "with deterministic ids, with --reuse to legacy ones too"
        )
        found = [f"{one['stage']} {one['gen_id']}\n    {_first(one['held'])}" for one in repeated]
        output.print_list(found, indent="  ", shown=output.SHOWN // 2)
    for line in record["followed"]:
        click.echo(line)


def _first(ids: Sequence[str]) -> str:
    return f"as {ids[0]}" + (f" and {len(ids) - 1} more" if ids[1:] else "")


@cohort.command("list", short_help="List the cohorts and how much of them is made.")
@output.store_options
def list_command(root: DataRoot, as_json: bool) -> int:
    """List the cohorts with their members and how many of them are made."""
    with output.progress_bar("looking"):
        found = read_memberships(root)
        records = [
            _cohort_record(root, cohort_id, members, _counts(root, cohort_id, found.problems))
            for cohort_id, members in found.members.items()
        ]
    if as_json:
        malformed = [
            {"where": one.where, "message": f"{one.message}; {one.remedy}"}
            for one in found.problems
        ]
        output.print_json({"cohorts": records, "malformed": malformed})
        return int(bool(malformed))
    if not records:
        click.echo("no cohort is built yet")
    columns = ("cohort_id", "rollout", "ids", "members", "made", "missing", "failed")
    for record in records:
        record["ids"] = ", ".join(f"{count} {name}" for name, count in record["families"].items())
    output.print_table(records, columns)
    for problem in found.problems:
        click.echo(str(problem))
    return int(bool(found.problems))


def _counts(
    root: DataRoot, cohort_id: str, problems: Iterable[Problem]
) -> Mapping[str, Mapping[str, int]]:
    """Return how far a cohort is, by stage; nothing where its membership is malformed."""
    from genid_store.generation.status import states_of  # a build does without
    from genid_store.generation.workload import count_states

    start = f"{root.relative(root.membership(cohort_id))}:"
    if any(one.where.startswith(start) for one in problems):
        return {}
    return count_states(states_of(root, read_membership(root, cohort_id)))


def _cohort_record(
    root: DataRoot,
    cohort_id: str,
    members: Iterable[Member],
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    recorded = read_recorded(root, cohort_id)
    rollout = recorded.rollout if recorded is not None and recorded.stated else None
    families = Counter(str(parse_id(gen_id).family) for _, gen_id in members)
    values = counts.values()
    return {
        "cohort_id": cohort_id,
        "rollout": "not recorded" if rollout is None else rollout.label,
        "families": dict(sorted(families.items())),
        "members": sum(one["members"] for one in values),
        "made": sum(one["made"] for one in values),
        "missing": sum(one["missing"] for one in values),
        "failed": sum(one["failed"] + one["unparsed"] for one in values),
    }


@cohort.command(short_help="Show what of a cohort is made, missing and failed.")
@output.store_options
@cohort_option
def status(root: DataRoot, cohort_id: str | None, as_json: bool) -> int:
    """Show a cohort's members by stage: made, missing, failed, why they failed, and which of them
    are in a batch."""
    from genid_store.generation.status import states_of
    from genid_store.generation.workload import count_states, failed_members

    known = known_cohort_id(root, wanted_build(root, cohort_id))
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
        return 0
    click.echo(f"cohort {known}")
    output.print_stages(stages)
    print_failures(failures)
    print_remedies(failures)
    print_batches(batches)
    return 0
