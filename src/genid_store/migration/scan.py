"""Read what a migration decides about: every generation's metadata, and what else lies there."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

import attrs
from attrs import frozen

from genid import STAGES as SIGNATURES
from genid_store.catalog import findings
from genid_store.catalog.copies import is_copy
from genid_store.catalog.metadata import Described, Generation, parse_metadata, unreadable
from genid_store.catalog.reused import find_all
from genid_store.fs.files import NO_FILE, read_bytes
from genid_store.fs.layout import METADATA, PARSED, PROMPT, DataRoot, is_segment
from genid_store.migration.number import Source

SYMLINK: Final = "symlink"
FAILURES: Final = ".genid/failures"
_FILE: Final = {
    findings.METADATA_MISSING,
    findings.METADATA_EMPTY,
    findings.METADATA_MALFORMED,
    findings.METADATA_UNREADABLE,
}
#: What is said of a file that is not there, and of a link that leads to none.
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENOLINK, errno.ELOOP})
_DESCRIBED: Final = tuple(attribute.name for attribute in attrs.fields(Described))
_FIELD: Final = {findings.FIELD_MISSING, findings.FIELD_WRONG}


@frozen
class StageScan:
    """One stage's folder: its generations by id, and the names of its other entries."""

    sources: tuple[Source, ...]
    strays: tuple[str, ...]


def scan_stage(root: DataRoot, stage: str) -> StageScan:
    """Read the metadata of every generation of a stage; an absent folder has none.

    OSError: the folder, or the one it lies in, cannot be read. StoreError: a record of a reused
    text cannot be.
    """
    try:
        with os.scandir(root.stage(stage)) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
    except FileNotFoundError:
        return StageScan((), ())
    generations = [entry for entry in found if is_segment(entry.name) and entry.is_dir()]
    names = {entry.name for entry in generations}
    reused = {one.gen_id: one.source for one in find_all(root) if one.stage == stage}
    sources = [_source(root, stage, entry, reused.get(entry.name)) for entry in generations]
    return StageScan(tuple(sources), tuple(e.name for e in found if e.name not in names))


def _source(root: DataRoot, stage: str, entry: os.DirEntry[str], reused: str | None) -> Source:
    where = f"gens/{stage}/{entry.name}/{METADATA}"
    try:
        found = parse_metadata(stage, entry.name, read_bytes(f"{entry.path}/{METADATA}"), where)
    except OSError as error:
        if error.errno not in NO_FILE | _ABSENT:
            raise  # it may be readable a moment later: nothing follows from it
        found = unreadable(stage, entry.name, where, error)
    reason, detail = _obstacle(found)
    if entry.is_symlink():
        reason, detail = SYMLINK, f"its folder is a symbolic link to {os.readlink(entry.path)}"
    has_content = _is_text(f"{entry.path}/{PARSED}")
    is_empty = not (has_content or reason) and _is_empty(entry.path)
    failure = f"{root.path}/{FAILURES}/{stage}/{entry.name}.json"
    copied = reused or found.adopted_from
    return Source(
        **{name: getattr(found, name) for name in _DESCRIBED},
        has_content=has_content,
        is_empty=is_empty,
        is_failed=is_empty and os.path.lexists(failure),
        adopted_from=copied if is_copy(os.path.dirname(entry.path), entry.name, copied) else None,
        reason=reason,
        detail=detail,
    )


def _is_text(path: str) -> bool:
    """Say whether a file that is not empty is there. OSError: it cannot be told."""
    try:
        status = os.stat(path)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0


def _is_empty(folder: str) -> bool:
    """Say whether nothing was ever made there: hidden files and files of 0 bytes are nothing.

    OSError: the folder cannot be read.
    """
    with os.scandir(folder) as scan:
        return all(
            entry.name in (METADATA, PROMPT)
            or entry.name.startswith(".")
            or (entry.is_file() and entry.stat().st_size == 0)
            for entry in scan
        )


def _obstacle(found: Generation) -> tuple[str, str]:
    """Return code and text of the first flaw that leaves a generation's task unknown, else none."""
    for flaw in found.problems:
        identity = {attribute.name for attribute in attrs.fields(SIGNATURES[found.stage])}
        if flaw.code in _FILE or (flaw.code in _FIELD and flaw.field in identity):
            return flaw.code or "", str(flaw)
    return "", ""
