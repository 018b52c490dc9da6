"""The cohort over selected drafts: those drafts, essays of them, evaluations of these.

A draft keeps the id it has, unless the rollout covers drafts: then it is rebuilt from its own
fields. Essays follow the cartesian rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.cartesian import essay_axes, essay_rows
from genid_store.cohort.planning.evaluations import evaluation_axes, evaluation_rows
from genid_store.cohort.planning.rebuild import Refusals, kept_draft, rebuilt_draft
from genid_store.cohort.planning.records import Inputs
from genid_store.cohort.planning.rows import Gatherer
from genid_store.cohort.planning.sources import Source


def plan_drafts(inputs: Inputs, rows: Gatherer, drafts: Sequence[Source]) -> None:
    """Gather the rows of a cohort over selected drafts.

    Raises:
        StoreError: lists the drafts whose metadata lacks a field or cannot be expressed, or
            `check_axes` refuses.
    """
    check_axes([*essay_axes(inputs), *evaluation_axes(inputs)], inputs.rollout.scheme)
    make = rebuilt_draft if inputs.rollout.covers("draft") else kept_draft
    refusals = Refusals()
    for source in drafts:
        if refusals.lacks(source, ("combo_id", "template_id", "llm_model_id", "replicate")):
            continue
        with refusals.of(source):
            row = make(inputs, source)
            rows.add(row, task=row, source=source.gen_id)
    refusals.check()
    essays = rows.extend(essay_rows(inputs, tuple(rows.rows)))
    rows.extend(evaluation_rows(inputs, essays))
