"""The one lock of a data root: builds and migrations exclude each other, across processes.

The lock is the operating system's (flock on `.genid/lock`), so a process that dies in any way lets
go of it: a stale lock cannot exist, only a stale note of who held it, which the next holder
replaces. An interrupted migration or adoption is another matter: it leaves a block behind, under
which nobody but another of its kind gets the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from attrs import asdict, frozen
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

#: What a build calls itself. Builds are short: others wait for them, and for nothing else.
BUILD: Final = "cohort build"
MIGRATION: Final = "migration"

Record = TypeVar("Record")

#: What holding the lock makes in `.genid/`.
LOCK_FILES: Final = frozenset({"lock", "lock-holder.json"})

_PATIENCE: Final = 120.0  # seconds that one build waits for another
_STEP: Final = 0.05  # seconds between two tries


@frozen(kw_only=True)
class Holder:
    """Who holds the lock: what for, the process, its machine, and since when (ISO 8601, UTC)."""

    purpose: str
    pid: int
    host: str
    since: str


@frozen(kw_only=True)
class Block:
    """Why nobody but `by` may change the data root.

    With `while_locked` only as long as its process holds the lock: it ends with the process. Else
    it stays, although no process holds the lock any more, until it is taken away.
    """

    by: str
    reason: str
    remedy: str
    while_locked: bool = False
    ways: Sequence[str] = ()


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
    """Hold the data root's lock for `purpose` (`BUILD`, `MIGRATION` or other words).

    Waits up to `wait` seconds for a build that is under way. Not re-entrant: a second acquisition
    by the same process is refused like anybody else's.

    Raises:
        StoreError: something other than a build holds the lock; a build still held it after
            `wait` seconds; the root is blocked by another purpose (`block`); the system does not
            let us write `.genid/`; or a symbolic link leads it out of the data root.
    """
    with guarded(root):
        check_inside(root, root.own, root.own / "lock")
        root.own.mkdir(exist_ok=True)
    lock = FileLock(root.own / "lock", timeout=0)
    with guarded(root):
        _acquire(lock, root, wait)
    try:
        with guarded(root):
            _refuse_block(root, purpose)
            sweep_temporaries(root, [root.lock_note, root.barrier])
            now = datetime.now(UTC).isoformat(timespec="seconds")
            host = socket.gethostname()
            note = Holder(purpose=purpose, pid=os.getpid(), host=host, since=now)
            write_atomic(root.lock_note, _dump(note), durable=False)
        yield
    finally:
        with contextlib.suppress(OSError):  # a note that stays is stale, which is harmless
            root.lock_note.unlink()
        lock.release()


def holder(root: DataRoot) -> Holder | None:
    """Return who noted that it holds the lock; after a crash that note can be stale, which
    acquiring the lock tells."""
    return _load(root.lock_note, Holder)


def block(
    root: DataRoot,
    *,
    by: str,
    reason: str,
    remedy: str,
    while_locked: bool = False,
    ways: Sequence[str] = (),
) -> None:
    """Refuse the lock to every purpose but `by`, also after this process has died, until `unblock`.

    With `while_locked` it ends with the process that holds the lock. The block is on disk when this
    returns. To be called by the lock's holder.
    """
    barrier = Block(by=by, reason=reason, remedy=remedy, while_locked=while_locked, ways=ways)
    write_atomic(root.barrier, _dump(barrier))


def unblock(root: DataRoot) -> None:
    """Take the block away, on disk too when this returns; does nothing where there is none."""
    if is_there(root.barrier):
        root.barrier.unlink()
        sync_folder(root.own)


def blocked(root: DataRoot) -> Block | None:
    """Return the block, or None. A file that cannot be made out blocks like a migration's."""
    if not is_there(root.barrier):
        return None
    found = _load(root.barrier, Block) or _UNREADABLE
    return None if found.while_locked and not _is_held(root) else found


def _acquire(lock: FileLock, root: DataRoot, wait: float) -> None:
    left = wait
    while True:
        try:
            lock.acquire(timeout=min(_STEP, max(left, 0.0)), poll_interval=_STEP)
        except Timeout:
            left -= _STEP
            found = holder(root)  # None: it has not noted itself yet
            if left <= 0 or (found is not None and found.purpose != BUILD):
                raise _busy(root) from None
        except NotImplementedError as error:  # how filelock before 4 says that there is no flock
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), lock.lock_file) from error
        else:
            return


def _busy(root: DataRoot) -> StoreError:
    found = holder(root)
    who = "another process"
    if found is not None:
        who = f"{found.purpose} (process {found.pid} on {found.host}, since {found.since})"
    problem = Problem(
        where=root.relative(root.own / "lock"),
        message=f"held by {who}",
        remedy="wait until it has ended and try again; a lock whose holder died is free",
    )
    return StoreError("the data root is in use", [problem])


def _is_held(root: DataRoot) -> bool:
    """Say whether some process holds the lock."""
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


def _refuse_block(root: DataRoot, purpose: str) -> None:
    found = blocked(root)
    if found is not None and found.while_locked:
        with guarded(root):
            unblock(root)  # its process is dead: this one holds the lock
    elif found is not None and found.by != purpose:
        where = root.relative(root.barrier)
        problem = Problem(
            where=where, message=found.reason, remedy=found.remedy, ways=tuple(map(str, found.ways))
        )
        raise StoreError(f"the data root is blocked by an unfinished {found.by}", [problem])


def _dump(record: Holder | Block) -> bytes:
    return json.dumps(asdict(record), ensure_ascii=False, indent=2).encode()


def _load(path: Path, record: Callable[..., Record]) -> Record | None:
    """Return the record in a file; None where there is none or it is not to be made out."""
    try:
        return record(**read_json(path))
    except (OSError, ValueError, TypeError):
        return None
