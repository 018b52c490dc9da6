"""Bring a generation's files to disk so that a text, once returned, is never lost.

All files of one generation are written to `.genid/staging/<stage>/` first and become visible there
by one rename; from then on they are complete, and every later start carries them the rest of the
way (`roll_forward`). `parsed.txt`, which means "this generation has content", goes last. A file
that is in the way is kept in `.genid/replaced/`, never overwritten. Nothing here decides what is
made.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from genid_store.catalog.metadata import read_generation
from genid_store.fs.files import (
    create_in_folder,
    is_file,
    is_folder,
    is_there,
    keep,
    move,
    read_bytes,
    reserve,
    sync_folder,
    write_new,
)
from genid_store.fs.jsonfile import finite, load_json
from genid_store.fs.layout import (
    METADATA,
    PARSED,
    PARSED_METADATA,
    PROMPT,
    RAW,
    RAW_METADATA,
    DataRoot,
    is_segment,
)
from genid_store.fs.rescue import name_store, rescue, rescued
from genid_store.fs.slots import staging
from genid_store.fs.trees import remove_tree
from genid_store.generation.content import digest, fault_of_bytes, parent_version
from genid_store.generation.records import Generated
from genid_store.stages import stage_names

#: The order in which the files of one generation are published.
PUBLISHED: Final = (PROMPT, RAW, RAW_METADATA, PARSED_METADATA, PARSED)
#: The order in which they are written aside: once raw.txt is there, all the others are.
_WRITTEN: Final = (PROMPT, RAW_METADATA, PARSED_METADATA, PARSED, RAW)
_ROOM: Final = 16 * 2**20  # bytes that must be free before a generation is paid for
#: A folder that a generation's files are written into: .<gen_id>.<process>-<8 hex digits>
_ASIDE: Final = re.compile(r"\.(?P<gen_id>.+)\.[0-9]+-[0-9a-f]{8}")
#: Room that is taken before the call and given back for the answer.
_RESERVE: Final = ".reserve"
_RESERVED: Final = 2**18  # bytes


@frozen(kw_only=True)
class StagedFolder:
    """A folder that is ready to take one generation's files, made before anything is paid for;
    `store` is what a text is known by that it cannot take."""

    root: DataRoot
    stage: str
    gen_id: str
    path: Path
    store: str = ""


@contextlib.contextmanager
def prepared(
    root: DataRoot, stage: str, gen_id: str, *, room: bool = True
) -> Iterator[StagedFolder]:
    """Yield a folder to stage into; it is removed again if nothing was staged.

    OSError: the disk is full (unless the text is there already: not `room`), or the data root
    cannot be written; found out before the generator is called.
    """
    path, target = _aside(root, stage, gen_id), root.generation(stage, gen_id)
    path.mkdir(parents=True)
    try:
        store = name_store(root)
        if room:
            if shutil.disk_usage(path).free < _ROOM:
                message = f"fewer than {_ROOM // 2**20} MiB are free, and nothing was paid for"
                raise OSError(errno.ENOSPC, message, str(path.parent))
            reserve(path / _RESERVE, _RESERVED)
        if not os.access(target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        yield StagedFolder(root=root, stage=stage, gen_id=gen_id, path=path, store=store)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def seed(root: DataRoot, stage: str, gen_id: str, metadata: bytes) -> None:
    """Make the folder of a generation appear with its metadata, which is left alone where it is
    there already; the caller holds the generation's lease."""
    folder = root.generation(stage, gen_id)
    if not is_there(folder / METADATA):
        aside = _aside(root, stage, gen_id)
        for path in (aside, folder):
            path.parent.mkdir(parents=True, exist_ok=True)
        create_in_folder(str(aside), str(folder), METADATA, metadata)


def _aside(root: DataRoot, stage: str, gen_id: str) -> Path:
    return staging(root, stage) / f".{gen_id}.{os.getpid()}-{secrets.token_hex(4)}"


def publish(folder: StagedFolder, files: Mapping[str, bytes], parent_text: str | None) -> None:
    """Write `files`, made from the parent's text (None for a root), make them complete by one
    rename, then publish them one by one.

    OSError: they cannot be brought to their place below the data root; it says where they are, from
    where the next run takes them, or that they are lost.
    """
    root, stage, gen_id = folder.root, folder.stage, folder.gen_id
    try:
        (folder.path / _RESERVE).unlink(missing_ok=True)
        for name in (name for name in _WRITTEN if name in files):
            aside = folder.path / f".{name}"
            write_new(aside, files[name], durable=True)
            os.rename(aside, folder.path / name)
        _complete(folder)
        roll_forward(root, stage, gen_id)
    except OSError as error:
        if is_complete(root, stage, gen_id):
            kept = f"the next run publishes the text from {staging(root, stage) / gen_id}"
        else:
            made_from = None if parent_text is None else digest(parent_text.encode())
            kept = rescue(folder.store, stage, gen_id, made_from, files)
        raise OSError(error.errno or 0, f"{error.strerror or error}; {kept}") from error


def is_complete(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Say whether a generation's files are complete and wait to be published."""
    return is_there(staging(root, stage) / gen_id)


def _complete(folder: StagedFolder) -> None:
    """Make the files, which are on disk, the generation's, waiting to be published."""
    sync_folder(folder.path)
    complete = staging(folder.root, folder.stage) / folder.gen_id
    os.rename(folder.path, complete)
    sync_folder(complete.parent)


def take_up(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Publish what a killed run wrote aside for one generation, and remove what it only began;
    return whether something was published.

    The caller holds the generation's lease, so nobody else is writing there.
    """
    _fetch_rescued(root, stage, gen_id)
    folder = staging(root, stage)
    if not is_folder(folder):
        return False
    for entry in list(os.scandir(folder)):
        found = _ASIDE.fullmatch(entry.name)
        if found is None or found["gen_id"] != gen_id or entry.is_symlink():
            continue
        path = Path(entry.path)
        whole = is_file(path / RAW)
        for rest in (one for one in list(os.scandir(path)) if one.name not in PUBLISHED):
            remove_tree(rest.path)
        if whole and not is_there(folder / gen_id):
            _complete(StagedFolder(root=root, stage=stage, gen_id=gen_id, path=path))
            continue
        if whole:  # another text of it is complete already
            _keep(root, path / RAW, root.generation(stage, gen_id))
        shutil.rmtree(path)
    return roll_forward(root, stage, gen_id)


def roll_forward(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Publish what a complete staged folder still holds; return whether there was one.

    Idempotent, and safe after a crash between any two of its steps. The caller holds the lease of
    this generation.
    """
    source = staging(root, stage) / gen_id
    target = root.generation(stage, gen_id)
    if not is_folder(source) or not (is_folder(target) or is_there(source / RAW)):
        return False  # nothing, or a folder of somebody's
    target.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        with contextlib.suppress(FileNotFoundError):
            _move(root, source / name, target / name)
    sync_folder(target)
    for entry in list(os.scandir(source)):  # strange files (.DS_Store) are kept aside
        _keep(root, Path(entry.path), target)
        remove_tree(entry.path)
    source.rmdir()
    return True


def unpublished(root: DataRoot) -> list[tuple[str, str]]:
    """List (stage, gen_id) of every generation that is complete and not published yet, or that is
    being written aside, by a run that goes on or one that was killed, or whose text is kept in a
    temporary folder; sorted."""
    kept = ((one.stage, one.gen_id) for one in rescued(root))
    found = {one for one in kept if is_folder(root.generation(*one))}
    for stage in stage_names():
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(staging(root, stage)):
                aside = _ASIDE.fullmatch(entry.name)
                name = entry.name if aside is None else aside["gen_id"]
                if is_segment(name) and not entry.is_symlink():
                    found.add((stage, name))
    return sorted(found)


def _move(root: DataRoot, source: Path, target: Path) -> None:
    """Move `source` to `target`; keep what was at `target` aside first."""
    if is_there(target) and is_there(source):
        _keep(root, target, target.parent)
    move(source, target)


def _keep(root: DataRoot, path: Path, folder: Path) -> None:
    """Give a file that goes away a second name in `.genid/replaced/`; folders are not kept."""
    if not is_file(path):
        return
    kept = root.own / "replaced" / folder.parent.name / folder.name
    kept.mkdir(parents=True, exist_ok=True)
    keep(path, kept / f"{len(os.listdir(kept)):04d}-{secrets.token_hex(2)}-{path.name}")


def _fetch_rescued(root: DataRoot, stage: str, gen_id: str) -> None:
    """Bring back what an earlier run could only write to a temporary folder, unless it was made
    from another text of the parent than is there now."""
    for one in rescued(root):
        ours = (one.stage, one.gen_id) == (stage, gen_id) and not is_complete(root, stage, gen_id)
        if not ours or one.made_from != parent_version(root, read_generation(root, stage, gen_id)):
            continue
        with prepared(root, stage, gen_id, room=False) as folder:
            for name in (name for name in _WRITTEN if is_file(one.path / name)):
                write_new(folder.path / name, read_bytes(one.path / name), durable=True)
            _complete(folder)
        shutil.rmtree(one.path)


# -- the files of one generation; nothing in here may fail: it is paid for ------------------------
#: What of a record the host gives.
_HOSTS: Final = ("provider_model", "parameters", "usage")


def files_of(
    generated: Generated, *, generated_at: str | None = None, **made_with: object
) -> dict[str, bytes]:
    """Return the files of one answer, with a record of how it was made; `parsed.txt` is among them
    where it could be parsed."""
    hosts = {name: getattr(generated, name) for name in _HOSTS}
    made_with |= {name: value for name, value in hosts.items() if value is not None}
    files = {RAW_METADATA: _document({**made_with, "generated_at": generated_at})}
    for name, text in ((RAW, generated.text), (PROMPT, generated.prompt)):
        if text is not None:
            files[name] = text.encode("utf-8", "surrogatepass")
    if why_unparsed(generated) is None:
        files[PARSED] = generated.handed_on.encode()
        files[PARSED_METADATA] = _document({"digest": digest(files[PARSED])})
    return files


def why_unparsed(generated: Generated) -> str | None:
    """Return why an answer gets no `parsed.txt`: the host says so, or nothing could be built upon
    that file; None: it gets one."""
    if generated.unparsed is not None:
        return generated.unparsed or "the callable says so and gives no reason"
    try:
        return fault_of_bytes(generated.handed_on.encode())
    except UnicodeEncodeError:
        return "its text is not Unicode"


def _document(genid: Mapping[str, object]) -> bytes:
    """Return our part of a record as JSON that our own reader takes; what of the host's cannot be
    written so (in a circle, deep, large, no Unicode, keys twice as text) is only mentioned."""
    given = {key: value for key, value in genid.items() if value is not None}
    try:
        document = {"genid": finite(given)}
        text = json.dumps(document, ensure_ascii=False, indent=2, default=repr, skipkeys=True)
        data = text.encode("utf-8")
        load_json(data)
    except Exception:  # the host's values may be anything
        unwritable = "cannot be written as JSON"
        return _document({key: unwritable if key in _HOSTS else given[key] for key in given})
    return data
