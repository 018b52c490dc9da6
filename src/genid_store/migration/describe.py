"""Describe one generation for the plan: the digest of each of its files, and which must change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from genid_store.fs.layout import METADATA, PARSED_METADATA, RAW_METADATA, DataRoot
from genid_store.migration.fingerprints import Entry, Fingerprint, entries
from genid_store.migration.planfile import Record
from genid_store.migration.records import Decision
from genid_store.migration.references import IdMapping, References, retarget, rewrite_json
from genid_store.migration.scan import SYMLINK

_DOCUMENTS: Final = (METADATA, RAW_METADATA, PARSED_METADATA)


@frozen
class Contents:
    """The folders of a store's generations, seen with what moves in mind.

    `notes` gathers what is to be told about files of any generation.
    """

    root: DataRoot
    mapping: IdMapping
    notes: list[Record] = field(factory=list)

    def describe(self, decision: Decision) -> tuple[Record, list[Record]]:
        """Return the generation's record, and notes about its files."""
        source = decision.source
        folder = f"gens/{source.stage}/{source.gen_id}"
        files: dict[str, Fingerprint] = {}
        rewrite: list[str] = []
        notes: list[Record] = []
        try:
            for entry in self._entries(decision):
                files[entry.path] = entry.fingerprint
                notes.extend(self._blockers(decision, entry))
                changes = self._changes(decision, entry)
                if changes:
                    rewrite.append(entry.path)
                notes.extend(_remarks(f"{folder}/{entry.path}", entry, changes=changes))
        except OSError as error:
            notes.append(_unreadable(self.root, folder, error))
        return _record(decision, self._parents(decision), files, rewrite), notes

    def rewritten_sizes(self, record: Record) -> Iterator[int]:
        """Yield the size in bytes of each file that is written anew."""
        for path in record["rewrite"]:
            size = record["files"][path][0]
            yield size if isinstance(size, int) else 0

    def _entries(self, decision: Decision) -> Iterator[Entry]:
        folder = f"{self.root.gens}/{decision.source.stage}/{decision.source.gen_id}"
        if decision.reason == SYMLINK:
            yield Entry("", ("->", os.readlink(folder)), 1, None)
        else:
            yield from entries(folder, _DOCUMENTS)

    def _changes(self, decision: Decision, entry: Entry) -> bool:
        """Say whether a file must change: it names an id that moves."""
        if entry.fingerprint[0] == "->" and entry.path:
            return self._new_target(decision, entry) is not None
        if entry.data is None:
            return False
        if entry.path == METADATA and decision.moves:
            return True
        if b"gen_id" not in entry.data and b"gens/" not in entry.data:
            names = (decision.source.gen_id, decision.source.parent_gen_id or "")
            if not any(name and name.encode() in entry.data for name in names):
                return False
        references = References(self.mapping, decision.source.stage)
        return rewrite_json(entry.data, references) != entry.data

    def _blockers(self, decision: Decision, entry: Entry) -> Iterator[Record]:
        """Yield what keeps a reference from being followed: metadata behind a symbolic link."""
        source = decision.source
        if entry.fingerprint[0] != "->" or entry.path not in ("", METADATA):
            return
        old, new = self._parents(decision)
        if decision.moves or old != new:
            yield {
                "kind": "blocker",
                "path": f"gens/{source.stage}/{source.gen_id}/{entry.path}".rstrip("/"),
                "message": "metadata that must change lies behind a symbolic link",
                "remedy": "replace the link by what it points to, or bind-mount that",
            }

    def _new_target(self, decision: Decision, entry: Entry) -> str | None:
        source = decision.source
        folder = f"gens/{source.stage}/{source.gen_id}/{entry.path}".rpartition("/")[0]
        return retarget(entry.fingerprint[1], folder, str(self.root.path), self.mapping)

    def _parents(self, decision: Decision) -> list[str | None]:
        old = decision.source.parent_gen_id
        if old is None:
            return [None, None]
        if decision.moves and decision.parent is not None:
            return [old, decision.parent]
        return [old, References(self.mapping, decision.source.stage).new_parent(old) or old]


def _record(
    decision: Decision,
    parents: list[str | None],
    files: dict[str, Fingerprint],
    rewrite: list[str],
) -> Record:
    source = decision.source
    return {
        "kind": "generation",
        "stage": source.stage,
        "old": source.gen_id,
        "new": decision.new_id,
        "parent": parents,
        "was_replicate": source.replicate,
        "replicate": decision.replicate,
        "cohort": source.origin_cohort_id,
        "reason": decision.reason,
        "detail": decision.detail,
        "rewrite": rewrite,
        "files": files,
    }


def _remarks(path: str, entry: Entry, *, changes: bool) -> Iterator[Record]:
    kind, target = entry.fingerprint
    if kind == "->":
        yield {
            "kind": "note",
            "note": "symlink",
            "path": path.rstrip("/"),
            "target": target,
            "retargeted": changes,
        }
    elif kind == "?":
        yield {"kind": "note", "note": "special-file", "path": path}
    elif entry.names > 1:
        yield {"kind": "note", "note": "hard-link", "path": path, "names": entry.names}


def _unreadable(root: DataRoot, folder: str, error: OSError) -> Record:
    place = str(error.filename or folder).removeprefix(f"{root.path}/")
    return {
        "kind": "blocker",
        "path": place,
        "message": error.strerror or type(error).__name__,
        "remedy": "make it readable for this user, so that its content can be verified",
    }
