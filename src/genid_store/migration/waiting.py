"""Wait for the generations that are being made when a migration begins: they are paid for."""

from __future__ import annotations

import logging
import time
from typing import Final

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import held, leases
from genid_store.generation.batches import refuse_open

_POLL: Final = 0.2  # seconds between two looks at a task that is being made
#: Seconds that a migration waits before it gives up.
PATIENCE: Final = 3600.0
#: Seconds between two lines in the log about what is waited for.
TELLING: Final = 30.0
_NAMED: Final = 5  # tasks that one of them names
_REMEDY: Final = "end that process or let it finish, then run the same command again"
_LOG: Final = logging.getLogger(__name__)


def wait_for_makers(root: DataRoot, *, limit: float = PATIENCE) -> None:
    """Return when nobody holds a lease: those given before the store was closed end first.

    Says in the log what it waits for, at once and every `TELLING` seconds.

    StoreError: some were still held after `limit` seconds, or generations are in a batch at a
    provider; nothing was changed.
    """
    began = time.monotonic()
    logged = began - TELLING
    while busy := [f"{stage}/{task}" for stage, task in held(root)]:
        now = time.monotonic()
        if now - began >= limit:
            message = f"another process still makes it after {limit:.0f} s"
            problems = [
                Problem(where=root.relative(leases(root) / one), message=message, remedy=_REMEDY)
                for one in busy
            ]
            raise StoreError("generations are being made; nothing was changed", problems)
        if now - logged >= TELLING:
            logged = now
            more = [f"and {len(busy) - _NAMED} more"] if len(busy) > _NAMED else []
            names = ", ".join([*busy[:_NAMED], *more])
            _LOG.warning(
                "waiting for generations that are being made: %s; interrupting is safe", names
            )
        time.sleep(_POLL)
    refuse_open(root)
