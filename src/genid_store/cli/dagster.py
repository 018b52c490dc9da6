"""`genid dagster sync`: bring Dagster's records level with the disk."""

from __future__ import annotations

from typing import Any

import click

from genid_store.cli import _output as output
from genid_store.cli._options import mount_options
from genid_store.fs.layout import DataRoot
from genid_store.hooks import described, follow


@click.group()
def dagster() -> None:
    """Bring Dagster's records level with the disk."""


@dagster.command(short_help="Report what is made, register members, prune keys of no cohort.")
@output.store_options
@click.option("--prune", is_flag=True, help="Delete the partition keys that no cohort names.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option(
    "--asset",
    "others",
    multiple=True,
    metavar="KEY",
    help="An asset of the host's own over the same partitions (parts joined by /): its "
    "materializations follow a migration, too. Can be repeated.",
)
@click.option(
    "--forget",
    multiple=True,
    metavar="PATH",
    help="A data root that is gone for good: its keys in the same partition sets are nobody's. "
    "Can be repeated.",
)
@mount_options
def sync(*, root: DataRoot, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Bring Dagster's records level with the disk; what is level already is left alone.

    The instance is DAGSTER_HOME's, else the one in .genid/, which is created if it does not exist.
    If the command is interrupted, running it again completes it.
    """
    with output.progress_bar("Dagster's records") as progress:
        done = follow(root, progress=progress, dry_run=dry_run, **options)
    if as_json:
        output.print_json(done)
        return
    for line in described(done) or ["Dagster's records are level with the disk"]:
        click.echo(f"{line} (dry run)" if dry_run else line)
    for name in ("deleted", "unowned", "held"):
        for stage, keys in done[name].items():
            output.print_list([f"{name}: {stage} {key}" for key in keys], indent="  ")
