"""Look at a whole store again and compare it with the plan: every file, before and after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from genid_store.errors import Problem
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import METADATA
from genid_store.migration.context import Work
from genid_store.migration.fingerprints import Entry, Fingerprint, entries, fingerprint
from genid_store.migration.planfile import Record
from genid_store.migration.references import PREVIOUS

_REMEDY = "`genid store rollback` gives back the store as it was"
Advance = Callable[[int], None]


def verify_migrated(work: Work, advance: Advance) -> Iterator[Problem]:
    """Yield every difference between the migrated store and the plan.

    Content must have the digests of the plan, and metadata give the new id and parent (what it was
    made from was compared when it was read). Files that appeared meanwhile are no difference.
    """
    for number, record in enumerate(work.plan.records("generation")):
        advance(number + 1)
        folder = f"{work.root}/gens/{record['stage']}/{record['new']}"
        found = _found(folder, record)
        for name, expected in record["files"].items():
            place = _name(record, "new", name)
            now = found.get(name)
            if name in record["rewrite"]:
                yield from _rewritten(record, name, now)
            else:
                yield from _compare(place, expected, now and now.fingerprint)


def verify_rolled_back(work: Work, advance: Advance) -> Iterator[Problem]:
    """Yield every difference between the store and what it was when the plan was made; files that
    appeared since are none."""
    for number, record in enumerate(work.plan.records("generation")):
        advance(number + 1)
        found = _found(f"{work.root}/gens/{record['stage']}/{record['old']}", record)
        for name, expected in record["files"].items():
            now = found.get(name)
            yield from _compare(_name(record, "old", name), expected, now and now.fingerprint)
    for change in work.changes:
        path = f"{work.root}/{change['path']}"
        yield from _compare(change["path"], change["digest"], fingerprint(path))


def _found(folder: str, record: Record) -> dict[str, Entry]:
    try:
        if "" in record["files"]:  # the folder is a symbolic link
            return {"": Entry("", ("->", os.readlink(folder)), 1, None)}
        return {entry.path: entry for entry in entries(folder, (METADATA,))}
    except FileNotFoundError:
        return {}


def _name(record: Record, which: str, name: str) -> str:
    return f"gens/{record['stage']}/{record[which]}/{name}"


def _compare(place: str, expected: list[Any], found: Fingerprint | None) -> Iterator[Problem]:
    if found is None:
        yield Problem(where=place, message="the file is gone", remedy=_REMEDY)
    elif list(found) != list(expected):
        yield Problem(
            where=place,
            message=f"the content is not what it was ({expected[0]} bytes, {expected[1]})",
            value=found,
            remedy=_REMEDY,
        )


def _rewritten(record: Record, name: str, now: Entry | None) -> Iterator[Problem]:
    """Check that a rewritten metadata.json says what it should; others need only be there."""
    where = _name(record, "new", name)
    if now is None:
        yield Problem(where=where, message="it is gone", remedy=_REMEDY)
    elif now.data is not None and record["old"] != record["new"]:
        document = _document(now.data)
        previous = document.get(PREVIOUS)
        latest = previous[-1] if type(previous) is list else previous
        said = [document.get("gen_id"), document.get("parent_gen_id") or None, latest]
        wanted = [record["new"], record["parent"][1], record["old"]]
        if said != wanted:
            message = f"the new metadata does not say {wanted}"
            yield Problem(where=where, message=message, value=said, remedy=_REMEDY)


def _document(data: bytes) -> dict[str, Any]:
    """Return what a rewritten metadata.json says; nothing where somebody made it no JSON object."""
    try:
        return load_object(data)
    except (ValueError, RecursionError):
        return {}
