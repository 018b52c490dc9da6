"""`genid store adopt`: reuse content under deterministic ids without renaming anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from genid_store.cli._options import complete_cohort
from genid_store.cli._output import (
    data_root_option,
    json_option,
    print_json,
    print_rest,
    print_table,
    progress_bar,
)
from genid_store.fs.layout import DataRoot

if TYPE_CHECKING:
    from genid_store.migration.adoption_plan import Adoption

_SHOWN: Final = 10  # members that are printed for people


@click.command()
@data_root_option
@click.option(
    "--cohort-id",
    shell_complete=complete_cohort,
    help="Only the members of this cohort (default: of every cohort).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be adopted; write nothing.")
@click.option("--undo", is_flag=True, help="Take the last adoption back.")
@json_option
def adopt(
    *,
    root: DataRoot, cohort_id: str | None, dry_run: bool, undo: bool, as_json: bool
) -> int:  # fmt: skip
    """Give members with deterministic ids the content that the store has of their task.

    The content is hard-linked, and nothing is renamed, generated or deleted.
    """
    from genid_store.migration import adopt as adopting

    if undo and (cohort_id is not None or dry_run):
        raise click.UsageError("--undo takes the last adoption back whole: give it alone")
    if undo:
        with progress_bar("taking back"):
            undone = adopting.undo(root)
        if as_json:
            print_json({"undone": undone})
        else:
            click.echo(f"taken back: {len(undone)} members have no content any more")
        return 0
    with progress_bar("adopting") as progress:
        adoption = adopting.adopt(root, cohort_id=cohort_id, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(_adoption_record(adoption, dry_run=dry_run))
    else:
        _print_adoption(adoption, dry_run=dry_run)
    return 0


def _adoption_record(adoption: Adoption, *, dry_run: bool) -> dict[str, Any]:
    from attrs import asdict

    return {
        "dry_run": dry_run,
        "adoption": adoption.adoption_id,
        "adopted": [asdict(one) for one in adoption.taken],
        "skipped": [asdict(one) for one in adoption.skipped],
    }


def _print_adoption(adoption: Adoption, *, dry_run: bool) -> None:
    words = "would be adopted" if dry_run else "adopted"
    click.echo(f"{words}: {len(adoption.taken)} members get content that is there under another id")
    rows = [(one.stage, one.gen_id, one.adopted_from) for one in adoption.taken[:_SHOWN]]
    if rows:
        print_table(("stage", "member", "from"), rows)
    print_rest(len(adoption.taken), _SHOWN)
    for one in adoption.skipped[:_SHOWN]:
        click.echo(f"not adopted: {one.stage} {one.gen_id}: {one.reason}")
    print_rest(len(adoption.skipped), _SHOWN)
    if adoption.taken and not dry_run:
        click.echo("`genid store adopt --undo` takes this back")
