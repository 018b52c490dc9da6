"""Check that the parent of every row of a cohort exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from genid_store.errors import NO_VALUE, Problem, StoreError

#: A row's stage, its id, and its parent's id.
Link = tuple[str, str, str | None]


def check_parents(rows: Iterable[Mapping[str, Any]], essay_in_store: Callable[[str], bool]) -> None:
    """Check the parents of a cohort's rows.

    An essay's parent is a draft of the cohort, an evaluation's an essay of the cohort or the store.
    A row has the keys `stage`, `gen_id` and, except for drafts, `parent_gen_id`.

    Raises:
        StoreError: with every row whose parent is missing, and where it was expected.
        KeyError: a row has no stage or no id.
    """
    check_links(((row["stage"], row["gen_id"], _parent(row)) for row in rows), essay_in_store)


def check_links(links: Iterable[Link], essay_in_store: Callable[[str], bool]) -> None:
    """Check rows as `check_parents` does, given as (stage, id, parent's id)."""
    by_stage: dict[str, list[Link]] = {}
    for link in links:
        by_stage.setdefault(link[0], []).append(link)
    drafts = {gen_id for _, gen_id, _ in by_stage.get("draft", ())}
    members = {gen_id for _, gen_id, _ in by_stage.get("essay", ())}
    essays = [link for link in by_stage.get("essay", ()) if link[2] not in drafts]
    others = {parent for _, _, parent in by_stage.get("evaluation", ())} - members
    absent = {parent for parent in others if parent is None or not essay_in_store(parent)}
    evaluations = [link for link in by_stage.get("evaluation", ()) if link[2] in absent]
    if essays or evaluations:
        counts = f"{len(essays)} essays and {len(evaluations)} evaluations have no parent"
        raise StoreError(counts, [_orphan(*link) for link in (*essays, *evaluations)])


def _parent(row: Mapping[str, Any]) -> str | None:
    parent = row.get("parent_gen_id")
    return parent if isinstance(parent, str) and parent else None  # a data frame has NaN for None


def _orphan(stage: str, gen_id: str, parent: str | None) -> Problem:
    expected = "among the cohort's drafts"
    if stage == "evaluation":
        expected = f"among the cohort's essays or at gens/essay/{parent}/metadata.json"
    return Problem(
        where=f"{stage} {gen_id}",
        value=NO_VALUE if parent is None else parent,
        message=f"its parent was expected {expected}" if parent else "it names no parent",
        remedy="restore the parent, or leave out what is made from it",
    )
