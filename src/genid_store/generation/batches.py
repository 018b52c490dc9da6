"""Records of which tasks are in a batch at a provider; they outlive the process that wrote them.

One JSON file per batch, `.genid/batches/<key>.json`, exists from before the batch is submitted
until all its answers are in the store. A run checks these under the task's lease before it pays.
Nothing here calls a provider.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import Factory, asdict, field, frozen
from blake3 import blake3

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import (
    create_exclusive,
    is_there,
    listed,
    read_with_status,
    write_atomic,
)
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.leases import is_held

#: preparing: its members are being chosen, nothing is submitted. intended: it may be at the
#: provider. submitted: it is there, as `handle`. unreadable: the record is damaged.
State: TypeAlias = Literal["preparing", "intended", "submitted", "unreadable"]
#: The key of the batch in preparation, because a key follows from the members.
DRAFT: Final = "draft"
#: The lease under which batches are prepared, submitted and collected; no stage has such a name.
LEASE: Final = (".batches", "all")


@frozen(kw_only=True)
class Batch:
    """One batch at a provider.

    `members` maps task ids to generation ids, `parents` task ids to the digest of the text that the
    member is made from. `since` is UTC (ISO 8601), `handle` the provider's name of the batch, and
    `done` the number of finished rows when it was last collected. `error` is why it could not be
    submitted the last time, which does not prove that the provider has not begun it.
    """

    key: str
    stage: str
    state: State
    since: str
    members: Mapping[str, str]
    handle: str | None = None
    done: int = 0
    parents: Mapping[str, str] = field(factory=dict)
    error: str | None = None
    _names: frozenset[str] = field(
        init=False,
        repr=False,
        eq=False,
        default=Factory(lambda new: frozenset((*new.members, *new.members.values())), True),
    )

    def holds(self, stage: str, names: Iterable[str | None]) -> bool:
        """Return whether any of `names`, ids of generations or tasks, is in it. A batch whose
        record is unreadable may hold any of them."""
        if self.state == "unreadable":
            return True
        return stage == self.stage and not self._names.isdisjoint(names)

    def record(self) -> dict[str, Any]:
        """Return its status as JSON values."""
        return {
            "key": self.key,
            "stage": self.stage,
            "state": self.state,
            "since": self.since,
            "members": len(self.members),
            "done": self.done,
            "batch": self.handle,
            "error": self.error,
        }

    def __str__(self) -> str:
        if self.state == "unreadable":
            return f"the record of the batch {self.key} cannot be read; it may hold this task"
        done = f"{self.done} of {len(self.members)} done"
        error = "" if self.error is None else f", not submitted so far: {self.error}"
        return f"in a batch since {self.since}, {done} ({self.key}){error}"


def folder(root: DataRoot) -> Path:
    """Return the folder with the records."""
    return root.own / "batches"


def batch_key(root: DataRoot, stage: str, tasks: Iterable[str], parents: Mapping[str, str]) -> str:
    """Return the key of a batch: `b_` and 128 bits of BLAKE3, in hex, over the stage and the sorted
    ids of the tasks, each with the digest of its parent's text; the same work has the same key
    everywhere, and another store's work over other texts does not.

    If a batch with that key is over (its members are retried), a running number is hashed, too.
    """
    lines = [stage, *sorted(f"{task} {parents.get(task, '')}".rstrip() for task in tasks)]
    texts = ("\n".join(lines if number == 1 else [*lines, str(number)]) for number in count(1))
    keys = (f"b_{blake3(text.encode()).hexdigest(16)}" for text in texts)
    return next(key for key in keys if not is_there(_closed(root, key)))


def now() -> str:
    """Return the current time in the format of the records."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# -- the records -----------------------------------------------------------------------------------
def open_batches(root: DataRoot) -> list[Batch]:
    """Return the batches that are not over, sorted by key. One in preparation counts while its
    process is alive. OSError: the folder cannot be read."""
    batches: list[Batch | None] = [None]
    # A record that vanishes while they are read may have passed its members to one not listed yet.
    while None in batches:
        records = (path for path in listed(folder(root), ".json") if path.name[0] != ".")
        batches = [_read(path) for path in records]
    return [one for one in batches if one and (one.state != "preparing" or is_held(root, *LEASE))]


def read(root: DataRoot, key: str) -> Batch | None:
    """Return the open batch with a key, or None."""
    return _read(folder(root) / f"{key}.json") if is_segment(key) else None


def write(root: DataRoot, batch: Batch) -> None:
    """Write the record of a batch. OSError: it cannot be written."""
    text = json.dumps(asdict(batch, filter=lambda field, value: field.init), indent=1)
    root.own.mkdir(exist_ok=True)  # but not the data root itself, which may be unmounted or moved
    write_atomic(folder(root) / f"{batch.key}.json", text.encode())


def close(root: DataRoot, batch: Batch) -> None:
    """End a batch: its members can be requested again, under another key."""
    # The mark first: between the two steps, a kill must not leave the key free for the same tasks.
    create_exclusive(_closed(root, batch.key), f"{now()}\n".encode())
    discard(root, batch)


def discard(root: DataRoot, batch: Batch) -> None:
    """Remove the record of a batch that is not at a provider."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder(root) / f"{batch.key}.json")


def keep_aside(root: DataRoot, key: str, custom_id: str, text: str, why: str) -> Path:
    """Keep an answer that belongs to no member, once. OSError: it cannot be written."""
    record = {"custom_id": custom_id, "why": why, "text": text}
    name = blake3(f"{custom_id}\0{text}".encode(errors="replace")).hexdigest(8)
    path = folder(root) / "aside" / key / f"{name}.json"
    create_exclusive(path, json.dumps(record, indent=1).encode())
    return path


def kept_aside(root: DataRoot) -> list[Path]:
    """Return the files of the answers that were kept aside, sorted."""
    return [path for key in listed(folder(root) / "aside") for path in listed(key, ".json")]


def refuse_unreadable(root: DataRoot) -> None:
    """StoreError: the record of a batch is unreadable, so that any task may be in it."""
    problems = [
        Problem(
            where=root.relative(folder(root) / f"{batch.key}.json"),
            message="the record of a batch cannot be read",
            remedy="put it back from a backup, or cancel the batch: its answers are kept",
        )
        for batch in open_batches(root)
        if batch.state == "unreadable"
    ]
    if problems:
        raise StoreError("which tasks are in a batch is not known; nothing was paid for", problems)


def refuse_open(root: DataRoot) -> None:
    """StoreError: a batch is open, whose members must keep their ids until it is collected."""
    remedy = "collect it by running its cohort, or cancel it"
    problems = [
        Problem(where=f"batch {batch.key}", message=str(batch), remedy=remedy)
        for batch in open_batches(root)
    ]
    if problems:
        raise StoreError("generations are in a batch; nothing was changed", problems)


def _closed(root: DataRoot, key: str) -> Path:
    return folder(root) / "closed" / key


#: The last record read from each file, with the file's inode, size and time.
_CACHE: Final[dict[Path, tuple[tuple[int, int, int], Batch]]] = {}


def _read(path: Path) -> Batch | None:
    """Return the record in a file, which is parsed again only if it has changed; None if it has
    been removed."""
    try:
        status = os.stat(path)
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        cached = _CACHE.get(path)
        if cached is None or cached[0] != version:
            record = load_object(read_with_status(path)[0])
            cached = _CACHE[path] = (version, _parsed(record, path.stem))
        return cached[1]
    except FileNotFoundError:
        _CACHE.pop(path, None)
        if not is_there(path):
            return None
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    return Batch(key=path.stem, stage="", state="unreadable", since="", members={})


def _parsed(record: Mapping[str, Any], key: str) -> Batch:
    """Return the batch that a record describes. ValueError, TypeError: it is not a record."""
    batch = Batch(**record)
    parents = (*batch.parents, *batch.parents.values())
    texts = (batch.stage, batch.since, *batch.members, *batch.members.values(), *parents)
    sound = (
        batch.key == key
        and batch.state in ("preparing", "intended", "submitted")
        and type(batch.done) is int
        and type(batch.handle) is (str if batch.state == "submitted" else type(None))
        and type(batch.error) in (str, type(None))
        and all(type(text) is str for text in texts)
        and all(map(is_segment, batch.members.values()))
    )
    if not sound:
        raise ValueError(key)
    return batch
