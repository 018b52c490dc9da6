"""Bring a generation's files to disk so that a text, once returned, is never lost.

All files of one generation are first written to a folder of their own in `.genid/staging/<stage>/`.
One rename to the generation's id marks them as complete, and from then on every later run finishes
publishing them (`roll_forward`). `parsed.txt`, which means "this generation has content", is
published last. A file in the way is kept in `.genid/replaced/`, never overwritten. Nothing here
decides what is made.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import threading
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
from genid_store.fs.texts import fault_of_bytes
from genid_store.fs.trees import remove_tree
from genid_store.generation.content import digest, parent_version
from genid_store.generation.records import Generated
from genid_store.stages import stage_names

#: The order in which the files of one generation are published.
PUBLISHED: Final = (PROMPT, RAW, RAW_METADATA, PARSED_METADATA, PARSED)
#: The order in which they are staged: once raw.txt exists, so do all the others.
_STAGED: Final = (PROMPT, RAW_METADATA, PARSED_METADATA, PARSED, RAW)
_MIN_FREE: Final = 16 * 2**20  # bytes that must be free before a generation is paid for
#: The folder that one attempt stages files in: .<gen_id>.<process>-<8 hex digits>
_ATTEMPT: Final = re.compile(r"\.(?P<gen_id>.+)\.[0-9]+-[0-9a-f]{8}")
#: A file that reserves disk space before the call and is removed to make room for the answer.
_RESERVE: Final = ".reserve"
_RESERVED: Final = 2**18  # bytes
#: File descriptors that this process keeps open, to have some for an answer that comes when there
#: are no more; one lock for the list.
_SPARE: Final = 8
_spares: list[int] = []
_sparing = threading.Lock()
os.register_at_fork(
    before=_sparing.acquire, after_in_parent=_sparing.release, after_in_child=_sparing.release
)
_NO_MORE: Final = {errno.EMFILE, errno.ENFILE}


@frozen(kw_only=True)
class StagedFolder:
    """A folder ready for one generation's files, made before anything is paid for.

    `store` names the store on a text that has to be rescued to a temporary folder.
    """

    root: DataRoot
    stage: str
    gen_id: str
    path: Path
    store: str = ""


@contextlib.contextmanager
def prepared(
    root: DataRoot, stage: str, gen_id: str, *, room: bool = True
) -> Iterator[StagedFolder]:
    """Yield a folder to stage files in; it is removed if the files were not completed.

    `room` False skips the check for free space, for a text that was already paid for.

    OSError: the disk is full, too many files are open, or the data root is not writable; nothing
    was paid for.
    """
    path, target = _attempt_folder(root, stage, gen_id), root.generation(stage, gen_id)
    path.mkdir(parents=True)
    try:
        store = name_store(root)
        if room:
            if shutil.disk_usage(path).free < _MIN_FREE:
                message = f"fewer than {_MIN_FREE // 2**20} MiB are free, and nothing was paid for"
                raise OSError(errno.ENOSPC, message, str(path.parent))
            reserve(path / _RESERVE, _RESERVED)
            with _sparing:
                while len(_spares) < _SPARE:
                    _spares.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        # Publishing renames into this folder; find out now whether it can.
        if not os.access(target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        yield StagedFolder(root=root, stage=stage, gen_id=gen_id, path=path, store=store)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def give_up_spares() -> None:
    """Close the spare file descriptors, those that the host has not closed or taken itself."""
    null = os.stat(os.devnull)
    with _sparing:
        while _spares:
            spare = _spares.pop()
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(spare), null):
                    os.close(spare)


def seed(root: DataRoot, stage: str, gen_id: str, metadata: bytes) -> None:
    """Create a generation's folder together with its metadata, unless that exists. The caller holds
    the generation's lease."""
    folder = root.generation(stage, gen_id)
    if not is_there(folder / METADATA):
        attempt = _attempt_folder(root, stage, gen_id)
        for path in (attempt, folder):
            path.parent.mkdir(parents=True, exist_ok=True)
        create_in_folder(str(attempt), str(folder), METADATA, metadata)


def _attempt_folder(root: DataRoot, stage: str, gen_id: str) -> Path:
    return staging(root, stage) / f".{gen_id}.{os.getpid()}-{secrets.token_hex(4)}"


def publish(folder: StagedFolder, files: Mapping[str, bytes], parent_text: str | None) -> None:
    """Stage `files`, made from the parent's text (None for a root), and publish them.

    OSError: they cannot be written below the data root. The error says where the next run finds
    the text, or that it is lost.
    """
    root, stage, gen_id = folder.root, folder.stage, folder.gen_id
    for is_last in (False, True):
        try:
            if not is_last or not is_complete(root, stage, gen_id):
                (folder.path / _RESERVE).unlink(missing_ok=True)
                for name in (name for name in _STAGED if name in files):
                    partial = folder.path / f".{name}"
                    partial.unlink(missing_ok=True)
                    write_new(partial, files[name], durable=True)
                    os.rename(partial, folder.path / name)
                _complete(folder)
            roll_forward(root, stage, gen_id)
            return
        except OSError as error:
            if error.errno in _NO_MORE and not is_last:
                give_up_spares()
                continue
            if is_complete(root, stage, gen_id):
                kept = f"the next run publishes the text from {staging(root, stage) / gen_id}"
            else:
                made_from = None if parent_text is None else digest(parent_text.encode())
                kept = rescue(folder.store, stage, gen_id, made_from, files)
            raise OSError(error.errno or 0, f"{error.strerror or error}; {kept}") from error


def is_complete(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Return whether a generation's files are complete but not all published."""
    return is_there(staging(root, stage) / gen_id)


def _complete(folder: StagedFolder) -> None:
    """Mark the staged files as complete, durably; the caller has synced each of them."""
    sync_folder(folder.path)
    complete = staging(folder.root, folder.stage) / folder.gen_id
    os.rename(folder.path, complete)
    sync_folder(complete.parent)


def take_up(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Publish what a killed run staged for one generation, and remove what it only began.

    The caller holds the generation's lease, so no other process is writing there. Returns whether
    anything was published.
    """
    _fetch_rescued(root, stage, gen_id)
    folder = staging(root, stage)
    if not is_folder(folder):
        return False
    for entry in list(os.scandir(folder)):
        attempt = _ATTEMPT.fullmatch(entry.name)
        if attempt is None or attempt["gen_id"] != gen_id or entry.is_symlink():
            continue
        path = Path(entry.path)
        has_all_files = is_file(path / RAW)  # it is staged last
        for extra in [item for item in os.scandir(path) if item.name not in PUBLISHED]:
            remove_tree(extra.path)
        if has_all_files and not is_there(folder / gen_id):
            _complete(StagedFolder(root=root, stage=stage, gen_id=gen_id, path=path))
            continue
        if has_all_files:  # another text of this generation is complete
            _keep(root, path / RAW, root.generation(stage, gen_id))
        shutil.rmtree(path)
    return roll_forward(root, stage, gen_id)


def roll_forward(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Publish the complete staged files of a generation; return whether there were any. Idempotent,
    and safe after a crash between any two steps. The caller holds the generation's lease."""
    source = staging(root, stage) / gen_id
    target = root.generation(stage, gen_id)
    if not is_folder(source) or not (is_folder(target) or is_there(source / RAW)):
        return False  # nothing is staged, or the folder is not genid's
    target.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        with contextlib.suppress(FileNotFoundError):
            if is_there(target / name) and is_there(source / name):
                _keep(root, target / name, target)
            move(source / name, target / name)
    sync_folder(target)
    for entry in list(os.scandir(source)):  # files of other programs (.DS_Store) are kept
        _keep(root, Path(entry.path), target)
        remove_tree(entry.path)
    source.rmdir()
    return True


def unpublished(root: DataRoot) -> list[tuple[str, str]]:
    """Return (stage, gen_id) of every generation with an unpublished text, sorted.

    Its files are complete, or staged by a run that is alive or was killed, or its text was rescued
    to a temporary folder.
    """
    rescues = ((saved.stage, saved.gen_id) for saved in rescued(root))
    members = {member for member in rescues if is_folder(root.generation(*member))}
    for stage in stage_names():
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(staging(root, stage)):
                attempt = _ATTEMPT.fullmatch(entry.name)
                gen_id = entry.name if attempt is None else attempt["gen_id"]
                if is_segment(gen_id) and not entry.is_symlink():
                    members.add((stage, gen_id))
    return sorted(members)


def _keep(root: DataRoot, path: Path, folder: Path) -> None:
    """Link a file of the generation `folder` into `.genid/replaced/`; other than files are not
    kept."""
    if not is_file(path):
        return
    kept = root.own / "replaced" / folder.parent.name / folder.name
    kept.mkdir(parents=True, exist_ok=True)
    keep(path, kept / f"{len(os.listdir(kept)):04d}-{secrets.token_hex(2)}-{path.name}")


def _fetch_rescued(root: DataRoot, stage: str, gen_id: str) -> None:
    """Bring back a text that an earlier run could only write to a temporary folder. A text made
    from another text of the parent than the current one stays there."""
    for saved in rescued(root):
        if (saved.stage, saved.gen_id) != (stage, gen_id) or is_complete(root, stage, gen_id):
            continue
        if saved.made_from != parent_version(root, read_generation(root, stage, gen_id)):
            continue
        with prepared(root, stage, gen_id, room=False) as folder:
            for name in (name for name in _STAGED if is_file(saved.path / name)):
                write_new(folder.path / name, read_bytes(saved.path / name), durable=True)
            _complete(folder)
        shutil.rmtree(saved.path)


# -- the files of one answer; nothing here may raise, because it is paid for -----------------------
#: The entries of a record that the host provides.
_HOST_KEYS: Final = ("provider_model", "parameters", "usage")


def files_of(
    generated: Generated, *, generated_at: str | None = None, **made_with: object
) -> dict[str, bytes]:
    """Return the files of one answer, with a record of how it was made. `parsed.txt` is among them
    unless the answer could not be parsed."""
    from_host = {name: getattr(generated, name) for name in _HOST_KEYS}
    made_with |= {name: value for name, value in from_host.items() if value is not None}
    files = {RAW_METADATA: _document({**made_with, "generated_at": generated_at})}
    for name, text in ((RAW, generated.text), (PROMPT, generated.prompt or None)):
        if text is not None:
            files[name] = text.encode("utf-8", "surrogatepass")
    if why_unparsed(generated) is None:
        files[PARSED] = generated.handed_on.encode()
        files[PARSED_METADATA] = _document({"digest": digest(files[PARSED])})
    return files


def why_unparsed(generated: Generated) -> str | None:
    """Return why an answer gets no `parsed.txt`; None if it gets one. The host says so, or nothing
    could be made from that text."""
    if generated.unparsed is not None:
        return generated.unparsed or "the callable says so and gives no reason"
    try:
        fault = fault_of_bytes(generated.handed_on.encode())
    except UnicodeEncodeError:
        fault = "is not Unicode"
    return None if fault is None else f"its text {fault}"


def _document(genid: Mapping[str, object]) -> bytes:
    """Return a record as JSON that genid's own reader accepts.

    A host's value that cannot be written so is replaced by a note: a circular, very deep or very
    large one, one that is not Unicode, one with keys that are the same as text.
    """
    entries = {key: value for key, value in genid.items() if value is not None}
    try:
        document = {"genid": finite(entries)}
        text = json.dumps(document, ensure_ascii=False, indent=2, default=repr, skipkeys=True)
        data = text.encode("utf-8")
        load_json(data)
    except Exception:  # the host's values may be anything
        note = "cannot be written as JSON"
        return _document({key: note if key in _HOST_KEYS else entries[key] for key in entries})
    return data
