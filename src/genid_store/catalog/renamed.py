"""Which ids generations had before they were migrated: our own record, kept for good.

One `.genid/renamed/<migration id>.csv` (stage, old, new) for each migration that was carried out. A
host may rewrite `metadata.json`, and with it lose the `previous_gen_id` that a migration writes
there; this record is not the host's.
"""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from genid_store.errors import Problem
from genid_store.fs.csvfile import parse_csv
from genid_store.fs.files import read_bytes, write_atomic
from genid_store.fs.layout import DataRoot, check_segment, is_segment

_COLUMNS: Final = ("stage", "old", "new")
#: (stage, id from before) -> the ids of its generation since, oldest first
Renamed = dict[tuple[str, str], tuple[str, ...]]


def write_renamed(root: DataRoot, migration: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Record what a migration has renamed, as (stage, old, new). OSError: it cannot be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    write_atomic(_path(root, migration), text.getvalue().encode())


def forget_renamed(root: DataRoot, migration: str) -> None:
    """Remove the record of a migration that is rolled back. OSError: it stays."""
    _path(root, migration).unlink(missing_ok=True)


def read_renamed(root: DataRoot) -> Renamed:
    """Return what every migration has renamed. OSError: a record cannot be read."""
    try:
        names = sorted(os.listdir(root.own / "renamed"))
    except FileNotFoundError:
        return {}
    found: Renamed = {}
    for name in names:
        if name.endswith(".csv") and is_segment(name):
            path, problems = root.own / "renamed" / name, list[Problem]()
            for line in parse_csv(name, read_bytes(path), _COLUMNS, problems):
                stage, old, new = (line[column] for column in _COLUMNS)
                found[stage, old] = (*found.get((stage, old), ()), new)
            if problems:
                raise OSError(errno.EIO, problems[0].message, os.fspath(path))
    return found


def _path(root: DataRoot, migration: str) -> Path:
    segment = check_segment(migration, what="the migration's id", where=".genid/renamed")
    return root.own / "renamed" / f"{segment}.csv"
