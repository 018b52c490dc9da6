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
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import is_there, keep, move, sync_folder, write_new
from genid_store.fs.layout import (
    PARSED,
    PARSED_METADATA,
    PROMPT,
    RAW,
    RAW_METADATA,
    DataRoot,
    is_segment,
)
from genid_store.stages import stage_names

#: The order in which the files of one generation are published.
PUBLISHED: Final = (PROMPT, RAW, RAW_METADATA, PARSED_METADATA, PARSED)
_ROOM: Final = 16 * 2**20  # bytes that must be free before a generation is paid for


@frozen(kw_only=True)
class StagedFolder:
    """A folder that is ready to take one generation's files, made before anything is paid for."""

    root: DataRoot
    stage: str
    gen_id: str
    path: Path


def staging(root: DataRoot, stage: str) -> Path:
    """Return the folder of complete, unpublished generations of one stage."""
    return root.own / "staging" / stage


@contextlib.contextmanager
def prepared(root: DataRoot, stage: str, gen_id: str) -> Iterator[StagedFolder]:
    """Yield a folder to stage into; it is removed again if nothing was staged.

    StoreError: the disk is full, or the data root cannot be written; found out before the
    generator is called.
    """
    folder = staging(root, stage)
    path = folder / f".{gen_id}.{os.getpid()}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _check_room(path)
        _check_writable(root.generation(stage, gen_id))
        yield StagedFolder(root=root, stage=stage, gen_id=gen_id, path=path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(folder: StagedFolder, files: Mapping[str, bytes]) -> None:
    """Write `files`, make them complete by one rename, then publish them one by one.

    OSError: the files cannot be written below the data root; they are then kept in the system's
    temporary folder, which the error names.
    """
    try:
        for name, data in files.items():
            write_new(folder.path / name, data, durable=True)
        sync_folder(folder.path)
        complete = staging(folder.root, folder.stage) / folder.gen_id
        os.rename(folder.path, complete)
        sync_folder(complete.parent)
    except OSError as error:
        raise OSError(f"{error}; the text is kept in {_rescue(folder, files)}") from error
    roll_forward(folder.root, folder.stage, folder.gen_id)


def roll_forward(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Publish what a complete staged folder still holds; return whether there was one.

    Idempotent, and safe after a crash between any two of its steps. The caller holds the claim on
    this generation.
    """
    source = staging(root, stage) / gen_id
    target = root.generation(stage, gen_id)
    if not source.is_dir():
        return False
    target.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        with contextlib.suppress(FileNotFoundError):
            _move(root, source / name, target / name)
    sync_folder(target)
    source.rmdir()
    return True


def staged(root: DataRoot) -> list[tuple[str, str]]:
    """List (stage, gen_id) of every complete generation that is not published yet, sorted."""
    found = []
    for stage in stage_names():
        with contextlib.suppress(FileNotFoundError):
            names = sorted(entry.name for entry in os.scandir(staging(root, stage)))
            found += [(stage, name) for name in names if is_segment(name)]
    return found


def _move(root: DataRoot, source: Path, target: Path) -> None:
    """Move `source` to `target`; keep what was at `target` aside first."""
    if is_there(target) and is_there(source):
        kept = root.own / "replaced" / target.parent.parent.name / target.parent.name
        kept.mkdir(parents=True, exist_ok=True)
        keep(target, kept / f"{len(os.listdir(kept)):04d}-{secrets.token_hex(2)}-{target.name}")
    move(source, target)


def _rescue(folder: StagedFolder, files: Mapping[str, bytes]) -> Path:
    kept = Path(tempfile.mkdtemp(prefix=f"genid-{folder.stage}-{folder.gen_id}-"))
    for name, data in files.items():
        (kept / name).write_bytes(data)
    return kept


def _check_room(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < _ROOM:
        raise StoreError(
            "there is no room for a generation",
            [
                Problem(
                    where=str(path.parent),
                    message=f"fewer than {_ROOM // 2**20} MiB are free",
                    value=free,
                    remedy="free some space; nothing was paid for",
                )
            ],
        )


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, PermissionError(errno.EACCES, "cannot be written"))


def _unwritable(path: Path, error: OSError) -> StoreError:
    problem = Problem(
        where=str(path),
        message=error.strerror or str(error),
        remedy="make the data root writable; nothing was paid for",
    )
    return StoreError("the data root cannot be written", [problem])
