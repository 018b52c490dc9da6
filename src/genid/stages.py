"""The stages: what identifies a draft, an essay and an evaluation (SPEC 1.1).

A further stage is one class like these in any module; nothing else needs to change (SPEC 1.7).
"""

from typing import NewType

from genid._signature import Signature

DraftId = NewType("DraftId", str)
EssayId = NewType("EssayId", str)
EvaluationId = NewType("EvaluationId", str)


class Draft(Signature[DraftId], stage="draft", prefix="d"):
    """One model's answer to one prompt template about one combination of concepts."""

    combo_id: str
    template_id: str
    llm_model_id: str
    replicate: int


class Essay(Signature[EssayId], stage="essay", prefix="e"):
    """An essay written from a draft, by the draft's model unless another is named (SPEC 1.8)."""

    parent_gen_id: DraftId
    template_id: str
    replicate: int
    llm_model_id: str | None = None


class Evaluation(Signature[EvaluationId], stage="evaluation", prefix="v"):
    """One model's judgement of one essay by one prompt template."""

    parent_gen_id: EssayId
    template_id: str
    llm_model_id: str
    replicate: int
