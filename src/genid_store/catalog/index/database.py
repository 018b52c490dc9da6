"""The index's database file: a cache that can be deleted at any time.

A process holds a shared lock while it has the file open. The last process to close it writes a
seal: the file's size, times and inode. A process that opens the file alone and finds no matching
seal (after a crash, or for a torn or copied file or another format) deletes it and starts with an
empty one. If `.genid/` cannot be written, or on request, the database is in memory and nothing on
disk changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import define

from genid_store.catalog.metadata import stage_fields
from genid_store.fs.files import check_inside, is_there, read_bytes
from genid_store.fs.jsonfile import load_json
from genid_store.fs.layout import DataRoot
from genid_store.stages import stage_names

#: Increase it when the tables or the rules for expected ids change; older files are rebuilt.
FORMAT: Final = 8
#: Seconds that a writer waits for another one, as long as a very large store takes to index.
_PATIENCE: Final = 600.0
_FILES: Final = ("index.lock", "index.use", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm")
_LONGEST_SEAL: Final = 65_536  # bytes
_WAL_VERSION: Final = slice(18, 20)  # header bytes; an in-memory copy cannot use WAL
_LARGEST: Final = 16 * 2**30  # bytes; a larger index is not copied into memory
_NO_WAL: Final = b"\x01\x01"

_TABLES: Final = """
CREATE TABLE generation (
    stage TEXT NOT NULL, gen_id TEXT NOT NULL, parent_gen_id TEXT, combo_id TEXT, template_id TEXT,
    llm_model_id TEXT, replicate INTEGER, origin_cohort_id TEXT, mode TEXT,
    family TEXT NOT NULL, recomputes INTEGER NOT NULL, v1 TEXT, phase_1 TEXT, unusual TEXT,
    changed_ns INTEGER NOT NULL, size INTEGER NOT NULL, inode INTEGER NOT NULL
);
CREATE TABLE previous (gen_id TEXT NOT NULL, stage TEXT NOT NULL, now TEXT NOT NULL);
CREATE TABLE stray (stage TEXT NOT NULL, name TEXT NOT NULL);
"""
#: The condition for rows whose metadata does not identify their task.
WITHOUT_TASK: Final = "v1 IS NULL OR (family = 'v1' AND NOT recomputes)"
#: Created after the first rows are inserted, at a third of the cost of maintaining them per row.
#: `by_id` contains the stamps so that a comparison with the disk reads this index alone.
INDEXES: Final = f"""
CREATE INDEX IF NOT EXISTS by_id ON generation (stage, gen_id, changed_ns, size, inode);
CREATE INDEX IF NOT EXISTS without_task ON generation (stage, gen_id) WHERE {WITHOUT_TASK};
CREATE INDEX IF NOT EXISTS unnumbered ON generation (stage, gen_id) WHERE replicate IS NULL;
CREATE INDEX IF NOT EXISTS by_parent ON generation (parent_gen_id, stage);
CREATE INDEX IF NOT EXISTS by_v1 ON generation (v1) WHERE v1 IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_phase_1 ON generation (phase_1) WHERE phase_1 IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_previous ON previous (gen_id);
CREATE INDEX IF NOT EXISTS by_now ON previous (now, stage);
"""


@define
class IndexFile:
    """An open index database; `path` is None for one in memory."""

    connection: sqlite3.Connection
    path: Path | None = None
    _use: int | None = None  # the descriptor whose shared lock marks the file as in use

    @classmethod
    def open(cls, root: DataRoot, *, persist: bool) -> IndexFile:
        """Open the data root's index, or one in memory that starts as a copy of it.

        StoreError: a symbolic link leads the file out of the data root (only with `persist`).
        """
        if persist:
            check_inside(root, root.own, *(root.own / name for name in _FILES))
            try:
                root.own.mkdir(exist_ok=True)
                return _open_on_disk(root.own)
            except OSError:  # read-only, full, or without locks: an index is a cache
                pass
        return cls(_in_memory(_sealed_bytes(root.own)))

    def close(self) -> None:
        """Close the database. The last process to do so seals the file if it can."""
        if self.path is None or self._use is None:
            self.connection.close()
            return
        folder, use = self.path.parent, self._use
        self._use = None
        try:
            with contextlib.suppress(OSError), _mutex(folder):  # an unsealed file is rebuilt
                self.connection.close()
                if _try_lock(use, fcntl.LOCK_EX):
                    os.pwrite(use, json.dumps(_seal_of(self.path)).encode(), 0)
        finally:
            self.connection.close()
            os.close(use)

    def discard(self, root: DataRoot) -> IndexFile:
        """Delete a damaged database and return an empty one, in memory if the file is in use."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        if self.path is None or self._use is None:
            return IndexFile(_in_memory(None))
        use, self._use = self._use, None
        try:
            with _mutex(self.path.parent):
                if not _try_lock(use, fcntl.LOCK_EX):
                    return IndexFile(_in_memory(None))
                os.truncate(use, 0)
        except OSError:
            return IndexFile(_in_memory(None))
        finally:
            os.close(use)
        return IndexFile.open(root, persist=True)


def _open_on_disk(folder: Path) -> IndexFile:
    path = folder / "index.sqlite"
    with _mutex(folder):
        use = os.open(folder / "index.use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if _try_lock(use, fcntl.LOCK_EX) and not _is_sealed(use, path):
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
            fcntl.flock(use, fcntl.LOCK_SH)
            # SQLite creates files that only their owner can write. Its journals copy the mode of
            # this file. One that exists is not opened here: closing it again would drop the locks
            # of every other connection of this process.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            if not os.access(path, os.W_OK):  # SQLite would open it to read, without a word
                raise PermissionError(path)
            connection = _connect(path)
            os.truncate(use, 0)  # after a crash, the missing seal makes the next process rebuild
        except BaseException:
            os.close(use)
            raise
    return IndexFile(connection, path, use)


def _connect(path: Path) -> sqlite3.Connection:
    """Return a connection to a database with the tables. OSError: it cannot be written."""
    try:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        _set_up(connection)
    except sqlite3.OperationalError as error:
        raise OSError(str(error)) from error
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    """Configure a connection, and create the tables in an empty database."""
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA cache_size=-65536")  # KiB
    connection.execute("PRAGMA mmap_size=1073741824")  # saves a system call per look-up
    connection.execute("PRAGMA temp_store=MEMORY")
    if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")


def _in_memory(data: bytes | None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    if data is not None:
        copy = bytearray(data)
        copy[_WAL_VERSION] = _NO_WAL
        connection.deserialize(bytes(copy))
    _set_up(connection)
    return connection


def _sealed_bytes(folder: Path) -> bytes | None:
    """Return the bytes of a sealed index that no process has open, None if there is none."""
    path = folder / "index.sqlite"
    try:
        with _mutex(folder, create=False):
            use = os.open(folder / "index.use", os.O_RDONLY | os.O_CLOEXEC)
            try:
                alone = _try_lock(use, fcntl.LOCK_EX)
                return read_bytes(path, limit=_LARGEST) if alone and _is_sealed(use, path) else None
            finally:
                os.close(use)
    except OSError:
        return None


@contextlib.contextmanager
def _mutex(folder: Path, *, create: bool = True) -> Iterator[None]:
    """Hold the lock that makes opening or closing the file atomic."""
    flags = os.O_RDWR | os.O_CREAT if create else os.O_RDONLY
    descriptor = os.open(folder / "index.lock", flags | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _seal_of(path: Path) -> list[Any]:
    """Return what identifies an unchanged file, and the stages that its rows belong to."""
    state = os.stat(path)
    stages = [[stage, *stage_fields(stage).every] for stage in stage_names()]
    times = [state.st_mtime_ns, state.st_ctime_ns]
    return [FORMAT, state.st_size, *times, state.st_ino, stages]


def _is_sealed(use: int, path: Path) -> bool:
    """Return whether the file is unchanged since the last process closed it."""
    try:
        seal = load_json(os.pread(use, _LONGEST_SEAL, 0))
        return bool(seal == _seal_of(path)) and not is_there(path.with_name(f"{path.name}-wal"))
    except (OSError, ValueError):
        return False
