"""`genid report`: the state of a store and its rollout, and the next command to run."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from genid_store.cli import _output as output
from genid_store.cli._options import keys_options
from genid_store.fs.files import exists, is_file, is_there, write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.hooks import partition_keys

_PAGE = "report.html"
_DOCTYPE = b"<!doctype html>"
#: The folders of a data root that a page has no place in, and those of the system.
_ENTRIES = ("gens", "cohorts", "1_raw", "2_tasks", "templates", "concepts", ".genid")
_OF_SYSTEM = {"/dev", "/proc", "/sys"}
_MEMORY = "/dev/shm"  # noqa: S108 - below /dev, and a folder of files like any other


def _target(root: DataRoot, page: Path) -> Path:
    """Return the file that a page is written to: links are followed, so that none is replaced.

    BadParameter: its folder does not exist, belongs to the system or to the store, or another file
    than a page is there.
    """
    target = Path(os.path.realpath(page))
    above = (*Path(os.path.abspath(page)).parents, *target.parents)
    folders = set(map(os.path.realpath, above))
    fault = None
    if not is_there(target.parent):
        fault = f"the folder {page.parent} does not exist; create it, or name another"
    elif folders & _OF_SYSTEM and _MEMORY not in folders:
        fault = f"{page} is in a folder of the system; name another"
    elif folders & {os.path.realpath(root.path / name) for name in _ENTRIES}:
        fault = f"{page} is in a folder of the store; name another"
    elif exists(target) and not is_file(target):
        fault = f"{page} is not a file; name one"
    elif exists(target) and not _is_page(target):
        fault = f"{page} is a file but no page; name another, or remove it first"
    if fault is not None:
        raise click.BadParameter(fault, param_hint="'--out'")
    return target


def _is_page(path: Path) -> bool:
    """Return whether a file is empty or an HTML page."""
    with path.open("rb") as file:
        return file.read(len(_DOCTYPE)) in (b"", _DOCTYPE)


@click.command()
@output.store_options
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"The page to write; {_PAGE} here unless --json asks for the numbers alone.",
)
@keys_options
def report(root: DataRoot, out: Path | None, as_json: bool, **keys: Any) -> None:
    """Write one self-contained page about a store: families, steps, findings, coverage, v1 ids.

    Exit status 0 whatever the report says, 1 if the store cannot be read or the page not written.
    """
    from genid_store.report.collect import gather
    from genid_store.report.page import html

    page = out if out is not None or as_json else Path(_PAGE)
    target = None if page is None else _target(root, page)
    made = gather(
        root,
        environ=os.environ,
        version=version("generation-ids"),
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        partition_keys=partial(partition_keys, root, **keys),
        watch=output.progress_bar,
    )
    if target is not None:
        write_atomic(target, html(made).encode("utf-8"), durable=False)
    if as_json:
        output.print_json({"page": None if page is None else str(page), "report": made})
    else:
        for name, number in made.facts:
            click.echo(f"{name:41}{number}")
        sentence, command = made.verdict
        click.echo(f"wrote {page}\n{sentence}\nnext: {command}")
