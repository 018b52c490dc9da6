"""`genid store migrate|rollback|finalize`: move a store to v1 ids, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from genid_store.cli._options import instance_options
from genid_store.cli._output import (
    data_root_option,
    json_option,
    print_json,
    progress_bar,
)
from genid_store.fs.layout import DataRoot
from genid_store.hooks import after_change

if TYPE_CHECKING:
    from genid_store.migration.planfile import Plan

_SHOWN: Final = 10  # keys that are printed for people


@click.command()
@data_root_option
@click.option("--execute", is_flag=True, help="Carry the plan out.")
@click.option("--resume", is_flag=True, help="Go on with a migration that was stopped.")
@click.option(
    "--duplicates",
    type=click.Choice(["renumber", "fail"]),
    default="renumber",
    show_default=True,
    help="Make duplicates further replicates, or refuse where there are any.",
)
@click.option("--plan", "expected", help="Execute only if the store still comes to this plan.")
@instance_options
@json_option
def migrate(
    *,
    root: DataRoot,
    execute: bool,
    resume: bool,
    duplicates: Literal["renumber", "fail"],
    expected: str | None,
    instance: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Plan the move of every generation to its v1 id; carry it out with --execute.

    Without --execute only .genid/ is written: the plan, the mapping as CSV, and the summary that is
    printed. Exit status 1: something must be put right first, or the disk has no room for it.
    """
    from genid_store.migration import run
    from genid_store.migration.execute import missing_room

    if execute and resume:
        raise click.UsageError("--resume goes on with what --execute began: give one of them")
    if expected is not None and not execute:
        raise click.UsageError("--plan says what --execute may do: give both")
    with progress_bar("migrating" if execute or resume else "planning") as progress:
        if resume:
            plan = run.resume(root, progress=progress)
        elif execute:
            plan = run.migrate(root, duplicates=duplicates, expected=expected, progress=progress)
        else:
            plan = run.plan(root, duplicates=duplicates, progress=progress)
    done = execute or resume
    missing = None if done else missing_room(plan)
    followed = _follow(root, instance) if done else []
    if as_json:
        room = {} if done else {"missing_room": missing and str(missing)}
        print_json({**_plan_record(plan), **room, "followed": followed})
    elif done:
        _print_done(plan, followed)
    else:
        _print_plan(plan)
    if missing is not None:
        click.echo(f"genid: {missing}", err=True)
    return 1 if not done and (missing or plan.totals()["blockers"]) else 0


def _plan_record(plan: Plan) -> dict[str, Any]:
    from genid_store.migration.state import state_of

    totals = {key: value for key, value in plan.totals().items() if key != "kind"}
    return {
        "plan": plan.plan_id,
        "folder": plan.root.relative(plan.folder),
        "state": state_of(plan),
        **totals,
    }


def _print_plan(plan: Plan) -> None:
    from genid_store.fs.files import read_bytes
    from genid_store.migration.summary import SUMMARY

    click.echo(read_bytes(plan.folder / SUMMARY).decode("utf-8", "replace"))
    click.echo(f"Nothing was changed. Plan and mapping: {plan.root.relative(plan.folder)}/")
    if plan.totals()["moves"]:
        click.echo(f"Carry it out: genid store migrate --execute --plan {plan.plan_id}")


def _print_done(plan: Plan, followed: Sequence[str]) -> None:
    totals = plan.totals()
    if not totals["moves"] and not totals["files"]:
        click.echo(f"nothing to move: {totals['generations']} generations")
        return
    click.echo(f"migrated: {totals['moves']} of {totals['generations']} generations, verified")
    click.echo(f"stay as they are: {totals['stays']} (see {plan.root.relative(plan.folder)}/)")
    for line in followed:
        click.echo(line)
    for record in plan.records("note"):
        if record["note"] == "report":
            click.echo(f"to be made again, it mentions old ids: {record['path']}")
    click.echo(
        "until `genid store finalize`, `genid store rollback` gives the store back as it was"
    )


@click.command()
@data_root_option
@click.option("--plan", "plan_id", help="The plan to go back on (default: the open one).")
@click.option(
    "--force", is_flag=True, help="Go back although the store was used since; what is in the way "
    "is kept in the plan's folder."
)  # fmt: skip
@instance_options
@json_option
def rollback(
    *,
    root: DataRoot,
    plan_id: str | None,
    force: bool,
    instance: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Give the store back as it was before a migration, or an interrupted part of one."""
    from genid_store.migration import run

    with progress_bar("going back") as progress:
        plan = run.rollback(root, plan_id, force=force, progress=progress)
    followed = _follow(root, instance)
    if as_json:
        print_json({**_plan_record(plan), "followed": followed})
        return 0
    click.echo(f"rolled back: {plan.totals()['generations']} generations, verified")
    for line in followed:
        click.echo(line)
    return 0


@click.command()
@data_root_option
@click.option("--plan", "plan_id", help="The plan to finalize (default: the open one).")
@json_option
def finalize(*, root: DataRoot, plan_id: str | None, as_json: bool) -> int:
    """End a migration: delete the originals, after which it cannot be rolled back.

    The mapping stays, and old ids go on resolving.
    """
    from genid_store.migration import run

    with progress_bar("finalizing"):
        plan = run.finalize(root, plan_id)
    if as_json:
        print_json(_plan_record(plan))
    else:
        click.echo(f"finalized: {plan.plan_id}; it cannot be rolled back any more")
    return 0


def _follow(root: DataRoot, instance: Mapping[str, Any]) -> list[str]:
    with progress_bar("Dagster's records") as progress:
        return after_change(root, **instance, progress=progress)
