"""Check a generation's metadata and its parent's text before anyone pays for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from blake3 import blake3

from genid_store.catalog import findings
from genid_store.catalog.expected import as_parent, derive_expected
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import NO_VALUE, StoreError
from genid_store.fs.files import problem_of, read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import (
    METADATA,
    PARSED,
    PARSED_METADATA,
    RAW_METADATA,
    DataRoot,
    is_segment,
)
from genid_store.fs.texts import NO_TEXT, fault_of_bytes, fault_of_text
from genid_store.stages import Member, parent_stage, stage_names

_IDENTIFYING: Final = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")


class ParentMissing(StoreError):  # noqa: N818 - it says what is missing
    """The parent has no text that a child can be made from."""


def digest(data: bytes) -> str:
    """Return the BLAKE3 digest of some bytes in hex, as the records of a text hold it."""
    return blake3(data).hexdigest()


def content_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the digest of a generation's parsed.txt; None if it cannot be read."""
    try:
        return digest(read_bytes(_path(root, stage, gen_id, PARSED)))
    except OSError:
        return None


def model_of(root: DataRoot, generation: Generation) -> str | None:
    """Return the model to call; an essay without a model of its own has its draft's. OSError: the
    draft's metadata cannot be read now."""
    if generation.llm_model_id is not None or generation.parent is None:
        return generation.llm_model_id
    return read_generation(root, *generation.parent).llm_model_id


def parent_version(root: DataRoot, generation: Generation) -> str | None:
    """Return the digest of the parent's text (`text_version`); None if there is no parent."""
    return None if generation.parent is None else text_version(root, *generation.parent)


def text_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the digest of a text; the recorded one where the text itself is gone, was not fetched
    or is out of reach; None if there is none. OSError: it cannot be read now."""
    try:
        data = read_bytes(_path(root, stage, gen_id, PARSED))
        if fault_of_bytes(data) is None:
            return digest(data)
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
    return recorded_digest(root, stage, gen_id)


def usable_text(root: DataRoot, stage: str, gen_id: str) -> bytes:
    """Return the bytes of a text that children can be made from.

    A text without a recorded digest (the host's, or written by hand) is accepted.

    Raises:
        ParentMissing: there is no text, it is empty or has NUL characters, it is not UTF-8 although
            its stage has children, it is a pointer to content that was not fetched, or it differs
            from the digest recorded when it was made.
        OSError: it cannot be read now.
    """
    where = f"{stage} {gen_id}"
    try:
        data = read_bytes(_path(root, stage, gen_id, PARSED))
    except FileNotFoundError:
        raise ParentMissing(f"{where} has no content") from None
    except OSError as error:
        if error.errno not in NO_TEXT:
            raise
        reason = f"{where}: its parsed.txt cannot be read: {error.strerror}"
        raise ParentMissing(reason) from error
    recorded = recorded_digest(root, stage, gen_id)
    is_parent = any(parent_stage(one) == stage for one in stage_names())
    fault = fault_of_text(data) if is_parent else fault_of_bytes(data)
    if fault is None and recorded not in (None, digest(data)):
        fault = (
            "is not the text that was made: its digest differs from the record; put the text back, "
            f"or remove {PARSED_METADATA} to build upon the text as it is"
        )
    if fault is not None:
        raise ParentMissing(f"{where}: its parsed.txt {fault}")
    return data


def usable_version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the digest of a text that children can be made from; None: there is none now."""
    try:
        return digest(usable_text(root, stage, gen_id))
    except (ParentMissing, OSError):
        return None


def read_text(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return a generation's text; None if there is none. StoreError: the file is empty, a pointer,
    or not UTF-8. OSError: it cannot be read now."""
    path = f"{root.gens}/{stage}/{gen_id}/{PARSED}"  # building a Path takes as long as reading
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
        "put the text back, or remove the file and make it again (if raw.txt exists, by retrying "
        "what is unparsed)"
    )
    raise StoreError.of("a text cannot be read", root.relative(Path(path)), fault, remedy)


def fault_of(root: DataRoot, member: Member) -> str | None:
    """Return why `usable_text` fails; None if it does not."""
    try:
        usable_text(root, *member)
    except ParentMissing as error:
        return str(error)
    except OSError as error:
        return str(problem_of(root, error))
    return None


def recorded_digest(root: DataRoot, stage: str, gen_id: str) -> str | None:
    """Return the digest recorded when the text was made; None if there is no readable record."""
    try:
        recorded = read_json(_path(root, stage, gen_id, PARSED_METADATA))["genid"]["digest"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return recorded if isinstance(recorded, str) else None


def was_none(root: DataRoot, stage: str, gen_id: str) -> bool:
    """Return whether the callable's answer was None, so that raw.txt has no text to parse."""
    try:
        return bool(read_json(_path(root, stage, gen_id, RAW_METADATA))["genid"]["was_none"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _path(root: DataRoot, stage: str, gen_id: str, name: str) -> Path:
    """Return the path of a generation's file.

    FileNotFoundError: no folder can have this id. Metadata may name anything as the parent, and
    one such generation must not keep a run from planning the others.
    """
    if not is_segment(gen_id):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), gen_id)
    return root.generation(stage, gen_id) / name


def check_metadata(root: DataRoot, generation: Generation) -> None:
    """Check that the metadata describes the generation that its id names.

    StoreError: it does not say what to make, or the v1 id of its fields, by the audit's rule, is
    another one, so that the text would belong to another task. OSError: the parent's metadata
    cannot be read now.
    """
    flaws = [one for one in generation.problems if not one.field or one.field in _IDENTIFYING]
    if flaws:
        raise StoreError("its metadata cannot be used", flaws)
    if generation.mode == "copy" and generation.stage != "essay":
        raise StoreError.of(
            "there is nothing to copy",
            f"{generation.stage} {generation.gen_id}",
            f"mode copy copies an essay's draft; a {generation.stage} cannot be copied",
            "give its template the generator llm, and build its cohort again",
        )
    above = None if generation.parent is None else read_generation(root, *generation.parent)
    parent = as_parent(above, None, None) if above is not None and above.raw else None
    for problem in derive_expected(generation, parent).problems:
        if problem.code == findings.ID_NOT_RECOMPUTED:
            derived = "" if problem.value is NO_VALUE else f", whose id is {problem.value}"
            raise StoreError.of(
                "the metadata contradicts the id",
                root.relative(root.generation(generation.stage, generation.gen_id) / METADATA),
                f"describes another generation{derived}",
                problem.remedy,
                value={name: v for name, v in generation.signature_fields().items() if v},
            )
