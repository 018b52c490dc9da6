"""What every command shares: the data root option, JSON, tables, progress.

Progress shows after a second and only on a terminal, whatever else asks for colour; `NO_COLOR` and
redirection switch colour off (rich does both). Everything is imported where it is used:
`genid --help` needs none of it.
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
    """Called as (done, total) by every long operation of the library; `description` may change."""

    def __call__(self, done: int, total: int, description: str = ..., /) -> None: ...


_PATIENCE: Final = 1.0  # seconds before progress is shown
_ESTIMATED: Final = 900.0  # seconds from which the rate is estimated: a call can take minutes
#: Lines of a list that people are shown.
SHOWN: Final = 10
#: The commands that call a function of the library which solves a problem.
COMMANDS: Final = {
    "migration.run.migrate()": "genid store migrate --execute",
    "migration.run.resume()": "genid store migrate --resume",
    "migration.run.rollback()": "genid store rollback",
    "migration.run.finish()": "genid store migrate --finish",
}


class _DataRootType(click.Path):
    """A data root, completed as a folder; what its genid.toml says becomes the context's object."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from genid_store.config import read_config
        from genid_store.errors import StoreError
        from genid_store.fs.layout import DataRoot

        if isinstance(value, DataRoot):
            return value
        try:
            root = DataRoot.open(value)
        except StoreError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error
        if ctx is not None and not ctx.resilient_parsing:
            ctx.obj = config = read_config(root.check())
            if config.stages_module is not None:
                from genid_store.generation.load import load_stages

                load_stages(root, config)
        return root


def data_root_option(command: Command, *, required: bool = True) -> Command:
    """Add `--data-root DIR`, which falls back to GENID_DATA_ROOT; a folder that is not there is a
    usage error (exit status 2), one that is not a data root is refused (1). Where it is not
    `required`, the command gets None without one."""
    return click.option(
        "--data-root",
        "root",
        type=_DataRootType(file_okay=False),
        envvar="GENID_DATA_ROOT",
        required=required,
        show_envvar=True,
        help="The pipeline's data folder.",
    )(command)


#: One JSON document on standard output, nothing else there.
json_option: Final = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for machines."
)


def store_options(command: Command) -> Command:
    """Add the options of every command about a store: `--data-root` and `--json`."""
    return data_root_option(json_option(command))


def print_json(record: object, *, indent: int | None = 2) -> None:
    """Print a record as one JSON document, keys in their order; without `indent` on one line.

    What the encoding of standard output lacks, what could drive a terminal and half a surrogate
    pair are escaped.
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
    """Print the values of records under their names, of those in `columns` if any are given;
    nothing where there is no record. No cell is cut or folded, so that an id can be copied from any
    terminal."""
    if not records:
        return
    from rich.cells import cell_len, set_cell_size

    names = tuple(columns) or tuple(records[0])
    rows = [[record[name] for name in names] for record in records]
    cells = [["" if one is None else written_out_line(one) for one in row] for row in rows]
    cells.insert(0, [name.replace("_", " ") for name in names])
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(set_cell_size, row, widths)).rstrip() for row in cells]
    lines.insert(1, "-" * (sum(widths) + 2 * len(widths) - 2))
    click.echo("\n".join(lines))


def flags(ways: Sequence[str]) -> str:
    """Return options and functions, as the library calls them, as those of commands, in
    brackets."""
    return f" ({', '.join(map(_flag, ways))})" if ways else ""


def _flag(way: str) -> str:
    name, _, value = way.partition("=")
    return COMMANDS.get(way) or f"--{name.replace('_', '-')} {value}".rstrip()


def print_stages(stages: Mapping[str, Mapping[str, object]]) -> None:
    """Print what there is of each stage as a table."""
    print_table([{"stage": stage, **counts} for stage, counts in stages.items()])


def print_list(
    entries: Sequence[str], *, indent: str = "", shown: int = SHOWN, err: bool = False
) -> None:
    """Print the first entries of a list, and how many there are more; `err`: on standard error."""
    for entry in entries[:shown]:
        click.echo(f"{indent}{entry}", err=err)
    if len(entries) > shown:
        click.echo(f"{indent}and {len(entries) - shown} more (--json lists all)", err=err)


@contextmanager
def fresh_index(root: DataRoot) -> Iterator[StoreIndex]:
    """Open the index of a data root, bring it up to date, and close it again at the end."""
    from genid_store.catalog.index.query import StoreIndex

    with StoreIndex.open(root) as index:
        with progress_bar("indexing") as progress:
            index.refresh(progress)
        yield index


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """Yield a callback `(done, total)`; on a terminal a bar appears once a second has passed, also
    where nothing was called yet, and moves while nothing is: its clock runs."""
    if not sys.stderr.isatty():
        yield _quiet
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
        *columns, console=console, transient=True, speed_estimate_period=_ESTIMATED
    ) as bar:
        task = bar.add_task(label, total=None, visible=False)
        appear = Timer(_PATIENCE, bar.update, (task,), {"visible": True})
        appear.daemon = True
        appear.start()
        try:

            def show(done: int, total: int, description: str = label) -> None:
                bar.update(task, completed=done, total=total, description=description)

            yield show
        finally:
            appear.cancel()


def _quiet(done: int, total: int, description: str = "") -> None:
    """Say nothing: what reads this is not a terminal."""
