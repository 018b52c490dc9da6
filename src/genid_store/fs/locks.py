"""The one lock of a data root, by which builds and migrations exclude each other.

It is the operating system's lock (`flock` on `.genid/lock`), which a process releases however it
dies. So there is no stale lock, only a stale note of who held it, which the next holder replaces.
An interrupted migration leaves a block behind, which refuses the lock to every process
but one that resumes it or rolls it back.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from attrs import asdict, field, frozen
from filelock import FileLock, Timeout

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import (
    check_inside,
    guarded,
    is_there,
    sweep_temporaries,
    sync_folder,
    write_atomic,
)
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import DataRoot

#: The purpose of a build. Builds are short, so other processes wait for them, and for nothing else.
BUILD: Final = "cohort build"
MIGRATION: Final = "migration"

Record = TypeVar("Record")

#: The files that holding the lock creates in `.genid/`.
LOCK_FILES: Final = frozenset({"lock", "lock-holder.json"})

_PATIENCE: Final = 120.0  # seconds that one build waits for another
_STEP: Final = 0.05  # seconds between two tries


@frozen(kw_only=True)
class Holder:
    """Who holds the lock: its purpose, process and machine, and since when (ISO 8601, UTC)."""

    purpose: str
    pid: int
    host: str
    since: str


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(map(str, values))


@frozen(kw_only=True)
class Block:
    """Why only an operation whose purpose is `by` may change the data root.

    It remains until it is removed or, with `while_locked`, until its process releases the lock.
    """

    by: str
    reason: str
    remedy: str
    while_locked: bool = False
    ways: tuple[str, ...] = field(default=(), converter=_texts)

    def problem(self, root: DataRoot) -> Problem:
        """Return the block as the problem of what it refuses."""
        where = root.relative(root.barrier)
        return Problem(where=where, message=self.reason, remedy=self.remedy, ways=self.ways)


#: How an unfinished migration is ended, as `errors.Problem.ways`.
END_IT: Final = ("migration.run.resume()", "migration.run.rollback()")
_UNREADABLE: Final = Block(
    by=MIGRATION,
    reason="an operation was interrupted, and its record cannot be read",
    remedy="resume the migration, or roll it back",
    ways=END_IT,
)


@contextlib.contextmanager
def root_lock(root: DataRoot, purpose: str, *, wait: float = _PATIENCE) -> Iterator[None]:
    """Hold the data root's lock for `purpose` (`BUILD`, `MIGRATION` or another).

    Waits up to `wait` seconds for a build to end. Not re-entrant: a process that holds the lock is
    refused it like any other.

    StoreError: something other than a build holds the lock; a build still held it after `wait`
    seconds; another purpose blocks the root (`block`); `.genid/` cannot be written; or a symbolic
    link leads it out of the data root.
    """
    with guarded(root):
        check_inside(root, root.own, root.own / "lock")
        root.own.mkdir(exist_ok=True)
    lock = FileLock(root.own / "lock", timeout=0)
    with guarded(root):
        _acquire(lock, root, wait)
    try:
        with guarded(root):
            if (barrier := blocked(root)) and barrier.while_locked:
                unblock(root)  # this process holds the lock, so the one that blocked has ended
            refuse_block(root, purpose)
            sweep_temporaries(root, [root.lock_note, root.barrier])
            now = datetime.now(UTC).isoformat(timespec="seconds")
            host = socket.gethostname()
            note = Holder(purpose=purpose, pid=os.getpid(), host=host, since=now)
            write_atomic(root.lock_note, _dump(note), durable=False)
        yield
    finally:
        with contextlib.suppress(OSError):  # a stale note is harmless
            root.lock_note.unlink()
        lock.release()


def holder(root: DataRoot) -> Holder | None:
    """Return the note of who holds the lock, which is stale if its process crashed, or None."""
    return _load(root.lock_note, Holder)


def block(root: DataRoot, barrier: Block) -> None:
    """Refuse the lock to every other purpose until `unblock`, even if this process dies.

    The caller holds the lock. The block is durable when this returns.
    """
    write_atomic(root.barrier, _dump(barrier))


def unblock(root: DataRoot) -> None:
    """Remove the block, if there is one, durably."""
    if is_there(root.barrier):
        root.barrier.unlink()
        sync_folder(root.own)


def blocked(root: DataRoot) -> Block | None:
    """Return the block, or None. A file that cannot be read blocks like a migration's."""
    if not is_there(root.barrier):
        return None
    barrier = _load(root.barrier, Block) or _UNREADABLE
    return None if barrier.while_locked and not _is_held(root) else barrier


def refuse_block(root: DataRoot, purpose: str = "", *, lasting: bool = False) -> None:
    """StoreError: another purpose blocks the root. `lasting` passes a block that ends with its
    process."""
    barrier = blocked(root)
    if barrier is not None and barrier.by != purpose and not (lasting and barrier.while_locked):
        summary = f"the data root is blocked by an unfinished {barrier.by}"
        raise StoreError(summary, [barrier.problem(root)])


def _acquire(lock: FileLock, root: DataRoot, wait: float) -> None:
    remaining = wait
    while True:
        try:
            lock.acquire(timeout=min(_STEP, max(remaining, 0.0)), poll_interval=_STEP)
        except Timeout:
            remaining -= _STEP
            current = holder(root)  # None if it has not written its note yet
            if remaining <= 0 or (current is not None and current.purpose != BUILD):
                raise _busy(root, current) from None
        except NotImplementedError as error:  # raised by filelock before 4 if there is no flock
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), lock.lock_file) from error
        else:
            return


def _busy(root: DataRoot, current: Holder | None) -> StoreError:
    who = "another process"
    if current is not None:
        who = f"{current.purpose} (process {current.pid} on {current.host}, since {current.since})"
    where = root.relative(root.own / "lock")
    remedy = "wait until it has ended and try again; a process that died holds no lock"
    return StoreError.of("the data root is in use", where, f"held by {who}", remedy)


def _is_held(root: DataRoot) -> bool:
    """Return whether a process holds the lock."""
    try:
        descriptor = os.open(root.own / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _dump(record: Holder | Block) -> bytes:
    return json.dumps(asdict(record), ensure_ascii=False, indent=2).encode()


def _load(path: Path, record: Callable[..., Record]) -> Record | None:
    """Return the record in a file, or None if it does not exist or cannot be read."""
    try:
        return record(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None
