"""What a migration touches or must tell of outside `gens/`: cohorts, selections, reports, ours.

Files that mention old ids and are none of the pipeline's own tables are reports: somebody derived
them, so they are listed to be made again, never edited.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from genid import ParseError, parse_id
from genid_store.catalog import findings
from genid_store.catalog.memberships import Member, parse_membership
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.fingerprints import digest
from genid_store.migration.planfile import Record
from genid_store.migration.references import (
    IdMapping,
    retarget,
    rewrite_manifest,
    rewrite_membership,
    rewrite_selection,
)
from genid_store.stages import PIPELINE

#: The selection files and the stage whose ids each holds.
SELECTIONS: Final = {"selected_drafts.txt": "draft", "selected_essays.txt": "essay"}
#: What can be an id in a text: whole segments, and runs without `.` and `-`.
_WORDS: Final = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*")
_PARTS: Final = re.compile(rb"[A-Za-z0-9_]+")
_CHUNK: Final = 1 << 20  # bytes of a report that are looked at at a time
_LONGEST: Final = 256  # bytes; an id is shorter


def cohort_records(
    root: DataRoot, mapping: IdMapping, known: Mapping[str, Mapping[str, object]]
) -> Iterator[Record]:
    """Yield the membership, manifest and selection files that change, and what is odd in them.

    `known` are the ids of each stage that the store holds.
    """
    for cohort in _cohorts(root):
        yield from _cohort(root, cohort, mapping, known)
    for name, stage in SELECTIONS.items():
        change = lambda data, stage=stage: rewrite_selection(data, mapping[stage])  # noqa: E731
        record = _change(root, root.tasks / name, change)
        if record is not None:
            yield {**record, "what": "selection", "stage": stage} if _is_file(record) else record


def _cohorts(root: DataRoot) -> list[str]:
    if not root.cohorts.is_dir():
        return []
    return sorted(e.name for e in os.scandir(root.cohorts) if is_segment(e.name) and e.is_dir())


def _cohort(
    root: DataRoot, cohort: str, mapping: IdMapping, known: Mapping[str, Mapping[str, object]]
) -> Iterator[Record]:
    path = root.membership(cohort)
    record = _change(root, path, lambda data: rewrite_membership(data, mapping))
    if record is None:
        return
    if not _is_file(record):
        yield record
        return
    yield {**record, "what": "membership"}
    members = parse_membership(path.read_bytes(), root.relative(path), [])
    unknown = [list(member) for member in members if member[1] not in known.get(member[0], {})]
    if unknown:
        yield {
            "kind": "note",
            "note": findings.MEMBER_WITHOUT_GENERATION,
            "cohort": cohort,
            "members": unknown,
        }
    came_from = _families(members)
    manifest = _change(
        root, root.manifest(cohort), lambda data: rewrite_manifest(data, plan="", came_from={})
    )
    if manifest is not None and _is_file(manifest):
        yield {**manifest, "what": "manifest", "from": came_from}
    elif manifest is not None:
        yield manifest


def _families(members: Iterable[Member]) -> dict[str, dict[str, int]]:
    """Return how many members of each family, by shape, each stage has."""
    counts = Counter((stage, _family(gen_id)) for stage, gen_id in members)
    return {
        stage: {family: n for (of, family), n in sorted(counts.items()) if of == stage}
        for stage in PIPELINE
        if any(of == stage for of, _ in counts)
    }


def _family(gen_id: str) -> str:
    try:
        return parse_id(gen_id).family
    except ParseError:
        return "none"


def _change(root: DataRoot, path: Path, new: Callable[[bytes], bytes]) -> Record | None:
    """Return the record of a file that changes, a blocker where it cannot, None where it need not.

    A file that is not there need not.
    """
    place = root.relative(path)
    try:
        data = read_bytes(path)
        if new(data) == data:
            return None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return _blocker(place, str(error) or type(error).__name__, "repair the file by hand")
    if path.is_symlink():
        remedy = "replace the link by the file that it points to"
        return _blocker(place, "it is a symbolic link and would have to change", remedy)
    return {"kind": "file", "path": place, "digest": digest(data)}


def _is_file(record: Record) -> bool:
    return bool(record["kind"] == "file")


def _blocker(place: str, message: str, remedy: str) -> Record:
    return {"kind": "blocker", "path": place, "message": message, "remedy": remedy}


def own_records(root: DataRoot) -> Iterator[Record]:
    """Yield blockers for what the adapter itself has not finished: texts that wait to be put into
    their generation's folder."""
    for stage in PIPELINE:
        folder = root.own / "staging" / stage
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        for name in (name for name in names if is_segment(name)):
            yield _blocker(
                f"gens/{stage}/{name}",
                "its finished text still waits in .genid/staging/",
                "run `genid cohort run` for its cohort once; nothing is generated again",
            )


def report_records(root: DataRoot, mapping: IdMapping) -> Iterator[Record]:
    """Yield a note for each other file of the data root that mentions ids which change, and for
    each symbolic link into a folder that moves."""
    old = {old_id.encode() for moved in mapping.values() for old_id in moved}
    if not old:
        return
    for place in _others(str(root.path), ""):
        path = f"{root.path}/{place}"
        if os.path.islink(path):
            target = os.readlink(path)
            if retarget(target, place.rpartition("/")[0], str(root.path), mapping) is not None:
                yield {
                    "kind": "note",
                    "note": "symlink",
                    "path": place,
                    "target": target,
                    "retargeted": False,
                }
        elif os.path.isfile(path):
            mentions = _mentions(path, place, old)
            if mentions:
                yield {"kind": "note", "note": "report", "path": place, "mentions": mentions}


def _others(root: str, inner: str) -> Iterator[str]:
    """Yield the path of every file and link that is not the pipeline's own, sorted."""
    try:
        found = sorted(os.scandir(f"{root}/{inner}"), key=lambda entry: entry.name)
    except OSError:
        return  # what cannot be read is nothing that a report could be made from
    for entry in found:
        place = inner + entry.name
        if place in ("gens", ".genid") or _is_table(place):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _others(root, f"{place}/")
        else:
            yield place


def _is_table(place: str) -> bool:
    parts = place.split("/")
    if parts[0] == "cohorts":
        return len(parts) == 3 and parts[2] in ("membership.csv", "manifest.json")
    return len(parts) == 2 and parts[0] == "2_tasks" and parts[1] in SELECTIONS


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
