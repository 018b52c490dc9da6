"""A folder of files that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import blame, exists, is_folder, is_link, write_atomic


def create_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Create `folder` with `files` (paths below it, with `/`), made beside it and then renamed.

    A process that is killed leaves a hidden folder beside it at most.

    Raises:
        StoreError: `folder` is there and not an empty folder, the folder above it is not there, or
            it is the current folder, which cannot be replaced under the shell that is in it.
        OSError: the system refused to write.
    """
    if why := _obstacle(folder):
        message, remedy = why
        problem = Problem(where=str(folder), message=message, remedy=remedy)
        raise StoreError("the data root was not made", [problem])
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
    """Return why `folder` cannot be created, and the remedy."""
    if not is_folder(folder.parent):
        return "the folder above it is not there", "make that one first"
    if not exists(folder):
        return None
    if is_link(folder) or not is_folder(folder):
        return "is not a folder", "name a folder that is not there yet"
    if any(folder.iterdir()):
        return "is not empty", "name a folder that is not there yet, or an empty one"
    if folder.samefile(Path.cwd()):
        return "is the current folder", "go to the folder above it and name it from there"
    return None
