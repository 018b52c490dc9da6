"""The one seam between legacy and deterministic ids."""

from typing import Any

import pytest

from cohort_kit import STATES
from genid import (
    Draft,
    DraftId,
    Essay,
    EssayId,
    Evaluation,
    SchemeError,
    Signature,
    SignatureError,
    gen_id,
)
from genid_dagster_adapter.legacy import reserve_gen_id
from genid_dagster_adapter.minting import GenerationIds
from genid_dagster_adapter.rollout import Rollout

DRAFT: dict[str, Any] = {
    "combo_id": "combo_v1_one",
    "template_id": "links-v1",
    "llm_model_id": "writer_a",
}
ESSAY: dict[str, Any] = {"parent_gen_id": "d_abc", "template_id": "story-v1"}
EVALUATION: dict[str, Any] = {
    "parent_gen_id": "e_abc",
    "template_id": "novelty-v1",
    "llm_model_id": "judge_a",
}


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_each_stage_is_decided_by_the_rollout_alone(rollout: Rollout) -> None:
    """Covered: the signature's id under the scheme. Not covered: the legacy call, verbatim."""
    ids = GenerationIds(rollout, "winter")
    legacy: dict[str, Any] = {"task_id": "t", "salt": "rep2"}
    signatures: dict[str, Signature[Any]] = {
        "draft": Draft(**DRAFT, replicate=2),
        "essay": Essay(parent_gen_id=DraftId("d_abc"), template_id="story-v1", replicate=2),
        "evaluation": Evaluation(
            parent_gen_id=EssayId("e_abc"),
            template_id="novelty-v1",
            llm_model_id="judge_a",
            replicate=2,
        ),
    }
    minted = {
        "draft": ids.draft(**DRAFT, replicate=2, **legacy),
        "essay": ids.essay(**ESSAY, replicate=2, **legacy),
        "evaluation": ids.evaluation(**EVALUATION, replicate=2, **legacy),
    }
    for stage, signature in signatures.items():
        expected = (
            gen_id(signature, rollout.scheme)
            if rollout.covers(stage)
            else reserve_gen_id(stage, "t", "winter", "rep2")
        )
        assert expected == minted[stage]


def test_with_the_flag_off_nothing_is_validated_folded_or_changed() -> None:
    """Texts that no signature could hold go through to the legacy formula as they are."""
    ids = GenerationIds(Rollout.OFF, "Ä cohort|")
    task = ' "Odd" |\tTask\\ '
    minted = ids.draft(
        combo_id="", template_id="ö ", llm_model_id="\0", replicate=0, task_id=task, salt=None
    )
    assert reserve_gen_id("draft", task, "Ä cohort|", None) == minted


def test_a_deterministic_id_knows_neither_cohort_nor_task_id_nor_salt() -> None:
    """Only the signature counts."""
    rollout = Rollout.parse("on")
    fields: dict[str, Any] = {**DRAFT, "replicate": 1}
    first = GenerationIds(rollout, "winter").draft(**fields, task_id="a", salt=None)
    second = GenerationIds(rollout, "summer").draft(**fields, task_id="b", salt="rep9")
    assert first == second


def test_an_essays_own_model_is_part_of_its_v1_id_and_beyond_phase_1() -> None:
    """The older scheme refuses what it cannot tell apart."""
    fields: dict[str, Any] = {**ESSAY, "replicate": 1, "task_id": "t", "salt": None}
    v1 = GenerationIds(Rollout.parse("on"), "winter")
    assert v1.essay(**fields) != v1.essay(**fields, llm_model_id="writer_b")
    with pytest.raises(SchemeError):
        GenerationIds(Rollout.parse("on", "phase-1"), "winter").essay(
            **fields, llm_model_id="writer_b"
        )


def test_a_covered_stage_validates_its_fields() -> None:
    """What a signature cannot hold is the core's error, with every field named."""
    with pytest.raises(SignatureError, match=r"draft\.combo_id"):
        GenerationIds(Rollout.parse("draft"), "winter").draft(
            **{**DRAFT, "combo_id": "two words"}, replicate=1, task_id="t", salt=None
        )
