"""Evaluation coverage: which essay has which evaluations, and which replicates are missing; pure.

A cell is one essay under one evaluation template and model. If the raw tables ask for that pair,
the replicates from 1 to the configured count are wanted; for any other pair, the cell shows what
exists. An evaluation without `replicate` in its metadata counts as the lowest free number.
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
#: The mark for each state of a replicate, in the order in which states are listed.
MARKS: Final = {"made": "●", "waiting": "◐", "missing": "○"}
_MARKS: Final = 8  # replicates that a cell shows one by one; more are counted
_UNASKED: Final = 40  # columns for pairs that the tables do not ask for
_ROWS: Final = 50  # essays on a page
_LINES: Final = 20_000  # missing evaluations in the CSV of a page


@frozen(kw_only=True)
class Column:
    """An evaluation template and model, `wanted` if the raw tables ask for the pair.

    `full`, `partial` and `none` are the essays that have all, some and none of its evaluations.
    """

    template_id: str
    llm_model_id: str
    wanted: bool
    full: Listed = field(factory=Listed)
    partial: Listed = field(factory=Listed)
    none: Listed = field(factory=Listed)

    def add(self, gen_id: str, kind: Kind) -> None:
        """Count an essay by the kind of its cell in this column."""
        groups = {"full": self.full, "extra": self.full, "partial": self.partial}
        groups.get(kind, self.none).add(gen_id)


@frozen(kw_only=True)
class Cell:
    """The replicates of one cell in order, each "made", "waiting" for its text or "missing"."""

    states: Mapping[int, str] = field(factory=dict)
    repeated: int = 0  # evaluations beyond the first of one number
    wanted: bool = True
    ids: tuple[tuple[int, str], ...] = ()  # (number, id) of each evaluation

    @property
    def kind(self) -> Kind:
        """How the cell is coloured."""
        states = set(self.states.values())
        if not self.wanted:
            return "extra" if states else "blank"
        if states <= {"made"}:
            return "full"
        return "partial" if "made" in states else "none"

    @property
    def marks(self) -> str:
        """One mark for each replicate, in order; only counts if there are many."""
        states = list(self.states.values())
        more = f"+{self.repeated}" if self.repeated else ""
        if len(states) > _MARKS:
            return f"{states.count('made')}/{len(states)}{more}"
        return "".join(MARKS[state] for state in states) + more or "·"

    @property
    def words(self) -> str:
        """The text that a screen reader speaks instead of the marks."""
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
    """The coverage of all essays. `replicates` is None if the tables could not be read.

    `incomplete` and `complete` are the rows of essays that lack evaluations and of those that do
    not. `missing` are the wanted evaluations without a generation, as (essay, template, model,
    replicate). Three counts of evaluations: `waiting` have no text yet; `orphans` belong to an
    essay that the store does not hold, or have no template or model; `unlisted` are of pairs that
    the tables do not ask for and that are too rare for a column.
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
        """The essays on a page: first those that lack evaluations."""
        return [*self.incomplete.first, *self.complete.first][:_ROWS]

    @property
    def essays(self) -> int:
        """The number of essays."""
        return len(self.incomplete) + len(self.complete)

    def missing_csv(self) -> str:
        """Return the missing evaluations as CSV, one a line, up to the limit of a page."""
        columns = ("essay_gen_id", "template_id", "llm_model_id", "replicate")
        return dump_safe_csv(columns, self.missing.first)

    def add(self, row: EssayRow) -> None:
        """Add the row of one essay."""
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
    """Return the coverage of some essays, in the order of the page.

    `evaluations` returns those of an essay by its id. `present` counts the evaluations of all
    essays by (template, model), without the `orphans`. `wanted` are the (template, model) pairs
    that the tables ask for, in table order; empty, with `replicates` None, if the tables cannot be
    read.
    """
    columns = _columns(wanted, present)
    listed = {(column.template_id, column.llm_model_id) for column in columns}
    unlisted = sum(count for pair, count in present.items() if pair not in listed)
    coverage = Coverage(columns=columns, replicates=replicates, orphans=orphans, unlisted=unlisted)
    for essay in essays:
        coverage.add(_row(essay, columns, evaluations(essay.gen_id), replicates or 0))
    return coverage


def _columns(
    wanted: Sequence[tuple[str, str]], present: Mapping[tuple[str, str], int]
) -> tuple[Column, ...]:
    """Return the wanted pairs in their order, then the most frequent of the others, sorted."""
    others = sorted(present.keys() - set(wanted), key=lambda pair: (-present[pair], pair))
    pairs = [(pair, True) for pair in dict.fromkeys(wanted)]
    pairs += [(pair, False) for pair in sorted(others[:_UNASKED])]
    return tuple(
        Column(template_id=template, llm_model_id=model, wanted=asked)
        for (template, model), asked in pairs
    )


def _row(
    essay: Indexed, columns: Sequence[Column], evaluations: Iterable[Indexed], replicates: int
) -> EssayRow:
    by_pair: dict[tuple[str | None, str | None], list[Indexed]] = {}
    for evaluation in evaluations:
        pair = evaluation.template_id, evaluation.llm_model_id
        by_pair.setdefault(pair, []).append(evaluation)
    cells = (
        _cell(by_pair.get((column.template_id, column.llm_model_id), ()), replicates, column.wanted)
        for column in columns
    )
    return EssayRow(essay=essay, cells=tuple(cells))


_BLANK: Final = Cell(wanted=False)


def _cell(evaluations: Sequence[Indexed], replicates: int, wanted: bool) -> Cell:
    if not evaluations and not wanted:
        return _BLANK
    ordered = sorted(evaluations, key=lambda evaluation: evaluation.gen_id)
    numbers = numbered([evaluation.replicate for evaluation in ordered])
    states = dict.fromkeys(range(1, replicates + 1) if wanted else (), "missing")
    for number, evaluation in zip(numbers, ordered, strict=True):
        if states.get(number) != "made":
            states[number] = "made" if evaluation.has_content else "waiting"
    return Cell(
        states=dict(sorted(states.items())),
        repeated=len(numbers) - len(set(numbers)),
        wanted=wanted,
        ids=tuple(sorted(zip(numbers, (one.gen_id for one in ordered), strict=True))),
    )
