"""Findings about content that is unreachable, not parsed, or different from what was recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from blake3 import blake3

from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.refresh import Progress
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import is_dangling, read_bytes
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import PARSED, PARSED_METADATA, RAW, RAW_METADATA, DataRoot, is_segment
from genid_store.fs.texts import fault_of_text

#: The codes of the findings in this module.
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
#: Texts up to this many bytes are always read; empty texts and pointers are shorter.
_SHORT: Final = 200


def content_findings(
    index: StoreIndex,
    made: dict[str, int],
    progress: Progress | None = None,
    *,
    only: Sequence[tuple[str, str]] | None = None,
) -> Iterator[Problem]:
    """Yield the problems of the content of the index's generations, or of those in `only`.

    Generations with a parsed text are counted in `made`, by stage. A long text is read only if
    genid's own record has its digest.
    """
    query = "SELECT stage, gen_id, template_id FROM generation"
    total, rows = index.count(), index.stream(f"{query} ORDER BY rowid")
    if only is not None:
        one = f"{query} WHERE stage = ? AND gen_id = ?"
        total, rows = len(only), (row for key in only for row in index.sql(one, *key))
    contents = _Contents(index.root, made)
    for done, (stage, gen_id, template_id) in enumerate(rows, start=1):
        yield from contents.findings((stage, gen_id), template_id)
        if progress is not None and (done % _STEP == 0 or done == total):
            progress(done, total)


class _Contents:
    """Check the content of generations, reading the text of each template once."""

    def __init__(self, root: DataRoot, made: dict[str, int]) -> None:
        self.root, self.made = root, made
        self.digests: dict[tuple[str, str], str | None] = {}

    def findings(self, key: tuple[str, str], template_id: str | None) -> Iterator[Problem]:
        """Yield the problems of the content of one generation with this template."""
        stage, gen_id = key
        place = f"gens/{stage}/{gen_id}"
        folder = f"{self.root.path}/{place}"
        names = _names(folder)
        if names.isdisjoint((PARSED, RAW)):
            return
        content, state, _ = content_of(folder)
        dangling = [n for n in (PARSED, RAW) if n in names and is_dangling(f"{folder}/{n}")]
        for name in dangling:
            yield finding(findings.CONTENT_UNREACHABLE, f"{place}/{name}", ids=(key,))
        if content == "parsed":
            self.made[stage] = self.made.get(stage, 0) + 1
        elif content is None:
            return
        elif PARSED not in dangling:
            yield finding(findings.UNPARSED, f"{place}/{RAW}", ids=(key,))
        record, problems = _recorded(folder, RAW_METADATA, key, names)
        yield from problems
        yield from self._drift(key, template_id, record.get("template_digest"))
        text, digest = RAW, None
        if content == "parsed":
            record, problems = _recorded(folder, PARSED_METADATA, key, names)
            yield from problems
            text, digest = PARSED, record.get("digest")
        if type(digest) is str or state is None or state.st_size <= _SHORT:
            yield from _text(f"{folder}/{text}", f"{place}/{text}", digest, key)

    def _drift(self, key: tuple[str, str], template_id: str | None, then: Any) -> Iterator[Problem]:
        """Yield a finding if the template exists and its digest is no longer `then`."""
        stage, gen_id = key
        now = self._digest(stage, template_id or "") if type(then) is str else None
        if now is not None and then != now:
            yield finding(
                findings.CONTENT_DRIFT,
                f"gens/{stage}/{gen_id}/{RAW_METADATA}",
                message=f"was made from another text than {stage} template {template_id} has",
                ids=(key,),
                details={"template_id": template_id, "made_from": then, "now": now},
            )

    def _digest(self, stage: str, template_id: str) -> str | None:
        """Return the current BLAKE3 digest of a template in hex, None if it cannot be read."""
        key = (stage, template_id)
        if key not in self.digests:
            self.digests[key] = None
            if is_segment(template_id):
                with contextlib.suppress(OSError, StoreError):
                    text = read_bytes(self.root.template(stage, template_id))
                    self.digests[key] = blake3(text).hexdigest()
        return self.digests[key]


def _names(folder: str) -> frozenset[str]:
    """Return the names in a generation's folder, or all possible ones if it cannot be listed."""
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset((PARSED, RAW, PARSED_METADATA, RAW_METADATA))


def _recorded(
    folder: str, name: str, key: tuple[str, str], names: frozenset[str]
) -> tuple[dict[str, Any], list[Problem]]:
    """Return genid's own part of a record, empty if it is absent, and the file's problems."""
    if name not in names:
        return {}, []
    try:
        ours = load_object(read_bytes(f"{folder}/{name}"), allow_nan=True).get("genid")
    except (FileNotFoundError, NotADirectoryError):  # the folder could not be listed
        return {}, []
    except (OSError, ValueError) as error:
        where = "/".join(("gens", *key, name))
        details = {"value": str(error) or type(error).__name__}
        return {}, [finding(findings.RECORD_MALFORMED, where, ids=(key,), details=details)]
    return ours if type(ours) is dict else {}, []


def _text(path: str, where: str, expected: object, key: tuple[str, str]) -> Iterator[Problem]:
    """Yield the problem of a text that is unreadable, empty, a pointer, or not as recorded."""
    try:
        data = read_bytes(path)
    except OSError as error:
        message = f"cannot be read: {error.strerror or type(error).__name__}"
        yield finding(findings.CONTENT_UNREACHABLE, where, message=message, ids=(key,))
        return
    if (fault := fault_of_text(data)) is not None:
        yield finding(findings.CONTENT_FOREIGN, where, message=f"the text {fault}", ids=(key,))
    elif type(expected) is str and blake3(data).hexdigest() != expected:
        details = {"recorded": expected}
        yield finding(findings.CONTENT_CHANGED, where, ids=(key,), details=details)
