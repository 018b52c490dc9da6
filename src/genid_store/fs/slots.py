"""What lies under an id beside its metadata, wherever it lies: a text, a failure, an open batch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from genid_store.fs.files import is_there, listed, read_bytes
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.fs.rescue import rescued


def staging(root: DataRoot, stage: str) -> Path:
    """Return the folder of complete, unpublished generations of one stage."""
    return root.own / "staging" / stage


def folder_lease(gen_id: str) -> str:
    """Return the lease's name for what changes one generation's folder, whichever task it is of. It
    is taken last and held for as long as files are staged; no task has a name that begins so."""
    return f".{gen_id}"


def trace_of(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return what shows that something was made, or asked for, under an id; None: its folder holds
    metadata alone (hidden files are nothing), and nobody has begun anything.

    OSError: the folder, or one of our own, cannot be read.
    """
    names = sorted(os.listdir(root.generation(stage, gen_id)))
    for name in names:
        if name != METADATA and not name.startswith("."):
            return f"{name} is there"
    if is_there(root.own / "failures" / stage / f"{gen_id}.json"):
        return "a failure is on record"
    waiting = any(
        path.name == gen_id or path.name.startswith(f".{gen_id}.")
        for path in listed(staging(root, stage))
    )
    if waiting or any((one.stage, one.gen_id) == (stage, gen_id) for one in rescued(root)):
        return "a text of it waits to be published"
    for path in listed(root.own / "batches", ".json"):
        with contextlib.suppress(FileNotFoundError):  # it is over meanwhile
            if gen_id.encode() in read_bytes(path):
                return "it is in a batch"
    return None
