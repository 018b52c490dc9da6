"""The stable codes of everything that can be wrong in a store, each with its meaning and remedy.

A code never changes its meaning and is never reused. A new kind of finding is one entry here, one
row of `docs/finding-codes.md` and one test that produces it. States that are not faults (legacy
ids, ids that cannot be verified, coerced fields) have no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from genid_store.errors import NO_VALUE, Problem


@frozen
class FindingKind:
    """One kind of fault in a store: its code, what it means, and how to fix it."""

    code: str
    meaning: str
    remedy: str


#: code -> kind, in the order of the audit's report
KINDS: Final[dict[str, FindingKind]] = {}


def _kind(code: str, meaning: str, remedy: str) -> str:
    """Register a kind and return its code."""
    KINDS[code] = FindingKind(code, meaning, remedy)
    return code


METADATA_MISSING: Final = _kind(
    "metadata-missing",
    "a generation's folder holds no metadata.json",
    "restore the file from a backup, build its cohort again, which writes it, or move the folder "
    "out of gens/ if nothing needs it",
)
METADATA_EMPTY: Final = _kind(
    "metadata-empty",
    "metadata.json has no content",
    "restore the file from a backup; an interrupted write left it empty",
)
METADATA_MALFORMED: Final = _kind(
    "metadata-malformed",
    "metadata.json is not a JSON object in UTF-8 with each key once",
    "restore the file from a backup, or repair its JSON by hand",
)
METADATA_UNREADABLE: Final = _kind(
    "metadata-unreadable",
    "metadata.json exists but cannot be read",
    "give this user the right to read it, and make sure that it is a file",
)
#: The kinds for a file from which nothing could be read.
OF_METADATA: Final = frozenset(
    {METADATA_MISSING, METADATA_EMPTY, METADATA_MALFORMED, METADATA_UNREADABLE}
)
FIELD_MISSING: Final = _kind(
    "field-missing",
    "metadata.json lacks a field that says which task the generation is",
    "add the field from the cohort's tables; until then no deterministic id can be derived",
)
FIELD_WRONG: Final = _kind(
    "field-wrong",
    "a field of metadata.json has a value of the wrong type or range",
    "correct the value: ids are texts, replicate is a whole number from 1 to 2147483647",
)
FIELD_CONFLICT: Final = _kind(
    "field-conflict",
    "metadata.json gives one field under two names with different values",
    "keep the right one of the two; until then the documented name counts",
)
FIELD_UNFIT: Final = _kind(
    "field-unfit",
    "a field's text cannot be part of a deterministic id (SPEC 1)",
    "rename the template, model or combo to printable ASCII without spaces, quotes or \\",
)
FOLDER_MISMATCH: Final = _kind(
    "folder-mismatch",
    "the gen_id in metadata.json is not the folder's name",
    "rename the folder, or correct gen_id: memberships and children refer to the folder's name",
)
STAGE_MISMATCH: Final = _kind(
    "stage-mismatch",
    "the stage in metadata.json is not the folder's stage",
    "correct the stage, or move the folder below the stage that it belongs to",
)
ID_NOT_RECOMPUTED: Final = _kind(
    "id-not-recomputed",
    "a v1 id is not the id of the fields that its metadata gives",
    "restore the metadata that the id was made from; explaining the id shows the difference",
)
ORPHAN: Final = _kind(
    "orphan",
    "no generation has the id that parent_gen_id names",
    "restore the parent, or move the orphan out of gens/ together with its children",
)
PARENT_STAGE: Final = _kind(
    "parent-stage",
    "the parent is a generation of a stage that cannot be the parent here",
    "correct parent_gen_id: an essay's parent is a draft, an evaluation's an essay, "
    "and a draft has none",
)
CYCLE: Final = _kind(
    "cycle",
    "following parent_gen_id leads back to the generation itself",
    "correct the parent_gen_id of one member of the cycle",
)
DUPLICATE: Final = _kind(
    "duplicate",
    "several generations are of one task and one replicate",
    "nothing is lost by leaving them; a migration numbers them as replicates",
)
CASE_COLLISION: Final = _kind(
    "case-collision",
    "ids of one stage, or cohorts, differ in upper and lower case only",
    "rename one before the store is copied to a file system that ignores case",
)
UNDECLARED_STAGE: Final = _kind(
    "undeclared-stage",
    "a folder of gens/ has generations of a stage that is not declared, so none was examined",
    "declare the stage, as in genid.toml, or move the folder out of gens/",
)
STRAY_ENTRY: Final = _kind(
    "stray-entry",
    "an entry below gens/<stage>/ is not a generation's folder",
    "move it out of gens/",
)
UNPARSED: Final = _kind(
    "unparsed",
    "raw.txt exists without parsed.txt: the answer is paid for and not parsed",
    "parse it again from raw.txt, or delete raw.txt to have the generation made again",
)
CONTENT_DRIFT: Final = _kind(
    "content-drift",
    "the generation was made from another text than its template has now",
    "give the changed template an id of its own, or restore the text it had",
)
CONTENT_UNREACHABLE: Final = _kind(
    "content-unreachable",
    "a text exists but cannot be reached: a dangling link, or no right to read it",
    "fetch or mount what the link points to, or make the file readable; do not pay again",
)
CONTENT_FOREIGN: Final = _kind(
    "content-foreign",
    "a text is empty, damaged, or a placeholder for one that was not fetched",
    "fetch the text (`git lfs pull`), or restore the file from a backup",
)
CONTENT_CHANGED: Final = _kind(
    "content-changed",
    "a text is not the one that was recorded when the generation was made",
    "restore the file from a backup; if the change was meant, delete parsed_metadata.json",
)
RECORD_MALFORMED: Final = _kind(
    "record-malformed",
    "a record beside a text cannot be read, so what the text was made from is unknown",
    "restore the file from a backup, or delete it if nothing needs it",
)
MEMBERSHIP_UNREADABLE: Final = _kind(
    "membership-unreadable",
    "a cohort's membership.csv exists but cannot be read",
    "make it readable for this user, and make sure that it is a file",
)
MEMBERSHIP_MALFORMED: Final = _kind(
    "membership-malformed",
    "a cohort's membership.csv does not name a stage and a gen_id in each row",
    "rebuild the cohort, or restore the kept file from .genid/",
)
MANIFEST_MALFORMED: Final = _kind(
    "manifest-malformed",
    "a cohort's manifest.json does not say how it was built, or cannot be read",
    "restore it from a backup, or build the cohort again, which replaces it",
)
MEMBER_WITHOUT_GENERATION: Final = _kind(
    "member-without-generation",
    "a membership row names a generation that the store does not hold",
    "rebuild the cohort, or remove the row",
)
GENERATION_WITHOUT_MEMBERSHIP: Final = _kind(
    "generation-without-membership",
    "no cohort's membership names a generation that was made for one, and no member needs it",
    "name it in a cohort, or move it out of gens/ if it is no longer wanted",
)
PARTITION_WITHOUT_MEMBERSHIP: Final = _kind(
    "partition-without-membership",
    "a partition key is registered in Dagster and is not a member of any cohort",
    "bring Dagster's records level and prune the keys of no cohort, which deletes no text, or "
    "rebuild its cohort",
)


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
    """Return a problem of the kind that `code` names, with the kind's remedy.

    `where` is a file's path, to which `field` is added. The message defaults to the kind's meaning.
    """
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
