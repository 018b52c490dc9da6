"""The cartesian cohort: combos x draft templates x models x replicates, then essays of the drafts.

Defines also the essays over given drafts, which cohorts over selected drafts share. Refuses a
selection of combos that holds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from genid_dagster_adapter import legacy
from genid_dagster_adapter.cohort.axes import Axis, check_axes
from genid_dagster_adapter.cohort.gather import Gatherer
from genid_dagster_adapter.cohort.plan_evaluations import evaluation_axes, evaluation_rows
from genid_dagster_adapter.cohort.records import Inputs, Row
from genid_dagster_adapter.errors import AdapterError, Problem
from genid_dagster_adapter.minting import GenerationIds


def plan_cartesian(inputs: Inputs, rows: Gatherer) -> None:
    """Gather the rows of a cartesian cohort: all drafts, all essays, all evaluations.

    Raises:
        AdapterError: no combo is selected, or `check_axes` refuses.
    """
    if not inputs.combos:
        where, remedy = "2_tasks/selected_combo_mappings.csv", "add one, or remove the file"
        problem = Problem(where=where, message="selects no combo", remedy=remedy)
        raise AdapterError("the cohort has no combos", [problem])
    check_axes(
        [*draft_axes(inputs), *essay_axes(inputs), *evaluation_axes(inputs)], inputs.rollout.scheme
    )
    drafts = rows.extend(draft_rows(inputs))
    essays = rows.extend(essay_rows(inputs, drafts))
    rows.extend(evaluation_rows(inputs, essays))


def draft_axes(inputs: Inputs) -> list[Axis]:
    """Return the ids that go into the drafts' ids, where these are deterministic."""
    if not inputs.rollout.covers("draft"):
        return []
    tables = inputs.tables
    templates = tables.active_templates("draft")
    return [
        Axis("combo", tuple((combo.combo_id, combo.where) for combo in inputs.combos)),
        Axis("template", tuple((row.template_id, row.where) for row in templates)),
        Axis("model", tuple((row.llm_model_id, row.where) for row in tables.generation_models)),
    ]


def essay_axes(inputs: Inputs) -> list[Axis]:
    """Return the ids that go into the essays' ids, where these are deterministic."""
    if not inputs.rollout.covers("essay"):
        return []
    templates = inputs.tables.active_templates("essay")
    return [Axis("template", tuple((row.template_id, row.where) for row in templates))]


def draft_rows(inputs: Inputs) -> Iterator[Row]:
    """Yield combos (file order) x active templates x models (table order) x replicates."""
    ids = GenerationIds(inputs.rollout, inputs.cohort_id)
    tables, cohort_id = inputs.tables, inputs.cohort_id
    models = [model.llm_model_id for model in tables.generation_models]
    replicates = range(1, tables.replicates["draft"] + 1)
    for combo in inputs.combos:
        for template in tables.active_templates("draft"):
            for model in models:
                task = legacy.draft_task(combo.combo_id, template.template_id, model)
                for replicate in replicates:
                    gen_id = ids.draft(
                        combo_id=combo.combo_id,
                        template_id=template.template_id,
                        llm_model_id=model,
                        replicate=replicate,
                        task_id=task,
                        salt=legacy.draft_salt(replicate),
                    )
                    yield Row(
                        "draft",
                        gen_id,
                        cohort_id,
                        None,
                        combo.combo_id,
                        template.template_id,
                        model,
                        replicate,
                        template.generator,
                    )


def essay_rows(inputs: Inputs, drafts: Iterable[Row]) -> Iterator[Row]:
    """Yield the essays of each draft: active templates (table order) x replicates, its model."""
    ids = GenerationIds(inputs.rollout, inputs.cohort_id)
    cohort_id = inputs.cohort_id
    templates = inputs.tables.active_templates("essay")
    replicates = range(1, inputs.tables.replicates["essay"] + 1)
    for draft in drafts:
        draft_task = legacy.draft_task(draft.combo_id, draft.template_id, draft.llm_model_id)
        for template in templates:
            task = legacy.essay_task(draft_task, template.template_id)
            for replicate in replicates:
                gen_id = ids.essay(
                    parent_gen_id=draft.gen_id,
                    template_id=template.template_id,
                    replicate=replicate,
                    task_id=task,
                    salt=legacy.essay_salt(draft.replicate, replicate),
                )
                yield Row(
                    "essay",
                    gen_id,
                    cohort_id,
                    draft.gen_id,
                    draft.combo_id,
                    template.template_id,
                    draft.llm_model_id,
                    replicate,
                    template.generator,
                )
