"""Mint every id of a pipeline, legacy or deterministic as the rollout decides.

A stage that the rollout does not cover gets the id of `reserve_gen_id` for the same task id and
salt as before: nothing is validated, folded or changed. A covered stage gets the id of its
signature, in which neither the cohort nor the salt has a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product, starmap
from typing import Any, Final, NamedTuple

from attrs import frozen

from genid import V1, Draft, Essay, Evaluation, Grid, Signature, gen_id
from genid_store.errors import Problem, StoreError
from genid_store.ids import legacy
from genid_store.ids.legacy import reserve_gen_id
from genid_store.ids.rollout import FLAG, Rollout

#: The default of a salt argument, because None means that there is no salt.
NOT_GIVEN: Final = "(not given)"


class Parent(NamedTuple):
    """What an essay's id is made from in a cartesian cohort: its draft.

    A deterministic id depends on the draft's id, a legacy one on its task id and replicate.
    """

    gen_id: str
    task_id: str
    replicate: int


@frozen
class GenerationIds:
    """Mints the ids of one cohort's generations under one rollout state.

    Every method takes the fields of a signature and, for legacy ids, the task id and the salt that
    the caller used to pass to `reserve_gen_id` (None for no salt). Once a stage is covered for
    good, delete the two arguments and keep the call.

    A loop that tries salt after salt until an id is free must try replicates instead if the stage
    is covered, because the salt has no part in the id then:

        while (gen_id := ids.evaluation(**fields, replicate=number, salt=salt)) in used:
            number += ids.rollout.covers("evaluation")
            salt = next(salts)

    The methods named in the plural return the ids of a whole grid, in its order and equal to those
    of single calls. An axis may have each value once.

    StoreError: the stage is not covered, and the task id or the salt is missing. If it is covered:
    genid.SignatureError if a field breaks a rule of SPEC 1, and genid.SchemeError if the scheme
    cannot express the signature.
    """

    rollout: Rollout
    cohort_id: str

    def draft(
        self,
        *,
        combo_id: str,
        template_id: str,
        llm_model_id: str,
        replicate: int,
        task_id: str | None = None,
        salt: str | None = NOT_GIVEN,
    ) -> str:
        """Return a draft's id."""
        fields = {"combo_id": combo_id, "template_id": template_id, "llm_model_id": llm_model_id}
        return self._mint(Draft, task_id, salt, **fields, replicate=replicate)

    def essay(
        self,
        *,
        parent_gen_id: str,
        template_id: str,
        replicate: int,
        task_id: str | None = None,
        salt: str | None = NOT_GIVEN,
        llm_model_id: str | None = None,
    ) -> str:
        """Return an essay's id. Pass `llm_model_id` only if it is not the draft's (SPEC 1.8)."""
        fields = {"parent_gen_id": parent_gen_id, "template_id": template_id}
        return self._mint(
            Essay, task_id, salt, **fields, replicate=replicate, llm_model_id=llm_model_id
        )

    def evaluation(
        self,
        *,
        parent_gen_id: str,
        template_id: str,
        llm_model_id: str,
        replicate: int,
        task_id: str | None = None,
        salt: str | None = NOT_GIVEN,
    ) -> str:
        """Return an evaluation's id."""
        fields = {"parent_gen_id": parent_gen_id, "template_id": template_id}
        return self._mint(
            Evaluation, task_id, salt, **fields, replicate=replicate, llm_model_id=llm_model_id
        )

    def drafts(
        self,
        *,
        combo_ids: Sequence[str],
        template_ids: Sequence[str],
        llm_model_ids: Sequence[str],
        replicates: int,
    ) -> Iterator[str]:
        """Return the ids of a grid of drafts: combos x templates x models x replicates from 1.

        The last axis varies fastest.
        """

        def legacy_id(combo_id: str, template_id: str, llm_model_id: str, replicate: int) -> str:
            task_id = legacy.draft_task(combo_id, template_id, llm_model_id)
            return reserve_gen_id("draft", task_id, self.cohort_id, legacy.draft_salt(replicate))

        axes = {"combo_id": combo_ids, "template_id": template_ids, "llm_model_id": llm_model_ids}
        return self._grid(Draft, legacy_id, **axes, replicate=range(1, replicates + 1))

    def essays(
        self, *, drafts: Sequence[Parent], template_ids: Sequence[str], replicates: int
    ) -> Iterator[str]:
        """Return the ids of a grid of essays: drafts x templates x replicates from 1."""
        by_id = {draft.gen_id: draft for draft in drafts}

        def legacy_id(parent_gen_id: str, template_id: str, replicate: int) -> str:
            draft = by_id[parent_gen_id]
            salt = legacy.essay_salt(draft.replicate, replicate)
            task_id = legacy.essay_task(draft.task_id, template_id)
            return reserve_gen_id("essay", task_id, self.cohort_id, salt)

        axes = {"parent_gen_id": list(by_id), "template_id": template_ids}
        return self._grid(Essay, legacy_id, **axes, replicate=range(1, replicates + 1))

    def evaluations(
        self,
        *,
        essay_gen_ids: Sequence[str],
        template_ids: Sequence[str],
        llm_model_ids: Sequence[str],
        replicates: int,
    ) -> Iterator[str]:
        """Return the ids of a grid of evaluations: essays x templates x models x replicates."""

        def legacy_id(
            parent_gen_id: str, template_id: str, llm_model_id: str, replicate: int
        ) -> str:
            task_id = legacy.evaluation_task(parent_gen_id, template_id, llm_model_id)
            salt = legacy.evaluation_salt(replicate)
            return reserve_gen_id("evaluation", task_id, self.cohort_id, salt)

        axes: dict[str, Sequence[str]] = {
            "parent_gen_id": essay_gen_ids,
            "template_id": template_ids,
            "llm_model_id": llm_model_ids,
        }
        return self._grid(Evaluation, legacy_id, **axes, replicate=range(1, replicates + 1))

    def _mint(
        self, signature: type[Signature[Any]], task_id: str | None, salt: str | None, **fields: Any
    ) -> str:
        """Return the id that the rollout gives a task of the signature's stage."""
        if self.rollout.covers(signature.stage):
            return str(gen_id(signature(**fields), self.rollout.scheme))
        if task_id is None or salt is NOT_GIVEN:
            raise _lacking(signature.stage, task_id, salt)
        return reserve_gen_id(signature.stage, task_id, self.cohort_id, salt)

    def _grid(
        self, signature: type[Signature[Any]], legacy_id: Callable[..., str], **axes: Sequence[Any]
    ) -> Iterator[str]:
        """Return the ids of a stage's grid."""
        if not self.rollout.covers(signature.stage):
            return starmap(legacy_id, product(*axes.values()))
        if self.rollout.scheme == V1.name:  # several times faster than cell by cell
            return iter(Grid(signature, **axes))
        return (
            str(gen_id(signature(**dict(zip(axes, cell, strict=True))), self.rollout.scheme))
            for cell in product(*axes.values())
        )


def _lacking(stage: str, task_id: str | None, salt: str | None) -> StoreError:
    missing = {"task_id": task_id is None, "salt": salt is NOT_GIVEN}
    problems = [
        Problem(
            where=f"{stage}.{name}",
            message=f"is missing; the legacy id of a {stage} is made from it",
            remedy=f"pass {name}= as to reserve_gen_id, or cover the stage ({FLAG})",
        )
        for name, is_missing in missing.items()
        if is_missing
    ]
    return StoreError(f"the legacy id of a {stage} cannot be made", problems)
