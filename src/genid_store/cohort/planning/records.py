"""What planning a cohort takes and gives: rows, what was folded, fill-up figures, the store's view.

Records alone; the rules stand in `plan` and the modules of the modes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final, NamedTuple, Protocol

from attrs import frozen

from genid_store.catalog.metadata import Generation
from genid_store.cohort.inputs.combos import Combo
from genid_store.cohort.inputs.selection import CohortMode, Selection
from genid_store.cohort.inputs.tables import RawTables
from genid_store.errors import Problem
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

#: Finds the id under which the store holds a generation that is named by another family's id.
Resolve = Callable[[str, str], str | None]


class Row(NamedTuple):
    """One member of a cohort. A tuple, because cohorts have 100,000 of them and a frozen attrs
    record takes five times as long to make."""

    stage: str
    gen_id: str
    origin_cohort_id: str
    parent_gen_id: str | None
    combo_id: str
    template_id: str
    llm_model_id: str
    replicate: int
    mode: str  # the template's generator: llm or copy

    def as_generation(self) -> Generation:
        """Return the generation that a build makes of this row."""
        return Generation(**self._asdict())


#: Makes a row of all its values, in order; `Row(...)` takes twice as long.
new_row: Final[Callable[[tuple[object, ...]], Row]] = partial(tuple.__new__, Row)


@frozen(kw_only=True)
class Fold:
    """Two sources or tasks that came to one id; the row is that of the first."""

    stage: str
    gen_id: str
    kept: str
    folded: str


@frozen(kw_only=True)
class Cell:
    """One (essay, template, model) that was filled up: evaluations of other cohorts, this cohort's
    own from before, and those added now."""

    essay_gen_id: str
    template_id: str
    llm_model_id: str
    others: int
    own: int
    added: int


@frozen(kw_only=True)
class FillUp:
    """What filling up came to."""

    cells: tuple[Cell, ...]

    @property
    def added(self) -> int:
        """How many evaluations are new in this build."""
        return sum(cell.added for cell in self.cells)

    @property
    def missing(self) -> tuple[Cell, ...]:
        """The cells that lacked evaluations."""
        return tuple(cell for cell in self.cells if cell.added)

    @property
    def covered_essays(self) -> tuple[str, ...]:
        """The essays that lacked none, in the order of the selection."""
        lacking = {cell.essay_gen_id for cell in self.missing}
        essays = dict.fromkeys(cell.essay_gen_id for cell in self.cells)
        return tuple(essay for essay in essays if essay not in lacking)


@frozen(kw_only=True)
class Inputs:
    """What a plan is made from, apart from the store."""

    tables: RawTables
    combos: tuple[Combo, ...]
    selection: Selection
    rollout: Rollout
    cohort_id: str


@frozen(kw_only=True)
class Plan:
    """A cohort's members in membership order, each id once, with what an operator should know.

    `folded` lists what came to an id that was there already, `notices` what is wrong and did not
    matter to this plan. `rebuilt` are the (stage, id) that the selection's generations came to,
    in an order that is the same in every rollout state.
    """

    cohort_id: str
    mode: CohortMode
    rollout: Rollout
    rows: tuple[Row, ...]
    folded: tuple[Fold, ...] = ()
    rebuilt: tuple[tuple[str, str], ...] = ()
    fill_up: FillUp | None = None
    notices: tuple[Problem, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of rows by stage."""
        found = dict.fromkeys(PIPELINE, 0)
        for row in self.rows:
            found[row.stage] += 1
        return found


class StoreView(Protocol):
    """What planning asks the store. Every id that is passed is a safe path segment."""

    def get(self, stage: str, gen_id: str) -> Generation | None:
        """Return a generation, None where it has no metadata.json."""

    def has(self, stage: str, gen_id: str) -> bool:
        """Say whether a generation has a metadata.json."""

    def evaluations_of(self, essay_gen_ids: Collection[str]) -> Iterable[Generation]:
        """Return the evaluations whose parent is one of the essays, ordered by id; those whose
        metadata cannot be read may be among them, with their problems."""
