"""`genid store migrate|rollback|finalize|sync-partitions`: move a store to v1 ids, and back."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, Final, Literal

import click

from genid_store.cli._options import asset_prefix, instance_options
from genid_store.cli._output import (
    data_root_option,
    json_option,
    print_json,
    print_rest,
    progress_bar,
)
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot

if TYPE_CHECKING:
    import dagster as dg

    from genid_store.migration.planfile import Plan

_SHOWN: Final = 20  # keys that are printed for people


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
@click.option("--no-dagster", is_flag=True, help="Leave Dagster's records for sync-partitions.")
@instance_options
@json_option
def migrate(
    *,
    root: DataRoot,
    execute: bool,
    resume: bool,
    duplicates: Literal["renumber", "fail"],
    expected: str | None,
    no_dagster: bool,
    assets: str,
    partitions: str,
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
    dagster = _follow(root, assets, partitions) if done and not no_dagster else None
    if as_json:
        room = {} if done else {"missing_room": missing and str(missing)}
        print_json({**_plan_record(plan), **room, "dagster": dagster})
    elif done:
        _print_done(plan, dagster, no_dagster=no_dagster)
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
    from genid_store.migration.summary import SUMMARY

    click.echo((plan.folder / SUMMARY).read_text("utf-8"))
    click.echo(f"Nothing was changed. Plan and mapping: {plan.root.relative(plan.folder)}/")
    if plan.totals()["moves"]:
        click.echo(f"Carry it out: genid store migrate --execute --plan {plan.plan_id}")


def _print_done(plan: Plan, dagster: list[dict[str, Any]] | None, *, no_dagster: bool) -> None:
    totals = plan.totals()
    if not totals["moves"] and not totals["files"]:
        click.echo(f"nothing to move: {totals['generations']} generations")
        return
    click.echo(f"migrated: {totals['moves']} of {totals['generations']} generations, verified")
    click.echo(f"stay as they are: {totals['stays']} (see {plan.root.relative(plan.folder)}/)")
    _print_dagster(dagster, no_dagster=no_dagster)
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
@click.option("--no-dagster", is_flag=True, help="Leave Dagster's records for sync-partitions.")
@instance_options
@json_option
def rollback(
    *,
    root: DataRoot,
    plan_id: str | None,
    force: bool,
    no_dagster: bool,
    assets: str,
    partitions: str,
    as_json: bool,
) -> int:
    """Give the store back as it was before a migration, or an interrupted part of one."""
    from genid_store.migration import run

    with progress_bar("going back") as progress:
        plan = run.rollback(root, plan_id, force=force, progress=progress)
    dagster = None if no_dagster else _follow(root, assets, partitions)
    if as_json:
        print_json({**_plan_record(plan), "dagster": dagster})
        return 0
    click.echo(f"rolled back: {plan.totals()['generations']} generations, verified")
    _print_dagster(dagster, no_dagster=no_dagster)
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


@click.command("sync-partitions")
@data_root_option
@click.option("--prune", is_flag=True, help="Delete registered keys that are no cohort's member.")
@instance_options
@json_option
def sync_partitions(
    *, root: DataRoot, prune: bool, assets: str, partitions: str, as_json: bool
) -> int:
    """Bring Dagster's records to where the migrations of the store stand.

    Materializations and partition keys follow to the new ids, or back after a rollback. Keys that
    are no cohort's members are counted, and deleted with --prune.
    """
    from genid_dagster_adapter import partition_pruning

    instance = _instance(root)
    if instance is None:
        remedy = "set DAGSTER_HOME to the instance's folder"
        problem = Problem(where="DAGSTER_HOME", message="there is no instance", remedy=remedy)
        raise StoreError("there are no Dagster records to bring up to date", [problem])
    dagster = _follow(root, assets, partitions) or []
    with instance, progress_bar("looking for keys"):
        find = partition_pruning.prune if prune else partition_pruning.unowned
        unowned = find(instance, root, prefix=partitions)
    if as_json:
        print_json({"dagster": dagster, "unowned": unowned, "pruned": prune})
        return 0
    _print_dagster(dagster, no_dagster=False)
    count = sum(map(len, unowned.values()))
    words = "deleted" if prune else "are registered (--prune deletes them)"
    if count:
        click.echo(f"{count} keys that are no cohort's member {words}")
    else:
        click.echo("every registered key is some cohort's member")
    for stage, keys in unowned.items():
        for key in keys[:_SHOWN]:
            click.echo(f"  {stage} {key}")
        print_rest(len(keys), _SHOWN, indent="  ")
    return 0


def _instance(root: DataRoot) -> dg.DagsterInstance | None:
    """Return the Dagster instance of the data root, None where there is none to ask."""
    likely = bool(os.environ.get("DAGSTER_HOME")) or (root.own / "dagster").is_dir()
    if not likely or importlib.util.find_spec("dagster") is None:
        return None
    from genid_dagster_adapter.instance import has_instance, open_instance

    return open_instance(root) if has_instance(root) else None


def _follow(root: DataRoot, assets: str, partitions: str) -> list[dict[str, Any]] | None:
    """Let Dagster's records follow; None: there is no instance.

    StoreError: the instance does not answer (what is done so far is gone on with next time).
    """
    instance = _instance(root)
    if instance is None:
        return None
    import dagster as dg
    from attrs import asdict
    from sqlalchemy.exc import SQLAlchemyError

    from genid_dagster_adapter.migration_history import Target, sync
    from genid_store.fs.locks import MIGRATION, root_lock

    target = Target(key_prefix=asset_prefix(assets), partition_prefix=partitions)
    with instance, root_lock(root, MIGRATION), progress_bar("Dagster's records") as progress:
        try:
            return [asdict(one) for one in sync(instance, root, target=target, progress=progress)]
        except (dg.DagsterError, SQLAlchemyError, OSError) as error:
            raise _unanswered(root, error) from error


def _unanswered(root: DataRoot, error: Exception) -> StoreError:
    problem = Problem(
        where=os.environ.get("DAGSTER_HOME") or str(root.own / "dagster"),
        message=f"it does not answer: {error}",
        remedy="repair the instance, then run `genid store sync-partitions`: it goes on there",
    )
    return StoreError("the store is done, Dagster's records are not", [problem])


def _print_dagster(dagster: list[dict[str, Any]] | None, *, no_dagster: bool) -> None:
    if no_dagster:
        click.echo("Dagster's records: left for `genid store sync-partitions`")
    elif dagster is None:
        click.echo(
            "Dagster's records: there is no instance (set DAGSTER_HOME and run "
            "`genid store sync-partitions` if there is one elsewhere)"
        )
    else:
        for one in dagster:
            way = "back to the old ids" if one["back"] else "to the new ids"
            click.echo(
                f"Dagster's records {way}: {one['events']} materializations, "
                f"{one['added']} keys added, {one['deleted']} deleted"
            )
