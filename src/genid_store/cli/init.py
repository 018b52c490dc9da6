"""`genid init`: create a data root that can be built and run immediately."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from genid_store.cli import _output as output

_NEXT = """\
deterministic ids are switched on in its genid.toml; its README.md says what to change. To try it:

  cd {folder}
  genid cohort build --data-root . --cohort-id first
  genid cohort run --data-root . --cohort-id first --generate generator.py:offline"""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@output.json_option
def init(folder: Path, as_json: bool) -> None:
    """Create a data root: tables, one template of each stage, and a generator that costs nothing.

    DIR must not exist yet, or be empty.
    """
    from genid_store.fs.new_folder import create_folder

    starter = dict(_files(files("genid_store") / "starter"))
    create_folder(folder.absolute(), starter)
    if as_json:
        output.print_json({"data_root": str(folder.absolute()), "files": sorted(starter)})
    else:
        click.echo(f"created {folder}: {len(starter)} files")
        named = f"./{folder}" if str(folder).startswith("-") else str(folder)
        click.echo(_NEXT.format(folder=shlex.quote(named)))


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield the relative path and the bytes of each file below a folder of the package."""
    for entry in folder.iterdir():
        if entry.is_file():
            yield prefix + entry.name, entry.read_bytes()
        elif entry.name != "__pycache__":
            yield from _files(entry, f"{prefix}{entry.name}/")
