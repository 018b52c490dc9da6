"""Give a generation the text that its task has under another id, and take it back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from genid_store.catalog import reused
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.metadata import ADOPTED_FROM
from genid_store.catalog.reused import Reused
from genid_store.fs.files import (
    create_exclusive,
    guarded,
    is_there,
    read_bytes,
    sync_folder,
    write_atomic,
)
from genid_store.fs.jsonfile import dump_object, load_object
from genid_store.fs.layout import METADATA, PARSED, DataRoot
from genid_store.fs.leases import NO_WAIT, lease
from genid_store.fs.texts import NO_TEXT
from genid_store.generation.content import digest
from genid_store.stages import Member, parent_key, stage_names


def give_text(root: DataRoot, member: Member, source: str, task: str) -> None:
    """Copy another id's text and its companion files to a member; its own files stay as they are.
    The caller holds the task's lease. OSError, StoreError: a file cannot be read or written."""
    stage, gen_id = member
    target, origin = root.generation(stage, gen_id), root.generation(stage, source)
    record = reused.find(root, stage, gen_id)
    if record is None or record.source != source:
        names = [
            entry.name
            for entry in os.scandir(origin)
            if entry.is_file() and entry.name != METADATA and not entry.name.startswith(".")
        ]
        own_names = set(os.listdir(target))
        record = Reused(
            stage=stage,
            gen_id=gen_id,
            source=source,
            task=task,
            metadata=read_bytes(target / METADATA).decode(),
            mtime_ns=os.stat(target).st_mtime_ns,
            files={n: _file_digest(origin / n) for n in sorted(names) if n not in own_names},
        )
        reused.record(root, record)
    # The record is on disk before the first copy, and parsed.txt is copied last: after a kill there
    # is no content yet, and the next run repeats these steps.
    write_atomic(target / METADATA, _marked(record))
    for name in sorted(record.files, key=lambda name: (name == PARSED, name)):
        create_exclusive(target / name, read_bytes(origin / name))
    sync_folder(target)


def take_back(root: DataRoot, *, dry_run: bool = False) -> tuple[list[Reused], list[Reused]]:
    """Undo every reuse, children first: remove the copied files and restore the metadata.

    Returns what was (or would be) undone, and what stays: a child was made from it, its text has
    changed since, or the text it was copied from no longer exists.

    StoreError: a record or the index cannot be used, or there was an OS error. What was undone
    before that stays undone; another call does the rest.
    """
    undone: list[Reused] = []
    kept: list[Reused] = []
    with guarded(root), StoreIndex.fresh(root) as index:
        gone: set[tuple[str, str]] = set()
        for record in _last_first(list(reused.find_all(root))):
            with contextlib.ExitStack() as stack:
                task = lease(root, record.stage, record.task, NO_WAIT)
                free = dry_run or stack.enter_context(task)
                if not (free and _is_a_copy(root, record)) or _is_needed(index, record, gone):
                    kept.append(record)
                    continue
                gone.add((record.stage, record.gen_id))
                undone.append(record)
                if not dry_run:
                    _take_back_one(root, record)
    return undone[::-1], kept[::-1]


def _take_back_one(root: DataRoot, record: Reused) -> None:
    folder = root.generation(record.stage, record.gen_id)
    # parsed.txt first: once it is gone, the member has no content, whatever else is still there.
    for name, copied in sorted(record.files.items(), key=lambda item: item[0] != PARSED):
        with contextlib.suppress(FileNotFoundError):
            if _file_digest(folder / name) == copied:
                os.unlink(folder / name)
    with contextlib.suppress(FileNotFoundError):
        if read_bytes(folder / METADATA) == _marked(record):
            write_atomic(folder / METADATA, record.metadata.encode())
        with contextlib.suppress(PermissionError):  # only the folder's owner may set its time
            os.utime(folder, ns=(os.stat(folder).st_atime_ns, record.mtime_ns))
    reused.forget(root, record)


def _last_first(records: list[Reused]) -> list[Reused]:
    """Return the records, each before that of its parent and that of its source."""
    by_id = {(one.stage, one.gen_id): one for one in records}

    def depth(record: Reused) -> int:
        seen: set[tuple[str, str]] = set()  # two ids may have each been given the other's text
        current: Reused | None = record
        while current is not None and (current.stage, current.gen_id) not in seen:
            seen.add((current.stage, current.gen_id))
            current = by_id.get((current.stage, current.source))
        return len(seen)

    order = stage_names()
    return sorted(records, key=lambda one: (order.index(one.stage), depth(one)), reverse=True)


def _is_a_copy(root: DataRoot, record: Reused) -> bool:
    """Return whether every copied file still equals its original, or nothing was copied yet.

    Only what is read at the two paths counts. A link count proves nothing, and a symbolic link
    from one to the other is not a second copy.
    """
    target, origin = (
        root.generation(record.stage, name) for name in (record.gen_id, record.source)
    )
    try:
        if not is_there(target / PARSED):
            return True
        return all(
            copied == _file_digest(target / name) == _file_digest(origin / name)
            and os.path.realpath(target / name) != os.path.realpath(origin / name)
            for name, copied in record.files.items()
        )
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
        return False


def _is_needed(index: StoreIndex, record: Reused, gone: set[tuple[str, str]]) -> bool:
    """Return whether a child with a text of its own was made from this text."""
    return any(
        child.content is not None and (child.stage, child.gen_id) not in gone
        for stage in stage_names()
        if parent_key(stage, record.gen_id) == (record.stage, record.gen_id)
        for child in index.children(stage, record.gen_id)
    )


def _marked(record: Reused) -> bytes:
    return dump_object({**load_object(record.metadata), ADOPTED_FROM: record.source})


def _file_digest(path: Path) -> str:
    return digest(read_bytes(path))
