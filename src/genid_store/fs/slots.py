"""What a store holds of one id besides its metadata: a text, a failure, an open batch.

genid's own records of a generation are JSON files, `.genid/<kind>/<stage>/<gen_id>.json`.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from attrs import asdict

from genid_store.fs.files import check_inside, is_there, listed, read_bytes, write_atomic
from genid_store.fs.layout import METADATA, DataRoot, check_segment, is_segment
from genid_store.fs.rescue import rescued


def staging(root: DataRoot, stage: str) -> Path:
    """Return the folder of one stage's complete generations that are not published yet."""
    return root.own / "staging" / stage


def folder_lease(gen_id: str) -> str:
    """Return the name of the lease for changing one generation's folder, whatever its task is."""
    # It is taken after the task's lease, so two runs cannot wait for each other, and held for as
    # long as files are staged. No task's name begins with a dot.
    return f".{gen_id}"


def record_path(root: DataRoot, kind: str, stage: str, gen_id: str) -> Path:
    """Return the path of a record. StoreError: `gen_id` is not an id."""
    segment = check_segment(gen_id, what="the generation id", where=stage)
    return root.own / kind / stage / f"{segment}.json"


def write_record(root: DataRoot, kind: str, record: Any, *, durable: bool) -> None:
    """Write a record, an attrs object with `stage` and `gen_id`.

    OSError, StoreError: it cannot be written.
    """
    path = record_path(root, kind, record.stage, record.gen_id)
    check_inside(root, path)
    text = json.dumps(asdict(record), ensure_ascii=False, indent=2)
    root.own.mkdir(exist_ok=True)  # but not the data root itself, which may be unmounted or moved
    write_atomic(path, text.encode(errors="replace"), durable=durable)


def forget_record(root: DataRoot, kind: str, stage: str, gen_id: str) -> None:
    """Remove a record, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(record_path(root, kind, stage, gen_id))


def recorded_ids(root: DataRoot, kind: str, stage: str) -> list[str]:
    """Return the ids of one stage that have a record, sorted."""
    try:
        names = sorted(os.listdir(root.own / kind / stage))
    except FileNotFoundError:
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return [stem for stem in stems if is_segment(stem)]


def trace_of(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the first trace of a generation that was made or begun under an id, or None.

    The metadata and hidden files are no trace. OSError: the folder or a record cannot be read.
    """
    for name in sorted(os.listdir(root.generation(stage, gen_id))):
        if name != METADATA and not name.startswith("."):
            return f"{name} exists"
    if is_there(record_path(root, "failures", stage, gen_id)):
        return "a failure is on record"
    staged = any(
        path.name == gen_id or path.name.startswith(f".{gen_id}.")
        for path in listed(staging(root, stage))
    )
    if staged or any((text.stage, text.gen_id) == (stage, gen_id) for text in rescued(root)):
        return "a text of it waits to be published"
    for path in listed(root.own / "batches", ".json"):
        with contextlib.suppress(FileNotFoundError):  # the batch ended since it was listed
            if gen_id.encode() in read_bytes(path):
                return "it is in a batch"
    return None
