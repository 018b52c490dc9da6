"""The one seam: where a pipeline asked for a legacy id, it asks here, and the rollout decides.

With a stage not covered, the call is `reserve_gen_id` with the same task id and salt as ever:
nothing is validated, folded or changed. With it covered, the id is derived from the signature and
neither the cohort nor the salt has a part in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from attrs import frozen

from genid import V1, Draft, DraftId, Essay, EssayId, Evaluation, Grid, gen_id
from genid_dagster_adapter import legacy
from genid_dagster_adapter.legacy import reserve_gen_id
from genid_dagster_adapter.rollout import Rollout


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
    that the call site gave to `reserve_gen_id`. The plurals give the ids of whole grids, one after
    the other, as the singulars would; each value of an axis may be there once.

    Where the stage is covered, genid.SignatureError says that a field breaks a rule of SPEC 1, and
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
        task_id: str,
        salt: str | None,
    ) -> str:
        """Return a draft's id."""
        if not self.rollout.covers("draft"):
            return reserve_gen_id("draft", task_id, self.cohort_id, salt)
        signature = Draft(
            combo_id=combo_id,
            template_id=template_id,
            llm_model_id=llm_model_id,
            replicate=replicate,
        )
        return gen_id(signature, self.rollout.scheme)

    def essay(
        self,
        *,
        parent_gen_id: str,
        template_id: str,
        replicate: int,
        task_id: str,
        salt: str | None,
        llm_model_id: str | None = None,
    ) -> str:
        """Return an essay's id. `llm_model_id` is given only where it is not the draft's."""
        if not self.rollout.covers("essay"):
            return reserve_gen_id("essay", task_id, self.cohort_id, salt)
        signature = Essay(
            parent_gen_id=DraftId(parent_gen_id),
            template_id=template_id,
            replicate=replicate,
            llm_model_id=llm_model_id,
        )
        return gen_id(signature, self.rollout.scheme)

    def evaluation(
        self,
        *,
        parent_gen_id: str,
        template_id: str,
        llm_model_id: str,
        replicate: int,
        task_id: str,
        salt: str | None,
    ) -> str:
        """Return an evaluation's id."""
        if not self.rollout.covers("evaluation"):
            return reserve_gen_id("evaluation", task_id, self.cohort_id, salt)
        signature = Evaluation(
            parent_gen_id=EssayId(parent_gen_id),
            template_id=template_id,
            llm_model_id=llm_model_id,
            replicate=replicate,
        )
        return gen_id(signature, self.rollout.scheme)

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
        numbers = range(1, replicates + 1)
        if self._has_grid("draft"):
            return iter(
                Grid(
                    Draft,
                    combo_id=combo_ids,
                    template_id=template_ids,
                    llm_model_id=llm_model_ids,
                    replicate=numbers,
                )
            )
        return (
            self.draft(
                combo_id=combo_id,
                template_id=template_id,
                llm_model_id=model,
                replicate=replicate,
                task_id=legacy.draft_task(combo_id, template_id, model),
                salt=legacy.draft_salt(replicate),
            )
            for combo_id, template_id, model, replicate in product(
                combo_ids, template_ids, llm_model_ids, numbers
            )
        )

    def essays(
        self, *, drafts: Sequence[Parent], template_ids: Sequence[str], replicates: int
    ) -> Iterator[str]:
        """Return the ids of essays by the cartesian rule: drafts x templates x replicates."""
        numbers = range(1, replicates + 1)
        if self._has_grid("essay"):
            parents = [draft.gen_id for draft in drafts]
            return iter(
                Grid(Essay, parent_gen_id=parents, template_id=template_ids, replicate=numbers)
            )
        return (
            self.essay(
                parent_gen_id=draft.gen_id,
                template_id=template_id,
                replicate=replicate,
                task_id=legacy.essay_task(draft.task_id, template_id),
                salt=legacy.essay_salt(draft.replicate, replicate),
            )
            for draft, template_id, replicate in product(drafts, template_ids, numbers)
        )

    def evaluations(
        self,
        *,
        essay_gen_ids: Sequence[str],
        template_ids: Sequence[str],
        llm_model_ids: Sequence[str],
        replicates: int,
    ) -> Iterator[str]:
        """Return the ids of evaluations: essays x templates x models x replicates from 1."""
        numbers = range(1, replicates + 1)
        if self._has_grid("evaluation"):
            return iter(
                Grid(
                    Evaluation,
                    parent_gen_id=essay_gen_ids,
                    template_id=template_ids,
                    llm_model_id=llm_model_ids,
                    replicate=numbers,
                )
            )
        return (
            self.evaluation(
                parent_gen_id=essay,
                template_id=template_id,
                llm_model_id=model,
                replicate=replicate,
                task_id=legacy.evaluation_task(essay, template_id, model),
                salt=legacy.evaluation_salt(replicate),
            )
            for essay, template_id, model, replicate in product(
                essay_gen_ids, template_ids, llm_model_ids, numbers
            )
        )

    def _has_grid(self, stage: str) -> bool:
        """Say whether a stage's ids are of the scheme that derives whole grids at once."""
        return self.rollout.covers(stage) and self.rollout.scheme == V1.name
