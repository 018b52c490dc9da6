"""The cohort over selected drafts: those drafts, their essays, and evaluations of the essays.

A draft keeps its id, unless the rollout covers drafts: then it is rebuilt from its own fields,
including model and replicate. For curated essays a draft is rebuilt in any case. With legacy ids it
then takes the essay's model and replicate 1, as in the existing pipeline. Essays follow the
cartesian rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.cartesian import essay_rows
from genid_store.cohort.planning.evaluations import evaluation_rows
from genid_store.cohort.planning.records import Inputs, Row, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.cohort.planning.sources import Refusals, Source
from genid_store.ids import legacy
from genid_store.ids.minting import GenerationIds


def plan_drafts(inputs: Inputs, rows: RowCollector, drafts: Sequence[Source]) -> None:
    """Collect the rows of a cohort over selected drafts.

    StoreError: lists the drafts whose metadata lacks a field or has one that a deterministic id
    cannot hold, or `check_axes` refuses.
    """
    check_axes(inputs)
    make = rebuilt_draft if inputs.rollout.covers("draft") else kept_draft
    refusals = Refusals()
    for source in drafts:
        if refusals.lacks(source, ("combo_id", "template_id", "llm_model_id", "replicate")):
            continue
        with refusals.of(source):
            row = make(inputs, source)
            rows.add(row, task=row, source=source.gen_id)
    refusals.check()
    essays = rows.extend(essay_rows(inputs, rows.rows))
    rows.extend(evaluation_rows(inputs, essays))


def kept_draft(inputs: Inputs, source: Source) -> Row:
    """Return the row of a draft that keeps its id."""
    draft = source.generation
    fields = map(str, (draft.combo_id, draft.template_id, draft.llm_model_id))
    origin, number = draft.origin_cohort_id or inputs.cohort_id, draft.effective_replicate or 1
    mode = generator(inputs, source)
    return new_row(("draft", draft.gen_id, origin, None, *fields, number, mode))


def rebuilt_draft(inputs: Inputs, source: Source, model: str | None = None) -> Row:
    """Return the row of a draft under an id of this cohort.

    A legacy id is made with replicate 1 and with `model`, or the draft's own model if that is None.

    GenIdError: a field cannot be part of a deterministic id.
    """
    draft = source.generation
    covered = inputs.rollout.covers("draft")
    combo_id, template_id = str(draft.combo_id), str(draft.template_id)
    llm_model_id = str(draft.llm_model_id) if covered or model is None else model
    replicate = draft.effective_replicate or 1 if covered else 1
    gen_id = GenerationIds(inputs.rollout, inputs.cohort_id).draft(
        combo_id=combo_id,
        template_id=template_id,
        llm_model_id=llm_model_id,
        replicate=replicate,
        task_id=legacy.draft_task(combo_id, template_id, llm_model_id),
        salt=legacy.draft_salt(replicate),
    )
    fields = (combo_id, template_id, llm_model_id, replicate, generator(inputs, source))
    return new_row(("draft", gen_id, inputs.cohort_id, None, *fields))


def generator(inputs: Inputs, source: Source) -> str:
    """Return the generator of the source's template: the table's, else the metadata's, else llm."""
    generation = source.generation
    known = inputs.tables.generator(generation.stage, str(generation.template_id))
    return known or ("copy" if generation.mode == "copy" else "llm")
