"""The steps by which a migration changes files, each one of them idempotent.

A file is replaced, never written to: its original is kept first (the same inode, by hard link), the
new bytes go to a temporary file beside it with the original's times, permissions and owner, and
take its name by rename. Putting an original back is one rename, so bytes, times, permissions and
links are what they were. Nothing here knows what a generation is.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from typing import Final

from genid_store.migration.fingerprints import read_all

#: What says that a hard link cannot be made here: then the original is copied.
_NO_LINK: Final = {
    errno.EPERM,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EXDEV,
    errno.EACCES,
}
TEMPORARY: Final = ".genid-new"  # what a temporary file's name ends with


def temporary_beside(path: str) -> str:
    """Return the name of the temporary file of `path`: always the same, so that it is found."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}{TEMPORARY}"


def keep(path: str, kept: str) -> None:
    """Keep the file or link at `path` as `kept`, unless it is kept already."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if not os.path.lexists(kept):
            _copy(path, kept)


def read_kept(kept: str) -> tuple[bytes | str, os.stat_result]:
    """Return the bytes of a kept file, or the target of a kept link, and its status."""
    try:
        descriptor = os.open(kept, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return os.readlink(kept), os.lstat(kept)
    try:
        status = os.fstat(descriptor)
        return read_all(descriptor, status.st_size), status
    finally:
        os.close(descriptor)


def write_new(path: str, data: bytes, kept: str, like: os.stat_result) -> None:
    """Write `data` to the temporary file of `path`, with the times, permissions, owner and
    extended attributes of the original, which is at `kept` and has the status `like`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    mode = stat.S_IMODE(like.st_mode)
    descriptor = os.open(temporary_beside(path), flags, mode)
    try:
        _write_all(descriptor, data)
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
            with contextlib.suppress(PermissionError):  # only root may give a file away
                os.fchown(descriptor, like.st_uid, like.st_gid)
        _copy_attributes(kept, descriptor)
        if stat.S_IMODE(made.st_mode) != mode:
            os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
    finally:
        os.close(descriptor)


def write_new_link(path: str, target: str, like: os.stat_result) -> None:
    """Make a link to `target` at the temporary name of `path`, with the times of `like`."""
    temporary = temporary_beside(path)
    remove(temporary)
    os.symlink(target, temporary)
    os.utime(temporary, ns=(like.st_atime_ns, like.st_mtime_ns), follow_symlinks=False)


def take_place(path: str) -> None:
    """Give the temporary file of `path` its name; a no-op where that has happened."""
    try:
        os.replace(temporary_beside(path), path)
    except FileNotFoundError:
        return


def put_back(kept: str, path: str) -> None:
    """Give the original its name back and remove the temporary file; a no-op where nothing is
    kept."""
    remove(temporary_beside(path))
    try:
        original = os.stat(kept, follow_symlinks=False)
    except FileNotFoundError:
        return
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(original, os.stat(path, follow_symlinks=False)):
            os.unlink(kept)  # renaming one name of a file to another of the same does nothing
            return
    try:
        os.replace(kept, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(kept, path)
        os.unlink(kept)


def move_folder(source: str, target: str) -> None:
    """Rename a folder to a name that is free. FileExistsError: it is not (an empty folder would
    silently be replaced)."""
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def remove(path: str) -> None:
    """Remove a file or link if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def sync_filesystem(path: str) -> None:
    """Bring everything written to the file system that holds `path` to disk (one call for many
    files; where the system has no syncfs, all file systems)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if sync is None:
            os.sync()
        elif sync(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])


def _copy(path: str, target: str) -> None:
    """Copy a file or link with its times and permissions; complete or not there."""
    temporary = temporary_beside(target)
    remove(temporary)
    shutil.copy2(path, temporary, follow_symlinks=False)
    owner = os.stat(path, follow_symlinks=False)
    with contextlib.suppress(PermissionError):
        os.chown(temporary, owner.st_uid, owner.st_gid, follow_symlinks=False)
    os.replace(temporary, target)


def _copy_attributes(kept: str, descriptor: int) -> None:
    if not hasattr(os, "listxattr"):
        return
    try:
        names = os.listxattr(kept, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA):
            return
        raise
    for name in names:
        with contextlib.suppress(PermissionError):  # security.* belongs to the system
            os.setxattr(descriptor, name, os.getxattr(kept, name, follow_symlinks=False))
