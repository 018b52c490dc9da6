"""genid's own record of the ids that migrations replaced, kept for good.

Each migration that was carried out has a `.genid/renamed/<migration id>.csv` (stage, old, new). A
migration also writes `previous_gen_id` into `metadata.json`, but a host may rewrite that file and
lose the key; this record survives.
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
#: (stage, old id) -> the ids that its generation has had since, oldest first
Renamed = dict[tuple[str, str], tuple[str, ...]]


def write_renamed(root: DataRoot, migration: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Record the ids that a migration replaced, as (stage, old, new).

    OSError: the record cannot be written.
    """
    write_atomic(_path(root, migration), dump_csv([_COLUMNS, *rows]).encode())


def forget_renamed(root: DataRoot, migration: str) -> None:
    """Remove the record of a migration that is rolled back. OSError: it cannot be removed."""
    _path(root, migration).unlink(missing_ok=True)


def read_renamed(root: DataRoot) -> Renamed:
    """Return the ids that all migrations replaced.

    StoreError: lists the records that are damaged, because their ids must not pass for unknown.
    """
    folder, problems, renamed = root.own / "renamed", list[Problem](), Renamed()
    names = []
    with guarded(root), contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(folder))
    for name in names:
        if name.endswith(".csv") and is_segment(name):
            for line in read_csv(root, folder / name, _COLUMNS, problems):
                stage, old, new = (line[column] for column in _COLUMNS)
                renamed[stage, old] = (*renamed.get((stage, old), ()), new)
    if problems:
        damaged = [evolve(problem, remedy=_REMEDY) for problem in problems]
        raise StoreError("the record of a migration cannot be read", damaged)
    return renamed


def _path(root: DataRoot, migration: str) -> Path:
    segment = check_segment(migration, what="the migration's id", where=".genid/renamed")
    return root.own / "renamed" / f"{segment}.csv"
