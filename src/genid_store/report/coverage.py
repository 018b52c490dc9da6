"""Evaluation coverage: which essay has which evaluations, and which replicates are missing; pure.

A cell is one essay under one evaluation template and model. Where the raw tables ask for the
column, the numbers from 1 to the replicate count are wanted; a column that they do not ask for is
shown with what it has. An evaluation whose metadata gives no replicate counts as the lowest number
that no other one has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from attrs import define, field, frozen

from genid_store.catalog.index.rows import Indexed
from genid_store.cohort.planning.fill_up import numbered
from genid_store.fs.csvfile import dump_safe_csv
from genid_store.report.listed import Listed

Kind = Literal["full", "partial", "none", "extra", "blank"]
#: How each state of a replicate is marked, in the order in which they are told.
MARKS: Final = {"made": "●", "waiting": "◐", "missing": "○"}
_MARKS: Final = 8  # replicates that a cell shows one by one; more are counted
_UNASKED: Final = 40  # pairs that the tables do not ask for and that get a column
_ROWS: Final = 50  # essays that a page shows
_LINES: Final = 20_000  # missing evaluations that a page offers as CSV


@frozen(kw_only=True)
class Column:
    """An evaluation template and model; `wanted` where the raw tables ask for it. `full`, `partial`
    and `none` are the essays that are complete, begun, and without any evaluation."""

    template_id: str
    llm_model_id: str
    wanted: bool
    full: Listed = field(factory=Listed)
    partial: Listed = field(factory=Listed)
    none: Listed = field(factory=Listed)

    def add(self, gen_id: str, kind: Kind) -> None:
        """Count an essay whose cell in this column is of a kind."""
        groups = {"full": self.full, "extra": self.full, "partial": self.partial}
        groups.get(kind, self.none).add(gen_id)


@frozen(kw_only=True)
class Cell:
    """The replicate numbers of one cell in order, each made, waiting for its text or missing."""

    states: Mapping[int, str] = field(factory=dict)
    repeated: int = 0  # evaluations beyond the first of one number
    wanted: bool = True
    ids: tuple[tuple[int, str], ...] = ()  # (number, id) of each evaluation

    @property
    def kind(self) -> Kind:
        """How the cell is coloured."""
        found = set(self.states.values())
        if not self.wanted:
            return "extra" if found else "blank"
        if found <= {"made"}:
            return "full"
        return "partial" if "made" in found else "none"

    @property
    def marks(self) -> str:
        """One mark a number, in order; counts where there are many."""
        found = list(self.states.values())
        more = f"+{self.repeated}" if self.repeated else ""
        if len(found) > _MARKS:
            return f"{found.count('made')}/{len(found)}{more}"
        return "".join(MARKS[state] for state in found) + more or "·"

    @property
    def words(self) -> str:
        """The same for those who do not see the marks."""
        named = {
            name: [str(n) for n, state in self.states.items() if state == name] for name in MARKS
        }
        parts = [f"{name} {', '.join(numbers)}" for name, numbers in named.items() if numbers]
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


@define(kw_only=True)
class Coverage:
    """The whole map. `replicates` is what the tables ask for, None where they could not be read.

    `incomplete` and `complete` are the rows of the essays that lack something, and of those that do
    not; `missing` the evaluations that are wanted and that no generation stands for, as (essay,
    template, model, replicate); `waiting` counts those without a text yet, `orphans` those of an
    essay that the store does not hold, or of no template or model, and `unlisted` those of rare
    pairs that are not asked for and got no column.
    """

    columns: tuple[Column, ...]
    replicates: int | None
    orphans: int = 0
    unlisted: int = 0
    waiting: int = 0
    incomplete: Listed = field(factory=Listed)
    complete: Listed = field(factory=Listed)
    missing: Listed = field(factory=Listed)

    @property
    def shown(self) -> list[EssayRow]:
        """The essays that a page shows: those that lack something first."""
        return [*self.incomplete.first, *self.complete.first][:_ROWS]

    @property
    def essays(self) -> int:
        """How many essays there are."""
        return len(self.incomplete) + len(self.complete)

    def missing_csv(self) -> str:
        """Return the missing evaluations as CSV, one a line, as many as a page carries."""
        columns = ("essay_gen_id", "template_id", "llm_model_id", "replicate")
        return dump_safe_csv(columns, self.missing.first)

    def add(self, row: EssayRow) -> None:
        """Count one essay."""
        gen_id = row.essay.gen_id
        for column, cell in zip(self.columns, row.cells, strict=True):
            column.add(gen_id, cell.kind)
            self.waiting += list(cell.states.values()).count("waiting")
            for number in (n for n, state in cell.states.items() if state == "missing"):
                missing = (gen_id, column.template_id, column.llm_model_id, number)
                self.missing.add(missing, _LINES)
        (self.complete if row.complete else self.incomplete).add(row, _ROWS)


def cover(
    essays: Iterable[Indexed],
    evaluations: Callable[[str], Iterable[Indexed]],
    present: Mapping[tuple[str, str], int],
    *,
    wanted: Sequence[tuple[str, str]],
    replicates: int | None,
    orphans: int = 0,
) -> Coverage:
    """Return the map of some essays, one at a time in the order of the page.

    `evaluations` gives those of an essay; `present` counts those of all by (template, model), but
    for the `orphans`. `wanted` are the (template, model) pairs that the tables ask for, in table
    order; empty, with `replicates` None, where the tables cannot be read.
    """
    columns = _columns(wanted, present)
    listed = {(column.template_id, column.llm_model_id) for column in columns}
    unlisted = sum(count for pair, count in present.items() if pair not in listed)
    found = Coverage(columns=columns, replicates=replicates, orphans=orphans, unlisted=unlisted)
    for essay in essays:
        found.add(_row(essay, columns, evaluations(essay.gen_id), replicates or 0))
    return found


def _columns(
    wanted: Sequence[tuple[str, str]], present: Mapping[tuple[str, str], int]
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
    essay: Indexed, columns: Sequence[Column], evaluations: Iterable[Indexed], replicates: int
) -> EssayRow:
    found: dict[tuple[str | None, str | None], list[Indexed]] = {}
    for one in evaluations:
        found.setdefault((one.template_id, one.llm_model_id), []).append(one)
    pairs = [(one, (one.template_id, one.llm_model_id)) for one in columns]
    cells = (_cell(found.get(pair, ()), replicates, one.wanted) for one, pair in pairs)
    return EssayRow(essay=essay, cells=tuple(cells))


_BLANK: Final = Cell(wanted=False)


def _cell(evaluations: Sequence[Indexed], replicates: int, wanted: bool) -> Cell:
    if not evaluations and not wanted:
        return _BLANK
    ordered = sorted(evaluations, key=lambda one: one.gen_id)
    numbers = list(zip(numbered([one.replicate for one in ordered]), ordered, strict=True))
    states = dict.fromkeys(range(1, replicates + 1) if wanted else (), "missing")
    for number, one in numbers:
        if states.get(number) != "made":
            states[number] = "made" if one.has_content else "waiting"
    return Cell(
        states=dict(sorted(states.items())),
        repeated=len(numbers) - len({number for number, _ in numbers}),
        wanted=wanted,
        ids=tuple(sorted((number, one.gen_id) for number, one in numbers)),
    )
