"""Which ids generations had before they were migrated: our own record, kept for good.

One `.genid/renamed/<migration id>.csv` (stage, old, new) for each migration that was carried out. A
host may rewrite `metadata.json`, and with it lose the `previous_gen_id` that a migration writes
there; this record is not the host's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from attrs import evolve

from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import dump_csv, read_csv
from genid_store.fs.files import guarded, write_atomic
from genid_store.fs.layout import DataRoot, check_segment, is_segment

_COLUMNS: Final = ("stage", "old", "new")
_REMEDY: Final = (
    "restore the file from a backup; without one delete it: look-ups of the ids from before that "
    "migration then rest on metadata.json alone"
)
#: (stage, id from before) -> the ids of its generation since, oldest first
Renamed = dict[tuple[str, str], tuple[str, ...]]


def write_renamed(root: DataRoot, migration: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Record what a migration has renamed, as (stage, old, new). OSError: it cannot be written."""
    write_atomic(_path(root, migration), dump_csv([_COLUMNS, *rows]).encode())


def forget_renamed(root: DataRoot, migration: str) -> None:
    """Remove the record of a migration that is rolled back. OSError: it stays."""
    _path(root, migration).unlink(missing_ok=True)


def read_renamed(root: DataRoot) -> Renamed:
    """Return what every migration has renamed. StoreError: lists the records that are damaged; ids
    that they may hide are never taken for unknown ones."""
    folder, problems, found = root.own / "renamed", list[Problem](), Renamed()
    names = []
    with guarded(root), contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(folder))
    for name in names:
        if name.endswith(".csv") and is_segment(name):
            for line in read_csv(root, folder / name, _COLUMNS, problems):
                stage, old, new = (line[column] for column in _COLUMNS)
                found[stage, old] = (*found.get((stage, old), ()), new)
    if problems:
        damaged = [evolve(problem, remedy=_REMEDY) for problem in problems]
        raise StoreError("the record of a migration cannot be read", damaged)
    return found


def _path(root: DataRoot, migration: str) -> Path:
    segment = check_segment(migration, what="the migration's id", where=".genid/renamed")
    return root.own / "renamed" / f"{segment}.csv"
