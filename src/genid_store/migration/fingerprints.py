"""Look at files without changing them: what a folder holds, and the digest of each file."""

from __future__ import annotations

import errno
import os
from collections.abc import Container
from operator import itemgetter
from typing import Final, NamedTuple

from blake3 import blake3

_CHUNK: Final = 1 << 20  # bytes read at a time

#: [size in bytes, BLAKE3 in hex] of a file, ["->", target] of a link, ["?", ""] of anything else.
Fingerprint = tuple[int | str, str]


class Entry(NamedTuple):
    """One file or link below a folder: its path from there, with `/`, and what it is.

    `data` are the bytes of a file that was asked for, else None.
    """

    path: str
    fingerprint: Fingerprint
    names: int  # hard links
    data: bytes | None


def entries(folder: str, wanted: Container[str] = (), inner: str = "") -> list[Entry]:
    """Return every file and link below `folder`, sorted by path; links are not followed.

    `wanted` are the names of files whose bytes are wanted too (top level only). OSError: a folder
    or file cannot be read.
    """
    found: list[Entry] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            name = inner + entry.name
            if entry.is_file(follow_symlinks=False):
                found.append(_file(name, entry.path, keep=entry.name in wanted))
            elif entry.is_symlink():
                found.append(Entry(name, ("->", os.readlink(entry.path)), 1, None))
            elif entry.is_dir():
                found.extend(entries(entry.path, (), f"{name}/"))
            else:
                found.append(Entry(name, ("?", ""), 1, None))
    found.sort(key=_path)
    return found


def fingerprint(path: str) -> Fingerprint | None:
    """Return what is at `path`, None where there is nothing. OSError: it cannot be read."""
    try:
        return _file("", path, keep=False).fingerprint
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return "->", os.readlink(path)


def digest(data: bytes) -> tuple[int, str]:
    """Return size and BLAKE3 in hex of some bytes."""
    return len(data), blake3(data).hexdigest()


def read_bytes(path: str) -> bytes:
    """Return a file's bytes. OSError: it cannot be read."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe is not waited for
    descriptor = os.open(path, flags)
    try:
        return read_all(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


_path: Final = itemgetter(0)


def _file(name: str, path: str, *, keep: bool) -> Entry:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_size > _CHUNK and not keep:
            return Entry(name, _large(descriptor), status.st_nlink, None)
        data = read_all(descriptor, status.st_size)
    finally:
        os.close(descriptor)
    known = (len(data), blake3(data).hexdigest())
    return Entry(name, known, status.st_nlink, data if keep else None)


def read_all(descriptor: int, size: int) -> bytes:
    """Read to the end; `size` is what the system says that the file has."""
    # one byte more than that, so that the end shows in the same call
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    pieces = [data]
    while piece := os.read(descriptor, _CHUNK):
        pieces.append(piece)
    return b"".join(pieces)


def _large(descriptor: int) -> tuple[int, str]:
    """Digest a file of any size in constant memory."""
    hasher, size = blake3(), 0
    while data := os.read(descriptor, _CHUNK):
        hasher.update(data)
        size += len(data)
    return size, hasher.hexdigest()
