"""`genid report`: the state of a store and its rollout, and the next command to run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click

from genid_store.cli import _output as output
from genid_store.cli._options import partition_option
from genid_store.fs.files import exists, is_dangling, is_file, is_there, write_atomic
from genid_store.fs.layout import DataRoot

_PAGE = "report.html"


def _check_page(context: click.Context, option: click.Parameter, page: Path | None) -> Path | None:
    """Return the page, checked before the report is computed.

    BadParameter: its folder does not exist, or it is a device or a pipe, which the atomic write
    would replace with a file.
    """
    if page is not None and not is_there(page.parent):
        message = f"the folder {page.parent} does not exist; create it, or name another"
        raise click.BadParameter(message, context, option)
    if page is not None and exists(page) and not (is_file(page) or is_dangling(page)):
        raise click.BadParameter(f"{page} is not a file; name one", context, option)
    return page


@click.command()
@output.store_options
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_page,
    help=f"The page to write; {_PAGE} here unless --json asks for the numbers alone.",
)
@partition_option
def report(root: DataRoot, out: Path | None, as_json: bool, partition_prefix: str) -> None:
    """Write one self-contained page about a store: families, steps, findings, coverage, migration.

    Exit status 0 whatever the report says, 1 if the store cannot be read or the page not written.
    """
    from genid_store.report.collect import gather
    from genid_store.report.page import html

    made = gather(
        root,
        environ=os.environ,
        version=version("generation-ids"),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        partition_prefix=partition_prefix,
        watch=output.progress_bar,
    )
    page = out if out is not None or as_json else Path(_PAGE)
    if page is not None:
        write_atomic(page.absolute(), html(made).encode("utf-8"), durable=False)
    if as_json:
        output.print_json({"page": None if page is None else str(page), "report": made})
    else:
        for name, number in made.facts:
            click.echo(f"{name:41}{number}")
        sentence, command = made.verdict
        click.echo(f"wrote {page}\n{sentence}\nnext: {command}")
