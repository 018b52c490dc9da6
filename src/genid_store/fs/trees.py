"""Build a copy of a tree from hard links or copies, and exchange the two.

Nothing here overwrites an entry: a target that exists raises FileExistsError, so nothing is written
through a symbolic link that another process has created there. The times, owner and extended
attributes that a copy takes from its source are not essential: failing to set them is no error.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
from typing import Final

from genid_store.fs.files import (
    exists,
    is_file,
    is_folder,
    is_link,
    read_bytes,
    sync_folder,
    take_after,
    try_link,
    write_all,
)

_NO_EXCHANGE: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CREATING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK: Final = 1 << 20  # bytes copied at a time
OUT: Final = ".out"  # suffix of the live entry's name between the renames of one exchange


def exchange(first: str, second: str) -> bool:
    """Exchange two entries of one file system atomically; return False if that is not supported.

    OSError: it failed, and nothing has changed.
    """
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), first, None, second)


def exchange_places(live: str, aside: str, new: int, old: int) -> bool:
    """Exchange the entries `live` and `aside`, resuming after whichever step was interrupted.

    `new` and `old` are the inodes of `aside` and `live` before the exchange (0: it did not exist).
    Return False if they are in no place that an interrupted exchange leaves them in; nothing is
    overwritten. OSError: a step failed.
    """
    # Where one step cannot exchange two entries, three renames do, by way of `out`: live to out,
    # aside to live, out to aside. Which of the names exist tells how many of them are done.
    out = aside + OUT
    if not exists(out):
        present = inode(aside)
        if present == old and present != new:
            return True  # exchanged already
        if present != new or not present:
            return False
        if not exists(live):  # removed since the migration was planned: nothing to keep
            make_folders(os.path.dirname(live))
            os.rename(aside, live)
            return True
        if exchange(live, aside):
            return True
        os.rename(live, out)
    if not exists(live):
        os.rename(aside, live)
    if exists(aside):
        return False
    os.rename(out, aside)
    return True


def make_folders(path: str) -> None:
    """Make a folder and those above it, unless it exists. OSError: one cannot be made, or looked
    at, for which `os.makedirs` would blame an entry of the same name."""
    if not is_folder(path):
        os.makedirs(path, exist_ok=True)


def inode(path: str) -> int:
    """Return the inode of an entry, which renaming does not change, or 0 if it does not exist."""
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return 0


def move(source: str, target: str) -> None:
    """Rename an entry durably. OSError: it keeps its name."""
    os.rename(source, target)
    sync_folder(os.path.dirname(target))


def contents(path: str) -> bytes:
    """Return the bytes of a file or the target of a link. OSError: it cannot be read."""
    return os.fsencode(os.readlink(path)) if is_link(path) else read_bytes(path)


def link_or_copy(source: str, target: str) -> None:
    """Give a file or link a second name, or copy it where hard links are not supported.

    OSError: neither is possible.
    """
    if not try_link(source, target):
        copy(source, target)


def can_link(path: str) -> bool:
    """Return whether the file system of a file supports hard links. OSError: it cannot be tried."""
    probe = f"{path}.probe"
    remove_tree(probe)
    if not try_link(path, probe):
        return False
    os.unlink(probe)
    return True


def copy(source: str, target: str) -> None:
    """Copy a file, or a link itself. OSError: it cannot be copied."""
    write_like(target, None, source)


def write_like(
    target: str, data: bytes | None, source: str, like: os.stat_result | None = None
) -> None:
    """Create a copy of a file or link, with other content unless `data` is None.

    It gets the permissions, owner, times and attributes of `source`; `like` is the status of
    `source` if the caller knows it. OSError: it cannot be written.
    """
    like = like or os.lstat(source)
    if stat.S_ISLNK(like.st_mode):
        os.symlink(os.readlink(source) if data is None else os.fsdecode(data), target)
        with contextlib.suppress(OSError):
            os.utime(target, ns=(like.st_atime_ns, like.st_mtime_ns), follow_symlinks=False)
        return
    descriptor = os.open(target, _CREATING, stat.S_IMODE(like.st_mode))
    try:
        if data is not None:
            write_all(descriptor, data)
        else:
            with open(source, "rb") as file:
                while piece := file.read(_CHUNK):
                    write_all(descriptor, piece)
        _take_all_after(descriptor, source, like)
    finally:
        os.close(descriptor)


def finish_folder(target: str, source: str) -> None:
    """Give a folder the permissions, owner, times and attributes of another, once it is filled."""
    like = os.lstat(source)
    if not stat.S_ISDIR(like.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), source)
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _take_all_after(descriptor, source, like)
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a file or tree if it exists; a link is not followed. OSError: it cannot be removed."""
    if is_link(path) or is_file(path):
        os.unlink(path)
    elif exists(path):
        shutil.rmtree(path)


def file_system_of(folder: str) -> tuple[int, str]:
    """Return an identifier of a folder's mount: entries can be linked and renamed within one alone.

    OSError: the folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Two bind mounts of one file system have the same device number, and still refuse a link.
        mount = ""
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{descriptor}") as file:
            mount = next((line for line in file if line.startswith("mnt_id")), "")
        return os.fstat(descriptor).st_dev, mount
    finally:
        os.close(descriptor)


def sync_filesystem(path: str) -> None:
    """Sync the whole file system of `path`, in one call for many files. OSError: it failed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync = getattr(_libc(), "syncfs", None)
        if sync is None:  # not on Linux: sync every file system
            os.sync()
        elif sync(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _take_all_after(descriptor: int, source: str, like: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # before the mode, which may forbid setting attributes
        for name in os.listxattr(source) if hasattr(os, "listxattr") else ():
            os.setxattr(descriptor, name, os.getxattr(source, name))
    take_after(descriptor, like)
    with contextlib.suppress(OSError):
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
