"""The files outside `gens/` that name generations, and the reports that mention them.

Rewritten are memberships, manifests, selections and the host's tables that were named. Any other
file that mentions an id which changes is a report: somebody derived it, so it is listed to be made
again and never edited.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import field, frozen

from genid_store.catalog import findings
from genid_store.catalog.memberships import parse_membership
from genid_store.errors import Problem
from genid_store.fs.files import read_bytes
from genid_store.fs.fingerprints import digest
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.planfile import Record
from genid_store.migration.references import (
    References,
    retarget,
    rewrite_json,
    rewrite_membership,
    rewrite_prose,
    rewrite_selection,
)
from genid_store.stages import stage_names

#: The selection files and the stage whose ids each holds.
SELECTIONS: Final = {"selected_drafts.txt": "draft", "selected_essays.txt": "essay"}
#: What can be an id in a text: whole segments, and runs without `.` and `-`.
_WORDS: Final = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PARTS: Final = re.compile(rb"[A-Za-z0-9_]+")
_CHUNK: Final = 1 << 20  # bytes of a report that are looked at at a time
_LONGEST: Final = 256  # bytes; an id is shorter


def candidates(root: DataRoot, tables: Iterable[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield (path, what, stage) of every file that may name ids, whether it is there or not.

    OSError: `cohorts/` cannot be read.
    """
    cohorts = []
    if root.cohorts.is_dir():
        cohorts = sorted(name for name in os.listdir(root.cohorts) if is_segment(name))
    for cohort in cohorts:
        yield f"cohorts/{cohort}/membership.csv", "membership", ""
        yield f"cohorts/{cohort}/manifest.json", "manifest", ""
    for name, stage in SELECTIONS.items():
        yield f"2_tasks/{name}", "selection", stage
    yield from ((table, "table", "") for table in tables)


def rewrite_file(data: bytes, what: str, stage: str, references: References) -> bytes:
    """Return what a file becomes. ValueError: it is not of the form that it should have."""
    if what == "membership":
        return rewrite_membership(data, references.mapping)
    if what == "manifest":
        return rewrite_json(data, references)
    if what == "selection":
        return rewrite_selection(data, references.mapping[stage])
    return rewrite_prose(data, references)


@frozen
class FilesToPlan:
    """The records of a plan about the files outside `gens/`.

    `known` are the ids that each stage has now, `mapping` those that change.
    """

    root: DataRoot
    mapping: Mapping[str, Mapping[str, str]]
    known: Mapping[str, Container[str]]
    tables: tuple[str, ...] = ()
    _notes: list[Record] = field(factory=list)

    def records(self) -> Iterator[Record]:
        """Yield the files that change, what keeps one from changing, and what is to be seen."""
        for path, what, stage in candidates(self.root, self.tables):
            yield from self._file(path, what, stage)
        yield from self._notes
        yield from self._unpublished()
        yield from self._reports()

    def _file(self, path: str, what: str, stage: str) -> Iterator[Record]:
        try:
            data = read_bytes(f"{self.root.path}/{path}")
            if what == "membership":
                problems = self._look_at_members(data, path)
                if problems:
                    raise ValueError("; ".join(str(problem) for problem in problems))
            new = rewrite_file(data, what, stage, References(self.mapping, ""))
        except FileNotFoundError:
            if what == "table":
                yield blocker(path, "there is no such file", "name a file of the data root")
        except (OSError, ValueError) as error:
            yield blocker(path, str(error) or type(error).__name__, "repair the file by hand")
        else:
            if new != data and os.path.islink(f"{self.root.path}/{path}"):
                remedy = "replace the link by the file that it points to"
                yield blocker(path, "it is a symbolic link and would have to change", remedy)
            else:
                yield {"kind": "seen" if new == data else "file", "path": path, "what": what,
                       "stage": stage, "digest": digest(data)}  # fmt: skip

    def _look_at_members(self, data: bytes, path: str) -> list[Problem]:
        problems: list[Problem] = []
        members = parse_membership(data, path, problems)
        unknown = [" ".join(one) for one in members if one.gen_id not in self.known[one.stage]]
        if unknown:
            self._notes.append(note(findings.MEMBER_WITHOUT_GENERATION, path, ", ".join(unknown)))
        return problems

    def _unpublished(self) -> Iterator[Record]:
        """Yield a blocker for each finished text that is not in its generation's folder yet."""
        for stage in stage_names():
            folder = self.root.own / "staging" / stage
            names = sorted(os.listdir(folder)) if folder.is_dir() else []
            for name in filter(is_segment, names):
                yield blocker(
                    f"gens/{stage}/{name}",
                    "its finished text still waits in .genid/staging/",
                    "run `genid cohort run` for its cohort once; nothing is generated again",
                )

    def _reports(self) -> Iterator[Record]:
        """Yield a note for each other file that mentions ids which change, or leads to one."""
        old = {gen_id.encode() for moved in self.mapping.values() for gen_id in moved}
        if not old:
            return
        ours = {path for path, *_ in candidates(self.root, self.tables)}
        root = str(self.root.path)
        for place in _others(root, ""):
            path = f"{root}/{place}"
            if place in ours:
                continue
            if os.path.islink(path):
                target = os.readlink(path)
                if retarget(target, place.rpartition("/")[0], root, self.mapping) is not None:
                    yield note("report", place, f"a symbolic link to {target}")
            elif os.path.isfile(path) and (mentions := _mentions(path, place, old)):
                yield note("report", place, f"{mentions} ids")


def note(kind: str, path: str, detail: str) -> dict[str, Any]:
    """Return the record of what an operator should see."""
    return {"kind": "note", "note": kind, "path": path, "detail": detail}


def blocker(path: str, message: str, remedy: str) -> dict[str, Any]:
    """Return the record of what must be fixed before a plan can be carried out."""
    return {"kind": "blocker", "path": path, "message": message, "remedy": remedy}


def _others(root: str, inner: str) -> Iterator[str]:
    """Yield the path of every file and link outside `gens/` and `.genid/`, sorted."""
    try:
        found = sorted(os.scandir(f"{root}/{inner}"), key=lambda entry: entry.name)
    except OSError:
        return  # a folder that cannot be read holds no report that could be made from it
    for entry in found:
        place = inner + entry.name
        if place in ("gens", ".genid"):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _others(root, f"{place}/")
        else:
            yield place


def _mentions(path: str, place: str, old: set[bytes]) -> int:
    """Return how many different old ids a file's name or text mentions."""
    found = _ids_in(place.encode(errors="surrogateescape"), old)
    try:
        with open(path, "rb") as file:
            tail = b""
            while chunk := file.read(_CHUNK):
                found |= _ids_in(tail + chunk, old)
                tail = chunk[-_LONGEST:]
    except OSError:
        return len(found)
    return len(found)


def _ids_in(data: bytes, old: set[bytes]) -> set[bytes]:
    return (old & set(_WORDS.findall(data))) | (old & set(_PARTS.findall(data)))
