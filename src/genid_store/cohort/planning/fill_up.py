"""Fill up a cohort: exactly as many evaluations as each (essay, template, model) lacks.

Evaluations of other cohorts count as existing. The cohort's own are members, so they are planned
again. Legacy ids are numbered on from the count of existing evaluations. Deterministic ids take the
lowest free numbers; an existing evaluation without a number counts as the lowest that no other has,
and one that was given another's text is the same sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import count, islice, product

from attrs import frozen

from genid_store.catalog.copies import one_text
from genid_store.catalog.metadata import Generation
from genid_store.cohort.planning.records import Cell, FillUp, Inputs, Row, StoreView, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.ids import legacy
from genid_store.ids.components import folded
from genid_store.ids.minting import GenerationIds

Normalize = Callable[[str], str]
Key = tuple[str, str, str]
#: The stored evaluations of one cell, each with its number (see `numbered`).
Numbered = Sequence[tuple[int, Generation]]


def fill_up(
    inputs: Inputs, rows: RowCollector, essays: Sequence[Generation], view: StoreView
) -> FillUp:
    """Collect, cell by cell, the cohort's own evaluations and those that the cell lacks."""
    covered = inputs.rollout.covers("evaluation")
    normalize: Normalize = folded if covered else str
    stored = _stored(rows, essays, view, normalize)
    wanted = inputs.tables.replicates["evaluation"]
    templates = [row.template_id for row in inputs.tables.active_templates("evaluation")]
    models = [row.llm_model_id for row in inputs.tables.evaluation_models]
    cells = []
    for essay, template, model in product(essays, templates, models):
        existing = stored.get((essay.gen_id, normalize(template), normalize(model)), ())
        lacking = max(0, wanted - (_samples(existing) if covered else len(existing)))
        cell = _Cell(inputs=inputs, essay=essay, template=template, model=model, existing=existing)
        own, added = cell.own(), islice(cell.additions(view), lacking)
        # A rebuild, in which the added ones are the cohort's own, gives the same order.
        rows.extend(sorted([*own, *added], key=lambda row: (row.replicate, row.gen_id)))
        cells.append(
            Cell(
                essay_gen_id=essay.gen_id,
                template_id=template,
                llm_model_id=model,
                others=len(existing) - len(own),
                own=len(own),
                added=lacking,
            )
        )
    return FillUp(cells=tuple(cells))


def numbered(replicates: Sequence[int | None]) -> list[int]:
    """Return replicate numbers, with each None replaced by the lowest number not yet taken."""
    free = free_numbers({number for number in replicates if number is not None})
    return [next(free) if number is None else number for number in replicates]


def free_numbers(taken: Container[int]) -> Iterator[int]:
    """Yield the replicate numbers from 1 that are not in `taken`, without end."""
    return (number for number in count(1) if number not in taken)


@frozen(kw_only=True)
class _Cell:
    """One cell while its rows are planned; `existing` are its stored evaluations."""

    inputs: Inputs
    essay: Generation
    template: str
    model: str
    existing: Numbered

    def own(self) -> list[Row]:
        """Return the rows of the cohort's own existing evaluations, under their ids."""
        return [
            self._row(evaluation.gen_id, number)
            for number, evaluation in self.existing
            if evaluation.origin_cohort_id == self.inputs.cohort_id
        ]

    def additions(self, view: StoreView) -> Iterator[Row]:
        """Yield, without end, the rows of new evaluations, whose ids the store does not have."""
        covered = self.inputs.rollout.covers("evaluation")
        # Legacy ones count on, as in the existing pipeline, even if lower numbers are free.
        counted = count(len(self.existing) + 1)
        for number in free_numbers({at for at, _ in self.existing}) if covered else counted:
            minted = (self._mint(number, salt) for salt in legacy.fill_up_salts(number))
            tried = islice(minted, 1) if covered else minted  # no salt is in a deterministic id
            free = next((one for one in tried if not view.has("evaluation", one)), None)
            if free is not None:
                yield self._row(free, number)

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
        cohort_id, parent = self.inputs.cohort_id, (self.essay.gen_id, self.essay.combo_id or "")
        own = (self.template, self.model, number, "llm")
        return new_row(("evaluation", gen_id, cohort_id, *parent, *own))


def _samples(existing: Numbered) -> int:
    """Return how many samples evaluations are: one that was given another's text is no further."""
    ids = {one.gen_id for _, one in existing}
    given = ((one.gen_id, one.adopted_from) for _, one in existing)
    stands_for = one_text((copy, source) for copy, source in given if source in ids)
    return len({stands_for.get(gen_id, gen_id) for gen_id in ids})


def _stored(
    rows: RowCollector, essays: Iterable[Generation], view: StoreView, normalize: Normalize
) -> dict[Key, Numbered]:
    """Return the stored evaluations by cell; problems of their metadata become notices."""
    cells: dict[Key, list[Generation]] = defaultdict(list)
    for evaluation in view.evaluations_of({essay.gen_id for essay in essays}):
        rows.notices.extend(evaluation.problems)
        if evaluation.parent_gen_id and evaluation.template_id and evaluation.llm_model_id:
            names = normalize(evaluation.template_id), normalize(evaluation.llm_model_id)
            cells[evaluation.parent_gen_id, *names].append(evaluation)
    return {
        key: tuple(zip(numbered([item.replicate for item in cell]), cell, strict=True))
        for key, cell in cells.items()
    }
