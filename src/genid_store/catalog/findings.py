"""The stable codes of everything that can be wrong in a store, each with its meaning and remedy.

A code never changes its meaning and is never used again for another one; a new kind of finding is
one entry here, one row of `docs/finding-codes.md` and one test that produces it. States that
are not faults (legacy ids, ids that cannot be verified, coerced fields) have no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from genid_store.errors import NO_VALUE, Problem


@frozen
class FindingKind:
    """One way in which a store can be unsound: its code, what it means, what to do about it."""

    code: str
    meaning: str
    remedy: str


METADATA_MISSING: Final = "metadata-missing"
METADATA_EMPTY: Final = "metadata-empty"
METADATA_MALFORMED: Final = "metadata-malformed"
METADATA_UNREADABLE: Final = "metadata-unreadable"
FIELD_MISSING: Final = "field-missing"
FIELD_WRONG: Final = "field-wrong"
FIELD_CONFLICT: Final = "field-conflict"
FIELD_UNFIT: Final = "field-unfit"
FOLDER_MISMATCH: Final = "folder-mismatch"
STAGE_MISMATCH: Final = "stage-mismatch"
ID_NOT_RECOMPUTED: Final = "id-not-recomputed"
ORPHAN: Final = "orphan"
PARENT_STAGE: Final = "parent-stage"
CYCLE: Final = "cycle"
DUPLICATE: Final = "duplicate"
CASE_COLLISION: Final = "case-collision"
STRAY_ENTRY: Final = "stray-entry"
UNPARSED: Final = "unparsed"
CONTENT_DRIFT: Final = "content-drift"
CONTENT_UNREACHABLE: Final = "content-unreachable"
CONTENT_FOREIGN: Final = "content-foreign"
CONTENT_CHANGED: Final = "content-changed"
RECORD_MALFORMED: Final = "record-malformed"
MEMBERSHIP_UNREADABLE: Final = "membership-unreadable"
MEMBERSHIP_MALFORMED: Final = "membership-malformed"
MEMBER_WITHOUT_GENERATION: Final = "member-without-generation"
GENERATION_WITHOUT_MEMBERSHIP: Final = "generation-without-membership"
PARTITION_WITHOUT_MEMBERSHIP: Final = "partition-without-membership"

_KINDS: Final = (
    FindingKind(
        METADATA_MISSING,
        "a generation's folder holds no metadata.json",
        "restore the file from a backup, or move the folder out of gens/ if nothing needs it",
    ),
    FindingKind(
        METADATA_EMPTY,
        "metadata.json has no content",
        "restore the file from a backup; an interrupted write left it empty",
    ),
    FindingKind(
        METADATA_MALFORMED,
        "metadata.json is not a JSON object in UTF-8 with each key once",
        "restore the file from a backup, or repair its JSON by hand",
    ),
    FindingKind(
        METADATA_UNREADABLE,
        "metadata.json is there and cannot be read",
        "give this user the right to read it, and make sure that it is a file",
    ),
    FindingKind(
        FIELD_MISSING,
        "metadata.json lacks a field that says which task the generation is",
        "add the field from the cohort's tables; until then no deterministic id can be derived",
    ),
    FindingKind(
        FIELD_WRONG,
        "a field of metadata.json has a value of the wrong type or range",
        "correct the value: ids are texts, replicate is a whole number from 1 to 2147483647",
    ),
    FindingKind(
        FIELD_CONFLICT,
        "metadata.json gives one field under two names with different values",
        "keep the right one of the two; the documented name is the one that counts meanwhile",
    ),
    FindingKind(
        FIELD_UNFIT,
        "a field's text cannot be part of a deterministic id (SPEC 1)",
        "rename the template, model or combo to printable ASCII without spaces, quotes or \\",
    ),
    FindingKind(
        FOLDER_MISMATCH,
        "the gen_id in metadata.json is not the folder's name",
        "correct gen_id to the folder's name, by which memberships and children refer to it",
    ),
    FindingKind(
        STAGE_MISMATCH,
        "the stage in metadata.json is not the folder's stage",
        "correct the stage, or move the folder below the stage that it belongs to",
    ),
    FindingKind(
        ID_NOT_RECOMPUTED,
        "a v1 id is not the id of the fields that its metadata gives",
        "restore the metadata that the id was made from (`genid explain ID` shows the difference)",
    ),
    FindingKind(
        ORPHAN,
        "no generation has the id that parent_gen_id names",
        "restore the parent, or move the orphan out of gens/ together with its children",
    ),
    FindingKind(
        PARENT_STAGE,
        "the parent is a generation of a stage that cannot be the parent here",
        "correct parent_gen_id: an essay's parent is a draft, an evaluation's an essay, "
        "and a draft has none",
    ),
    FindingKind(
        CYCLE,
        "following parent_gen_id leads back to the generation itself",
        "correct the parent_gen_id of one member of the cycle",
    ),
    FindingKind(
        DUPLICATE,
        "several generations are of one task and one replicate",
        "nothing is lost by leaving them; `genid store migrate` numbers them as replicates",
    ),
    FindingKind(
        CASE_COLLISION,
        "ids of one stage differ in upper and lower case only",
        "rename one before the store is copied to a file system that ignores case",
    ),
    FindingKind(
        STRAY_ENTRY,
        "an entry below gens/<stage>/ is not a generation's folder",
        "move it out of gens/",
    ),
    FindingKind(
        UNPARSED,
        "raw.txt is there and parsed.txt is not: the answer is paid for and not parsed",
        "parse it again from raw.txt, or delete raw.txt to have the generation made again",
    ),
    FindingKind(
        CONTENT_DRIFT,
        "the generation was made from another text than its template has now",
        "give the changed template an id of its own, or restore the text it had",
    ),
    FindingKind(
        CONTENT_UNREACHABLE,
        "a text is there and cannot be reached: a link without a target, or no right to read it",
        "fetch or mount what the link points to, or make the file readable; do not pay again",
    ),
    FindingKind(
        CONTENT_FOREIGN,
        "a text is empty, or a placeholder for one that was not fetched",
        "fetch the text (`git lfs pull`), or restore the file from a backup",
    ),
    FindingKind(
        CONTENT_CHANGED,
        "a text is not the one that was recorded when the generation was made",
        "restore the file from a backup; if the change was meant, delete parsed_metadata.json",
    ),
    FindingKind(
        RECORD_MALFORMED,
        "a record beside a text cannot be read, so what the text was made from is unknown",
        "restore the file from a backup, or delete it if nothing needs it",
    ),
    FindingKind(
        MEMBERSHIP_UNREADABLE,
        "a cohort's membership.csv is there and cannot be read",
        "make it readable for this user, and make sure that it is a file",
    ),
    FindingKind(
        MEMBERSHIP_MALFORMED,
        "a cohort's membership.csv does not name a stage and a gen_id in each row",
        "rebuild the cohort, or restore the kept file from .genid/",
    ),
    FindingKind(
        MEMBER_WITHOUT_GENERATION,
        "a membership row names a generation that the store does not hold",
        "rebuild the cohort (`genid cohort build`), or remove the row",
    ),
    FindingKind(
        GENERATION_WITHOUT_MEMBERSHIP,
        "no cohort's membership names the generation",
        "name it in a cohort, or move it out of gens/ if it is not wanted any more",
    ),
    FindingKind(
        PARTITION_WITHOUT_MEMBERSHIP,
        "a partition key is registered in Dagster and is not a member of any cohort",
        "delete the key with `genid dagster sync --prune`, or rebuild its cohort",
    ),
)

#: code -> kind, in the order in which the audit reports them
KINDS: Final = {kind.code: kind for kind in _KINDS}


def finding(
    code: str,
    where: str,
    *,
    field: str = "",
    message: str = "",
    value: object = NO_VALUE,
    ids: tuple[tuple[str, str], ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Problem:
    """Return a problem of the kind that `code` names, with its remedy; `where` is a file's path, to
    which `field` is added. Its message is the kind's meaning unless one is given."""
    kind = KINDS[code]
    return Problem(
        where=f"{where}:{field}" if field else where,
        message=message or kind.meaning,
        remedy=kind.remedy,
        value=value,
        code=code,
        ids=ids,
        details=details or {},
    )
