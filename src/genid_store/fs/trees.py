"""Make a tree beside another one, by hard links where there are any, and exchange the two.

Nothing here overwrites an entry: a target that is there already is FileExistsError, so a path that
somebody has put a symbolic link at is never written through. What a copied file or folder takes
from its source (times, owner, extended attributes) is not essential and never an error.
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
    NO_LINKS,
    exists,
    is_file,
    is_link,
    read_bytes,
    sync_folder,
    take_after,
    write_all,
)

_NO_EXCHANGE: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CREATING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_CHUNK: Final = 1 << 20  # bytes copied at a time
OUT: Final = ".out"  # ends the name of what was live, between the renames of one exchange


def exchange(first: str, second: str) -> bool:
    """Exchange two entries of one file system in one step; False where the system cannot.

    OSError: the system refused it, and nothing has changed.
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
    """Give `live` and `aside` each other's entry, going on after any step that was stopped.

    `new` and `old` are the inodes of what lay aside and was live at the beginning (0: nothing was).
    False where neither of them is where it could be; nothing is written over. OSError: a step was
    refused.
    """
    out = aside + OUT
    if not exists(out):
        found = inode(aside)
        if found == old and found != new:
            return True  # it is exchanged
        if found != new or not found:
            return False
        if not exists(live):  # somebody removed it since: there is nothing to keep
            os.makedirs(os.path.dirname(live), exist_ok=True)
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


def inode(path: str) -> int:
    """Return a number that an entry keeps as long as it is only renamed; 0: there is none."""
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return 0


def move(source: str, target: str) -> None:
    """Rename an entry, on disk on return. OSError: it keeps its name."""
    os.rename(source, target)
    sync_folder(os.path.dirname(target))


def contents(path: str) -> bytes:
    """Return the bytes of a file, or where a link leads. OSError: it cannot be read."""
    return os.fsencode(os.readlink(path)) if is_link(path) else read_bytes(path)


def link_or_copy(source: str, target: str) -> None:
    """Give a file or link a second name, or copy it where it can have none. OSError: neither."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        copy(source, target)


def can_link(path: str) -> bool:
    """Say whether a file can have a second name where it lies. OSError: it cannot be tried."""
    probe = f"{path}.probe"
    remove_tree(probe)
    try:
        os.link(path, probe)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    os.unlink(probe)
    return True


def copy(source: str, target: str) -> None:
    """Copy a file, or make the same link again. OSError: it cannot be."""
    write_like(target, None, source)


def write_like(
    target: str, data: bytes | None, source: str, like: os.stat_result | None = None
) -> None:
    """Make what `source` is, a file or a link, with other contents (None: with its own), and the
    permissions, owner, times and attributes of `source`, whose status `like` is, if known.

    OSError: it cannot be written.
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
    """Give a folder that is filled the permissions, owner, times and attributes of another one."""
    like = os.lstat(source)
    if not stat.S_ISDIR(like.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), source)
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _take_all_after(descriptor, source, like)
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove whatever is at `path`; a symbolic link is removed, not followed. OSError: it stays."""
    if is_link(path) or is_file(path):
        os.unlink(path)
    elif exists(path):
        shutil.rmtree(path)


def file_system_of(folder: str) -> tuple[int, str]:
    """Return what names the mounted file system of a folder: between two of them nothing can be
    linked or renamed. OSError: the folder is not there."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mount = ""
        with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{descriptor}") as file:
            mount = next((line for line in file if line.startswith("mnt_id")), "")
        return os.fstat(descriptor).st_dev, mount
    finally:
        os.close(descriptor)


def sync_filesystem(path: str) -> None:
    """Bring everything written to the file system that holds `path` to disk (one call for many
    files; where the system has no syncfs, all file systems). OSError: it could not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync = getattr(_libc(), "syncfs", None)
        if sync is None:
            os.sync()
        elif sync(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _take_all_after(descriptor: int, source: str, like: os.stat_result) -> None:
    with contextlib.suppress(OSError):  # before the mode, which may forbid it
        for name in os.listxattr(source) if hasattr(os, "listxattr") else ():
            os.setxattr(descriptor, name, os.getxattr(source, name))
    take_after(descriptor, like)
    with contextlib.suppress(OSError):
        os.utime(descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
