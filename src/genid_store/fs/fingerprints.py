"""Look at files without changing them: what a folder holds, and the digest of each file."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Container, Iterator
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
    `?` of anything else. `status` is a file's when it was read, None of anything else; `data` are
    the bytes of a file that was asked for, else None.
    """

    path: str
    fingerprint: str
    status: os.stat_result | None = None
    data: bytes | None = None

    @property
    def size(self) -> int:
        """How many bytes a file has, 0 of anything else."""
        return 0 if self.status is None else self.status.st_size

    @property
    def stamp(self) -> int:
        """The file's `stamp`, 0 of anything else."""
        return 0 if self.status is None else stamp(self.status)


def stamp(status: os.stat_result) -> int:
    """Return a number that a file keeps, under whatever names, until somebody writes to it; of use
    in one process alone."""
    return hash((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


def entries(path: str, wanted: Container[str] = ()) -> list[Entry]:
    """Return every file and link below a folder, sorted by path; links are not followed.

    Where `path` is not a folder, it is the one entry, with the path "". `wanted` are the paths of
    files whose bytes are wanted too. OSError: something cannot be read.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return []
    if not is_folder:
        return [Entry("", fingerprint(path))]
    found = [
        _file(name, entry.path, keep=name in wanted)
        if entry.is_file(follow_symlinks=False)
        else Entry(name, _special(entry.path))
        for name, entry in below(path)
    ]
    found.sort(key=_path)
    return found


def below(folder: str, inner: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file and link below a folder, with its path from there, in the system's order.
    OSError: a folder cannot be read."""
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.is_dir(follow_symlinks=False):
                yield from below(entry.path, f"{inner}{entry.name}/")
            else:
                yield inner + entry.name, entry


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
        if status.st_size > _CHUNK and not keep:
            return Entry(name, _large(descriptor), status)
        data = read_open(descriptor, status.st_size, sys.maxsize - 1)
    finally:
        os.close(descriptor)
    return Entry(name, digest(data), status, data if keep else None)


def _large(descriptor: int) -> str:
    """Digest a file of any size in constant memory."""
    hasher, size = blake3(), 0
    while data := os.read(descriptor, _CHUNK):
        hasher.update(data)
        size += len(data)
    return f"{size}:{hasher.hexdigest()}"
