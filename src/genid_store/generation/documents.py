"""The files of one generation, made of what the callable gave. Nothing in here may fail: it is paid
for."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping

from genid_store.fs.layout import PARSED, PARSED_METADATA, PROMPT, RAW, RAW_METADATA
from genid_store.generation.content import digest
from genid_store.generation.records import Generated, Request


def generated_files(
    generated: Generated, request: Request, template: bytes | None
) -> dict[str, bytes]:
    """Return the files of one answer; `parsed.txt` is among them where it could be parsed."""
    made_with = {
        "template_digest": None if template is None else digest(template),
        "provider_model": generated.provider_model or request.provider_model,
        "parameters": generated.parameters,
        "usage": generated.usage,
        "generated_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    parsed = generated.text if generated.parsed is None else generated.parsed
    files = {RAW: _encoded(generated.text), RAW_METADATA: _document(made_with)}
    if generated.prompt is not None:
        files[PROMPT] = _encoded(generated.prompt)
    if generated.unparsed is None and _is_unicode(parsed):
        text = parsed.encode("utf-8")
        files[PARSED_METADATA] = _document({"digest": digest(text)})
        files[PARSED] = text
    return files


def copied_files(parent_text: str) -> dict[str, bytes]:
    """Return the files of an essay that is its draft's text."""
    text = parent_text.encode("utf-8")
    return {
        RAW: text,
        RAW_METADATA: _document({"mode": "copy"}),
        PARSED_METADATA: _document({"digest": digest(text)}),
        PARSED: text,
    }


def _document(genid: Mapping[str, object]) -> bytes:
    given = {key: value for key, value in genid.items() if value is not None}
    try:
        plain = _finite(given)
        text = json.dumps(
            {"genid": plain}, ensure_ascii=False, indent=2, default=repr, skipkeys=True
        )
    except Exception:  # the host's parameters may be anything, in a circle too
        unwritable = "they cannot be written as JSON"
        return _document({**genid, "parameters": unwritable, "usage": unwritable})
    return _encoded(text)


def _finite(value: object) -> object:
    """Return a value with NaN and the infinities, which JSON does not have, as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
