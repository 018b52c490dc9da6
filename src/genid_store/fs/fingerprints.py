"""List the files of a folder and digest their contents."""

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

#: The prefix of a link's fingerprint, before the link's target.
LINK: Final = "->"


class Entry(NamedTuple):
    """One file or link below a folder: its relative path, with `/`, and its fingerprint.

    The fingerprint of a file is `<size in bytes>:<BLAKE3 in hex>`, of a link `->` and its target,
    of anything else `?`. `status` is the status of a file when it was read, else None; `data` are
    the bytes of a requested file, else None.
    """

    path: str
    fingerprint: str
    status: os.stat_result | None = None
    data: bytes | None = None

    @property
    def size(self) -> int:
        """The size of a file in bytes, 0 of anything else."""
        return 0 if self.status is None else self.status.st_size

    @property
    def stamp(self) -> int:
        """The file's `stamp`, 0 of anything else."""
        return 0 if self.status is None else stamp(self.status)


def stamp(status: os.stat_result) -> int:
    """Return a number that stays the same, for every name of a file, until the file is written.

    Numbers are comparable within one process only.
    """
    return hash((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


def entries(path: str, wanted: Container[str] = ()) -> list[Entry]:
    """Return every file and link below a folder, sorted by path, without following links.

    A file or link is its own only entry, with the path "". `wanted` are the paths of files whose
    bytes the entries include. OSError: something cannot be read.
    """
    try:
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return []
    if not is_folder:
        return [Entry("", fingerprint(path))]
    listing = [
        _file(name, entry.path, keep=name in wanted)
        if entry.is_file(follow_symlinks=False)
        else Entry(name, _special(entry.path))
        for name, entry in below(path)
    ]
    listing.sort(key=_path)
    return listing


def below(folder: str, inner: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file and link below a folder, unsorted, with its relative path.

    OSError: a folder cannot be read.
    """
    with os.scandir(folder) as scan:
        for entry in scan:
            if entry.is_dir(follow_symlinks=False):
                yield from below(entry.path, f"{inner}{entry.name}/")
            else:
                yield inner + entry.name, entry


def fingerprint(path: str) -> str:
    """Return the fingerprint of a path. OSError: it does not exist or cannot be read."""
    if not is_file(path) or is_link(path):
        return _special(path)
    return _file("", path, keep=False).fingerprint


def digest(data: bytes) -> str:
    """Return the fingerprint of a file whose content is `data`."""
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
