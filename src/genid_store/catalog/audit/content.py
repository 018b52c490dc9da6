"""Findings about content: what cannot be reached, is not parsed, or is not what was recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from blake3 import blake3

from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.refresh import Progress
from genid_store.errors import Problem
from genid_store.fs.files import exists, is_dangling, read_bytes
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import PARSED, PARSED_METADATA, RAW, RAW_METADATA, DataRoot, is_segment

#: What can be found here.
CONTENT_CODES: Final = frozenset(
    {
        findings.UNPARSED,
        findings.CONTENT_DRIFT,
        findings.CONTENT_UNREACHABLE,
        findings.CONTENT_FOREIGN,
        findings.CONTENT_CHANGED,
        findings.RECORD_MALFORMED,
    }
)
_STEP: Final = 1_000  # generations between two reports of progress
#: How the text begins that Git LFS leaves where the content was not fetched.
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
#: The longest text that is read whatever is recorded of it: pointers are shorter, in bytes.
_SHORT: Final = 200

_Digest = Callable[[str, str], str | None]


def content_findings(
    index: StoreIndex,
    made: dict[str, int],
    progress: Progress | None = None,
    *,
    only: Sequence[tuple[str, str]] | None = None,
) -> Iterator[Problem]:
    """Yield what is wrong with the content of the index's generations, or of those in `only`.

    Counts in `made`, by stage, those that have a parsed text. Texts are read where our own record
    has their digest.
    """
    query = "SELECT stage, gen_id, template_id FROM generation"
    total, rows = index.count(), index.stream(f"{query} ORDER BY rowid")
    if only is not None:
        one = f"{query} WHERE stage = ? AND gen_id = ?"
        total, rows = len(only), (row for key in only for row in index.sql(one, *key))
    digest = template_digests(index.root)
    for done, (stage, gen_id, template_id) in enumerate(rows, start=1):
        content = content_of(f"{index.root.gens}/{stage}/{gen_id}")[0]
        if content == "parsed":
            made[stage] = made.get(stage, 0) + 1
        yield from _of_one(index.root, (stage, gen_id), template_id, content, digest)
        if progress is not None and (done % _STEP == 0 or done == total):
            progress(done, total)


def template_digests(root: DataRoot) -> _Digest:
    """Return a function (stage, template id) -> BLAKE3 of the template's text now, in hex; None
    where there is no such file. Each file is read once."""
    known: dict[tuple[str, str], str | None] = {}

    def digest(stage: str, template_id: str) -> str | None:
        key = (stage, template_id)
        if key not in known:
            known[key] = _template_digest(root, stage, template_id)
        return known[key]

    return digest


def recorded(data: bytes) -> dict[str, Any]:
    """Return our own part of a raw_metadata.json, empty where it has none.

    ValueError: the file is not a JSON object in UTF-8.
    """
    ours = load_object(data, allow_nan=True).get("genid")
    return ours if type(ours) is dict else {}


def _template_digest(root: DataRoot, stage: str, template_id: str) -> str | None:
    if not is_segment(template_id):
        return None
    try:
        return blake3(read_bytes(root.template(stage, template_id))).hexdigest()
    except OSError:
        return None


def _of_one(
    root: DataRoot,
    key: tuple[str, str],
    template_id: str | None,
    content: str | None,
    digest: _Digest,
) -> Iterator[Problem]:
    stage, gen_id = key
    folder, place = f"{root.gens}/{stage}/{gen_id}", f"gens/{stage}/{gen_id}"
    if content != "parsed":
        dangling = [name for name in (PARSED, RAW) if is_dangling(f"{folder}/{name}")]
        for name in dangling:
            yield finding(findings.CONTENT_UNREACHABLE, f"{place}/{name}", ids=(key,))
        if content is None:
            return
        if PARSED not in dangling:
            yield finding(findings.UNPARSED, f"{place}/{RAW}", ids=(key,))
    made_with, wrong = _recorded(folder, place, RAW_METADATA, key)
    yield from wrong
    then, now = made_with.get("template_digest"), digest(stage, template_id or "")
    if type(then) is str and now is not None and then != now:  # one that is gone says nothing
        yield finding(
            findings.CONTENT_DRIFT,
            f"{place}/{RAW_METADATA}",
            message=f"was made from another text than {stage} template {template_id} has",
            ids=(key,),
            details={"template_id": template_id, "made_from": then, "now": now},
        )
    if content == "raw":
        yield from _text(f"{folder}/{RAW}", f"{place}/{RAW}", None, key)
        return
    parsed_with, wrong = _recorded(folder, place, PARSED_METADATA, key)
    yield from wrong
    yield from _text(f"{folder}/{PARSED}", f"{place}/{PARSED}", parsed_with.get("digest"), key)


def _recorded(
    folder: str, place: str, name: str, key: tuple[str, str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return our own part of a record beside a text, and what is wrong with the file."""
    path = f"{folder}/{name}"
    try:
        return recorded(read_bytes(path)) if exists(path) else {}, []
    except (OSError, ValueError) as error:
        details = {"value": str(error) or type(error).__name__}
        return {}, [
            finding(findings.RECORD_MALFORMED, f"{place}/{name}", ids=(key,), details=details)
        ]


def _text(path: str, where: str, expected: object, key: tuple[str, str]) -> Iterator[Problem]:
    """Yield what is wrong with one text: it is empty, a pointer, or not what was recorded."""
    try:
        if type(expected) is not str and os.stat(path).st_size > _SHORT:
            return
        data = read_bytes(path)
    except OSError as error:
        message = f"cannot be read: {error.strerror or type(error).__name__}"
        yield finding(findings.CONTENT_UNREACHABLE, where, message=message, ids=(key,))
        return
    if not data.strip():
        yield finding(findings.CONTENT_FOREIGN, where, message="the text is empty", ids=(key,))
    elif data.startswith(_POINTER):
        message = "is a Git LFS pointer, not the text"
        yield finding(findings.CONTENT_FOREIGN, where, message=message, ids=(key,))
    elif type(expected) is str and blake3(data).hexdigest() != expected:
        details = {"recorded": expected}
        yield finding(findings.CONTENT_CHANGED, where, ids=(key,), details=details)
