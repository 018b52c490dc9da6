"""A log of which task was made under which id, which shows a run what others made since it began.

The index only shows the store as of a run's start. Before a process makes or reuses a generation,
it appends a line to `.genid/ledger` under the task's lease. The next holder of that lease reads the
lines appended since its own start, and checks each id for a text. A lock serializes the writers,
because `O_APPEND` is not atomic on every network file system. A torn line, left by a power cut or a
full disk, is ignored.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from typing import Final

from genid_store.fs.layout import DataRoot

_FIELDS: Final = 3  # stage, task, id
#: What ends a torn line. No line with it has the right number of fields: else a shortened id could
#: be another's.
_TORN: Final = b" (not written in full)\n"
#: One lock for all ledgers of this process: when a thread closes the file, POSIX releases the
#: process's record locks on it.
_LOCK = threading.Lock()
os.register_at_fork(
    before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
)


class Ledger:
    """What has been made since this object was created, by (stage, task).

    Create it before the index is refreshed: then each generation is in one or the other.
    """

    def __init__(self, root: DataRoot) -> None:
        self._path = root.own / "ledger"
        self._made: dict[tuple[str, str], list[str]] = {}
        try:
            self._offset = os.stat(self._path).st_size
        except FileNotFoundError:
            self._offset = 0

    def made(self, stage: str, task: str) -> tuple[str, ...]:
        """Return the ids under which a task was begun since, in order. OSError: unreadable."""
        with _LOCK:
            with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
                # A line that is still being written is read the next time.
                whole = data[: data.rfind(b"\n") + 1]
                self._offset += len(whole)
                for line in whole.decode(errors="replace").splitlines():
                    fields = line.split(" ")
                    if len(fields) == _FIELDS:
                        self._made.setdefault((fields[0], fields[1]), []).append(fields[2])
            return tuple(dict.fromkeys(self._made.get((stage, task), ())))

    def add(self, stage: str, task: str, gen_id: str) -> None:
        """Append a line; the caller holds the task's lease. OSError: it cannot be written."""
        line = f"{stage} {task} {gen_id}\n".encode()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with _LOCK:
            descriptor = os.open(self._path, flags, 0o666)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
                end = os.lseek(descriptor, 0, os.SEEK_END)
                if end and os.pread(descriptor, 1, end - 1) != b"\n":
                    line = _TORN + line
                if os.write(descriptor, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            finally:
                os.close(descriptor)
