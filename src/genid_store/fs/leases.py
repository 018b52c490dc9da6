"""Claim a generation, so that no two runs ever pay for the same one.

A claim is an exclusive `flock` on `.genid/claims/<stage>/<gen_id>`. The kernel gives it up when the
holder ends, however it ends: no claim is ever stale. A file that a killed process left behind holds
nobody off.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from genid_store.fs.layout import DataRoot

_POLL: Final = 0.05  # seconds between two looks at a claim that another run holds
#: Seconds between two words in the log about a claim that is waited for.
TELLING: Final = 60.0
_LOG: Final = logging.getLogger(__name__)


@contextlib.contextmanager
def claim(root: DataRoot, stage: str, gen_id: str, stop: threading.Event) -> Iterator[bool]:
    """Yield True while this thread alone holds the generation.

    Waits for another holder to finish, as long as that takes (its call is paid for), and says so in
    the log every `TELLING` seconds; yields False where `stop` is set before that.
    """
    path = root.own / "claims" / stage / gen_id
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _take(path)
    since = told = time.monotonic()
    while descriptor is None:
        if (now := time.monotonic()) - told >= TELLING:
            told = now
            _LOG.warning(
                "waiting for %s %s, which another run is making, for %.0f s; interrupting is safe",
                stage,
                gen_id,
                now - since,
            )
        if stop.wait(_POLL):
            yield False
            return
        descriptor = _take(path)
    try:
        yield True
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # before the lock is given up, so that nobody locks a nameless file
        os.close(descriptor)


def _take(path: Path) -> int | None:
    """Return a locked descriptor of the file that bears the name now, or None: somebody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _bears_name(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _bears_name(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False
