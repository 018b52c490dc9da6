"""Evaluation coverage: which essay has which evaluations, and which replicates are missing; pure.

A cell is one essay under one evaluation template and model. Where the raw tables ask for the
column, the numbers from 1 to the replicate count are wanted; a column that they do not ask for is
shown with what it has. An evaluation whose metadata gives no replicate counts as the lowest number
that no other one has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from attrs import frozen

from genid_store.catalog.index.rows import Indexed
from genid_store.cohort.planning.fill_up import numbered
from genid_store.fs.csvfile import dump_safe_csv
from genid_store.report.drawing import Segment, bar

Kind = Literal["full", "partial", "none", "extra", "blank"]
MADE: Final = "●"
WAITING: Final = "◐"
MISSING: Final = "○"
_MARKS: Final = 8  # replicates that a cell shows one by one; more are counted
_UNASKED: Final = 40  # pairs that the tables do not ask for and that get a column
_ROWS: Final = 50  # essays that a page shows
_LINES: Final = 20_000  # missing evaluations that a page offers as CSV


@frozen(kw_only=True)
class Column:
    """An evaluation template and model; `wanted` where the raw tables ask for it."""

    template_id: str
    llm_model_id: str
    wanted: bool


@frozen(kw_only=True)
class Cell:
    """The replicate numbers of one cell: made, waiting for their text, and missing altogether."""

    made: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    repeated: int = 0  # evaluations beyond the first of one number
    wanted: bool = True
    ids: tuple[tuple[int, str], ...] = ()  # (number, id) of each evaluation

    @property
    def kind(self) -> Kind:
        """How the cell is coloured."""
        if not self.wanted:
            return "extra" if self.made or self.waiting else "blank"
        if not self.missing and not self.waiting:
            return "full"
        return "partial" if self.made else "none"

    @property
    def marks(self) -> str:
        """One mark a number, in order; counts where there are many."""
        marks = {
            **dict.fromkeys(self.missing, MISSING),
            **dict.fromkeys(self.waiting, WAITING),
            **dict.fromkeys(self.made, MADE),
        }
        more = f"+{self.repeated}" if self.repeated else ""
        if len(marks) > _MARKS:
            return f"{len(self.made)}/{len(marks)}{more}"
        return "".join(marks[number] for number in sorted(marks)) + more or "·"

    @property
    def words(self) -> str:
        """The same for those who do not see the marks."""
        named = (("made", self.made), ("waiting", self.waiting), ("missing", self.missing))
        parts = [f"{name} {', '.join(map(str, numbers))}" for name, numbers in named if numbers]
        if self.repeated:
            parts.append(f"{self.repeated} more of the same number")
        return ", ".join(parts) or "nothing"


@frozen(kw_only=True)
class EssayRow:
    """One essay and its cells, in the order of the columns."""

    essay: Indexed
    cells: tuple[Cell, ...]

    @property
    def complete(self) -> bool:
        return all(cell.kind in ("full", "extra", "blank") for cell in self.cells)


@frozen(kw_only=True)
class Coverage:
    """The whole map. `replicates` is what the tables ask for, None where they could not be read.

    `orphans` are evaluations of an essay that the store does not hold, or of no template or model;
    `unlisted` those of rare pairs that are not asked for and got no column.
    """

    columns: tuple[Column, ...]
    rows: tuple[EssayRow, ...]
    replicates: int | None
    orphans: int
    unlisted: int = 0

    @property
    def shown(self) -> tuple[EssayRow, ...]:
        """The essays that a page shows: those that lack something first."""
        return tuple(sorted(self.rows, key=lambda row: row.complete)[:_ROWS])

    @property
    def missing(self) -> int:
        """How many wanted evaluations no generation stands for."""
        return sum(len(cell.missing) for row in self.rows for cell in row.cells)

    @property
    def waiting(self) -> int:
        """How many evaluations have metadata and no text yet."""
        return sum(len(cell.waiting) for row in self.rows for cell in row.cells)

    @property
    def incomplete(self) -> int:
        """How many essays lack a wanted evaluation."""
        return sum(not row.complete for row in self.rows)

    def summary(self, at: int) -> dict[str, tuple[str, ...]]:
        """Return the ids of a column's essays: complete, begun, and without any evaluation."""
        groups: dict[str, tuple[Kind, ...]]
        groups = {"full": ("full", "extra"), "partial": ("partial",), "none": ("none", "blank")}
        return {
            name: tuple(row.essay.gen_id for row in self.rows if row.cells[at].kind in kinds)
            for name, kinds in groups.items()
        }

    def segments(self, at: int) -> tuple[Segment, ...]:
        """Return the bar of a column's essays."""
        return bar([(name, len(ids)) for name, ids in self.summary(at).items()], 200)

    def missing_csv(self) -> str | None:
        """Return the missing evaluations as CSV, one a line; None where they are too many for a
        page to carry."""
        columns = ("essay_gen_id", "template_id", "llm_model_id", "replicate")
        return dump_safe_csv(columns, self._missing_rows()) if self.missing <= _LINES else None

    def _missing_rows(self) -> Iterator[tuple[object, ...]]:
        for row in self.rows:
            for column, cell in zip(self.columns, row.cells, strict=True):
                for number in cell.missing:
                    yield row.essay.gen_id, column.template_id, column.llm_model_id, number


def cover(
    essays: Iterable[Indexed],
    evaluations: Iterable[Indexed],
    *,
    wanted: Sequence[tuple[str, str]],
    replicates: int | None,
) -> Coverage:
    """Return the map of the essays in the store.

    `wanted` are the (template, model) pairs that the tables ask for, in table order; empty, with
    `replicates` None, where the tables cannot be read.
    """
    rows = sorted(essays, key=_place)
    known = {essay.gen_id for essay in rows}
    found: dict[tuple[str, str, str], list[Indexed]] = {}
    orphans = 0
    for one in evaluations:
        if one.parent_gen_id in known and one.template_id and one.llm_model_id:
            key = (one.parent_gen_id, one.template_id, one.llm_model_id)
            found.setdefault(key, []).append(one)
        else:
            orphans += 1
    present: Counter[tuple[str, str]] = Counter()
    for (_, template, model), ones in found.items():
        present[template, model] += len(ones)
    columns = _columns(wanted, present)
    listed = {(column.template_id, column.llm_model_id) for column in columns}
    return Coverage(
        columns=columns,
        rows=tuple(_row(essay, columns, found, replicates) for essay in rows),
        replicates=replicates,
        orphans=orphans,
        unlisted=sum(count for pair, count in present.items() if pair not in listed),
    )


def _place(essay: Indexed) -> tuple[str, str, str, int, str]:
    return (
        essay.combo_id or "",
        essay.template_id or "",
        essay.llm_model_id or "",
        essay.replicate or 0,
        essay.gen_id,
    )


def _columns(
    wanted: Sequence[tuple[str, str]], present: Counter[tuple[str, str]]
) -> tuple[Column, ...]:
    """Return the wanted pairs in their order, then the others that are there most, sorted."""
    others = sorted(present.keys() - set(wanted), key=lambda pair: (-present[pair], pair))
    pairs = [*((pair, True) for pair in dict.fromkeys(wanted))]
    pairs += [(pair, False) for pair in sorted(others[:_UNASKED])]
    return tuple(
        Column(template_id=template, llm_model_id=model, wanted=asked)
        for (template, model), asked in pairs
    )


def _row(
    essay: Indexed,
    columns: Sequence[Column],
    found: dict[tuple[str, str, str], list[Indexed]],
    replicates: int | None,
) -> EssayRow:
    pairs = [(one, (essay.gen_id, one.template_id, one.llm_model_id)) for one in columns]
    cells = (_cell(found.get(key, ()), replicates or 0, one.wanted) for one, key in pairs)
    return EssayRow(essay=essay, cells=tuple(cells))


_BLANK: Final = Cell(wanted=False)


def _cell(evaluations: Sequence[Indexed], replicates: int, wanted: bool) -> Cell:
    if not evaluations and not wanted:
        return _BLANK
    ordered = sorted(evaluations, key=lambda one: one.gen_id)
    numbers = list(zip(numbered([one.replicate for one in ordered]), ordered, strict=True))
    made = {number for number, one in numbers if one.has_content}
    stored = {number for number, _ in numbers}
    return Cell(
        made=tuple(sorted(made)),
        waiting=tuple(sorted(stored - made)),
        missing=tuple(n for n in range(1, replicates + 1) if n not in stored) if wanted else (),
        repeated=len(numbers) - len(stored),
        wanted=wanted,
        ids=tuple(sorted((number, one.gen_id) for number, one in numbers)),
    )
