"""Tell a text from what only stands in its place."""

from __future__ import annotations

import errno
import re
from typing import Final

from genid_store.fs.files import NO_FILE

#: What reading raises if there is no text; any other error may be temporary.
NO_TEXT: Final = NO_FILE | {errno.ENOENT, errno.ENOTDIR, errno.ENOLINK, errno.ELOOP}
#: What nobody sees: white space, the zeros of a file that a power cut left incomplete, byte order
#: marks and other characters without width. Not `isprintable`, which Unicode versions change.
_NOTHING: Final = " \t\n\r\f\v\0\u00a0\u200b\u200c\u200d\u2060\ufeff"
#: How the pointer files of Git LFS and git-annex begin, which stand for a text not fetched yet.
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/|/annex/objects/")


def fault_of_bytes(data: bytes) -> str | None:
    """Return why the bytes of a file cannot be a generated text; None if they can."""
    if not data.decode(errors="replace").strip(_NOTHING):
        return "is empty"
    if b"\0" in data:
        return "has NUL characters"
    if _POINTER.match(data):
        return "is a pointer to content that was not fetched (git lfs, git annex)"
    return None


def fault_of_text(data: bytes) -> str | None:
    """Return why nothing can be made from the bytes of a text; None if something can."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return fault_of_bytes(data) or f"is not UTF-8: {error}; save it as UTF-8"
    return fault_of_bytes(data)
