"""Give a generation the text that its task has under another id, and take it back."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

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
from genid_store.fs.leases import lease
from genid_store.generation.content import NO_TEXT, digest
from genid_store.stages import Member, parent_key, stage_names


def give_text(root: DataRoot, member: Member, source: str, task: str) -> None:
    """Copy another id's text and its companions to a member; the caller holds the task's lease.

    Recorded before anything is copied, `parsed.txt` last, so that a kill leaves no half answer and
    the next run goes on. Files that the member has already are left alone. OSError, StoreError:
    something cannot be read or written.
    """
    stage, gen_id = member
    target, origin = root.generation(stage, gen_id), root.generation(stage, source)
    before = reused.find(root, stage, gen_id)
    if before is None or before.source != source:
        names = [
            entry.name
            for entry in os.scandir(origin)
            if entry.is_file() and entry.name != METADATA and not entry.name.startswith(".")
        ]
        mine = set(os.listdir(target))
        before = Reused(
            stage=stage,
            gen_id=gen_id,
            source=source,
            task=task,
            metadata=read_bytes(target / METADATA).decode(),
            mtime_ns=os.stat(target).st_mtime_ns,
            files={n: _file_digest(origin / n) for n in sorted(names) if n not in mine},
        )
        reused.record(root, before)
    write_atomic(target / METADATA, _marked(before))
    for name in sorted(before.files, key=lambda one: (one == PARSED, one)):
        create_exclusive(target / name, read_bytes(origin / name), durable=True)
    sync_folder(target)


def take_back(root: DataRoot, *, dry_run: bool = False) -> tuple[list[Reused], list[Reused]]:
    """Undo every reuse, children first: remove the copied files and restore the metadata.

    Returns what was (or would be) taken back, and what stays because a child was made from it, its
    text is another by now, or the text that it was copied from is not there any more. StoreError:
    a record or the index cannot be used, or the system refused something: what was taken back by
    then is, and another call does the rest.
    """
    taken: list[Reused] = []
    kept: list[Reused] = []
    at_once = threading.Event()
    at_once.set()
    with guarded(root), StoreIndex.fresh(root) as index:
        gone: set[tuple[str, str]] = set()
        for one in _last_first(list(reused.find_all(root))):
            with contextlib.ExitStack() as stack:
                free = dry_run or stack.enter_context(lease(root, one.stage, one.task, at_once))
                if not (free and _is_a_copy(root, one)) or _is_needed(index, one, gone):
                    kept.append(one)
                    continue
                gone.add((one.stage, one.gen_id))
                taken.append(one)
                if not dry_run:
                    _take_back_one(root, one)
    return taken[::-1], kept[::-1]


def _take_back_one(root: DataRoot, one: Reused) -> None:
    folder = root.generation(one.stage, one.gen_id)
    for name, copied in sorted(one.files.items(), key=lambda item: item[0] != PARSED):
        with contextlib.suppress(FileNotFoundError):
            if _file_digest(folder / name) == copied:
                os.unlink(folder / name)
    with contextlib.suppress(FileNotFoundError):
        if read_bytes(folder / METADATA) == _marked(one):
            write_atomic(folder / METADATA, one.metadata.encode())
        with contextlib.suppress(PermissionError):  # the folder's owner alone may set its time
            os.utime(folder, ns=(os.stat(folder).st_atime_ns, one.mtime_ns))
    reused.forget(root, one)


def _last_first(records: list[Reused]) -> list[Reused]:
    """Return records so that each comes before its parent's, and before that of its source."""
    by_id = {(one.stage, one.gen_id): one for one in records}

    def depth(one: Reused) -> int:
        seen: set[tuple[str, str]] = set()  # two ids may have been given each other's text in turn
        above: Reused | None = one
        while above is not None and (above.stage, above.gen_id) not in seen:
            seen.add((above.stage, above.gen_id))
            above = by_id.get((above.stage, above.source))
        return len(seen)

    order = stage_names()
    return sorted(records, key=lambda one: (order.index(one.stage), depth(one)), reverse=True)


def _is_a_copy(root: DataRoot, one: Reused) -> bool:
    """Say whether every copied file is still what it was copied from, which is still there; or was
    not copied yet. Only what is read at its path counts: a link count says nothing, and a
    symbolic link from one to the other is not a second text."""
    target, origin = (root.generation(one.stage, name) for name in (one.gen_id, one.source))
    try:
        if not is_there(target / PARSED):
            return True
        return all(
            copied == _file_digest(target / name) == _file_digest(origin / name)
            and os.path.realpath(target / name) != os.path.realpath(origin / name)
            for name, copied in one.files.items()
        )
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
        return False


def _is_needed(index: StoreIndex, one: Reused, gone: set[tuple[str, str]]) -> bool:
    """Say whether something was made from this text that keeps a text of its own."""
    return any(
        child.content is not None and (child.stage, child.gen_id) not in gone
        for stage in stage_names()
        if parent_key(stage, one.gen_id) == (one.stage, one.gen_id)
        for child in index.children(stage, one.gen_id)
    )


def _marked(one: Reused) -> bytes:
    metadata: dict[str, Any] = {**load_object(one.metadata), ADOPTED_FROM: one.source}
    return dump_object(metadata)


def _file_digest(path: str | os.PathLike[str]) -> str:
    return digest(read_bytes(os.fspath(path)))
