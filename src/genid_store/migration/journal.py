"""The journal of a migration: what was begun and what was finished, on disk before it is relied on.

Append-only; one line a record: the first 16 hex digits of the BLAKE3 of the record's JSON, a space,
the JSON. A last line that is torn (a crash, a full disk) is as if it had never been written; a bad
line anywhere else means that the file was changed by something else, and is refused.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from blake3 import blake3

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import sync_folder

_CHECK: Final = 16  # hex digits of the checksum


class Journal:
    """An open journal: `records` are those that were written so far, the oldest first."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, which is created where it is absent; a torn tail is cut off.

        StoreError: a record before the last one is damaged.
        """
        self.path = path
        records, length = read_records(path)
        self.records: list[dict[str, Any]] = records
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._descriptor, length)
        os.lseek(self._descriptor, length, os.SEEK_SET)
        sync_folder(path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def append(self, event: str, **details: Any) -> None:
        """Write one record; it is on disk when this returns. OSError: it could not be written."""
        record = {"event": event, **details}
        text = json.dumps(record, sort_keys=True, ensure_ascii=True)
        _write_all(self._descriptor, f"{_checksum(text)} {text}\n".encode())
        os.fsync(self._descriptor)
        self.records.append(record)

    def has(self, event: str, **details: Any) -> bool:
        """Say whether a record of this event with these details was written."""
        wanted = {"event": event, **details}
        return any(wanted.items() <= record.items() for record in self.records)


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records of a journal and the number of bytes that they take; ([], 0): none.

    StoreError: a record before the last one is damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    records: list[dict[str, Any]] = []
    length = 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        record = _record(line)
        if record is None:
            if number < len(lines) - 1:
                raise _damaged(path, number)
            break
        records.append(record)
        length += len(line) + 1
    return records, length


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record on a line; None: it is none, or damaged."""
    try:
        checksum, _, text = line.decode("ascii").partition(" ")
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if checksum != _checksum(text) or type(record) is not dict or "event" not in record:
        return None
    return record


def _checksum(text: str) -> str:
    return blake3(text.encode()).hexdigest()[:_CHECK]


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _damaged(path: Path, number: int) -> StoreError:
    problem = Problem(
        where=f"{path}:{number}",
        message="the record is damaged and others follow it",
        remedy="restore the file from a backup; without it nobody can tell what was done",
    )
    return StoreError("the migration's journal was changed by something else", [problem])
