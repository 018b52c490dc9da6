"""The curated cohort: each selected essay and its draft are rebuilt from their metadata.

If the rollout covers a stage, the rebuilt generation keeps the properties of its source: the draft
its model and replicate, the essay its replicate and, if it is not the draft's, its model. With
legacy ids the draft takes the essay's model and replicate 1, and the essays are numbered from 1, as
in the existing pipeline.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import islice

from attrs import frozen

from genid_store.cohort.planning.axes import check_axes
from genid_store.cohort.planning.curated_drafts import generator, rebuilt_draft
from genid_store.cohort.planning.evaluations import evaluation_rows
from genid_store.cohort.planning.fill_up import free_numbers
from genid_store.cohort.planning.records import Inputs, Resolve, Row, StoreView, new_row
from genid_store.cohort.planning.rows import RowCollector
from genid_store.cohort.planning.sources import Refusals, Source, find_parent
from genid_store.errors import Problem
from genid_store.ids import legacy
from genid_store.ids.components import folded, model_override
from genid_store.ids.minting import GenerationIds


@frozen(kw_only=True)
class _Pair:
    """One selected essay with its draft, and that draft's row in this cohort."""

    essay: Source
    draft: Source
    row: Row

    @property
    def model(self) -> str:
        """The model that wrote the essay: its own, else the draft's."""
        return self.essay.generation.llm_model_id or self.row.llm_model_id

    @property
    def template(self) -> str:
        return str(self.essay.generation.template_id)

    @property
    def replicate(self) -> int:
        return self.essay.generation.effective_replicate or 1


def plan_essays(
    inputs: Inputs,
    rows: RowCollector,
    essays: Sequence[Source],
    view: StoreView,
    resolve: Resolve | None,
) -> tuple[Source, ...]:
    """Collect the rows of a curated cohort: each essay's draft and essays, then all evaluations.

    Return the drafts of the selected essays.

    StoreError: lists the essays whose draft is not in the store, the metadata that lacks a field,
    and what a deterministic id cannot express; or `check_axes` refuses.
    """
    check_axes(inputs)
    refusals = Refusals()
    candidates = [_pair(inputs, essay, view, resolve, refusals) for essay in essays]
    pairs = [pair for pair in candidates if pair is not None]
    # Checked before any row is made, because the numbers of an essay depend on all the others.
    refusals.check()
    for pair, numbers in zip(pairs, _numbers(inputs, pairs), strict=True):
        rows.add(pair.row, task=_draft_task(pair), source=pair.draft.gen_id)
        for number in numbers:
            with refusals.of(pair.essay):
                row = _essay_row(inputs, pair, number)
                rows.add(row, task=(*_essay_task(pair), number), source=pair.essay.gen_id)
    refusals.check()
    rows.extend(evaluation_rows(inputs, [row for row in rows.rows if row.stage == "essay"]))
    return tuple(pair.draft for pair in pairs)


def essay_numbers(
    sources: Sequence[tuple[Hashable, Hashable, int]], wanted: int
) -> list[list[int]]:
    """Return `wanted` replicate numbers for the essays of each source.

    A source is (slot, task, its own number); a slot is a draft and a template. A source has its own
    number first, then the lowest ones that no other source of the slot uses. Sources of one task
    have the same numbers.
    """
    used: dict[Hashable, set[int]] = defaultdict(set)
    for slot, _, own in sources:
        used[slot].add(own)
    free = {slot: free_numbers(taken) for slot, taken in used.items()}
    numbers: dict[Hashable, list[int]] = {}
    for slot, task, own in sources:
        if task not in numbers:
            numbers[task] = [own, *islice(free[slot], wanted - 1)]
    return [numbers[task] for _, task, _ in sources]


def _pair(
    inputs: Inputs, essay: Source, view: StoreView, resolve: Resolve | None, refusals: Refusals
) -> _Pair | None:
    """Return the essay with its draft; None if the pair cannot be planned, which is noted."""
    essay_fields = ["parent_gen_id", "template_id"]
    if inputs.rollout.covers("essay"):
        essay_fields.append("replicate")
    if refusals.lacks(essay, essay_fields):
        return None
    draft = find_parent(essay, "draft", view, resolve)
    if isinstance(draft, Problem):
        refusals.problems.append(draft)
        return None
    # A legacy draft takes the essay's model, so its own is only needed if the essay has none.
    model = essay.generation.llm_model_id
    draft_fields = ["combo_id", "template_id"]
    if inputs.rollout.covers("draft"):
        draft_fields += ["llm_model_id", "replicate"]
    elif model is None:
        draft_fields.append("llm_model_id")
    if refusals.lacks(draft, draft_fields):
        return None
    with refusals.of(draft):
        return _Pair(essay=essay, draft=draft, row=rebuilt_draft(inputs, draft, model))
    return None


def _numbers(inputs: Inputs, pairs: Sequence[_Pair]) -> list[list[int]]:
    wanted = inputs.tables.replicates["essay"]
    if not inputs.rollout.covers("essay"):
        return [list(range(1, wanted + 1)) for _ in pairs]
    sources = [
        ((pair.row.gen_id, folded(pair.template)), _essay_task(pair), pair.replicate)
        for pair in pairs
    ]
    return essay_numbers(sources, wanted)


def _essay_row(inputs: Inputs, pair: _Pair, number: int) -> Row:
    draft = pair.row
    covered = inputs.rollout.covers("essay")
    # SPEC 1.8: an essay's id has its model only if it is not the draft's.
    other_model = model_override(pair.model, draft.llm_model_id) if covered else None
    draft_task = legacy.draft_task(draft.combo_id, draft.template_id, draft.llm_model_id)
    gen_id = GenerationIds(inputs.rollout, inputs.cohort_id).essay(
        parent_gen_id=draft.gen_id,
        template_id=pair.template,
        replicate=number,
        llm_model_id=other_model,
        task_id=legacy.essay_task(draft_task, pair.template),
        salt=legacy.curated_essay_salt(inputs.tables.replicates["essay"], number),
    )
    own = (pair.template, pair.model, number, generator(inputs, pair.essay))
    return new_row(("essay", gen_id, inputs.cohort_id, draft.gen_id, draft.combo_id, *own))


def _draft_task(pair: _Pair) -> tuple[Hashable, ...]:
    """Return the task of the source draft, with the fields that a legacy id ignores."""
    draft = pair.draft.generation
    return (draft.combo_id, draft.template_id, draft.llm_model_id, draft.effective_replicate)


def _essay_task(pair: _Pair) -> tuple[Hashable, ...]:
    """Return the task of the source essay, with the fields that a legacy id ignores."""
    return (*_draft_task(pair), pair.template, pair.model, pair.replicate)
