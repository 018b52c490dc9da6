"""What is checked of a cohort that was built: each check by its name, with its findings as lines.

Most of them are the audit, restricted to the cohort's members. An ERROR says that ids and store
contradict each other, a WARN that an operator should know.
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
#: name -> (severity of a finding, what the check asserts)
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
#: The checks that are a part of the audit, with the codes of their findings.
_AUDITED: Final[Mapping[str, frozenset[str]]] = {
    "ids_recompute": frozenset({kinds.ID_NOT_RECOMPUTED}),
    "parents_exist": frozenset(
        {kinds.ORPHAN, kinds.PARENT_STAGE, kinds.CYCLE, kinds.FIELD_MISSING}
    ),
    "made_from_current_templates": frozenset({kinds.CONTENT_DRIFT}),
}


def findings_of(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    """Return a check's findings, or why it could not look: a table that is gone takes no other
    check along."""
    try:
        return _findings(name, index, members)
    except StoreError as error:
        return [f"not checked: {error.summary}: {problem}" for problem in error.problems]


def _findings(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    root = index.root
    if name in _AUDITED:
        found = audit_members(index, set(members), codes=_AUDITED[name])
        return [f"{one.ids[0][0]} {one.ids[0][1]}: {one.text}" for one in found]
    stored = [one for member in members if (one := index.get(*member)) is not None]
    match name:
        case "replicates_as_configured":
            drafts = read_selection(root).mode is CohortMode.CARTESIAN
            return _over_replicated(stored, read_tables(root).replicates, drafts=drafts)
        case "no_repeated_work":
            repeats = repeats_among(index, stored)
            return [
                f"{one.stage} {one.gen_id}: {', '.join(one.held)}"
                for one in repeats
                if not one.is_copy
            ]
    raise ValueError(f"unknown check: {name}")


def _over_replicated(
    generations: Sequence[Indexed], replicates: Mapping[str, int], *, drafts: bool
) -> list[str]:
    """Return the cells that have more members than `replication_config.csv` says. Selected drafts
    are counted only where `drafts` is set: elsewhere no number of them is configured."""
    cells = Counter(
        (one.stage, one.parent_gen_id or one.combo_id, one.template_id, one.llm_model_id)
        for one in generations
        if drafts or one.stage != "draft"
    )
    return [
        f"{stage} {template} by {model} of {above}: {count} of {replicates[stage]}"
        for (stage, above, template, model), count in cells.items()
        if count > replicates[stage]
    ]
