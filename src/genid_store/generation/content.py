"""Look at a text before somebody pays for what is made from it."""

from __future__ import annotations

import re
from typing import Final

from blake3 import blake3

from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED_METADATA, DataRoot

#: What stands in for a text that was not fetched: Git LFS's pointer file, git-annex's.
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/|/annex/objects/")


def digest(data: bytes) -> str:
    """Return the BLAKE3 digest of some bytes in hex, as our records of a text have it."""
    return blake3(data).hexdigest()


def fault_of_text(root: DataRoot, stage: str, gen_id: str, data: bytes) -> str | None:
    """Return why `data`, a generation's parsed.txt, cannot be built upon; None: it can.

    It is empty, a pointer to content that is elsewhere, or differs from the digest that was
    recorded when it was made. A text without a record (the host's, or written by hand) is taken.
    """
    fault = fault_of_bytes(data)
    if fault is not None:
        return fault
    recorded = recorded_digest(root, stage, gen_id)
    if recorded is not None and recorded != digest(data):
        return "its parsed.txt is not the text that was made: its digest differs from the record"
    return None


def fault_of_bytes(data: bytes) -> str | None:
    """Return why the bytes of a parsed.txt are not a text that was generated; None: they may be."""
    if not data.strip():
        return "its parsed.txt is empty"
    if _POINTER.match(data):
        return "its parsed.txt is a pointer to content that was not fetched (git lfs, git annex)"
    return None


def recorded_digest(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the digest of the text as it was made; None where no record of ours can be read."""
    try:
        document = read_json(root.generation(stage, gen_id) / PARSED_METADATA)
        found = document["genid"]["digest"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if isinstance(found, str) else None
