"""`genid store unreuse`: take back the texts that runs gave to members of their task."""

from __future__ import annotations

import click

from genid_store.cli._output import data_root_option, json_option, print_json, print_list
from genid_store.fs.layout import DataRoot
from genid_store.generation.reuse import take_back


@click.command(short_help="Take back the texts that members were given.")
@data_root_option
@click.option("--dry-run", is_flag=True, help="Say what would be taken back; write nothing.")
@json_option
def unreuse(root: DataRoot, dry_run: bool, as_json: bool) -> int:
    """Take back the texts that members were given instead of being paid for.

    The generations' folders are then as they were, byte for byte. A text from which something was
    made since, which was replaced, or whose source is gone, stays.
    """
    taken, kept = take_back(root, dry_run=dry_run)
    if as_json:
        record = {
            "dry_run": dry_run,
            "taken_back": [[one.stage, one.gen_id] for one in taken],
            "kept": [[one.stage, one.gen_id] for one in kept],
        }
        print_json(record)
        return 0
    click.echo(f"{'would be taken back' if dry_run else 'taken back'}: {len(taken)}")
    if kept:
        click.echo(f"kept (used since, replaced, or their source is gone): {len(kept)}")
        print_list([f"{one.stage} {one.gen_id}" for one in kept], indent="  ")
    return 0
