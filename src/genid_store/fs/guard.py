"""What keeps writes where they belong: system errors as problems, and no way out of the data root.

Refuses to follow a symbolic link that leads out of the data root; a whole data root may be reached
through one.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot

_REMEDIES: Final = {
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EROFS: "the file system is read-only: use a data root that can be written",
    errno.ENOSPC: "make room on the disk and run the command again: it goes on where it stopped",
    errno.EDQUOT: "make room in the quota and run the command again: it goes on where it stopped",
    errno.ENOLCK: "the file system gives no locks: mount it with them, or use a local disk",
    errno.ENOTDIR: "a file stands where a folder belongs: move it away",
    errno.EISDIR: "a folder stands where a file belongs: move it away",
}
_OTHERWISE: Final = "look at the disk, then run the command again: it goes on where it stopped"


@contextlib.contextmanager
def guarded(root: DataRoot, *, reading: bool = False) -> Iterator[None]:
    """Turn what the system refuses inside the block (OSError) into one StoreError with its path
    and remedy; `reading`: the block writes nothing."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, _OTHERWISE)
        if reading and error.errno in (errno.EACCES, errno.EPERM):
            remedy = "give this user the right to read it"
        problem = Problem(
            where=_place(root, error),
            message=error.strerror or type(error).__name__,
            remedy=remedy,
        )
        raise StoreError("the system refused a file operation", [problem]) from error


def check_inside(root: DataRoot, *paths: Path) -> None:
    """Refuse paths that a symbolic link leads out of the data root; they need not exist.

    Raises:
        StoreError: lists every such path with where it leads.
    """
    home = root.path.resolve()
    problems = [
        Problem(
            where=root.relative(path),
            message=f"a symbolic link leads out of the data root, to {path.resolve()}",
            remedy="move the folder into the data root, or bind-mount it there",
        )
        for path in paths
        if not path.resolve().is_relative_to(home)
    ]
    if problems:
        raise StoreError("nothing is written outside the data root", problems)


def _place(root: DataRoot, error: OSError) -> str:
    if not isinstance(error.filename, str | Path):
        return str(root.path)
    path = Path(error.filename)
    return root.relative(path) if path.is_relative_to(root.path) else str(path)
