"""Read what a migration decides about: every generation's metadata, and what else lies there."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import attrs
from attrs import frozen

from genid import STAGES as SIGNATURES
from genid_store.catalog import findings
from genid_store.catalog.copies import is_copy
from genid_store.catalog.metadata import Described, Generation, parse_metadata, unreadable
from genid_store.errors import Problem
from genid_store.fs.layout import METADATA, PARSED, DataRoot, is_segment
from genid_store.migration.fingerprints import read_bytes
from genid_store.migration.records import Source

SYMLINK: Final = "symlink"
_FILE: Final = {
    findings.METADATA_MISSING,
    findings.METADATA_EMPTY,
    findings.METADATA_MALFORMED,
    findings.METADATA_UNREADABLE,
}
_DESCRIBED: Final = tuple(attribute.name for attribute in attrs.fields(Described))
_FIELD: Final = {findings.FIELD_MISSING, findings.FIELD_WRONG}


@frozen
class StageScan:
    """One stage's folder: its generations by id, and the names that are no generation's."""

    sources: tuple[Source, ...]
    strays: tuple[str, ...]

    @property
    def collisions(self) -> list[tuple[str, ...]]:
        """The groups of names that differ in case only."""
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted([*(source.gen_id for source in self.sources), *self.strays]):
            groups[name.casefold()].append(name)
        return [tuple(names) for _, names in sorted(groups.items()) if len(names) > 1]


def scan_stage(root: DataRoot, stage: str) -> StageScan:
    """Read the metadata of every generation of a stage. OSError: the folder cannot be read."""
    folder = str(root.stage(stage))
    if not os.path.isdir(folder):
        return StageScan((), ())
    with os.scandir(folder) as scan:
        found = sorted(scan, key=lambda entry: entry.name)
    generations = [entry for entry in found if is_segment(entry.name) and entry.is_dir()]
    names = {entry.name for entry in generations}
    sources = [_source(root, stage, entry) for entry in generations]
    return StageScan(tuple(sources), tuple(e.name for e in found if e.name not in names))


def _source(root: DataRoot, stage: str, entry: os.DirEntry[str]) -> Source:
    path = f"{entry.path}/{METADATA}"
    where = f"gens/{stage}/{entry.name}/{METADATA}"
    try:
        data = read_bytes(path)
    except OSError as error:
        return _from(unreadable(stage, entry.name, where, error), entry)
    return _from(parse_metadata(stage, entry.name, data, where), entry)


def _from(found: Generation, entry: os.DirEntry[str]) -> Source:
    flaw = _obstacle(found.stage, found.problems)
    reason, detail = ("", "") if flaw is None else (flaw.code or "", str(flaw))
    if entry.is_symlink():
        reason, detail = SYMLINK, f"its folder is a symbolic link to {os.readlink(entry.path)}"
    stage, copied = os.path.dirname(entry.path), found.adopted_from
    return Source(
        **{name: getattr(found, name) for name in _DESCRIBED},
        has_content=os.path.isfile(f"{entry.path}/{PARSED}"),
        adopted_from=copied if copied and is_copy(stage, found.gen_id, copied) else None,
        reason=reason,
        detail=detail,
    )


def _obstacle(stage: str, flaws: Iterable[Problem]) -> Problem | None:
    """Return the first flaw that leaves the generation's task unknown."""
    identity = {attribute.name for attribute in attrs.fields(SIGNATURES[stage])}
    for flaw in flaws:
        if flaw.code in _FILE or (flaw.code in _FIELD and flaw.field in identity):
            return flaw
    return None
