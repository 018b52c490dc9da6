"""Look at a generation's metadata and at its parent's text before somebody pays for it."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blake3 import blake3

from genid_store.catalog import findings
from genid_store.catalog.expected import as_parent, derive_expected
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import NO_FILE, problem_of, read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import METADATA, PARSED, PARSED_METADATA, DataRoot
from genid_store.stages import Member

_IDENTIFYING: Final = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")
#: What reading says where there is no text of ours; any other error may be over in a moment.
NO_TEXT: Final = NO_FILE | {errno.ENOENT, errno.ENOTDIR, errno.ENOLINK, errno.ELOOP}
#: What stands in for a text that was not fetched: Git LFS's pointer file, git-annex's.
_POINTER: Final = re.compile(rb"version https://git-lfs\.github\.com/spec/|/annex/objects/")


class ParentMissing(StoreError):  # noqa: N818 - it says what is missing
    """There is no text of the parent that a child can be made from."""


def digest(data: bytes) -> str:
    """Return the BLAKE3 digest of some bytes in hex, as our records of a text have it."""
    return blake3(data).hexdigest()


def content_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the fingerprint of a generation's content, BLAKE3 of parsed.txt; None: it has none
    that can be read."""
    try:
        return digest(read_bytes(root.generation(stage, gen_id) / PARSED))
    except OSError:
        return None


def model_of(root: DataRoot, generation: Generation) -> str | None:
    """Return the model that is asked: an essay without one of its own has its draft's."""
    if generation.llm_model_id is not None or generation.parent is None:
        return generation.llm_model_id
    return read_generation(root, *generation.parent).llm_model_id


def parent_version(root: DataRoot, generation: Generation) -> str | None:
    """Return the fingerprint of the parent's content; None: there is none, or no parent. OSError:
    it cannot be read now."""
    if generation.parent is None:
        return None
    try:
        return digest(read_bytes(root.generation(*generation.parent) / PARSED))
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
        return None


def usable_text(root: DataRoot, stage: str, gen_id: str) -> bytes:
    """Return the bytes of a text that can be built upon.

    It cannot where it is empty, a pointer to content that is elsewhere, or differs from the digest
    that was recorded when it was made. A text without a record (the host's, or written by hand) is
    taken. ParentMissing: there is none. OSError: it cannot be read now.
    """
    where = f"{stage} {gen_id}"
    try:
        data = read_bytes(root.generation(stage, gen_id) / PARSED)
    except FileNotFoundError:
        raise ParentMissing(f"{where} has no content") from None
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
        reason = f"{where}: its parsed.txt cannot be read: {error.strerror}"
        raise ParentMissing(reason) from error
    recorded = recorded_digest(root, stage, gen_id)
    fault = fault_of_bytes(data)
    if fault is None and recorded not in (None, digest(data)):
        fault = (
            "its parsed.txt is not the text that was made: its digest differs from the record; put "
            f"the text back, or remove {PARSED_METADATA} to build upon the text as it is"
        )
    if fault is not None:
        raise ParentMissing(f"{where}: {fault}")
    return data


def usable_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the fingerprint of a text that can be built upon; None: there is none that can be
    read now."""
    try:
        return digest(usable_text(root, stage, gen_id))
    except (ParentMissing, OSError):
        return None


def read_text(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return a generation's text; None: there is none. StoreError: it is not a text in UTF-8 that
    was generated."""
    path = f"{root.gens}/{stage}/{gen_id}/{PARSED}"  # a Path takes as long as the reading
    try:
        data = read_bytes(path)
        text, fault = data.decode("utf-8"), fault_of_bytes(data)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        text, fault = "", f"{error}; write the text in UTF-8"
    if fault is None:
        return text
    remedy = (
        "put the text back, or remove the file and have it made again (where raw.txt is there, by "
        "asking to retry what is unparsed)"
    )
    problem = Problem(where=root.relative(Path(path)), message=fault, remedy=remedy)
    raise StoreError("a text cannot be read", [problem])


def text_to_build_upon(root: DataRoot, stage: str, gen_id: str) -> str:
    """Return a generation's text for what is made from it. ParentMissing: it has none that can be
    used. OSError: it cannot be read now."""
    try:
        return usable_text(root, stage, gen_id).decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"{stage} {gen_id}: its parsed.txt is not UTF-8: {error}"
        raise ParentMissing(reason) from error


def fault_of(
    read: Callable[[DataRoot, str, str], object], root: DataRoot, member: Member
) -> str | None:
    """Return why `read` (`usable_text`, `text_to_build_upon`) cannot give a text; None: it can."""
    try:
        read(root, *member)
    except ParentMissing as error:
        return str(error)
    except OSError as error:
        return str(problem_of(root, error))
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


def check_metadata(root: DataRoot, generation: Generation) -> None:
    """StoreError: the metadata does not say what is to be made, or a v1 id is not that of its
    fields, by the audit's rule, so that the text would be another task's; nothing is paid for."""
    wrong = [one for one in generation.problems if not one.field or one.field in _IDENTIFYING]
    if wrong:
        raise StoreError("its metadata cannot be used", wrong)
    if generation.mode == "copy" and generation.stage != "essay":
        problem = Problem(
            where=f"{generation.stage} {generation.gen_id}",
            message=f"mode copy copies an essay's draft; a {generation.stage} cannot be copied",
            remedy="give its template the generator llm, and build its cohort again",
        )
        raise StoreError("there is nothing to copy", [problem])
    above = None if generation.parent is None else read_generation(root, *generation.parent)
    parent = as_parent(above, None, None) if above is not None and above.raw else None
    found = derive_expected(generation, parent).problems
    wrong = [one for one in found if one.code == findings.ID_NOT_RECOMPUTED]
    if not wrong:
        return
    fields = {name: value for name, value in generation.signature_fields().items() if value}
    problem = Problem(
        where=root.relative(root.generation(generation.stage, generation.gen_id) / METADATA),
        message=f"describes another generation, whose id is {wrong[0].value}",
        value=fields,
        remedy=wrong[0].remedy,
    )
    raise StoreError("the metadata contradicts the id", [problem])
