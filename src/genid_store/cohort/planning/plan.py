"""Plan a cohort: tables, a selection and a view of the store in, membership rows out. Pure.

A new mode is one planning function, called here, and its entry in `inputs.selection`.
"""

from __future__ import annotations

from collections.abc import Iterator

from genid_store.cohort.inputs.selection import CohortMode
from genid_store.cohort.planning.cartesian import plan_cartesian
from genid_store.cohort.planning.curated_drafts import plan_drafts
from genid_store.cohort.planning.curated_essays import plan_essays
from genid_store.cohort.planning.evaluations import plan_evaluations
from genid_store.cohort.planning.records import FillUp, Inputs, Plan, Resolve, StoreView
from genid_store.cohort.planning.rows import RowCollector
from genid_store.cohort.planning.sources import Source, find_sources
from genid_store.errors import Problem, StoreError
from genid_store.ids.parents import check_links
from genid_store.stages import PIPELINE


def plan_cohort(inputs: Inputs, view: StoreView, resolve: Resolve | None = None) -> Plan:
    """Return the plan of a cohort.

    `resolve(stage, gen_id)` returns the id under which the store has a generation that a selection
    file or a parent names by another of its ids.

    Raises:
        StoreError: the selection, the tables or the store do not give a valid cohort.
    """
    rows = RowCollector(inputs.rollout)
    unusable: list[Problem] = []
    sources: tuple[Source, ...] = ()
    if inputs.selection.chosen:
        sources = find_sources(inputs.selection, view, resolve, unusable)
    fill_up: FillUp | None = None
    # Planning continues with the usable sources, so that one error lists all problems.
    try:
        match inputs.selection.mode:
            case CohortMode.CARTESIAN:
                plan_cartesian(inputs, rows)
            case CohortMode.DRAFTS:
                plan_drafts(inputs, rows, sources)
            case CohortMode.ESSAYS:
                sources += plan_essays(inputs, rows, sources, view, resolve)
            case CohortMode.EVALUATIONS:
                fill_up = plan_evaluations(inputs, rows, sources, view)
    except StoreError as error:
        if not unusable:
            raise
        unusable += error.problems
    if unusable:
        raise StoreError(f"the selected {inputs.selection.stage}s cannot be used", unusable)
    rows.check()
    # Flaws in the metadata of sources that did not keep the plan from being made.
    flaws = [flaw for source in sources for flaw in source.generation.problems]
    notices = [*flaws, *rows.notices, *_empty(inputs, rows), *_outdated(inputs)]
    by_stage = {stage: of_stage.values() for stage, of_stage in rows.by_stage.items()}
    check_links(by_stage, lambda essay: view.has("essay", essay))
    return Plan(
        cohort_id=inputs.cohort_id,
        mode=inputs.selection.mode,
        rollout=inputs.rollout,
        rows=tuple(rows.rows),
        by_stage=rows.by_stage,
        folded=tuple(rows.folded),
        rebuilt=tuple(rows.rebuilt),
        fill_up=fill_up,
        # Deduplicated by text, because the value of a problem may not be hashable.
        notices=tuple({str(notice): notice for notice in notices}.values()),
    )


def count_rows(inputs: Inputs) -> int:
    """Return an upper bound on the number of rows of a plan, without making any row.

    The plan has exactly that many unless rows fold or cells are filled up.
    """
    tables, chosen = inputs.tables, len(inputs.selection.chosen)
    templates = {stage: len(tables.active_templates(stage)) for stage in PIPELINE}
    counts = tables.replicates
    drafts = essays = chosen
    match inputs.selection.mode:
        case CohortMode.CARTESIAN:
            models = len(tables.generation_models)
            drafts = len(inputs.combos) * templates["draft"] * models * counts["draft"]
            essays = drafts * templates["essay"] * counts["essay"]
        case CohortMode.DRAFTS:
            essays = drafts * templates["essay"] * counts["essay"]
        case CohortMode.ESSAYS:
            essays = chosen * counts["essay"]
        case CohortMode.EVALUATIONS:
            drafts = 0
    judged = templates["evaluation"] * len(tables.evaluation_models) * counts["evaluation"]
    essay_members = 0 if inputs.selection.mode is CohortMode.EVALUATIONS else essays
    return drafts + essay_members + essays * judged


def _empty(inputs: Inputs, rows: RowCollector) -> Iterator[Problem]:
    """Yield a notice for each stage that has no member because no row of a table is active."""
    evaluations_only = inputs.selection.mode is CohortMode.EVALUATIONS
    for stage in ("evaluation",) if evaluations_only else PIPELINE:
        if not rows.by_stage[stage] and not inputs.selection.fill_up:
            yield Problem(
                where=f"1_raw/{stage}_templates.csv",
                message=f"the cohort has no {stage}: no template, or no model for it, is active",
                remedy="activate one, unless that is meant",
            )


def _outdated(inputs: Inputs) -> Iterator[Problem]:
    """Yield a notice for each selected combo with a concept that is not active.

    A build uses the selection unchanged, which may surprise an operator who has changed the
    concepts.
    """
    if inputs.selection.mode is not CohortMode.CARTESIAN:
        return
    active = {concept.concept_id for concept in inputs.tables.active_concepts}
    for combo in inputs.combos:
        if inactive := sorted(combo.concept_ids - active):
            yield Problem(
                where=combo.where,
                message=f"the combo has concepts that are not active: {', '.join(inactive)}",
                remedy="to use the current ones, delete the file, or let a build replace it",
                ways=("write_combos",),
            )
