"""Create a folder of files atomically."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from genid_store.errors import StoreError
from genid_store.fs.files import blame, exists, is_folder, is_link, write_atomic


def create_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Create `folder` with `files`, whose keys are relative paths with `/`.

    The files are written to a hidden folder beside it, which is then renamed. A process that is
    killed leaves that one at most.

    Raises:
        StoreError: `folder` exists and is not an empty folder, its parent folder does not exist, or
            it is the current folder, which cannot be replaced under the shell that is in it.
        OSError: a file cannot be written.
    """
    if obstacle := _obstacle(folder):
        raise StoreError.of("the data root was not created", str(folder), *obstacle)
    beside = folder.with_name(f".{folder.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        beside.mkdir()
        for name, data in files.items():
            write_atomic(beside / name, data)
        beside.rename(folder)
    except OSError as error:
        blame(error, folder, beside)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _obstacle(folder: Path) -> tuple[str, str] | None:
    """Return why `folder` cannot be created and the remedy, or None."""
    if not is_folder(folder.parent):
        return "its parent folder does not exist", "create that one first"
    if not exists(folder):
        return None
    if is_link(folder) or not is_folder(folder):
        return "is not a folder", "name a folder that does not exist yet"
    if any(folder.iterdir()):
        return "is not empty", "name a folder that does not exist yet, or an empty one"
    if folder.samefile(Path.cwd()):
        return "is the current folder", "go to the folder above it and name it from there"
    return None
