"""`genid store migrate|rollback`: move a store to v1 ids, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from genid_store.cli._options import instance_options, let_follow
from genid_store.cli._output import (
    print_json,
    print_list,
    progress_bar,
    store_options,
)
from genid_store.errors import StoreError, counted
from genid_store.fs.layout import DataRoot

if TYPE_CHECKING:
    from genid_store.migration.planfile import Plan


@click.command()
@store_options
@click.option("--execute", is_flag=True, help="Carry the plan out.")
@click.option("--dry-run", is_flag=True, help="Only plan, as without --execute.")
@click.option("--resume", is_flag=True, help="Finish an exchange that was stopped.")
@click.option("--finish", is_flag=True, help="Delete the former store: no rollback after this.")
@click.option("--yes", is_flag=True, help="Do not ask before --finish.")
@click.option("--plan", "expected", help="Execute only if the store still comes to this plan.")
@click.option(
    "--table",
    "tables",
    multiple=True,
    metavar="PATH",
    help="Replace the ids in this file of the data root, too (may be given again).",
)
@instance_options
def migrate(
    *,
    root: DataRoot,
    execute: bool,
    dry_run: bool,
    resume: bool,
    finish: bool,
    yes: bool,
    expected: str | None,
    tables: tuple[str, ...],
    as_json: bool,
    **instance: Any,
) -> int:
    """Plan the move of every generation to its v1 id; carry it out with --execute.

    Without --execute only .genid/ is written: the plan, the mapping as CSV, and the summary that is
    printed. With it the new store is built beside the live one, verified, and exchanged for it. The
    former one is kept for a rollback until --finish; old ids resolve for good. Exit status 1:
    something must be fixed first, or the disk has no room for it.
    """
    from genid_store.migration import run
    from genid_store.migration.build import missing_room

    if execute + dry_run + resume + finish > 1:
        raise click.UsageError("--execute, --dry-run, --resume and --finish: give one of them")
    if expected is not None and not execute:
        raise click.UsageError("--plan says what --execute may do: give both")
    if finish:
        return _finish(root, yes=yes, as_json=as_json)
    with progress_bar("migrating" if execute or resume else "planning") as progress:
        if resume:
            plan = run.resume(root)
        elif execute:
            plan = run.migrate(root, tables=tables, expected=expected, progress=progress)
        else:
            plan = run.plan(root, tables=tables, progress=progress)
    done = execute or resume
    missing = None if done else missing_room(plan)
    followed = let_follow(root, instance) if done else []
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
    from genid_store.migration.swap import read_swap

    totals = {key: value for key, value in plan.totals().items() if key != "kind"}
    return {
        "plan": plan.plan_id,
        "folder": plan.root.relative(plan.folder),
        "state": read_swap(plan).state,
        **totals,
    }


def _print_plan(plan: Plan) -> None:
    from genid_store.fs.files import read_bytes
    from genid_store.migration.plan import SUMMARY

    click.echo(read_bytes(plan.folder / SUMMARY).decode("utf-8", "replace"))
    click.echo(f"Nothing was changed. Plan and mapping: {plan.root.relative(plan.folder)}/")
    if plan.has_work():
        click.echo(f"Carry it out: genid store migrate --execute --plan {plan.plan_id}")


def _print_done(plan: Plan, followed: Sequence[str]) -> None:
    totals = plan.totals()
    if not plan.has_work():
        click.echo(f"nothing to move: {counted(totals['generations'], 'generation')}")
        return
    generations = counted(totals["generations"], "generation")
    click.echo(
        f"verified and migrated: {totals['moves']} of {generations} moved, "
        f"{totals['keeps']} were right already, {totals['stays']} stay, {totals['merged']} merged"
    )
    for line in followed:
        click.echo(line)
    for record in plan.records("note"):
        if record["note"] == "report":
            click.echo(f"to be made again, it mentions old ids: {record['path']}")
    click.echo("`genid store rollback` gives the store back, until `genid store migrate --finish`")


@click.command()
@store_options
@instance_options
def rollback(*, root: DataRoot, as_json: bool, **instance: Any) -> int:
    """Give the store back as it was before a migration, with what was made since."""
    from genid_store.migration import run

    with progress_bar("rolling back") as progress:
        plan, carried = run.rollback(root, progress=progress)
    followed = let_follow(root, instance)
    if as_json:
        changes = [{"path": path, "what": what} for path, what in carried]
        print_json({**_plan_record(plan), "since": changes, "followed": followed})
        return 0
    click.echo(f"rolled back: {counted(plan.totals()['generations'], 'generation')}")
    print_list([f"{path}: {what}" for path, what in carried], indent="  ")
    for line in followed:
        click.echo(line)
    return 0


def _finish(root: DataRoot, *, yes: bool, as_json: bool) -> int:
    from genid_store.migration import run
    from genid_store.migration.swap import open_migration

    if not yes and open_migration(root) is not None and not _confirmed():
        remedy = "answer y, or give --yes"
        raise StoreError.of("nothing was deleted", "the confirmation", "was not given", remedy)
    with progress_bar("deleting the former store"):
        plan = run.finish(root)
    if as_json:
        print_json(_plan_record(plan))
    else:
        click.echo(f"finished: {plan.plan_id}; it cannot be rolled back any more")
    return 0


def _confirmed() -> bool:
    question = "Delete the former store? The migration cannot be rolled back then"
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if isinstance(error.__context__, EOFError):  # nobody can answer, as in a script
            return False
        raise
