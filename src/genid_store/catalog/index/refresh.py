"""Bringing an index up to date: reading what changed on disk, and deriving what follows from it.

A metadata file is read again only where its stamp (time of change, size, inode) is not the one it
was read under. Parents come before children, and a changed parent makes the ids of its children be
derived again, so that expected ids are always those of the store as it is. What the system did not
let us read is not taken for a fact: it has no stamp, and is tried again by the next refresh.
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
from genid_store.fs.files import guarded, is_there
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.stages import parent_stage, stage_names

Progress = Callable[[int, int], None]

_BATCH: Final = 100  # rows a step: bounds memory and is what progress counts in


@frozen(kw_only=True)
class Refreshed:
    """What a refresh did: how many generations there are, were read, and are gone."""

    total: int
    read: int
    removed: int


@define
class _Changes:
    """What differs between disk and index, by stage."""

    changed: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    removed: dict[str, list[str]] = field(factory=lambda: defaultdict(list))
    stray: list[tuple[str, str]] = field(factory=list)
    total: int = 0

    def __bool__(self) -> bool:
        return any(self.changed.values()) or any(self.removed.values())


def refresh(
    root: DataRoot, connection: sqlite3.Connection, progress: Progress | None = None
) -> Refreshed:
    """Bring the index up to date with the disk, in one transaction, and return what was done.

    Readers see the index from before until it is done.

    Raises:
        sqlite3.Error: the database is damaged, full, or locked by another writer for longer than
            anyone should wait.
        StoreError: the folders below gens/ cannot be read.
    """
    with guarded(root):
        changes = _compare(root, connection)
    strays = connection.execute("SELECT stage, name FROM stray ORDER BY rowid").fetchall()
    if changes or strays != changes.stray:
        connection.execute("BEGIN IMMEDIATE")
        try:
            with _without_collection():
                _Update(root, connection, changes, progress or _silent).apply()
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return Refreshed(
        total=changes.total,
        read=sum(map(len, changes.changed.values())),
        removed=sum(map(len, changes.removed.values())),
    )


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Leave garbage to reference counts: nothing here makes cycles, and looking for them among so
    many new records costs a seventh of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


def _compare(root: DataRoot, connection: sqlite3.Connection) -> _Changes:
    changes = _Changes()
    declared = stage_names()
    indexed = [stage for (stage,) in connection.execute("SELECT DISTINCT stage FROM generation")]
    for stage in (*declared, *(stage for stage in indexed if stage not in declared)):
        query = "SELECT gen_id, changed_ns, size, inode FROM generation WHERE stage = ?"
        known = connection.execute(f"{query} ORDER BY gen_id", (stage,))
        # what another process knew of a stage that is not declared here is not kept up to date
        folder = _open(root, stage) if stage in declared else None
        try:
            _walk(stage, folder, known, changes)
        finally:
            if folder is not None:
                os.close(folder)
    changes.stray.sort()
    return changes


def _open(root: DataRoot, stage: str) -> int | None:
    """Open gens/<stage>/; None: there is no such folder."""
    try:
        return os.open(root.stage(stage), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        if is_there(root.stage(stage)):  # its target is not there: not the same as no stage
            raise
        return None


def _walk(
    stage: str, folder: int | None, known: Iterator[tuple[Any, ...]], changes: _Changes
) -> None:
    """Note the generations in an open folder whose stamp is not the known one, and the known ones
    that are gone; of either, nothing but the names is held."""
    changed, removed = changes.changed[stage], changes.removed[stage]
    new = set() if folder is None else _folders(folder, stage, changes)
    unchanged, stat = 0, os.stat
    for row in known:
        gen_id = row[0]
        if gen_id not in new:
            removed.append(gen_id)
            continue
        new.remove(gen_id)
        try:
            state = stat(f"{gen_id}/{METADATA}", dir_fd=folder)
            now = (gen_id, state.st_ctime_ns, state.st_size, state.st_ino & INODE)
        except (FileNotFoundError, NotADirectoryError):
            now = (gen_id, *ABSENT)
        except OSError:
            now = None  # what cannot be looked at counts as changed
        if now == row:
            unchanged += 1
        else:
            changed.append(gen_id)
    changed += sorted(filter(is_segment, new))
    for name in filterfalse(is_segment, new):
        _note_stray(stage, name, changes)
    changes.total += unchanged + len(changed)


def _folders(stage_folder: int, stage: str, changes: _Changes) -> set[str]:
    """Return the names of the folders in a stage's; notes everything else as stray."""
    found = set()
    with os.scandir(stage_folder) as entries:
        for entry in entries:
            if entry.is_dir():
                found.add(entry.name)
            else:
                _note_stray(stage, entry.name, changes)
    return found


def _note_stray(stage: str, name: str, changes: _Changes) -> None:
    """Note what is not a generation's folder, unless it is hidden."""
    if not name.startswith("."):
        changes.stray.append((stage, name.encode("utf-8", "backslashreplace").decode()))


class _Update:
    """One transaction: removes, reads, derives and writes, stage by stage, parents first."""

    def __init__(
        self, root: DataRoot, connection: sqlite3.Connection, changes: _Changes, progress: Progress
    ) -> None:
        self.root = str(root.path)
        self.connection, self.changes, self.progress = connection, changes, progress
        self.done = 0
        self.total = sum(map(len, changes.changed.values()))
        self.first = connection.execute("SELECT 1 FROM generation LIMIT 1").fetchone() is None
        #: What is known of the parents, by stage and id; a stage without children keeps nothing.
        self.parents: dict[str, dict[str, ParentIds | None]] = {
            above: {} for stage in stage_names() if (above := parent_stage(stage)) is not None
        }

    def apply(self) -> None:
        """Do all of it."""
        moved: dict[str, list[str]] = {}  # ids whose expected ids may have changed
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
        """Return the members of a stage, other than the `known`, whose parent has moved."""
        query = "SELECT gen_id FROM generation WHERE parent_gen_id = ? AND stage = ?"
        parents = moved.get(parent_stage(stage) or "", ())
        found = {
            row[0] for parent in parents for row in self.connection.execute(query, (parent, stage))
        }
        return sorted(found - known)

    def _write(self, stage: str, names: Sequence[str]) -> None:
        """Read generations of one stage, derive their ids, and put them into the tables."""
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
        """Derive again, from the index's own row, the ids of a generation whose parent changed."""
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
        """Derive the ids of a stage that is its own parent level by level: within one, reading
        takes no parent before its child. What is below itself is below no first, and has none."""
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
        """Return what is known of a parent, which is of this stage."""
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
