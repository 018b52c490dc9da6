"""Look at files without changing them: what a folder holds, and the digest of each file."""

from __future__ import annotations

import os
from collections.abc import Iterator

from attrs import frozen
from blake3 import blake3

_CHUNK = 1 << 20  # bytes read at a time

#: [size in bytes, BLAKE3 in hex] of a file, ["->", target] of a link, ["?", ""] of anything else.
Fingerprint = tuple[int | str, str]


@frozen
class Entry:
    """One file or link below a folder: its path from there, with `/`, and what it is."""

    path: str
    fingerprint: Fingerprint
    names: int  # hard links
    data: bytes | None  # of a file that was asked for


def entries(folder: str, wanted: tuple[str, ...] = (), inner: str = "") -> Iterator[Entry]:
    """Yield every file and link below `folder`, sorted by name; links are not followed.

    `wanted` are the names of files whose bytes are wanted too (top level only).
    """
    with os.scandir(folder) as scan:
        found = sorted(scan, key=lambda entry: entry.name)
    for entry in found:
        path = inner + entry.name
        if entry.is_symlink():
            yield Entry(path, ("->", os.readlink(entry.path)), 1, None)
        elif entry.is_dir():
            yield from entries(entry.path, (), f"{path}/")
        elif entry.is_file():
            yield _file(path, entry.path, keep=entry.name in wanted)
        else:
            yield Entry(path, ("?", ""), 1, None)


def fingerprint(path: str) -> Fingerprint:
    """Return what is at `path`. OSError: nothing, or it cannot be read."""
    if os.path.islink(path):
        return "->", os.readlink(path)
    return _file("", path, keep=False).fingerprint


def digest(data: bytes) -> tuple[int, str]:
    """Return size and BLAKE3 in hex of some bytes."""
    return len(data), blake3(data).hexdigest()


def _file(name: str, path: str, *, keep: bool) -> Entry:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        names = os.fstat(descriptor).st_nlink
        data = os.read(descriptor, _CHUNK)
        if len(data) < _CHUNK and not os.read(descriptor, 1):
            return Entry(name, digest(data), names, data if keep else None)
        return _large(name, descriptor, names, keep=keep)
    finally:
        os.close(descriptor)


def _large(name: str, descriptor: int, names: int, *, keep: bool) -> Entry:
    """Digest a file of any size in constant memory, unless its bytes are wanted."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    hasher, size, kept = blake3(), 0, []
    while data := os.read(descriptor, _CHUNK):
        hasher.update(data)
        size += len(data)
        if keep:
            kept.append(data)
    return Entry(name, (size, hasher.hexdigest()), names, b"".join(kept) if keep else None)
