"""Findings about content: what is paid for and not parsed, and what was made from another text."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen
from blake3 import blake3

from genid_store.catalog.audit import kinds as findings
from genid_store.catalog.audit.finding import Finding
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.refresh import Progress
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import RAW, RAW_METADATA, DataRoot, is_segment
from genid_store.stages import stage_names

_STEP = 1_000  # generations between two reports of progress


@frozen(kw_only=True)
class Content:
    """How many generations of each stage have a parsed text, and what is wrong with contents."""

    made: dict[str, int]
    findings: tuple[Finding, ...] = field(repr=False)

    @classmethod
    def of(cls, index: StoreIndex, progress: Progress | None = None) -> Content:
        """Look at the content of every generation of the index; no text is read."""
        made = dict.fromkeys(stage_names(), 0)
        found: list[Finding] = []
        digest = template_digests(index.root)
        rows = index.sql("SELECT stage, gen_id, template_id FROM generation ORDER BY rowid")
        for done, (stage, gen_id, template_id) in enumerate(rows, start=1):
            folder = f"{index.root.gens}/{stage}/{gen_id}"
            content, *_ = content_of(folder)
            made[stage] += content == "parsed"
            if content == "raw":
                where = f"gens/{stage}/{gen_id}/{RAW}"
                found.append(_finding(findings.UNPARSED, where, stage, gen_id, {}))
            if content is not None:
                found.extend(_drift(folder, stage, gen_id, template_id, digest))
            if progress is not None and (done % _STEP == 0 or done == len(rows)):
                progress(done, len(rows))
        return cls(made=made, findings=tuple(found))


def template_digests(root: DataRoot) -> Callable[[str, str], str | None]:
    """Return a function (stage, template id) -> BLAKE3 of the template's text now, in hex; None
    where there is no such file. Each file is read once."""
    known: dict[tuple[str, str], str | None] = {}

    def digest(stage: str, template_id: str) -> str | None:
        key = (stage, template_id)
        if key not in known:
            known[key] = _digest(root, stage, template_id)
        return known[key]

    return digest


def _digest(root: DataRoot, stage: str, template_id: str) -> str | None:
    if not is_segment(template_id):
        return None
    try:
        return blake3(read_bytes(root.template(stage, template_id))).hexdigest()
    except OSError:
        return None


def _drift(
    folder: str,
    stage: str,
    gen_id: str,
    template_id: str | None,
    digest: Callable[[str, str], str | None],
) -> list[Finding]:
    """Return the finding, if any, about what a generation says it was made from."""
    where = f"gens/{stage}/{gen_id}/{RAW_METADATA}"
    try:
        recorded = recorded_digest(read_bytes(f"{folder}/{RAW_METADATA}"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        details = {"value": str(error) or type(error).__name__}
        return [_finding(findings.RECORD_MALFORMED, where, stage, gen_id, details)]
    now = None if recorded is None or template_id is None else digest(stage, template_id)
    if now is None or now == recorded:  # a template that is gone tells nothing
        return []
    details = {"template_id": str(template_id), "made_from": str(recorded), "now": now}
    return [_finding(findings.CONTENT_DRIFT, where, stage, gen_id, details)]


def recorded_digest(data: bytes) -> str | None:
    """Return the digest of the template's text that a raw_metadata.json records, None where it
    records none. ValueError: it is no JSON object in UTF-8."""
    made_with = load_object(data, allow_nan=True).get("genid")
    digest = made_with.get("template_digest") if type(made_with) is dict else None
    return digest if type(digest) is str else None


def _finding(code: str, where: str, stage: str, gen_id: str, details: dict[str, str]) -> Finding:
    message = findings.KINDS[code].meaning
    if code == findings.CONTENT_DRIFT:
        message = f"was made from another text than {stage} template {details['template_id']} has"
    return Finding(code=code, where=where, message=message, ids=((stage, gen_id),), details=details)
