"""The files outside `gens/` that name generations, and the reports that mention them.

Rewritten are memberships, manifests, selections and the host's tables that were named. Any other
file that mentions an id which changes is a report: somebody derived it, so it is listed to be made
again and never edited.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final

from genid_store.catalog import findings
from genid_store.catalog.memberships import parse_membership
from genid_store.errors import Problem
from genid_store.fs.files import read_bytes
from genid_store.fs.fingerprints import digest
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.rescue import rescued
from genid_store.migration.planfile import Mappings, Record
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
_COHORTS: Final = (("membership.csv", "membership"), ("manifest.json", "manifest"))
#: What can be an id in a text: whole segments, and runs without `.` and `-`.
_WORDS: Final = (re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*"), re.compile(rb"[A-Za-z0-9_]+"))
_CHUNK: Final = 1 << 20  # bytes of a report that are looked at at a time
_LONGEST: Final = 256  # bytes; an id is shorter
_PUBLISH: Final = "run `genid cohort run` for its cohort once; nothing is generated again"


def candidates(root: DataRoot, tables: Iterable[str] = ()) -> dict[str, str]:
    """Return `what` every file is that may name ids, by its path, whether it is there or not.

    OSError: `cohorts/` cannot be read.
    """
    cohorts = sorted(filter(is_segment, os.listdir(root.cohorts) if root.cohorts.is_dir() else ()))
    return {
        **{f"cohorts/{cohort}/{name}": what for cohort in cohorts for name, what in _COHORTS},
        **{f"2_tasks/{name}": stage for name, stage in SELECTIONS.items()},
        **dict.fromkeys(tables, "table"),
    }


def rewrite_file(data: bytes, what: str, mapping: Mappings) -> bytes:
    """Return what a file becomes. ValueError: it is not of the form that it should have."""
    if what == "membership":
        return rewrite_membership(data, mapping)
    if what in mapping:
        return rewrite_selection(data, mapping[what])
    references = References(mapping, stage_names()[0])
    return (rewrite_json if what == "manifest" else rewrite_prose)(data, references)


def files_to_plan(
    root: DataRoot, mapping: Mappings, known: Mapping[str, Container[str]], tables: tuple[str, ...]
) -> Iterator[Record]:
    """Yield the files that there are, what keeps one from changing, and what is to be seen.

    `known` are the ids that each stage has now, `mapping` those that change.
    """
    found = candidates(root, tables)
    for path, what in found.items():
        try:
            data = read_bytes(f"{root.path}/{path}")
            if what == "membership":
                yield from _look_at_members(data, path, known)
            new = rewrite_file(data, what, mapping)
        except FileNotFoundError:
            if what == "table":
                yield blocker(path, "there is no such file", "name a file of the data root")
        except (OSError, ValueError) as error:
            yield blocker(path, str(error) or type(error).__name__, "repair the file by hand")
        else:
            if new != data and os.path.islink(f"{root.path}/{path}"):
                remedy = "replace the link by the file that it points to"
                yield blocker(path, "it is a symbolic link and would have to change", remedy)
            else:
                kind = "seen" if new == data else "file"
                yield {"kind": kind, "path": path, "what": what, "digest": digest(data)}
    yield from _unfinished(root)
    yield from _reports(root, mapping, found)


def note(kind: str, path: str, detail: str) -> Record:
    """Return the record of what an operator should see."""
    return {"kind": "note", "note": kind, "path": path, "detail": detail}


def blocker(path: str, message: str, remedy: str) -> Record:
    """Return the record of what must be fixed before a plan can be carried out."""
    return {"kind": "blocker", "path": path, "message": message, "remedy": remedy}


def _look_at_members(
    data: bytes, path: str, known: Mapping[str, Container[str]]
) -> Iterator[Record]:
    problems: list[Problem] = []
    members = parse_membership(data, path, problems)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    unknown = [" ".join(one) for one in members if one.gen_id not in known[one.stage]]
    if unknown:
        yield note(findings.MEMBER_WITHOUT_GENERATION, path, ", ".join(unknown))


def _unfinished(root: DataRoot) -> Iterator[Record]:
    """Yield a blocker for each finished text that is not in its generation's folder yet."""
    for stage in stage_names():
        folder = root.own / "staging" / stage
        for name in filter(is_segment, sorted(os.listdir(folder)) if folder.is_dir() else ()):
            message = "its finished text still waits in .genid/staging/"
            yield blocker(f"gens/{stage}/{name}", message, _PUBLISH)
    for one in rescued(root):
        message = f"its finished text still waits in {one.path}"
        yield blocker(f"gens/{one.stage}/{one.gen_id}", message, _PUBLISH)


def _reports(root: DataRoot, mapping: Mappings, ours: Container[str]) -> Iterator[Record]:
    """Yield a note for each other file that mentions ids which change, or leads to one."""
    old = {gen_id.encode() for moved in mapping.values() for gen_id in moved}
    home = str(root.path)
    for place in _others(home, "") if old else ():
        path = f"{home}/{place}"
        if place in ours:
            continue
        if os.path.islink(path):
            target = os.readlink(path)
            if retarget(target, place.rpartition("/")[0], home, mapping) != target:
                yield note("report", place, f"a symbolic link to {target}")
        elif os.path.isfile(path) and (mentions := _mentions(path, place, old)):
            yield note("report", place, f"{mentions} ids")


def _others(root: str, inner: str) -> Iterator[str]:
    """Yield the path of every file and link outside `gens/` and `.genid/`, sorted."""
    try:
        found = sorted(os.scandir(f"{root}/{inner}"), key=lambda entry: entry.name)
    except OSError:
        return  # a folder that cannot be read holds no report that could be made from it
    for entry in found:
        place = inner + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _others(root, f"{place}/") if place not in ("gens", ".genid") else ()
        else:
            yield place


def _mentions(path: str, place: str, old: set[bytes]) -> int:
    """Return how many different old ids a file's name or text mentions."""
    found, tail = _ids_in(os.fsencode(place), old), b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            found |= _ids_in(tail + chunk, old)
            tail = chunk[-_LONGEST:]
    return len(found)


def _ids_in(text: bytes, old: set[bytes]) -> set[bytes]:
    return {word for words in _WORDS for word in words.findall(text) if word in old}
