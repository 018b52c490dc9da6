"""The axes of a cohort: the table ids that go into deterministic ids, checked before any is made.

Refuses ids that a signature cannot hold, and ids of one axis that differ only in what a signature
folds, because their generations would have the same id.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from genid import Draft, GenIdError, SchemeName, gen_id, normalize_component
from genid_store.cohort.inputs.selection import CohortMode
from genid_store.cohort.planning.records import Inputs
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import LONGEST_NAME
from genid_store.stages import PIPELINE

_LONGEST: Final = LONGEST_NAME - len(".txt")
#: The stages whose ids come from the tables; those of others come from the selected generations.
_TABLED: Final[Mapping[CohortMode, tuple[str, ...]]] = {
    CohortMode.CARTESIAN: PIPELINE,
    CohortMode.DRAFTS: ("essay", "evaluation"),
    CohortMode.ESSAYS: ("evaluation",),
    CohortMode.EVALUATIONS: ("evaluation",),
}
#: The ids of one table with their places, in table order.
_Ids = list[tuple[str, str]]


def check_axes(inputs: Inputs) -> None:
    """Check the table ids that a cohort of this mode makes deterministic ids of.

    StoreError: lists every id that the scheme cannot express, and every one that folds to an
    earlier id of its axis.
    """
    scheme = inputs.rollout.scheme
    covered = filter(inputs.rollout.covers, _TABLED[inputs.selection.mode])
    axes = (axis for stage in covered for axis in _axes(inputs, stage))
    problems = [problem for name, ids in axes for problem in _axis_problems(name, ids, scheme)]
    if problems:
        raise StoreError("these ids cannot be told apart or expressed", problems)


def _axes(inputs: Inputs, stage: str) -> Iterator[tuple[str, _Ids]]:
    """Yield the axes of a stage's ids, without the parent. An essay has its draft's model."""
    tables = inputs.tables
    if stage == "draft":
        yield "combo", [(combo.combo_id, combo.where) for combo in inputs.combos]
    yield "template", [(row.template_id, row.where) for row in tables.active_templates(stage)]
    if stage != "essay":
        models = tables.generation_models if stage == "draft" else tables.evaluation_models
        yield "model", [(row.llm_model_id, row.where) for row in models]


def _axis_problems(name: str, ids: _Ids, scheme: SchemeName) -> Iterator[Problem]:
    first: dict[str, tuple[str, str]] = {}
    for text, where in ids:
        if name == "template" and ("/" in text or len(text.encode()) > _LONGEST):
            yield Problem(
                where=where,
                value=text,
                message="cannot be the name of the template's file, so nothing could be made of it",
                remedy=f"give it an id without / and of at most {_LONGEST} bytes",
            )
            continue
        try:
            # The other fields are placeholders: this applies the scheme's own rules to one id.
            gen_id(Draft(combo_id="c", template_id=text, llm_model_id="m", replicate=1), scheme)
        except GenIdError as error:
            reason, remedy = error.problems[0].reason, error.problems[0].remedy
            yield Problem(where=where, value=text, message=reason, remedy=remedy)
            continue
        earlier, place = first.setdefault(normalize_component(text), (text, where))
        if place != where:
            yield Problem(
                where=where,
                value=text,
                message=f"is the same {name} as {earlier!r} at {place}: a deterministic id "
                "ignores case and surrounding white space",
                remedy="rename or deactivate one of them",
            )
