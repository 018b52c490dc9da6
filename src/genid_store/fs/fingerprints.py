"""Look at files without changing them: what a folder holds, and the digest of each file."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Container
from operator import itemgetter
from typing import Final, NamedTuple

from blake3 import blake3

from genid_store.fs.files import is_file, is_link, read_open

_CHUNK: Final = 1 << 20  # bytes read at a time

#: Begins the fingerprint of a link; where it leads follows.
LINK: Final = "->"


class Entry(NamedTuple):
    """One file or link below a folder: its path from there, with `/`, and what it is.

    The fingerprint is `<size in bytes>:<BLAKE3 in hex>` of a file, `->` and the target of a link,
    `?` of anything else. `inode` is (device, inode) of a file with several names, else None; `data`
    are the bytes of a file that was asked for, else None.
    """

    path: str
    fingerprint: str
    inode: tuple[int, int] | None = None
    data: bytes | None = None


def entries(path: str, wanted: Container[str] = ()) -> list[Entry]:
    """Return every file and link below a folder, sorted by path; links are not followed.

    Where `path` is not a folder, it is the one entry, with the path "". `wanted` are the names of
    files whose bytes are wanted too (top level only). OSError: something cannot be read.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return []
    return _below(path, wanted, "") if is_folder else [Entry("", fingerprint(path))]


def _below(folder: str, wanted: Container[str], inner: str) -> list[Entry]:
    found: list[Entry] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            name = inner + entry.name
            if entry.is_file(follow_symlinks=False):
                found.append(_file(name, entry.path, keep=entry.name in wanted))
            elif entry.is_dir(follow_symlinks=False):
                found.extend(_below(entry.path, (), f"{name}/"))
            else:
                found.append(Entry(name, _special(entry.path)))
    found.sort(key=_path)
    return found


def fingerprint(path: str) -> str:
    """Return what is at `path`. OSError: there is nothing, or it cannot be read."""
    if not is_file(path) or is_link(path):
        return _special(path)
    return _file("", path, keep=False).fingerprint


def digest(data: bytes) -> str:
    """Return the fingerprint of a file with these bytes."""
    return f"{len(data)}:{blake3(data).hexdigest()}"


_path: Final = itemgetter(0)


def _special(path: str) -> str:
    try:
        return LINK + os.readlink(path)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return "?"


def _file(name: str, path: str, *, keep: bool) -> Entry:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        inode = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
        if status.st_size > _CHUNK and not keep:
            return Entry(name, _large(descriptor), inode)
        data = read_open(descriptor, status.st_size, sys.maxsize - 1)
    finally:
        os.close(descriptor)
    return Entry(name, digest(data), inode, data if keep else None)


def _large(descriptor: int) -> str:
    """Digest a file of any size in constant memory."""
    hasher, size = blake3(), 0
    while data := os.read(descriptor, _CHUNK):
        hasher.update(data)
        size += len(data)
    return f"{size}:{hasher.hexdigest()}"
