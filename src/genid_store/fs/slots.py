"""What lies under an id beside its metadata, wherever it lies: a text, a failure, an open batch."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from genid_store.fs.files import is_there, read_bytes
from genid_store.fs.layout import METADATA, DataRoot


def staging(root: DataRoot, stage: str) -> Path:
    """Return the folder of complete, unpublished generations of one stage."""
    return root.own / "staging" / stage


def rescue_prefix(root: DataRoot, stage: str, gen_id: str) -> str:
    """Return how the folders in the system's temporary folder begin that hold a generation's files,
    which could not be written below the data root."""
    home = os.stat(root.path).st_ino  # the same wherever the folder is moved, and by every path
    return f"genid-{home}-{stage}-{gen_id}-"


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
    waiting = [*_names(staging(root, stage)), *_names(Path(tempfile.gettempdir()))]
    aside = (f".{gen_id}.", rescue_prefix(root, stage, gen_id))
    if any(name == gen_id or name.startswith(aside) for name in waiting):
        return "a text of it waits to be published"
    for path in (root.own / "batches").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # it is over meanwhile
            if gen_id.encode() in read_bytes(path):
                return "it is in a batch"
    return None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
