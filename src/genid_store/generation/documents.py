"""The files of one generation, made of what the callable gave. Nothing in here may fail: it is paid
for."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Final

from genid_store.fs.jsonfile import finite, load_json
from genid_store.fs.layout import PARSED, PARSED_METADATA, PROMPT, RAW, RAW_METADATA
from genid_store.generation.content import digest, fault_of_bytes
from genid_store.generation.records import Generated, Request

#: What of a record the host gives.
_HOSTS: Final = {"provider_model", "parameters", "usage"}


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
    return _files(generated, made_with)


def copied_files(parent_text: str) -> dict[str, bytes]:
    """Return the files of an essay that is its draft's text."""
    return _files(Generated(text=parent_text), {"mode": "copy"})


def _files(generated: Generated, made_with: Mapping[str, object]) -> dict[str, bytes]:
    files = {RAW_METADATA: _document(made_with)}
    for name, text in ((RAW, generated.text), (PROMPT, generated.prompt)):
        if text is not None:
            files[name] = text.encode("utf-8", "surrogatepass")
    if why_unparsed(generated) is None:
        files[PARSED] = _parsed(generated).encode()
        files[PARSED_METADATA] = _document({"digest": digest(files[PARSED])})
    return files


def why_unparsed(generated: Generated) -> str | None:
    """Return why an answer gets no `parsed.txt`: the host says so, or nothing could be built upon
    that file; None: it gets one."""
    if generated.unparsed is not None:
        return generated.unparsed or "the callable says so and gives no reason"
    try:
        return fault_of_bytes(_parsed(generated).encode())
    except UnicodeEncodeError:
        return "its text is not Unicode"


def _parsed(generated: Generated) -> str:
    return generated.text if generated.parsed is None else generated.parsed


def _document(genid: Mapping[str, object]) -> bytes:
    """Return our part of a record as JSON that our own reader takes; what of the host's cannot be
    written so (in a circle, deep, large, no Unicode, keys twice as text) is only mentioned."""
    given = {key: value for key, value in genid.items() if value is not None}
    try:
        document = {"genid": finite(given)}
        text = json.dumps(document, ensure_ascii=False, indent=2, default=repr, skipkeys=True)
        data = text.encode("utf-8")
        load_json(data)
    except Exception:  # the host's values may be anything
        unwritable = "cannot be written as JSON"
        return _document({key: unwritable if key in _HOSTS else given[key] for key in given})
    return data
