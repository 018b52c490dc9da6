"""Drafts of the store as rows of a new cohort, and what cannot be made into one.

A rebuilt deterministic draft keeps its own model and replicate. A rebuilt legacy one has the
essay's model and replicate 1, as it always had. A kept draft stays under the id it has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from genid import GenIdError
from genid_store.cohort.planning.records import Inputs, Row
from genid_store.cohort.planning.sources import Source, missing
from genid_store.errors import Problem, StoreError
from genid_store.ids import legacy
from genid_store.ids.minting import GenerationIds


class Refusals:
    """Gathers what keeps sources from becoming rows, so that all of it is said at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def lacks(self, source: Source, fields: Sequence[str]) -> bool:
        """Note the `fields` that the source's metadata does not have; say whether there are any."""
        found = list(missing(source, fields))
        self.problems.extend(found)
        return bool(found)

    @contextlib.contextmanager
    def of(self, source: Source) -> Iterator[None]:
        """Note what the core refuses about the source inside the block."""
        try:
            yield
        except GenIdError as error:
            self.problems.extend(
                Problem(
                    where=f"{source.place}:{_field(problem.place)}",
                    value=problem.value,
                    message=f"{problem.reason} (needed by {source.where})",
                    remedy=problem.remedy,
                )
                for problem in error.problems
            )

    def check(self) -> None:
        """Raise StoreError with everything that was noted, if anything was."""
        if self.problems:
            raise StoreError("the selected generations cannot be planned from", self.problems)


def _field(place: str) -> str:
    """Return the metadata's key that a place of the core is about, `gen_id` for a whole id."""
    return place.rpartition(".")[2] if "." in place else "gen_id"


def kept_draft(inputs: Inputs, source: Source) -> Row:
    """Return the row of a draft that stays as it is."""
    draft = source.generation
    return Row(
        "draft",
        draft.gen_id,
        draft.origin_cohort_id or inputs.cohort_id,
        None,
        str(draft.combo_id),
        str(draft.template_id),
        str(draft.llm_model_id),
        draft.effective_replicate or 1,
        generator(inputs, source),
    )


def rebuilt_draft(inputs: Inputs, source: Source, model: str | None = None) -> Row:
    """Return the row of a draft as this cohort's own.

    With legacy ids it has the given model, else its own, and replicate 1.

    Raises:
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
    return Row(
        "draft",
        gen_id,
        inputs.cohort_id,
        None,
        combo_id,
        template_id,
        llm_model_id,
        replicate,
        generator(inputs, source),
    )


def generator(inputs: Inputs, source: Source) -> str:
    """Return the generator of the source's template: the table's, else the metadata's, else llm."""
    generation = source.generation
    known = inputs.tables.generator(generation.stage, str(generation.template_id))
    return known or ("copy" if generation.mode == "copy" else "llm")
