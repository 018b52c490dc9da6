"""The records that planning takes and returns: inputs, rows, plans, the view of the store.

The rules are in `plan` and in the modules of the modes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

from attrs import field, frozen

from genid_store.catalog.metadata import Generation
from genid_store.cohort.inputs.combos import Combo
from genid_store.cohort.inputs.selection import CohortMode, Selection
from genid_store.cohort.inputs.tables import RawTables
from genid_store.errors import Problem
from genid_store.ids.rollout import Rollout

#: (stage, id of any family) -> the id under which the store has that generation, or None.
Resolve = Callable[[str, str], str | None]


class Row(NamedTuple):
    """One member of a cohort.

    A tuple, because a cohort may have 100,000 of them, and a frozen attrs record takes five times
    as long to create.
    """

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
        """Return the generation that a build creates for this row."""
        return Generation(**self._asdict())


#: Creates a row from a tuple of all its values; `Row(...)` takes twice as long.
new_row: Final[Callable[[tuple[object, ...]], Row]] = partial(tuple.__new__, Row)


@frozen(kw_only=True)
class Fold:
    """Two sources or tasks with one id: the row is that of `kept`, and `folded` has none."""

    stage: str
    gen_id: str
    kept: str
    folded: str


@frozen(kw_only=True)
class Cell:
    """One (essay, template, model) that was filled up, with its numbers of evaluations.

    They are those of other cohorts, this cohort's own from earlier builds, and those added now.
    """

    essay_gen_id: str
    template_id: str
    llm_model_id: str
    others: int
    own: int
    added: int


@frozen(kw_only=True)
class FillUp:
    """The cells that were filled up, in the order of the selection and the tables."""

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
        """The essays that lacked no evaluation, in the order of the selection."""
        lacking = {cell.essay_gen_id for cell in self.missing}
        essays = dict.fromkeys(cell.essay_gen_id for cell in self.cells)
        return tuple(essay for essay in essays if essay not in lacking)


@frozen(kw_only=True)
class Inputs:
    """Everything that a plan depends on, apart from the store."""

    tables: RawTables
    combos: tuple[Combo, ...]
    selection: Selection
    rollout: Rollout
    cohort_id: str


@frozen(kw_only=True)
class Plan:
    """A cohort's members in membership order, each id once, with what an operator should know.

    `by_stage` has the same rows by stage and id.
    `folded` lists the tasks that share the id of an earlier one, `notices` the problems that do not
    affect this plan. `rebuilt` has the (stage, id) of each selected generation's row, in an order
    that does not depend on the rollout.
    """

    cohort_id: str
    mode: CohortMode
    rollout: Rollout
    rows: tuple[Row, ...]
    by_stage: Mapping[str, Mapping[str, Row]] = field(repr=False)
    folded: tuple[Fold, ...] = ()
    rebuilt: tuple[tuple[str, str], ...] = ()
    fill_up: FillUp | None = None
    notices: tuple[Problem, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of rows by stage."""
        return {stage: len(rows) for stage, rows in self.by_stage.items()}


class StoreView(Protocol):
    """What planning needs to read from the store. Only safe path segments are passed as ids."""

    def get(self, stage: str, gen_id: str) -> Generation | None:
        """Return a generation, None if it has no metadata.json."""

    def has(self, stage: str, gen_id: str) -> bool:
        """Return whether a generation has a metadata.json."""

    def evaluations_of(self, essay_gen_ids: Collection[str]) -> Iterable[Generation]:
        """Return the evaluations of these essays, ordered by id.

        Evaluations whose metadata cannot be read may be among them, with their problems.
        """
