"""Check that the parent of every row of a cohort exists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from genid_store.errors import NO_VALUE, Problem, StoreError, counted


class Link(Protocol):
    """A row's id and its parent's."""

    @property
    def gen_id(self) -> str: ...

    @property
    def parent_gen_id(self) -> str | None: ...


class _Link(NamedTuple):
    gen_id: str
    parent_gen_id: str | None


def check_parents(rows: Iterable[Mapping[str, Any]], essay_in_store: Callable[[str], bool]) -> None:
    """Check the parents of a cohort's rows.

    An essay's parent is a draft of the cohort, an evaluation's an essay of the cohort or the store.
    A row has the keys `stage`, `gen_id` and, except for drafts, `parent_gen_id`.

    Raises:
        StoreError: with every row whose parent is missing, and where it was expected.
        KeyError: a row has no stage or no id.
    """
    by_stage: dict[str, list[Link]] = defaultdict(list)
    for row in rows:
        by_stage[row["stage"]].append(_Link(row["gen_id"], _parent(row)))
    check_links(by_stage, essay_in_store)


def check_links(
    by_stage: Mapping[str, Collection[Link]], essay_in_store: Callable[[str], bool]
) -> None:
    """Check rows as `check_parents` does, given by stage."""
    drafts, essays, evaluations = (
        by_stage.get(stage, ()) for stage in ("draft", "essay", "evaluation")
    )
    known = {row.gen_id for row in drafts}
    lost_essays = [row for row in essays if row.parent_gen_id not in known]
    others = {row.parent_gen_id for row in evaluations} - {row.gen_id for row in essays}
    absent = {parent for parent in others if parent is None or not essay_in_store(parent)}
    lost = [row for row in evaluations if row.parent_gen_id in absent] if absent else []
    if lost_essays or lost:
        counts = counted(len(lost_essays), "essay"), counted(len(lost), "evaluation")
        problems = [_orphan("essay", row) for row in lost_essays]
        problems += [_orphan("evaluation", row) for row in lost]
        raise StoreError(f"{' and '.join(counts)} have no parent", problems)


def _parent(row: Mapping[str, Any]) -> str | None:
    parent = row.get("parent_gen_id")
    return parent if isinstance(parent, str) and parent else None  # a data frame has NaN for None


def _orphan(stage: str, row: Link) -> Problem:
    parent = row.parent_gen_id
    expected = "among the cohort's drafts"
    if stage == "evaluation":
        expected = f"among the cohort's essays or at gens/essay/{parent}/metadata.json"
    return Problem(
        where=f"{stage} {row.gen_id}",
        value=NO_VALUE if parent is None else parent,
        message=f"its parent was expected {expected}" if parent else "it names no parent",
        remedy="restore the parent, or leave out what is made from it",
    )
