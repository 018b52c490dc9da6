"""Lease a task, so that no two runs ever pay for the same one.

A lease is an exclusive POSIX record lock on `.genid/leases/<stage>/<task>`, and an entry in this
process's own table, because record locks do not exclude the threads of one process. The kernel
releases the lock when its holder ends, however it ends: no lease is ever stale, and a file that a
killed process left behind blocks no one. Record locks are not inherited by `fork`, unlike `flock`:
a helper that the generator forked and that outlives it holds nothing. They work between machines if
the shared file system supports `fcntl` locks (NFS 4, CephFS, GPFS, Lustre with `-o flock`).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Final

from genid_store.errors import StoreError
from genid_store.fs.files import is_file, is_there, listed
from genid_store.fs.layout import DataRoot

_POLL: Final = 0.05  # seconds between two tries for a lease that another run holds
#: Seconds between two log messages about waiting for a lease.
LOG_INTERVAL: Final = 60.0
#: The `stop` of a caller that does not wait.
NO_WAIT: Final = threading.Event()
NO_WAIT.set()
_LOG: Final = logging.getLogger(__name__)

#: A lease's file, by whatever path it is reached: its folder's device and inode, and its name.
_Key = tuple[int, int, str]

_table = threading.Lock()  # guards `_mine` and `_waits`
_mine: dict[int, _Key] = {}  # this process's leases, by the file descriptor of each
# A generator may request other generations, so a lease may be taken while others are held. A token
# stands for each lease held here; `_CHAIN` has those of the calls that this one is nested in.
_holds: dict[_Key, object] = {}
_waits: dict[object, list[_Key]] = {}  # the leases that are waited for within each token's call
_CHAIN: Final = ContextVar[frozenset[object]]("_CHAIN", default=frozenset())


def _begin_child() -> None:
    """Forget in a forked child what the parent holds and waits for, as the kernel does."""
    _mine.clear()
    _waits.clear()
    _table.release()


# Forking with the table locked gives the child a consistent table and a lock that it can release.
os.register_at_fork(
    before=_table.acquire, after_in_parent=_table.release, after_in_child=_begin_child
)


@contextlib.contextmanager
def lease(root: DataRoot, stage: str, task: str, stop: threading.Event) -> Iterator[bool]:
    """Yield True while this thread alone holds the task, or False if `stop` is set first.

    Waits for another holder as long as it takes, because its call is paid for, and logs that every
    `LOG_INTERVAL` seconds.

    StoreError: waiting would never end, because a callable requests the generation that it is
        called for, or callables of this process request each other's.
    """
    path = leases(root) / stage / task
    root.own.mkdir(exist_ok=True)  # but not the data root itself, which may be unmounted or moved
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take(path)
    if descriptor is None and not stop.is_set():
        with _waiting(_key(path), f"{stage} {task.removeprefix('.')}"):
            descriptor = _wait(path, f"{stage} {task}", stop)
    if descriptor is None:
        yield False
        return
    key, hold = _mine[descriptor], object()
    _holds[key] = hold
    chain = _CHAIN.set(_CHAIN.get() | {hold})
    try:
        yield True
    finally:
        _CHAIN.reset(chain)
        _holds.pop(key, None)
        # Unlinked while locked: another process could otherwise lock the file just before it loses
        # its name, and a third one lock its successor. A file that remains blocks no one, so no
        # error may prevent the release.
        with contextlib.suppress(OSError):
            os.unlink(path)
        _release(descriptor)


def _wait(path: Path, what: str, stop: threading.Event) -> int | None:
    """Return a locked descriptor once the lease is free, or None if `stop` is set first."""
    since = logged = time.monotonic()
    while not stop.wait(_POLL):
        descriptor = _take(path)
        if descriptor is not None:
            return descriptor
        if (now := time.monotonic()) - logged >= LOG_INTERVAL:
            logged = now
            waited = now - since
            text = "waiting for %s, which another run is making, for %.0f s; interrupting is safe"
            _LOG.warning(text, what, waited)
    return None


@contextlib.contextmanager
def _waiting(key: _Key, what: str) -> Iterator[None]:
    """Record in the block that the calls in `_CHAIN` wait for a lease.

    StoreError: its holder waits for one of these calls, directly or through others.
    """
    chain = _CHAIN.get()
    with _table:
        for hold in chain:
            _waits.setdefault(hold, []).append(key)
        deadlock = _leads_to(key, chain)
    try:
        if deadlock:
            message = "its own callable waits for this generation, directly or through others"
            remedy = "request only other generations from within a callable"
            raise StoreError.of("a generation requests itself", what, message, remedy)
        yield
    finally:
        with _table:
            for hold in chain:
                _waits[hold].remove(key)
                if not _waits[hold]:
                    del _waits[hold]


def _leads_to(key: _Key, chain: frozenset[object]) -> bool:
    """Return whether the holder of a lease is in `chain`, or waits for one who is."""
    pending, seen = [key], set()
    while pending:
        hold = _holds.get(pending.pop())
        if hold in chain:
            return True
        if hold is not None and hold not in seen:
            seen.add(hold)
            pending += _waits.get(hold, ())
    return False


def leases(root: DataRoot) -> Path:
    """Return the folder of the lease files, which has one folder for each stage."""
    return root.own / "leases"


def held(root: DataRoot) -> list[tuple[str, str]]:
    """Return the (stage, task) of every lease that is held, sorted.

    The caller's lock prevents that one is taken at the same time. Files of killed processes and
    anything but a file are skipped.
    """
    files = (path for stage in listed(leases(root)) for path in listed(stage) if is_file(path))
    tasks = sorted((path.parent.name, path.name) for path in files)
    return [(stage, task) for stage, task in tasks if is_held(root, stage, task)]


def is_held(root: DataRoot, stage: str, task: str) -> bool:
    """Return whether a lease is held, by another process or a thread of this one."""
    path = leases(root) / stage / task
    descriptor = _take(path, create=False)
    if descriptor is not None:
        _release(descriptor)
    return descriptor is None and is_there(path)


def _take(path: Path, *, create: bool = True) -> int | None:
    """Return a locked descriptor of a lease's file, or None if the lease is held."""
    # A process loses its record lock on a file when it closes any descriptor of the file. So the
    # table is checked first: a file that this process holds is never opened again.
    with _table:
        try:
            if (key := _key(path)) in _mine.values():
                return None
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            return None
        # POSIX allows EAGAIN and EACCES for a lock that is held. The file may also have been
        # unlinked by its last holder, and perhaps created again, between `open` and `lockf`.
        with contextlib.suppress(BlockingIOError, PermissionError, FileNotFoundError):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                _mine[descriptor] = key
                return descriptor
        os.close(descriptor)
        return None


def _release(descriptor: int) -> None:
    with _table:
        _mine.pop(descriptor, None)  # absent in a forked child
        os.close(descriptor)


def _key(path: Path) -> _Key:
    """Return what identifies a lease's file even before it exists."""
    folder = os.stat(path.parent)
    return folder.st_dev, folder.st_ino, path.name
