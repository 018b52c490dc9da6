"""Bringing an index up to date: what changed on disk is read, and what follows from it judged anew.

A metadata file is read again only where its stamp (time of change, size, inode) is not the one it
was read under. Ancestors come before descendants, and a changed parent makes its children be judged
again, so that expected ids are always those of the store as it is.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final

from attrs import define, field, frozen

from genid_store.catalog.expected import Ancestor, ancestor, judge
from genid_store.catalog.index.database import INDEXES
from genid_store.catalog.index.read import ABSENT, Judged, read_and_judge
from genid_store.catalog.index.rows import FIELDS, SELECT, generation_of, row_of, verdict_of
from genid_store.catalog.index.workers import Workers, useful_count
from genid_store.fs.files import guarded
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.stages import parent_key, stage_names

Progress = Callable[[int, int], None]

_BATCH: Final = 1_000  # rows a step: bounds memory and is what progress counts in
_GEN_ID: Final = FIELDS.index("gen_id")


@frozen(kw_only=True)
class Refreshed:
    """What a refresh did: how many generations there are, were read, and are gone."""

    total: int
    read: int
    removed: int


@define
class _Changes:
    """What differs between disk and index, by stage."""

    changed: dict[str, list[str]] = field(factory=dict)
    removed: dict[str, list[str]] = field(factory=dict)
    stray: list[tuple[str, str]] = field(factory=list)
    total: int = 0

    def __bool__(self) -> bool:
        return any(self.changed.values()) or any(self.removed.values())


def refresh(
    root: DataRoot, connection: sqlite3.Connection, progress: Progress | None = None
) -> Refreshed:
    """Bring the index up to date with the disk, in one transaction, and return what was done.

    Readers see the index from before until it is done. sqlite3.Error: the database is damaged,
    full, or locked by another writer for longer than anyone should wait. StoreError: the folders
    below gens/ cannot be read.
    """
    with guarded(root, reading=True):
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
    for stage in stage_names():
        query = "SELECT gen_id, changed_ns, size, inode FROM generation WHERE stage = ?"
        known = {row[0]: row for row in connection.execute(query, (stage,))}
        changes.changed[stage] = _walk(root, stage, known, changes)
        changes.removed[stage] = sorted(known)
    changes.stray.sort()
    return changes


def _walk(
    root: DataRoot, stage: str, known: dict[str, tuple[Any, ...]], changes: _Changes
) -> list[str]:
    """Return the names below gens/<stage>/ whose stamp is not the known one, and take those that
    are there out of `known`. In a large store nearly all are known: for those it does one stat."""
    changed: list[str] = []
    same = 0
    try:
        descriptor = os.open(root.stage(stage), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return changed
    stat = os.stat
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                name = entry.name
                before = known.get(name)
                if before is None:  # new, or no generation
                    if _is_generation(entry, stage, changes):
                        changed.append(name)
                    continue
                try:
                    state = stat(f"{name}/{METADATA}", dir_fd=descriptor)
                    found = (name, state.st_ctime_ns, state.st_size, state.st_ino)
                except OSError:  # no file, no folder, or no right to look: reading it will tell
                    found = (name, *ABSENT)
                    if not _is_generation(entry, stage, changes):
                        continue
                del known[name]
                if before == found:
                    same += 1
                else:
                    changed.append(name)
    finally:
        os.close(descriptor)
    changes.total += same + len(changed)
    return changed


def _is_generation(entry: os.DirEntry[str], stage: str, changes: _Changes) -> bool:
    """Say whether an entry is a generation's folder; notes what is neither that nor hidden."""
    if entry.name.startswith("."):
        return False
    if is_segment(entry.name) and entry.is_dir():
        return True
    changes.stray.append((stage, entry.name.encode("utf-8", "backslashreplace").decode()))
    return False


class _Update:
    """One transaction: removes, reads, judges and writes, stage by stage, ancestors first."""

    def __init__(
        self, root: DataRoot, connection: sqlite3.Connection, changes: _Changes, progress: Progress
    ) -> None:
        self.root = str(root.path)
        self.connection, self.changes, self.progress = connection, changes, progress
        self.done = 0
        self.total = sum(map(len, changes.changed.values()))
        self.first = connection.execute("SELECT 1 FROM generation LIMIT 1").fetchone() is None
        self.above: dict[str, Ancestor | None] = {}  # the parents of the stage that is being judged
        self.judged: dict[str, Ancestor | None] = {}  # those of the stage after it

    def apply(self) -> None:
        """Do all of it."""
        moved: list[str] = []  # ids of the stage before whose expected ids may have changed
        count = useful_count(self.total) if self.first else 0
        with Workers(self.root, count) as workers:
            for stage in stage_names():
                changed, removed = self.changes.changed[stage], self.changes.removed[stage]
                self._remove(stage, removed)
                stale = self._children(stage, moved, set(changed))
                for found in self._judged(stage, changed, workers if count else None):
                    self._write(stage, found)
                    self.done += len(found)
                    self.progress(self.done, self.total)
                for name in stale:
                    self._rejudge(stage, name)
                moved = [] if self.first else [*changed, *removed, *stale]
                self.above, self.judged = self.judged, {}
        if self.first:
            for statement in INDEXES.split(";"):  # executescript would commit
                self.connection.execute(statement)
        self.connection.execute("DELETE FROM stray")
        self.connection.executemany("INSERT INTO stray VALUES (?, ?)", self.changes.stray)

    def _judged(
        self, stage: str, names: Iterable[str], workers: Workers | None
    ) -> Iterator[list[Judged]]:
        if workers is not None:
            yield from workers.read_and_judge(stage, _batches(names), self.above)
            return
        for batch in _batches(names):
            yield read_and_judge(self.root, stage, batch, partial(self._above, stage))

    def _remove(self, stage: str, names: Sequence[str]) -> None:
        for table, column in (("generation", "gen_id"), ("previous", "now")):
            self.connection.executemany(
                f"DELETE FROM {table} WHERE {column} = ? AND stage = ?",  # noqa: S608
                ((name, stage) for name in names),
            )

    def _children(self, stage: str, parents: Iterable[str], known: set[str]) -> list[str]:
        """Return the members of a stage, other than the `known`, that have one of these parents."""
        query = "SELECT gen_id FROM generation WHERE parent_gen_id = ? AND stage = ?"
        found = {
            row[0] for parent in parents for row in self.connection.execute(query, (parent, stage))
        }
        return sorted(found - known)

    def _write(self, stage: str, found: Sequence[Judged]) -> None:
        if not self.first:
            self._remove(stage, [one.row[_GEN_ID] for one in found])
        marks = ",".join("?" * len(found[0].row))
        insert = f"INSERT INTO generation VALUES ({marks})"  # noqa: S608
        self.connection.executemany(insert, [one.row for one in found])
        before = [(older, stage, one.row[_GEN_ID]) for one in found for older in one.previous]
        self.connection.executemany("INSERT INTO previous VALUES (?, ?, ?)", before)
        if stage != stage_names()[-1]:
            self.judged.update((one.row[_GEN_ID], one.ancestor) for one in found)

    def _rejudge(self, stage: str, name: str) -> None:
        """Judge again, from the index's own row, a generation whose parent has changed."""
        generation = generation_of(self._row(stage, name))
        verdict = judge(generation, self._above(stage, generation.parent_gen_id))
        self.judged[name] = ancestor(generation, verdict)
        self.connection.execute(
            "UPDATE generation SET family = ?, recomputes = ?, v1 = ?, phase_1 = ?,"
            " id_problems = ? WHERE gen_id = ? AND stage = ?",
            (*row_of(generation, verdict, ABSENT)[len(FIELDS) : -len(ABSENT)], name, stage),
        )

    def _above(self, stage: str, parent_gen_id: str | None) -> Ancestor | None:
        parent = parent_key(stage, parent_gen_id)
        if parent is None or parent_gen_id is None:
            return None
        if parent_gen_id not in self.above and not self.first:
            row = self._row(*parent)
            known = None if row is None else ancestor(generation_of(row), verdict_of(row))
            self.above[parent_gen_id] = known
        return self.above.get(parent_gen_id)

    def _row(self, stage: str, gen_id: str) -> Any:
        query = f"{SELECT} WHERE gen_id = ? AND stage = ?"
        return self.connection.execute(query, (gen_id, stage)).fetchone()


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(names)
    return iter(lambda: list(islice(remaining, _BATCH)), [])
