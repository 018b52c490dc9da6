"""The cartesian cohort: combos x draft templates x models x replicates, then essays of the drafts.

Also defines the essays of given drafts, which cohorts over selected drafts share. Refuses an empty
selection of combos.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.evaluations import evaluation_rows
from genid_store.cohort.planning.records import Inputs, Row, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.errors import StoreError
from genid_store.ids import legacy
from genid_store.ids.minting import GenerationIds, Parent


def plan_cartesian(inputs: Inputs, rows: RowCollector) -> None:
    """Collect the rows of a cartesian cohort: all drafts, all essays, all evaluations.

    StoreError: no combo is selected, or `check_axes` refuses.
    """
    if not inputs.combos:
        where, remedy = "2_tasks/selected_combo_mappings.csv", "add one, or remove the file"
        raise StoreError.of("the cohort has no combos", where, "selects no combo", remedy)
    check_axes(inputs)
    drafts = rows.extend(draft_rows(inputs))
    essays = rows.extend(essay_rows(inputs, drafts))
    rows.extend(evaluation_rows(inputs, essays))


def draft_rows(inputs: Inputs) -> list[Row]:
    """Return combos (file order) x active templates x models (table order) x replicates."""
    tables, cohort_id = inputs.tables, inputs.cohort_id
    combos = [combo.combo_id for combo in inputs.combos]
    templates = [(row.template_id, row.generator) for row in tables.active_templates("draft")]
    models = [row.llm_model_id for row in tables.generation_models]
    replicates = tables.replicates["draft"]
    # The ids of a whole grid are derived faster than one at a time, here and for essays.
    ids = GenerationIds(inputs.rollout, cohort_id).drafts(
        combo_ids=combos,
        template_ids=[template for template, _ in templates],
        llm_model_ids=models,
        replicates=replicates,
    )
    cells = product(combos, templates, models, range(1, replicates + 1))
    return [
        new_row(("draft", gen_id, cohort_id, None, combo, template, model, replicate, mode))
        for gen_id, (combo, (template, mode), model, replicate) in zip(ids, cells, strict=True)
    ]


def essay_rows(inputs: Inputs, drafts: Sequence[Row]) -> list[Row]:
    """Return the essays of each draft, by its model: active templates (as tabled) x replicates."""
    tables, cohort_id = inputs.tables, inputs.cohort_id
    templates = [(row.template_id, row.generator) for row in tables.active_templates("essay")]
    replicates = tables.replicates["essay"]
    ids = GenerationIds(inputs.rollout, cohort_id).essays(
        drafts=[
            Parent(
                draft.gen_id,
                legacy.draft_task(draft.combo_id, draft.template_id, draft.llm_model_id),
                draft.replicate,
            )
            for draft in drafts
        ],
        template_ids=[template for template, _ in templates],
        replicates=replicates,
    )
    parents = [(row.gen_id, row.combo_id, row.llm_model_id) for row in drafts]
    cells = product(parents, templates, range(1, replicates + 1))
    return [
        new_row(("essay", gen_id, cohort_id, parent, combo, template, model, replicate, mode))
        for gen_id, ((parent, combo, model), (template, mode), replicate) in zip(
            ids, cells, strict=True
        )
    ]
