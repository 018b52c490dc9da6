"""Evaluation coverage: what is made, waiting and missing in each cell."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from genid_store.catalog.index.rows import Indexed
from genid_store.report.coverage import Cell, Coverage, cover

WANTED = [("novelty", "sonnet")]
TWICE = "made 1, missing 2, 3, 1 more of the same number"


def stored(stage: str, gen_id: str, *, made: bool = True, **fields: Any) -> Indexed:
    return Indexed(
        stage=stage, gen_id=gen_id, family="legacy", recomputes=True,
        expected={"v1": None, "phase-1": None}, content="parsed" if made else None, **fields,
    )  # fmt: skip


def essay(gen_id: str = "e1") -> Indexed:
    return stored("essay", gen_id, template_id="t", llm_model_id="m", combo_id="c")


def evaluation(
    gen_id: str, replicate: int | None, *, made: bool = True, parent: str = "e1",
    template: str = "novelty",
) -> Indexed:  # fmt: skip
    return stored(
        "evaluation", gen_id, made=made, parent_gen_id=parent, template_id=template,
        llm_model_id="sonnet", replicate=replicate,
    )  # fmt: skip


def covered(*evaluations: Indexed, replicates: int | None = 3) -> Coverage:
    wanted = WANTED if replicates is not None else []
    return cover_all([essay()], evaluations, wanted=wanted, replicates=replicates)


def cover_all(essays: Sequence[Indexed], evaluations: Iterable[Indexed], **wanted: Any) -> Coverage:
    of: dict[str, list[Indexed]] = {}
    for one in evaluations:
        of.setdefault(str(one.parent_gen_id), []).append(one)
    found = [one for parent in essays for one in of.get(parent.gen_id, ())]
    present = Counter((str(one.template_id), str(one.llm_model_id)) for one in found)
    return cover(essays, lambda gen_id: of.get(gen_id, ()), present, **wanted)


def cells(map_: Coverage) -> tuple[Cell, ...]:
    return map_.shown[0].cells


def grouped(map_: Coverage, at: int) -> list[list[str]]:
    column = map_.columns[at]
    return [column.full.first, column.partial.first, column.none.first]


@pytest.mark.parametrize(
    ("evaluations", "kind", "marks", "words"),
    [
        ([], "none", "○○○", "missing 1, 2, 3"),
        ([("a", 1), ("b", 3)], "partial", "●○●", "made 1, 3, missing 2"),
        ([("a", 1), ("b", 2), ("c", 3)], "full", "●●●", "made 1, 2, 3"),
        ([("a", 1), ("b", 1)], "partial", "●○○+1", TWICE),
        ([("a", None), ("b", 1)], "partial", "●●○", "made 1, 2, missing 3"),
        ([("a", 7)], "partial", "○○○●", "made 7, missing 1, 2, 3"),
    ],
)  # fmt: skip
def test_a_cell_shows_which_replicates_are_missing(
    evaluations: list[tuple[str, int | None]], kind: str, marks: str, words: str
) -> None:
    """Gaps, numbers twice and metadata without a number are all told apart."""
    cell = covered(*(evaluation(gen_id, n) for gen_id, n in evaluations)).shown[0].cells[0]
    assert (kind, marks, words) == (cell.kind, cell.marks, cell.words)


def test_a_cell_knows_the_ids_behind_it() -> None:
    """Each evaluation with its number, also those that are there twice."""
    cell = covered(evaluation("b", 1), evaluation("a", 1), evaluation("c", 3)).shown[0].cells[0]
    assert ((1, "a"), (1, "b"), (3, "c")) == cell.ids


def test_an_evaluation_without_text_waits_and_is_not_missing() -> None:
    """A seeded evaluation is a slot that exists: it is waiting, not missing."""
    map_ = covered(evaluation("a", 1, made=False), evaluation("b", 2), replicates=2)
    assert ("partial", "◐●") == (map_.shown[0].cells[0].kind, map_.shown[0].cells[0].marks)
    assert (0, 1, 1) == (len(map_.missing), map_.waiting, len(map_.incomplete))


def test_what_the_tables_do_not_ask_for_is_shown_and_not_missed() -> None:
    """A column of an older template has its evaluations and lacks none."""
    map_ = covered(evaluation("a", 1, template="older"), replicates=1)
    assert [("novelty", True), ("older", False)] == [
        (column.template_id, column.wanted) for column in map_.columns
    ]
    assert ["none", "extra"] == [cell.kind for cell in cells(map_)]
    assert [[[], [], ["e1"]], [["e1"], [], []]] == [grouped(map_, at) for at in (0, 1)]


def test_without_tables_nothing_is_wanted() -> None:
    """Where the tables cannot be read the map shows what is there."""
    map_ = covered(evaluation("a", 2), replicates=None)
    assert (None, 0, "extra", "●") == (
        map_.replicates,
        len(map_.missing),
        map_.shown[0].cells[0].kind,
        map_.shown[0].cells[0].marks,
    )


def test_many_replicates_are_counted() -> None:
    """Where a cell wants more than eight, it shows how many there are."""
    cell = covered(evaluation("a", 4), replicates=20).shown[0].cells[0]
    assert "1/20" == cell.marks


def test_the_missing_evaluations_are_offered_as_csv() -> None:
    """One line a missing evaluation, safe for a spreadsheet."""
    map_ = cover_all([essay("e1")], [], wanted=[("=1+1", "@m")], replicates=2)
    rows = list(csv.reader(io.StringIO(map_.missing_csv())))
    assert [["e1", "'=1+1", "'@m", "1"], ["e1", "'=1+1", "'@m", "2"]] == rows[1:]


def test_the_bar_of_a_column_shows_how_its_essays_stand() -> None:
    """Complete, begun and without any, as the numbers beside it."""
    essays = [essay("e1"), essay("e2"), essay("e3")]
    map_ = cover_all(essays, [evaluation("a", 1)], wanted=WANTED, replicates=1)
    assert [["e1"], [], ["e2", "e3"]] == grouped(map_, 0)


def test_a_page_shows_the_essays_that_lack_something_first() -> None:
    """Fifty of them, complete ones only where there is room, each in the order of the store."""
    essays = [essay(f"e{number:02}") for number in range(60)]
    made = [evaluation(f"v{n}", 1, parent=f"e{n:02}") for n in range(20)]
    shown = cover_all(essays, made, wanted=WANTED, replicates=1).shown
    expected = [*range(20, 60), *range(10)]
    assert [f"e{number:02}" for number in expected] == [row.essay.gen_id for row in shown]


def test_a_page_of_very_many_cells_stays_a_page() -> None:
    """Columns that nobody asked for, rows and CSV lines end somewhere, and what is left is said."""
    essays = [essay(f"e{number}") for number in range(400)]
    odd = [evaluation(f"v{n}", 1, parent="e1", template=f"odd-{n:03}") for n in range(300)]
    wanted = [(f"t{number}", "m") for number in range(300)]
    map_ = cover_all(essays, odd, wanted=wanted, replicates=1)
    assert (340, 260) == (len(map_.columns), map_.unlisted)
    assert (400, 50) == (map_.essays, len(map_.shown))
    assert (120_000, 20_001) == (len(map_.missing), len(map_.missing_csv().splitlines()))
