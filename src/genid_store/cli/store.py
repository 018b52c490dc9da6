"""`genid store`: audit a store, and undo what was reused in it.

`genid store migrate` and `rollback` are in the module `migrate`, loaded when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from attrs import asdict

from genid_store.catalog.findings import KINDS
from genid_store.cli import LazyGroup
from genid_store.cli import _output as output
from genid_store.cli._options import keys_options
from genid_store.errors import StoreError, counted
from genid_store.fs.layout import DataRoot
from genid_store.hooks import partition_keys

if TYPE_CHECKING:
    from genid_store.catalog.audit.audit import Audit


@click.group(
    cls=LazyGroup,
    lazy={
        "migrate": ("migrate:migrate", "Plan, and on request do, the move to v1 ids."),
        "rollback": ("migrate:rollback", "Give the store back as it was before a migration."),
    },
)
def store() -> None:
    """Audit and migrate the generations on disk."""


@store.command(short_help="Check whether the store is sound, and show what to do if not.")
@output.store_options
@keys_options
def audit(root: DataRoot, as_json: bool, **keys: Any) -> int:
    """Check whether the store is sound, and list every fault with its code, place, ids and remedy.

    Exit status 0: sound. 1: findings, or a data root that cannot be read.
    """
    result = _audit(root, keys)
    if as_json:
        counts = {code: len(findings) for code, findings in result.by_code().items()}
        document = {"sound": result.sound, "counts": counts, **asdict(result, recurse=False)}
        output.print_json(document)
    else:
        _print_audit(result)
    return 0 if result.sound else 1


def _audit(root: DataRoot, keys: Mapping[str, Any]) -> Audit:
    from genid_store.catalog.audit import audit as auditing

    with output.fresh_index(root) as index:
        partitions = None
        try:
            partitions = partition_keys(root, **keys)
        except StoreError as error:  # the store can be audited without its Dagster instance
            click.echo(f"genid: partitions were not looked at: {error}", err=True)
        with output.progress_bar("auditing") as progress:
            return auditing.audit(index, partitions=partitions, progress=progress)


def _print_audit(result: Audit) -> None:
    output.print_table([asdict(counts) for counts in result.families])
    for what, count in result.coerced.items():
        click.echo(f"coerced: {what} ({count})")
    if result.sound:
        click.echo("sound: no findings")
        return
    for code, findings in result.by_code().items():
        click.echo(f"\n{code}: {len(findings)}. {KINDS[code].meaning}")
        click.echo(f"  remedy: {KINDS[code].remedy}")
        output.print_list([f"{finding.where}: {finding.text}" for finding in findings], indent="  ")
    count = len(result.findings)
    click.echo(f"\n{counted(count, 'finding')}")


@store.command(short_help="Take back the texts that members were given.")
@output.store_options
@click.option("--dry-run", is_flag=True, help="Show what would be taken back; write nothing.")
def unreuse(root: DataRoot, dry_run: bool, as_json: bool) -> None:
    """Take back the texts that members were given instead of being paid for.

    The generations' folders are then as they were, byte for byte. A text stays if something was
    made from it since, if it was replaced, or if its source no longer exists.
    """
    from genid_store.generation.giving import take_back

    taken, kept = take_back(root, dry_run=dry_run)
    if as_json:
        output.print_json({"dry_run": dry_run, "taken_back": taken, "kept": kept})
        return
    click.echo(f"{'would be taken back' if dry_run else 'taken back'}: {len(taken)}")
    if kept:
        click.echo(f"kept (used since, replaced, or their source is gone): {len(kept)}")
        output.print_list([f"{member.stage} {member.gen_id}" for member in kept], indent="  ")
