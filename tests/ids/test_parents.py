"""Integrity: an essay's parent is in the cohort, an evaluation's in the cohort or the store."""

import pytest

from genid_store.errors import StoreError
from genid_store.ids.parents import check_parents


def row(stage: str, gen_id: str, parent: object) -> dict[str, object]:
    return {"stage": stage, "gen_id": gen_id, "parent_gen_id": parent, "template_id": "t"}


ROWS = (
    row("draft", "d1", None),
    row("essay", "e1", "d1"),
    row("essay", "e2", "gone"),
    row("evaluation", "v1", "e1"),
    row("evaluation", "v2", "stored"),
    row("evaluation", "v3", "nowhere"),
    row("evaluation", "v4", float("nan")),
    row("essay", "e3", "e1"),
)


def test_sound_rows_pass_whatever_their_order() -> None:
    """Children may stand before their parents; the store is asked for essays alone."""
    asked = []

    def stored(gen_id: str) -> bool:
        asked.append(gen_id)
        return True

    check_parents(reversed([*ROWS[:2], *ROWS[3:5]]), stored)
    assert ["stored"] == asked


def test_every_orphan_is_named_with_where_its_parent_was_expected() -> None:
    """And the counts are given."""
    with pytest.raises(StoreError, match="2 essays and 2 evaluations") as caught:
        check_parents(ROWS, lambda gen_id: gen_id == "stored")
    assert ["essay e2", "essay e3", "evaluation v3", "evaluation v4"] == [
        problem.where for problem in caught.value.problems
    ]
    assert "among the cohort's drafts" in str(caught.value.problems[0])
    assert "gens/essay/nowhere/metadata.json" in str(caught.value.problems[2])
    assert "evaluation v4: it names no parent; restore" in str(caught.value.problems[3])
