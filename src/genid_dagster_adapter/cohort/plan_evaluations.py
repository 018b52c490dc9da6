"""Evaluations: of a cohort's own essays, and the evaluation-only cohort over essays of the store.

Filling up (`fill_up`) stands in a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from genid import Essay
from genid_dagster_adapter import legacy
from genid_dagster_adapter.cohort.axes import Axis, check_axes
from genid_dagster_adapter.cohort.fill_up import fill_up
from genid_dagster_adapter.cohort.gather import Gatherer
from genid_dagster_adapter.cohort.rebuild import Refusals
from genid_dagster_adapter.cohort.records import FillUp, Inputs, Row, StoreView
from genid_dagster_adapter.cohort.sources import Source
from genid_dagster_adapter.minting import GenerationIds


def plan_evaluations(
    inputs: Inputs, rows: Gatherer, essays: Iterable[Source], view: StoreView
) -> FillUp | None:
    """Gather the rows of an evaluation-only cohort: evaluations over essays as they stand.

    Raises:
        AdapterError: an essay's metadata has no combo_id, an essay's id cannot be part of a
            deterministic one, or `check_axes` refuses.
    """
    check_axes(evaluation_axes(inputs), inputs.rollout.scheme)
    essays = tuple(essays)
    _check(inputs, essays)
    parents = tuple(_as_row(source) for source in essays)
    if inputs.selection.fill_up:
        return fill_up(inputs, rows, parents, view)
    rows.extend(evaluation_rows(inputs, parents))
    return None


def _check(inputs: Inputs, essays: Iterable[Source]) -> None:
    """Refuse essays that cannot be parents, all at once."""
    refusals = Refusals()
    for source in essays:
        refusals.lacks(source, ("combo_id",))
        if inputs.rollout.covers("evaluation"):
            with refusals.of(source):
                Essay.reference(source.gen_id)
    refusals.check()


def evaluation_axes(inputs: Inputs) -> list[Axis]:
    """Return the ids that go into the evaluations' ids, where these are deterministic."""
    if not inputs.rollout.covers("evaluation"):
        return []
    templates = inputs.tables.active_templates("evaluation")
    models = inputs.tables.evaluation_models
    return [
        Axis("template", tuple((row.template_id, row.where) for row in templates)),
        Axis("model", tuple((row.llm_model_id, row.where) for row in models)),
    ]


def evaluation_rows(inputs: Inputs, essays: Iterable[Row]) -> Iterator[Row]:
    """Yield the evaluations of each essay: active templates x models (table order) x replicates."""
    ids = GenerationIds(inputs.rollout, inputs.cohort_id)
    cohort_id = inputs.cohort_id
    templates = [row.template_id for row in inputs.tables.active_templates("evaluation")]
    models = [row.llm_model_id for row in inputs.tables.evaluation_models]
    replicates = range(1, inputs.tables.replicates["evaluation"] + 1)
    for essay in essays:
        for template in templates:
            for model in models:
                task = legacy.evaluation_task(essay.gen_id, template, model)
                for replicate in replicates:
                    gen_id = ids.evaluation(
                        parent_gen_id=essay.gen_id,
                        template_id=template,
                        llm_model_id=model,
                        replicate=replicate,
                        task_id=task,
                        salt=legacy.evaluation_salt(replicate),
                    )
                    yield Row(
                        "evaluation",
                        gen_id,
                        cohort_id,
                        essay.gen_id,
                        essay.combo_id,
                        template,
                        model,
                        replicate,
                        "llm",
                    )


def _as_row(source: Source) -> Row:
    """Return an essay of the store as the parent of evaluations: its id and combo alone matter."""
    essay = source.generation
    return Row(
        "essay",
        essay.gen_id,
        essay.origin_cohort_id or "",
        essay.parent_gen_id,
        essay.combo_id or "",
        essay.template_id or "",
        essay.llm_model_id or "",
        essay.effective_replicate or 1,
        essay.mode or "llm",
    )
