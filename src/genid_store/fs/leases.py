"""Lease a task, so that no two runs ever pay for the same one.

A lease is an exclusive POSIX record lock on `.genid/leases/<stage>/<task>`, and a place in this
process's own table, because record locks do not exclude the threads of one process. The kernel
gives the lock up when its holder ends, however it ends: no lease is ever stale, and a file that a
killed process left behind holds nobody off. A record lock belongs to the process alone, so a helper
that the generator forked and that outlives it holds nothing. It works between machines wherever
the shared file system has `fcntl` locks (NFS 4, CephFS, GPFS, Lustre with `-o flock`).
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

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import is_file, is_there, listed
from genid_store.fs.layout import DataRoot

_POLL: Final = 0.05  # seconds between two looks at a lease that another run holds
#: Seconds between two lines in the log about a lease that is waited for.
LOG_INTERVAL: Final = 60.0
#: The `stop` of a caller that does not wait.
NO_WAIT: Final = threading.Event()
NO_WAIT.set()
_LOG: Final = logging.getLogger(__name__)

#: A lease's file, whatever path leads to it: its folder's device and inode, and its name.
_Key = tuple[int, int, str]

_table = threading.Lock()
_mine: dict[int, _Key] = {}  # by descriptor
#: What stands for each lease that is held here, and those of the calls that this one is made from:
#: a callable may ask for generations.
_holds: dict[_Key, object] = {}
#: The leases that are waited for from within the call for which each of these is held.
_waits: dict[object, list[_Key]] = {}
_CHAIN: Final = ContextVar[frozenset[object]]("_CHAIN", default=frozenset())


def _begin_child() -> None:
    """Forget what the parent holds and waits for: record locks are not inherited."""
    _mine.clear()
    _waits.clear()
    _table.release()


# No other thread is at the table while this one forks: the child's is whole, and free.
os.register_at_fork(
    before=_table.acquire, after_in_parent=_table.release, after_in_child=_begin_child
)


@contextlib.contextmanager
def lease(root: DataRoot, stage: str, task: str, stop: threading.Event) -> Iterator[bool]:
    """Yield True while this thread alone holds the task.

    Waits for another holder to finish, as long as that takes (its call is paid for), and says so in
    the log every `LOG_INTERVAL` seconds; yields False where `stop` is set before that.

    StoreError: the holder waits for this in turn: its callable asks for what it is to make, or
        callables ask for each other's.
    """
    path = leases(root) / stage / task
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
        # before the lock is given up, so that nobody locks a nameless file; one that stays holds
        # nobody off, and no error may keep the lock
        with contextlib.suppress(OSError):
            os.unlink(path)
        _give_up(descriptor)


def _wait(path: Path, what: str, stop: threading.Event) -> int | None:
    """Return a locked descriptor once the lease is free; None: `stop` is set."""
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
    """Let the others know what the calls from which a lease is asked for wait for.

    StoreError: its holder waits for one of these calls, itself or through others of this process.
    """
    chain = _CHAIN.get()
    with _table:
        for hold in chain:
            _waits.setdefault(hold, []).append(key)
        endless = _leads_to(key, chain)
    try:
        if endless:
            problem = Problem(
                where=what,
                message="its callable waits for this generation itself, perhaps through others",
                remedy="ask for other generations alone from within a callable",
            )
            raise StoreError("a generation asks for itself", [problem])
        yield
    finally:
        with _table:
            for hold in chain:
                _waits[hold].remove(key)
                if not _waits[hold]:
                    del _waits[hold]


def _leads_to(key: _Key, chain: frozenset[object]) -> bool:
    """Say whether a lease is held for one of some calls, or for one that waits for such a lease."""
    todo, seen = [key], set()
    for one in todo:
        hold = _holds.get(one)
        if hold in chain:
            return True
        if hold is not None and hold not in seen:
            seen.add(hold)
            todo += _waits.get(hold, ())
    return False


def leases(root: DataRoot) -> Path:
    """Return the folder of the leases' files, one folder a stage below it."""
    return root.own / "leases"


def held(root: DataRoot) -> list[tuple[str, str]]:
    """Return the (stage, task) of every lease that somebody holds now, sorted; a file that a
    killed process left is passed over, and so is what is not a file. The caller sees to it that
    none is given meanwhile."""
    files = (path for stage in listed(leases(root)) for path in listed(stage) if is_file(path))
    found = ((path.parent.name, path.name) for path in files)
    return sorted(one for one in found if is_held(root, *one))


def is_held(root: DataRoot, stage: str, task: str) -> bool:
    """Say whether somebody, perhaps another thread of this process, holds a lease now."""
    path = leases(root) / stage / task
    descriptor = _take(path, create=False)
    if descriptor is not None:
        _give_up(descriptor)
    return descriptor is None and is_there(path)


def _take(path: Path, *, create: bool = True) -> int | None:
    """Return a locked descriptor of the file that bears the name now, or None: somebody has it."""
    with _table:  # no second descriptor of a held file: closing it would give the lock up
        try:
            if (key := _key(path)) in _mine.values():
                return None
            flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            return None
        # POSIX says EAGAIN or EACCES where somebody has it; the name may have gone meanwhile
        with contextlib.suppress(BlockingIOError, PermissionError, FileNotFoundError):
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                _mine[descriptor] = key
                return descriptor
        os.close(descriptor)
        return None


def _give_up(descriptor: int) -> None:
    with _table:
        _mine.pop(descriptor, None)  # None in a forked child
        os.close(descriptor)


def _key(path: Path) -> _Key:
    folder = os.stat(path.parent)
    return folder.st_dev, folder.st_ino, path.name
