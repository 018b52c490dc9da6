"""Remember which task was made under which id, so that one run sees what another has just made.

The index is as old as a run's beginning. Whoever makes or reuses a generation appends one line to
`.genid/ledger` before it gives up the task's lease; whoever gets the lease next reads what has been
appended since. A line is written at once, so that lines of several processes never mix, and a torn
last line (a power cut) is passed over.
"""

from __future__ import annotations

import os
import threading
from typing import Final

from genid_store.fs.layout import DataRoot

_FIELDS: Final = 3  # stage, task, id


class Ledger:
    """What has been made since this object was created, by (stage, task)."""

    def __init__(self, root: DataRoot) -> None:
        self._path = root.own / "ledger"
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], list[str]] = {}
        try:
            self._offset = os.stat(self._path).st_size
        except FileNotFoundError:
            self._offset = 0

    def made(self, stage: str, task: str) -> tuple[str, ...]:
        """Return the ids under which a task has been made since, in order. OSError: unreadable."""
        with self._lock:
            self._read_on()
            return tuple(self._made.get((stage, task), ()))

    def add(self, stage: str, task: str, gen_id: str) -> None:
        """Append one line; the caller holds the task's lease. OSError: it cannot be written."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o666)
        try:
            os.write(descriptor, f"{stage} {task} {gen_id}\n".encode())
        finally:
            os.close(descriptor)

    def _read_on(self) -> None:
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            fields = line.split(" ")
            if len(fields) == _FIELDS:
                self._made.setdefault((fields[0], fields[1]), []).append(fields[2])
