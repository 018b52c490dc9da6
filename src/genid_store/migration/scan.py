"""Read what a migration decides about: every generation's metadata, and what else names ids.

Outside `gens/`, memberships, manifests, selections and the tables that the caller names are
rewritten. Any other file that mentions an id which changes is a report: it was derived from the
store, so it is listed to be made again, and never edited.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import attrs

from genid import STAGES as SIGNATURES
from genid_store.catalog import findings
from genid_store.catalog.copies import is_copy
from genid_store.catalog.expected import Facts
from genid_store.catalog.memberships import cohort_ids, parse_membership
from genid_store.catalog.metadata import Generation, parse_metadata, unreadable
from genid_store.catalog.reused import find_all
from genid_store.errors import Problem
from genid_store.fs.files import exists, is_file, is_folder, is_link, read_bytes
from genid_store.fs.fingerprints import digest
from genid_store.fs.layout import METADATA, PARSED, PROMPT, RAW, DataRoot, is_segment
from genid_store.fs.rescue import rescued
from genid_store.fs.texts import NO_TEXT, fault_of_text
from genid_store.migration.number import Decision, Source, number_stage
from genid_store.migration.planfile import Record, Work, batched, blocker, note
from genid_store.migration.references import Mappings, retarget, rewrite_file
from genid_store.stages import parent_stage, stage_names

SYMLINK: Final = "symlink"
#: The selection files and the stage whose ids each holds.
SELECTIONS: Final = {"selected_drafts.txt": "draft", "selected_essays.txt": "essay"}
_COHORTS: Final = (("membership.csv", "membership"), ("manifest.json", "manifest"))
_FIELD: Final = {findings.FIELD_MISSING, findings.FIELD_WRONG}
_READ: Final = (*Facts._fields, "others")  # of a `Generation`, what numbering needs
#: What may be an id in a text: path segments, and runs of characters without `.` and `-`.
_WORDS: Final = (re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*"), re.compile(rb"[A-Za-z0-9_]+"))
_CHUNK: Final = 1 << 20  # bytes of a report that are searched at a time
_LONGEST: Final = 256  # bytes; an id is shorter
_PUBLISH: Final = "run its cohort once; nothing is generated again"


# -- generations -----------------------------------------------------------------------------------
def decide(root: DataRoot) -> tuple[dict[str, dict[str, Decision]], dict[str, list[str]]]:
    """Read the metadata of every generation and decide its new id. Return, by stage, the decisions
    by old id, and the names of the other entries in the folder. A missing folder has no entries.

    OSError: a folder or text cannot be read. StoreError: a record of a reused text cannot be.
    """
    below = Counter[tuple[str, str]]()  # the texts made from each generation: children come first
    read = {stage: _sources(root, stage, below) for stage in reversed(stage_names())}
    decided: dict[str, dict[str, Decision]] = {}
    for stage in stage_names():
        above = parent_stage(stage)
        parents = {} if above is None or above == stage else decided[above]
        sources, strays = read[stage]
        decided[stage] = number_stage(sources, parents, strays, partial(_is_usable, root))
    return decided, {stage: read[stage][1] for stage in decided}


def _is_usable(root: DataRoot, source: Source) -> bool:
    """Return whether a generation has a text that can be built upon."""
    if not source.has_content:
        return False
    return fault_of_text(read_bytes(root.generation(source.stage, source.gen_id) / PARSED)) is None


def _sources(
    root: DataRoot, stage: str, below: Counter[tuple[str, str]]
) -> tuple[list[Source], list[str]]:
    """Return the generations of a stage, and the names of the other entries in its folder; count
    their texts in `below` for their parents."""
    entries: list[os.DirEntry[str]] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(root.stage(stage)) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    folders = [entry for entry in entries if is_segment(entry.name) and entry.is_dir()]
    names = {entry.name for entry in folders}
    reused = {record.gen_id: record.source for record in find_all(root) if record.stage == stage}
    sources: list[Source] = []
    for batch in batched(folders):
        generations = [_read(stage, entry) for entry in batch]
        sources += (
            _source(root, entry, generation, reused.get(entry.name), below[stage, entry.name])
            for entry, generation in zip(batch, generations, strict=True)
        )
    for source in sources:
        if source.parent is not None:
            below[source.parent] += source.has_content + source.texts_below
    return sources, [entry.name for entry in entries if entry.name not in names]


def _read(stage: str, entry: os.DirEntry[str]) -> Generation:
    where = f"gens/{stage}/{entry.name}/{METADATA}"
    try:
        return parse_metadata(stage, entry.name, read_bytes(f"{entry.path}/{METADATA}"), where)
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise  # possibly transient: it does not mean that the generation has no metadata
        return unreadable(stage, entry.name, where, error)


def _source(
    root: DataRoot,
    entry: os.DirEntry[str],
    found: Generation,
    reused: str | None,
    texts_below: int,
) -> Source:
    reason, detail = _obstacle(found)
    if entry.is_symlink():
        reason, detail = SYMLINK, f"its folder is a symbolic link to {os.readlink(entry.path)}"
    has_content = _has_bytes(f"{entry.path}/{PARSED}")
    is_empty = not (has_content or reason) and _is_empty(entry.path)
    failure = f"{root.own}/failures/{found.stage}/{entry.name}.json"
    copied = reused or found.adopted_from
    return Source(
        **{name: _shared(getattr(found, name)) for name in _READ},
        has_content=has_content,
        texts_below=texts_below,
        is_unparsed=not has_content and _has_bytes(f"{entry.path}/{RAW}"),
        is_failed=not has_content and exists(failure),
        is_empty=is_empty,
        adopted_from=copied if is_copy(os.path.dirname(entry.path), entry.name, copied) else None,
        reason=reason,
        detail=detail,
    )


def _shared(value: Any) -> Any:
    """Return a value, interned if it is a text: most generations repeat those of others."""
    return sys.intern(value) if type(value) is str else value


def _has_bytes(path: str) -> bool:
    return is_file(path) and os.stat(path).st_size > 0


def _is_empty(folder: str) -> bool:
    """Return whether nothing was ever made there; hidden and empty files do not count."""
    with os.scandir(folder) as scan:
        return all(
            entry.name in (METADATA, PROMPT)
            or entry.name.startswith(".")
            or (entry.is_file() and entry.stat().st_size == 0)
            for entry in scan
        )


def _obstacle(found: Generation) -> tuple[str, str]:
    """Return the code and text of the first problem that hides a generation's task, or two empty
    texts."""
    for flaw in found.problems:
        identity = {attribute.name for attribute in attrs.fields(SIGNATURES[found.stage])}
        if flaw.code in findings.OF_METADATA or (flaw.code in _FIELD and flaw.field in identity):
            return flaw.code or "", str(flaw)
    return "", ""


# -- other files -----------------------------------------------------------------------------------
def candidates(root: DataRoot, tables: Iterable[str] = ()) -> dict[str, str]:
    """Map the path of every file that may name ids, existing or not, to `what` it is.

    OSError: `cohorts/` cannot be read.
    """
    cohorts = cohort_ids(root)
    return {
        **{f"cohorts/{cohort}/{name}": what for cohort in cohorts for name, what in _COHORTS},
        **{f"2_tasks/{name}": stage for name, stage in SELECTIONS.items()},
        **dict.fromkeys(tables, "table"),
    }


def scan_files(
    root: DataRoot, work: Work, known: Mapping[str, Container[str]], tables: tuple[str, ...]
) -> Iterator[Record]:
    """Yield the files outside `gens/`, their blockers, and the notes about them.

    `known` are the present ids of each stage, `work` has those that change.
    """
    files = candidates(root, tables)
    for path, what in files.items():
        try:
            data = read_bytes(f"{root.path}/{path}")
            if what == "membership":
                yield from _look_at_members(data, path, known)
            new = rewrite_file(data, what, work.mapping_in(what))
        except FileNotFoundError:
            if what == "table":
                yield blocker(path, "there is no such file", "name a file of the data root")
        except (OSError, ValueError) as error:
            yield blocker(path, str(error) or type(error).__name__, "repair the file by hand")
        else:
            kind = "seen" if new == data else "file"
            yield {"kind": kind, "path": path, "what": what, "digest": digest(data)}
    for stage in stage_names():
        folder = root.own / "staging" / stage
        for name in filter(is_segment, sorted(os.listdir(folder)) if is_folder(folder) else ()):
            message = "its finished text still waits in .genid/staging/"
            yield blocker(f"gens/{stage}/{name}", message, _PUBLISH)
    for text in rescued(root):
        message = f"its finished text still waits in {text.path}"
        yield blocker(f"gens/{text.stage}/{text.gen_id}", message, _PUBLISH)
    if any(work.mapping.values()):
        yield from _reports(root, work.mapping, files)


def _look_at_members(
    data: bytes, path: str, known: Mapping[str, Container[str]]
) -> Iterator[Record]:
    problems: list[Problem] = []
    members = parse_membership(data, path, problems)
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    unknown = [" ".join(each) for each in members if each.gen_id not in known[each.stage]]
    if unknown:
        yield note(findings.MEMBER_WITHOUT_GENERATION, path, ", ".join(unknown))


def _reports(root: DataRoot, mapping: Mappings, ours: Container[str]) -> Iterator[Record]:
    """Yield a note for each file not of `ours` that mentions ids which change, and for each link to
    their folders.

    OSError: a file or folder cannot be read; those that this user may not read are skipped.
    """
    old, home = {gen_id.encode() for moved in mapping.values() for gen_id in moved}, str(root.path)
    for folder, names, files in os.walk(home, onerror=_raise_unless_denied):
        inner = folder[len(home) + 1 :]
        if not inner:
            names[:] = {*names} - {"gens", ".genid"}
        names.sort()
        for name in sorted([*files, *(one for one in names if is_link(f"{folder}/{one}"))]):
            path, place = f"{folder}/{name}", f"{inner}/{name}".lstrip("/")
            if place in ours:
                continue
            if is_link(path):
                target = os.readlink(path)
                if retarget(target, inner, home, mapping) != target:
                    yield note("report", place, f"a symbolic link to {target}")
            elif is_file(path) and (mentions := _mentions(path, place, old)):
                yield note("report", place, f"{mentions} ids")


def _raise_unless_denied(error: OSError) -> None:
    if not isinstance(error, PermissionError):
        raise error


def _mentions(path: str, place: str, old: set[bytes]) -> int:
    """Return how many different old ids a file's path or text mentions."""
    found, tail = _ids_in(os.fsencode(place), old), b""
    with contextlib.suppress(PermissionError), open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            found |= _ids_in(tail + chunk, old)
            tail = chunk[-_LONGEST:]
    return len(found)


def _ids_in(text: bytes, old: set[bytes]) -> set[bytes]:
    return {word for words in _WORDS for word in words.findall(text) if word in old}
