"""The named checks of a built cohort, with their findings as lines of text.

Most of them are parts of the audit, restricted to the cohort's members. An ERROR means that ids and
store contradict each other, a WARN that an operator should know of something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

from genid_store.catalog import findings as kinds
from genid_store.catalog.audit.audit import audit_members
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.cohort.inputs.selection import CohortMode, read_selection
from genid_store.cohort.inputs.tables import read_tables
from genid_store.cohort.regeneration import repeats_among
from genid_store.errors import StoreError
from genid_store.stages import Member

Severity: TypeAlias = Literal["ERROR", "WARN"]
#: name -> (severity of its findings, what the check asserts)
CHECKS: Final[Mapping[str, tuple[Severity, str]]] = {
    "ids_recompute": ("ERROR", "Every deterministic id matches its metadata."),
    "parents_exist": ("ERROR", "Every member's parent is in the store."),
    "replicates_as_configured": (
        "WARN",
        "No cell has more members than replication_config.csv says.",
    ),
    "no_repeated_work": (
        "WARN",
        "No member would pay for work that the store holds under another id.",
    ),
    "made_from_current_templates": (
        "WARN",
        "No member was made from a template text that has changed since.",
    ),
}
#: The checks that are parts of the audit -> the codes of their findings.
_AUDITED: Final[Mapping[str, frozenset[str]]] = {
    "ids_recompute": frozenset({kinds.ID_NOT_RECOMPUTED}),
    "parents_exist": frozenset(
        {kinds.ORPHAN, kinds.PARENT_STAGE, kinds.CYCLE, kinds.FIELD_MISSING}
    ),
    "made_from_current_templates": frozenset({kinds.CONTENT_DRIFT}),
}


def findings_of(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    """Return a check's findings, or why it could not run: other checks may not need what it lacks.

    ValueError: there is no check of that name.
    """
    try:
        return _findings(name, index, members)
    except StoreError as error:
        return [f"not checked: {error.summary}: {problem}" for problem in error.problems]


def _findings(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    root = index.root
    if name in _AUDITED:
        faults = audit_members(index, set(members), codes=_AUDITED[name])
        return [f"{fault.ids[0][0]} {fault.ids[0][1]}: {fault.text}" for fault in faults]
    # Members without metadata are findings of the audit, not of these checks.
    records = (index.get(*member) for member in members)
    stored = [generation for generation in records if generation is not None]
    match name:
        case "replicates_as_configured":
            drafts = read_selection(root).mode is CohortMode.CARTESIAN
            return _over_replicated(stored, read_tables(root).replicates, drafts=drafts)
        case "no_repeated_work":
            return [
                f"{repeat.stage} {repeat.gen_id}: {', '.join(repeat.held)}"
                for repeat in repeats_among(index, stored)
                if not repeat.is_copy
            ]
    raise ValueError(f"unknown check: {name}")


def _over_replicated(
    generations: Sequence[Indexed], replicates: Mapping[str, int], *, drafts: bool
) -> list[str]:
    """Return the cells that have more members than `replication_config.csv` says.

    With `drafts`, drafts are counted too; in a cohort over a selection, the table does not say how
    many there should be.
    """
    cells = Counter(
        (
            member.stage,
            member.parent_gen_id or member.combo_id,
            member.template_id,
            member.llm_model_id,
        )
        for member in generations
        if drafts or member.stage != "draft"
    )
    return [
        f"{stage} {template} by {model} of {parent}: {count} of {replicates[stage]}"
        for (stage, parent, template, model), count in cells.items()
        if count > replicates[stage]
    ]
