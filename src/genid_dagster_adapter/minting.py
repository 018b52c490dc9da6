"""The one seam: where a pipeline asked for a legacy id, it asks here, and the rollout decides.

With a stage not covered, the call is `reserve_gen_id` with the same task id and salt as ever:
nothing is validated, folded or changed. With it covered, the id is derived from the signature and
neither the cohort nor the salt has a part in it.
"""

from __future__ import annotations

from attrs import frozen

from genid import Draft, DraftId, Essay, EssayId, Evaluation, gen_id
from genid_dagster_adapter.legacy import reserve_gen_id
from genid_dagster_adapter.rollout import Rollout


@frozen
class GenerationIds:
    """Mints the ids of one cohort's generations under one rollout state.

    Every method takes the signature's fields and, for the legacy branch, the task id and the salt
    that the call site gave to `reserve_gen_id`. Where the stage is covered, genid.SignatureError
    says that a field breaks a rule of SPEC 1, and genid.SchemeError that the scheme cannot express
    the signature.
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
