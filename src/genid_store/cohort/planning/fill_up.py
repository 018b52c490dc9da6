"""Filling up: as many evaluations as each (essay, template, model) lacks, and no more.

Evaluations of other cohorts count as there; the cohort's own are its members and planned again.
Legacy ids are numbered from the count of existing ones up. Deterministic ones take the lowest free
numbers, an existing one without a number counting as the lowest that no other has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import count, islice, product

from attrs import frozen

from genid_store.catalog.metadata import Generation
from genid_store.cohort.planning.records import Cell, FillUp, Inputs, Row, StoreView, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.ids import legacy
from genid_store.ids.components import folded
from genid_store.ids.minting import GenerationIds

Fold = Callable[[str], str]
Key = tuple[str, str, str]
#: The evaluations of one cell that the store holds, each with its number (see `numbered`).
Numbered = Sequence[tuple[int, Generation]]


def fill_up(
    inputs: Inputs, rows: RowCollector, essays: Sequence[Generation], view: StoreView
) -> FillUp:
    """Collect, cell by cell, the cohort's own evaluations and those that the cell lacks."""
    fold = folded if inputs.rollout.covers("evaluation") else str
    existing = _existing(inputs, rows, essays, view, fold)
    wanted = inputs.tables.replicates["evaluation"]
    cells = []
    for essay, template, model in _grid(inputs, essays):
        there = existing.get((essay.gen_id, fold(template), fold(model)), ())
        lacking = max(0, wanted - len(there))
        cell = _Cell(inputs=inputs, essay=essay, template=template, model=model, there=there)
        own, added = cell.own(), islice(cell.additions(view), lacking)
        rows.extend(sorted([*own, *added], key=lambda row: (row.replicate, row.gen_id)))
        cells.append(
            Cell(
                essay_gen_id=essay.gen_id,
                template_id=template,
                llm_model_id=model,
                others=len(there) - len(own),
                own=len(own),
                added=lacking,
            )
        )
    return FillUp(cells=tuple(cells))


def numbered(replicates: Sequence[int | None]) -> list[int]:
    """Return replicate numbers with each None as the lowest number not otherwise taken."""
    free = free_numbers({number for number in replicates if number is not None})
    return [next(free) if number is None else number for number in replicates]


def free_numbers(taken: Container[int]) -> Iterator[int]:
    """Yield the replicate numbers that are not in `taken`, from 1 up, without end."""
    return (number for number in count(1) if number not in taken)


@frozen(kw_only=True)
class _Cell:
    """One cell on its way to its rows."""

    inputs: Inputs
    essay: Generation
    template: str
    model: str
    there: Numbered

    def own(self) -> list[Row]:
        """Return the cohort's own evaluations, under the ids they have."""
        cohort_id = self.inputs.cohort_id
        mine = (pair for pair in self.there if pair[1].origin_cohort_id == cohort_id)
        return [self._row(one.gen_id, number) for number, one in mine]

    def additions(self, view: StoreView) -> Iterator[Row]:
        """Yield new evaluations, without end."""
        if self.inputs.rollout.covers("evaluation"):
            return self._lowest_free(view)
        return self._counted_up(view)

    def _lowest_free(self, view: StoreView) -> Iterator[Row]:
        """Yield the lowest free numbers; one whose id the store holds already is not free."""
        for number in free_numbers({number for number, _ in self.there}):
            gen_id = self._mint(number, None)
            if not view.has("evaluation", gen_id):
                yield self._row(gen_id, number)

    def _counted_up(self, view: StoreView) -> Iterator[Row]:
        """Yield numbers from the count of existing ones up, each under the first id not taken."""
        for number in count(len(self.there) + 1):
            minted = (self._mint(number, salt) for salt in legacy.fill_up_salts(number))
            free = (gen_id for gen_id in minted if not view.has("evaluation", gen_id))
            yield self._row(next(free), number)

    def _mint(self, number: int, salt: str | None) -> str:
        return GenerationIds(self.inputs.rollout, self.inputs.cohort_id).evaluation(
            parent_gen_id=self.essay.gen_id,
            template_id=self.template,
            llm_model_id=self.model,
            replicate=number,
            task_id=legacy.evaluation_task(self.essay.gen_id, self.template, self.model),
            salt=salt,
        )

    def _row(self, gen_id: str, number: int) -> Row:
        cohort_id, above = self.inputs.cohort_id, (self.essay.gen_id, self.essay.combo_id or "")
        own = (self.template, self.model, number, "llm")
        return new_row(("evaluation", gen_id, cohort_id, *above, *own))


def _grid(inputs: Inputs, essays: Iterable[Generation]) -> Iterator[tuple[Generation, str, str]]:
    templates = [row.template_id for row in inputs.tables.active_templates("evaluation")]
    models = [row.llm_model_id for row in inputs.tables.evaluation_models]
    return product(essays, templates, models)


def _existing(
    inputs: Inputs, rows: RowCollector, essays: Iterable[Generation], view: StoreView, fold: Fold
) -> dict[Key, Numbered]:
    """Return the store's evaluations by cell; those that cannot be attributed become notices."""
    found: dict[Key, list[Generation]] = defaultdict(list)
    for one in view.evaluations_of({essay.gen_id for essay in essays}):
        rows.notices.extend(one.problems)
        if one.parent_gen_id and one.template_id and one.llm_model_id:
            key = (one.parent_gen_id, fold(one.template_id), fold(one.llm_model_id))
            found[key].append(one)
    return {
        key: tuple(zip(numbered([one.replicate for one in ones]), ones, strict=True))
        for key, ones in found.items()
    }
