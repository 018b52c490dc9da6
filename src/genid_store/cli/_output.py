"""Shared by every command: the data root option, JSON, tables, progress.

Progress is shown after a second, and only on a terminal; rich honours `NO_COLOR`. Heavy imports are
inside the functions that need them, because `genid --help` needs none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import click

from genid_store.cli._screen import document_stream, json_safe, plain, written_out_line

if TYPE_CHECKING:
    from genid_store.catalog.index.query import StoreIndex
    from genid_store.fs.layout import DataRoot

Command = TypeVar("Command", bound=Callable[..., Any])


class Progress(Protocol):
    """What long operations of the library call with (done, total), or with a new description."""

    def __call__(self, done: int, total: int, description: str = ..., /) -> None: ...


_DELAY: Final = 1.0  # seconds before progress is shown
_RATE_PERIOD: Final = 900.0  # seconds over which the rate is averaged: a call can take minutes
#: How many lines of a list are printed.
SHOWN: Final = 10
#: The command for each function of the library that `Problem.ways` can name.
COMMANDS: Final = {
    "migration.run.migrate()": "genid store migrate --execute",
    "migration.run.resume()": "genid store migrate --resume",
    "migration.run.rollback()": "genid store rollback",
    "migration.run.finish()": "genid store migrate --finish",
}

#: All other commands would take what a half-done exchange left for damage, and advise to repair it.
_END_MIGRATIONS: Final = ("migrate", "rollback")


class DataRootType(click.Path):
    """A data root, completed as a folder. Its `Config` becomes the object of the context."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from genid_store.config import read_config
        from genid_store.errors import StoreError
        from genid_store.fs.layout import DataRoot
        from genid_store.fs.locks import refuse_block

        if isinstance(value, DataRoot):
            return value
        try:
            root = DataRoot.open(value)
        except StoreError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error
        if ctx is not None and not ctx.resilient_parsing:
            if ctx.info_name not in _END_MIGRATIONS:
                refuse_block(root, lasting=True)
            ctx.obj = config = read_config(root.check())
            if config.stages_module is not None:
                from genid_store.generation.load import load_stages

                load_stages(root, config)
        return root


def data_root_option(command: Command, *, required: bool = True) -> Command:
    """Add `--data-root DIR`, which falls back to GENID_DATA_ROOT.

    A folder that does not exist is a usage error (exit status 2), one that is not a data root is
    refused (1). If it is not `required` and not given, the command gets None.
    """
    return click.option(
        "--data-root",
        "root",
        type=DataRootType(file_okay=False),
        envvar="GENID_DATA_ROOT",
        required=required,
        show_envvar=True,
        help="The pipeline's data folder.",
    )(command)


#: Print one JSON document on standard output, and nothing else there.
json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for machines."
)


def store_options(command: Command) -> Command:
    """Add `--data-root` and `--json`, the options of every command about a store."""
    return data_root_option(json_option(command))


def print_json(record: object, *, indent: int | None = 2) -> None:
    """Print a record as one JSON document, keys in their order; on one line if `indent` is None.

    Characters are escaped if standard output cannot encode them, if they could control a terminal,
    and if they are half a surrogate pair.
    """
    import json

    from genid_store.cli._values import values

    stream, document = document_stream(), values(record)
    text = json_safe(json.dumps(document, ensure_ascii=False, indent=indent, allow_nan=False))
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent)
    stream.write(f"{text}\n")
    stream.flush()


def print_table(records: Sequence[Mapping[str, object]], columns: Iterable[str] = ()) -> None:
    """Print records as a table of all their values, or of those in `columns`; nothing if there are
    no records.

    No cell is cut or wrapped, so that an id can be copied from any terminal.
    """
    if not records:
        return
    from rich.cells import cell_len, set_cell_size

    names = tuple(columns) or tuple(records[0])
    rows = [[record[name] for name in names] for record in records]
    cells = [["" if cell is None else written_out_line(cell) for cell in row] for row in rows]
    cells.insert(0, [name.replace("_", " ") for name in names])
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(set_cell_size, row, widths)).rstrip() for row in cells]
    lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
    click.echo("\n".join(lines))


def flags(ways: Sequence[str]) -> str:
    """Return `Problem.ways` as the command's own options and commands, in brackets."""
    return f" ({', '.join(map(_flag, ways))})" if ways else ""


def _flag(way: str) -> str:
    name, _, value = way.partition("=")
    return COMMANDS.get(way) or f"--{name.replace('_', '-')} {value}".rstrip()


def print_stages(stages: Mapping[str, Mapping[str, object]]) -> None:
    """Print a table of counts with one row for each stage that has members, or if none has any,
    for each stage."""
    filled = {stage: counts for stage, counts in stages.items() if counts["members"]}
    print_table([{"stage": stage, **counts} for stage, counts in (filled or stages).items()])


def print_list(
    entries: Sequence[str], *, indent: str = "", shown: int = SHOWN, err: bool = False
) -> None:
    """Print the first entries of a list and how many more it has; `err`: on standard error."""
    for entry in entries[:shown]:
        click.echo(f"{indent}{entry}", err=err)
    if len(entries) > shown:
        click.echo(f"{indent}and {len(entries) - shown} more (--json lists all)", err=err)


@contextmanager
def fresh_index(root: DataRoot) -> Iterator[StoreIndex]:
    """Open the index of a data root for a block, brought up to date."""
    from genid_store.catalog.index.query import StoreIndex

    with StoreIndex.open(root) as index:
        with progress_bar("indexing") as progress:
            index.refresh(progress)
        yield index


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Yield a callback `(done, total)` that moves a progress bar on a terminal.

    The bar appears after a second even if the callback was not called yet, and its clock runs on
    between calls, so that a slow operation never looks stuck.
    """
    if not sys.stderr.isatty():
        yield lambda done, total, description="": None
        return
    from threading import Timer

    from rich import progress as parts
    from rich.console import Console

    class Rate(parts.ProgressColumn):
        def render(self, task: parts.Task) -> str:
            minutes = (task.elapsed or 0.0) / 60
            return f"{task.completed / minutes:.1f}/min" if task.completed and minutes else ""

    columns = (
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(10),
        parts.MofNCompleteColumn(),
        Rate(),
        parts.TimeElapsedColumn(),
        parts.TextColumn("left"),
        parts.TimeRemainingColumn(),
    )
    console = Console(file=plain(sys.stderr))
    with parts.Progress(
        *columns, console=console, transient=True, speed_estimate_period=_RATE_PERIOD
    ) as bar:
        task = bar.add_task(label, total=None, visible=False)
        appear = Timer(_DELAY, bar.update, (task,), {"visible": True})
        appear.daemon = True
        appear.start()
        try:

            def show(done: int, total: int, description: str = label) -> None:
                bar.update(task, completed=done, total=total, description=description)

            yield show
        finally:
            appear.cancel()
