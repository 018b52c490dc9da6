"""Bring an index up to date: read the metadata that changed on disk and derive ids from it.

A metadata file is read again only if its stamp (change time, size, inode) differs from the recorded
one. Parents are processed before their children. A changed parent causes the expected ids of its
children to be derived again. A file that an OS error kept from being read is recorded without a
valid stamp, so the next refresh tries it again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import filterfalse, islice
from typing import Any, Final

from attrs import define, field, frozen

from genid_store.catalog.expected import ParentIds, as_parent, derive_expected, parent_ids
from genid_store.catalog.index.database import INDEXES
from genid_store.catalog.index.reading import ABSENT, INODE, Reader
from genid_store.catalog.index.rows import (
    EXPECTED,
    SELECT,
    expected_values,
    indexed_of,
    unusual_in,
)
from genid_store.fs.files import guarded, is_there, read_bytes
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.stages import parent_stage, stage_names

Progress = Callable[[int, int], None]

#: What says whether a database was ever refreshed: 0 in one that was lost and is empty, then 1.
FILLED: Final = "PRAGMA user_version"
_BATCH: Final = 100  # rows per step; bounds memory and sets the granularity of progress


@frozen(kw_only=True)
class Refreshed:
    """Counts from one refresh: all generations, those read, and those removed."""

    total: int
    read: int
    removed: int


@define
class _Changes:
    """The differences between disk and index, by stage."""

    changed: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    removed: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    stray: list[tuple[str, str]] = field(factory=list)
    total: int = 0


def refresh(
    root: DataRoot, connection: sqlite3.Connection, progress: Progress | None = None
) -> Refreshed:
    """Bring the index up to date with the disk in one transaction.

    Readers see the previous state until it commits.

    Raises:
        sqlite3.Error: the database is damaged or full, or another writer holds its lock for too
            long.
        StoreError: the folders below gens/ cannot be read.
    """
    with guarded(root):
        changes = _compare(root, connection)
    done = Refreshed(
        total=changes.total,
        read=sum(map(len, changes.changed.values())),
        removed=sum(map(len, changes.removed.values())),
    )
    strays = connection.execute("SELECT stage, name FROM stray ORDER BY rowid").fetchall()
    if done.read or done.removed or strays != changes.stray:
        connection.execute("BEGIN IMMEDIATE")
        try:
            with without_collection():
                _Update(root, connection, changes, progress or _silent).apply()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # after an I/O error SQLite has rolled back by itself
                connection.execute("ROLLBACK")
            raise
    if connection.execute(FILLED).fetchone() == (0,):
        connection.execute(f"{FILLED} = 1")
    return done


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Disable the cyclic garbage collector in a block or function that creates many objects and no
    cycles: searching for them takes a seventh of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _silent(done: int, total: int) -> None:
    """Ignore a progress report."""


def _compare(root: DataRoot, connection: sqlite3.Connection) -> _Changes:
    changes = _Changes()
    declared = stage_names()
    indexed = [stage for (stage,) in connection.execute("SELECT DISTINCT stage FROM generation")]
    for stage in (*declared, *(stage for stage in indexed if stage not in declared)):
        query = "SELECT gen_id, changed_ns, size, inode FROM generation WHERE stage = ?"
        known = connection.execute(f"{query} ORDER BY gen_id", (stage,))
        # Another process may have indexed a stage that is not declared here. Its rows are removed,
        # because this process cannot keep them up to date.
        folder = _open(root, stage) if stage in declared else None
        try:
            _walk(stage, folder, known, changes)
        finally:
            if folder is not None:
                os.close(folder)
    changes.stray.sort()
    return changes


def _open(root: DataRoot, stage: str) -> int | None:
    """Open gens/<stage>/; return None if it does not exist."""
    try:
        return os.open(root.stage(stage), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        if is_there(root.stage(stage)):  # a dangling link must not pass for an empty stage
            read_bytes(root.stage(stage))  # raises, and says which link it is
        return None


def _walk(
    stage: str, folder: int | None, known: Iterator[tuple[Any, ...]], changes: _Changes
) -> None:
    """Record the new, changed and removed generations of an open folder."""
    changed, removed = changes.changed[stage], changes.removed[stage]
    new = set() if folder is None else _folders(folder, stage, changes)
    found, take, stat = len(new), new.remove, os.stat
    for gen_id, changed_ns, size, inode in known:
        try:
            take(gen_id)
        except KeyError:
            removed.append(gen_id)
            continue
        try:
            now = stat(f"{gen_id}/{METADATA}", dir_fd=folder)
            if (
                now.st_ctime_ns == changed_ns
                and now.st_size == size
                and now.st_ino & INODE == inode
            ):
                continue
        except (FileNotFoundError, NotADirectoryError):
            if (changed_ns, size, inode) == ABSENT:
                continue
        except OSError:
            pass  # counts as changed, so that reading it records the error
        changed.append(gen_id)
    changed += sorted(filter(is_segment, new))
    strays = [*filterfalse(is_segment, new)]
    for name in strays:
        _note_stray(stage, name, changes)
    changes.total += found - len(strays)


def _folders(stage_folder: int, stage: str, changes: _Changes) -> set[str]:
    """Return the names of the folders in a stage's folder, and of dangling links in the place of
    one; record other entries as stray."""
    found = set()
    with os.scandir(stage_folder) as entries:
        for entry in entries:
            if entry.is_dir() or (entry.is_symlink() and _is_dangling(entry.name, stage_folder)):
                found.add(entry.name)
            else:
                _note_stray(stage, entry.name, changes)
    return found


def _is_dangling(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder)
    except OSError:
        return True
    return False


def _note_stray(stage: str, name: str, changes: _Changes) -> None:
    """Record an entry that is not a generation's folder, unless it is hidden."""
    if not name.startswith("."):
        changes.stray.append((stage, name.encode("utf-8", "backslashreplace").decode()))


class _Update:
    """Apply changes inside a transaction, stage by stage, parents before children."""

    def __init__(
        self, root: DataRoot, connection: sqlite3.Connection, changes: _Changes, progress: Progress
    ) -> None:
        self.root = str(root.path)
        self.connection, self.changes, self.progress = connection, changes, progress
        self.done = 0
        self.total = sum(map(len, changes.changed.values()))
        self.first = connection.execute("SELECT 1 FROM generation LIMIT 1").fetchone() is None
        #: The known parents by stage and id, only for stages that have child stages.
        self.parents: dict[str, dict[str, ParentIds | None]] = {
            above: {} for stage in stage_names() if (above := parent_stage(stage)) is not None
        }

    def apply(self) -> None:
        """Remove, read, derive and write everything."""
        moved: dict[str, list[str]] = {}  # generations whose expected ids may have changed
        for stage, changed in self.changes.changed.items():
            removed = self.changes.removed[stage]
            self._remove(stage, removed)
            stale = self._children(stage, moved, set(changed))
            for names in _batches(changed):
                self._write(stage, names)
                self.done += len(names)
                self.progress(self.done, self.total)
            for name in stale:
                self._derive_again(stage, name)
            if parent_stage(stage) == stage:
                self._descend(stage, [*changed, *removed, *stale])
            moved[stage] = [] if self.first else [*changed, *removed, *stale]
        if self.first:
            self._create_indexes()
        self.connection.execute("DELETE FROM stray")
        self.connection.executemany("INSERT INTO stray VALUES (?, ?)", self.changes.stray)

    def _remove(self, stage: str, names: Sequence[str]) -> None:
        for table, column in (("generation", "gen_id"), ("previous", "now")):
            self.connection.executemany(
                f"DELETE FROM {table} WHERE {column} = ? AND stage = ?",  # noqa: S608
                ((name, stage) for name in names),
            )

    def _children(self, stage: str, moved: dict[str, list[str]], known: set[str]) -> list[str]:
        """Return the generations of a stage, except those in `known`, with a parent in `moved`."""
        query = "SELECT gen_id FROM generation WHERE parent_gen_id = ? AND stage = ?"
        parents = moved.get(parent_stage(stage) or "", ())
        found = {
            row[0] for parent in parents for row in self.connection.execute(query, (parent, stage))
        }
        return sorted(found - known)

    def _write(self, stage: str, names: Sequence[str]) -> None:
        """Read generations of one stage, derive their ids, and insert their rows."""
        if not self.first:
            self._remove(stage, names)
        known = self.parents.get(stage)
        reader = Reader(self.root, stage, partial(self._parent, parent_stage(stage)))
        rows, previous = [], []
        for name, (row, facts, ids, before) in zip(names, reader.rows(names), strict=True):
            rows.append(row)
            previous += [(older, stage, name) for older in before]
            if known is not None:
                known[name] = parent_ids(facts, ids.v1, ids.phase_1)
        marks = ",".join("?" * len(rows[0]))
        self.connection.executemany(f"INSERT INTO generation VALUES ({marks})", rows)  # noqa: S608
        self.connection.executemany("INSERT INTO previous VALUES (?, ?, ?)", previous)

    def _derive_again(self, stage: str, name: str) -> None:
        """Derive the ids of a generation again from its row, because its parent changed."""
        row = self._row(stage, name)
        generation = indexed_of(row)
        parent = self._parent(parent_stage(stage), generation.parent_gen_id)
        expected = derive_expected(generation, parent)
        if stage in self.parents:
            self.parents[stage][name] = as_parent(generation, expected.v1, expected.phase_1)
        values = expected_values(expected, unusual_in(row))
        columns = ", ".join(f"{column} = ?" for column in EXPECTED)
        self.connection.execute(
            f"UPDATE generation SET {columns} WHERE gen_id = ? AND stage = ?",  # noqa: S608
            (*values, name, stage),
        )

    def _descend(self, stage: str, moved: list[str]) -> None:
        """Derive the ids of a stage that is its own parent, level by level.

        Reading such a stage does not process parents before their children. A generation in or
        below a cycle is on no level, and gets no expected ids.
        """
        self._create_indexes()
        below: set[str] = set()
        level = moved
        while level:
            level = self._children(stage, {stage: level}, below)
            below.update(level)
        self.parents[stage].update(dict.fromkeys(below))
        level = [name for name in moved if name not in below]
        while level:
            level = self._children(stage, {stage: level}, set())
            below.difference_update(level)
            for name in level:
                self._derive_again(stage, name)
        for name in sorted(below):
            self._derive_again(stage, name)

    def _create_indexes(self) -> None:
        for statement in INDEXES.split(";"):  # executescript would commit
            self.connection.execute(statement)

    def _parent(self, stage: str | None, gen_id: str | None) -> ParentIds | None:
        """Return a parent of this stage, None if it is unknown."""
        if stage is None or gen_id is None:
            return None
        known = self.parents[stage]
        if gen_id not in known and not self.first:
            row = self._row(stage, gen_id)
            known[gen_id] = None if row is None else indexed_of(row).as_parent()
        return known.get(gen_id)

    def _row(self, stage: str, gen_id: str) -> Any:
        query = f"{SELECT} WHERE gen_id = ? AND stage = ?"
        return self.connection.execute(query, (gen_id, stage)).fetchone()


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    return iter(lambda: list(islice(remaining, _BATCH)), [])
