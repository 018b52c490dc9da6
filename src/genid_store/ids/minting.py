"""The one seam: where a pipeline asked for a legacy id, it asks here, and the rollout decides.

With a stage not covered, the call is `reserve_gen_id` with the same task id and salt as ever:
nothing is validated, folded or changed. With it covered, the id is derived from the signature and
neither the cohort nor the salt has a part in it.
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

#: The default of a salt: nothing was said of it, which is not the same as None, no salt.
NOT_GIVEN: Final = "(not given)"


class Parent(NamedTuple):
    """What a cartesian essay's id takes from its draft: its id, its task id and its replicate, of
    which a deterministic one takes the first and a legacy one the others."""

    gen_id: str
    task_id: str
    replicate: int


@frozen
class GenerationIds:
    """Mints the ids of one cohort's generations under one rollout state.

    Every method takes the signature's fields and, for the legacy branch, the task id and the salt
    that the call site gave to `reserve_gen_id` (None for no salt). Once a stage is covered for
    good, the two arguments are deleted and the call stays.

    A loop that tries salt after salt until an id is free has to try replicates where the stage is
    covered, because the salt has no part in the id there:

        while (found := ids.evaluation(**fields, replicate=number, salt=salt)) in used:
            number += ids.rollout.covers("evaluation")
            salt = next(salts)

    The plurals give the ids of whole grids, one after
    the other, as the singulars would; each value of an axis may be there once.

    StoreError: the stage is not covered, and the task id or the salt is not given. Where it is
    covered, genid.SignatureError says that a field breaks a rule of SPEC 1, and
    genid.SchemeError that the scheme cannot express the signature.
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
        """Return an essay's id. `llm_model_id` is given only where it is not the draft's."""
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
        """Return the ids of a cartesian cohort's drafts: combos x templates x models x replicates
        from 1, the last axis fastest."""

        def one(combo_id: str, template_id: str, llm_model_id: str, replicate: int) -> str:
            task_id = legacy.draft_task(combo_id, template_id, llm_model_id)
            return reserve_gen_id("draft", task_id, self.cohort_id, legacy.draft_salt(replicate))

        axes = {"combo_id": combo_ids, "template_id": template_ids, "llm_model_id": llm_model_ids}
        return self._grid(Draft, one, **axes, replicate=range(1, replicates + 1))

    def essays(
        self, *, drafts: Sequence[Parent], template_ids: Sequence[str], replicates: int
    ) -> Iterator[str]:
        """Return the ids of essays by the cartesian rule: drafts x templates x replicates."""
        by_id = {draft.gen_id: draft for draft in drafts}

        def one(parent_gen_id: str, template_id: str, replicate: int) -> str:
            draft = by_id[parent_gen_id]
            salt = legacy.essay_salt(draft.replicate, replicate)
            task_id = legacy.essay_task(draft.task_id, template_id)
            return reserve_gen_id("essay", task_id, self.cohort_id, salt)

        axes = {"parent_gen_id": list(by_id), "template_id": template_ids}
        return self._grid(Essay, one, **axes, replicate=range(1, replicates + 1))

    def evaluations(
        self,
        *,
        essay_gen_ids: Sequence[str],
        template_ids: Sequence[str],
        llm_model_ids: Sequence[str],
        replicates: int,
    ) -> Iterator[str]:
        """Return the ids of evaluations: essays x templates x models x replicates from 1."""

        def one(parent_gen_id: str, template_id: str, llm_model_id: str, replicate: int) -> str:
            task_id = legacy.evaluation_task(parent_gen_id, template_id, llm_model_id)
            salt = legacy.evaluation_salt(replicate)
            return reserve_gen_id("evaluation", task_id, self.cohort_id, salt)

        axes = {"parent_gen_id": essay_gen_ids, "template_id": template_ids}
        numbers = range(1, replicates + 1)
        return self._grid(Evaluation, one, **axes, llm_model_id=llm_model_ids, replicate=numbers)

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
        """Return the ids of a stage's grid: whole where the scheme derives grids at once, else one
        by one."""
        if not self.rollout.covers(signature.stage):
            return starmap(legacy_id, product(*axes.values()))
        if self.rollout.scheme == V1.name:
            return iter(Grid(signature, **axes))
        return (
            str(gen_id(signature(**dict(zip(axes, cell, strict=True))), self.rollout.scheme))
            for cell in product(*axes.values())
        )


def _lacking(stage: str, task_id: str | None, salt: str | None) -> StoreError:
    given = {"task_id": task_id is not None, "salt": salt is not NOT_GIVEN}
    problems = [
        Problem(
            where=f"{stage}.{name}",
            message=f"is not given, and a legacy id is made of it: the rollout covers no {stage}",
            remedy=f"give {name}= as for reserve_gen_id, or cover the stage ({FLAG})",
        )
        for name, there in given.items()
        if not there
    ]
    return StoreError(f"the legacy id of a {stage} cannot be made", problems)
