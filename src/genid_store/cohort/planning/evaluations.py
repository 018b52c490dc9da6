"""Evaluations of a cohort's own essays, and the evaluation-only cohort over essays of the store.

Filling up is in the module `fill_up`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from attrs import evolve

from genid import Essay
from genid_store.catalog.metadata import Generation
from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.fill_up import fill_up
from genid_store.cohort.planning.records import FillUp, Inputs, Row, StoreView, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.cohort.planning.sources import Refusals, Source
from genid_store.fs.layout import is_segment
from genid_store.ids.minting import GenerationIds


def plan_evaluations(
    inputs: Inputs, rows: RowCollector, essays: Iterable[Source], view: StoreView
) -> FillUp | None:
    """Collect the rows of an evaluation-only cohort: evaluations of the essays, which stay as is.

    StoreError: neither an essay's metadata nor its draft's has a combo_id, an essay's id cannot be
    part of a deterministic one, or `check_axes` refuses.
    """
    check_axes(inputs)
    essays = tuple(_with_combo(essay, view) for essay in essays)
    refusals = Refusals()
    for source in essays:
        refusals.lacks(source, ("combo_id",))
        # A deterministic evaluation id includes the essay's id, and not every legacy id fits.
        if inputs.rollout.covers("evaluation"):
            with refusals.of(source):
                Essay.reference(source.gen_id)
    refusals.check()
    parents = [source.generation for source in essays]
    if inputs.selection.fill_up:
        return fill_up(inputs, rows, parents, view)
    rows.extend(evaluation_rows(inputs, parents))
    return None


def _with_combo(essay: Source, view: StoreView) -> Source:
    """Return an essay, with its draft's combo if its own metadata does not name one."""
    generation = essay.generation
    if generation.combo_id is not None or not is_segment(generation.parent_gen_id):
        return essay
    draft = view.get("draft", str(generation.parent_gen_id))
    combo = None if draft is None else draft.combo_id
    return evolve(essay, generation=evolve(generation, combo_id=combo))


def evaluation_rows(inputs: Inputs, essays: Iterable[Row | Generation]) -> list[Row]:
    """Return the evaluations of each essay: active templates x models (as tabled) x replicates."""
    cohort_id = inputs.cohort_id
    parents = [(essay.gen_id, essay.combo_id or "") for essay in essays]
    templates = [row.template_id for row in inputs.tables.active_templates("evaluation")]
    models = [row.llm_model_id for row in inputs.tables.evaluation_models]
    replicates = inputs.tables.replicates["evaluation"]
    ids = GenerationIds(inputs.rollout, cohort_id).evaluations(
        essay_gen_ids=[gen_id for gen_id, _ in parents],
        template_ids=templates,
        llm_model_ids=models,
        replicates=replicates,
    )
    cells = product(parents, templates, models, range(1, replicates + 1))
    return [
        new_row(("evaluation", gen_id, cohort_id, parent, combo, template, model, number, "llm"))
        for gen_id, ((parent, combo), template, model, number) in zip(ids, cells, strict=True)
    ]
