"""Which tasks are in a batch at a provider: records on disk that outlive whoever wrote them.

One JSON file a batch, `.genid/batches/<key>.json`, from before it is submitted until all that came
of it is in the store. Whoever is about to pay for a task looks here, under the task's lease.
Nothing here asks a provider.
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

from attrs import Factory, field, frozen
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

#: preparing: its members are still being looked at, nothing is submitted. intended: it is, or may
#: be, at the provider. submitted: it is there, as `handle`. unreadable: the record is damaged.
State: TypeAlias = Literal["preparing", "intended", "submitted", "unreadable"]
#: The key of what is only being prepared: its members are not known yet.
DRAFT: Final = "draft"
#: The lease under which batches are prepared, submitted and collected; no stage is named so.
LEASE: Final = (".batches", "all")


@frozen(kw_only=True)
class Batch:
    """One batch: `members` are the generations' ids by those of their tasks, `since` is UTC (ISO
    8601), `handle` the provider's name for it, `done` how many rows it had finished when it was
    last asked. `parents` are the digests of the texts that its members are made from, by task."""

    key: str
    stage: str
    state: State
    since: str
    members: Mapping[str, str]
    handle: str | None = None
    done: int = 0
    parents: Mapping[str, str] = field(factory=dict)
    _names: frozenset[str] = field(
        init=False,
        repr=False,
        eq=False,
        default=Factory(lambda one: frozenset((*one.members, *one.members.values())), True),
    )

    def holds(self, stage: str, names: Iterable[str | None]) -> bool:
        """Say whether it has one of some ids, generations' or tasks'. One that cannot be read may
        have any."""
        if self.state == "unreadable":
            return True
        return stage == self.stage and not self._names.isdisjoint(names)

    def record(self) -> dict[str, Any]:
        """Return where it stands as JSON values."""
        return {
            "key": self.key,
            "stage": self.stage,
            "state": self.state,
            "since": self.since,
            "members": len(self.members),
            "done": self.done,
            "batch": self.handle,
        }

    def __str__(self) -> str:
        if self.state == "unreadable":
            return f"the record of the batch {self.key} cannot be read; it may hold this task"
        return (
            f"in a batch since {self.since}, {self.done} of {len(self.members)} done ({self.key})"
        )


def folder(root: DataRoot) -> Path:
    """Return the folder of the records."""
    return root.own / "batches"


def batch_key(root: DataRoot, stage: str, tasks: Iterable[str]) -> str:
    """Return the key of a batch: `b_` and 128 bits of BLAKE3, in hex, over the stage and the sorted
    ids of the tasks; the same work has the same key everywhere.

    Where that batch is over already (its members are asked again) the next number goes into it.
    """
    lines = [stage, *sorted(tasks)]
    for number in count(1):
        text = "\n".join(lines if number == 1 else [*lines, str(number)])
        key = f"b_{blake3(text.encode()).hexdigest(16)}"
        if not is_there(_closed(root, key)):
            return key
    raise AssertionError("unreachable")


def now() -> str:
    """Return the time as the records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


# -- the records -----------------------------------------------------------------------------------
def open_batches(root: DataRoot) -> list[Batch]:
    """Return the batches that are not over, in the order of their keys. One that is only being
    prepared counts while its process lives. OSError: the folder cannot be read."""
    found: list[Batch | None] = [None]
    while None in found:  # one that went may have left its members to one that came
        records = (path for path in listed(folder(root), ".json") if path.name[0] != ".")
        found = [_read(path) for path in records]
    return [one for one in found if one and (one.state != "preparing" or is_held(root, *LEASE))]


def read(root: DataRoot, key: str) -> Batch | None:
    """Return an open batch; None: there is none of that key."""
    return _read(folder(root) / f"{key}.json") if is_segment(key) else None


def write(root: DataRoot, batch: Batch) -> None:
    """Bring a record to disk. OSError: it cannot be written."""
    names = ("key", "stage", "state", "since", "members", "handle", "done", "parents")
    text = json.dumps({name: getattr(batch, name) for name in names}, indent=1)
    write_atomic(folder(root) / f"{batch.key}.json", text.encode())


def close(root: DataRoot, batch: Batch) -> None:
    """Let a batch be over: its members can be asked again, under another key."""
    create_exclusive(_closed(root, batch.key), f"{now()}\n".encode(), durable=True)
    discard(root, batch)


def discard(root: DataRoot, batch: Batch) -> None:
    """Remove the record of a batch, of which nothing is at a provider."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder(root) / f"{batch.key}.json")


def keep_aside(root: DataRoot, key: str, custom_id: str, text: str, why: str) -> Path:
    """Keep an answer that belongs nowhere; the same one is kept once. OSError: it cannot be."""
    record = {"custom_id": custom_id, "why": why, "text": text}
    name = blake3(f"{custom_id}\0{text}".encode(errors="replace")).hexdigest(8)
    path = folder(root) / "aside" / key / f"{name}.json"
    create_exclusive(path, json.dumps(record, indent=1).encode(), durable=True)
    return path


def kept_aside(root: DataRoot) -> list[Path]:
    """Return the answers that were kept aside, sorted."""
    return [path for key in listed(folder(root) / "aside") for path in listed(key, ".json")]


def refuse_unreadable(root: DataRoot) -> None:
    """StoreError: the record of a batch cannot be read, so that any task may be in it."""
    damaged = [one for one in open_batches(root) if one.state == "unreadable"]
    if damaged:
        raise StoreError(
            "which tasks are in a batch is not known; nothing was paid for",
            [
                Problem(
                    where=root.relative(folder(root) / f"{one.key}.json"),
                    message="the record of a batch cannot be read",
                    remedy="put it back from a backup, or cancel the batch: its answers are kept",
                )
                for one in damaged
            ],
        )


def refuse_open(root: DataRoot) -> None:
    """StoreError: a batch is out, whose members must keep their ids until it is collected."""
    found = open_batches(root)
    if found:
        remedy = "collect it by running its cohort, or cancel it"
        raise StoreError(
            "generations are in a batch; nothing was changed",
            [Problem(where=f"batch {one.key}", message=str(one), remedy=remedy) for one in found],
        )


def _closed(root: DataRoot, key: str) -> Path:
    return folder(root) / "closed" / key


#: The record that was last read from each file, with the file's inode, size and time.
_KNOWN: Final[dict[Path, tuple[tuple[int, int, int], Batch]]] = {}


def _read(path: Path) -> Batch | None:
    """Return the record in a file, read again only where it has changed; None: it is gone."""
    try:
        state = os.stat(path)
        seal = (state.st_ino, state.st_size, state.st_mtime_ns)
        known = _KNOWN.get(path)
        if known is None or known[0] != seal:
            known = _KNOWN[path] = (
                seal,
                _parsed(load_object(read_with_status(path)[0]), path.stem),
            )
        return known[1]
    except FileNotFoundError:
        _KNOWN.pop(path, None)
        if not is_there(path):
            return None
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    return Batch(key=path.stem, stage="", state="unreadable", since="", members={})


def _parsed(record: Mapping[str, Any], key: str) -> Batch:
    """Return the batch that a record says. ValueError, TypeError: it says none."""
    found = Batch(**record)
    parents = (*found.parents, *found.parents.values())
    texts = (found.stage, found.since, *found.members, *found.members.values(), *parents)
    ids = found.members.values()
    sound = (
        found.key == key
        and found.state in ("preparing", "intended", "submitted")
        and type(found.done) is int
        and type(found.handle) is (str if found.state == "submitted" else type(None))
        and all(type(one) is str for one in texts)
        and all(is_segment(one) for one in ids)
    )
    if not sound:
        raise ValueError(key)
    return found
