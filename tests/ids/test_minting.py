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
from genid_store.errors import StoreError
from genid_store.ids import legacy
from genid_store.ids.legacy import reserve_gen_id
from genid_store.ids.minting import GenerationIds, Parent
from genid_store.ids.rollout import Rollout

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
    old: dict[str, Any] = {"task_id": "t", "salt": "rep2"}
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
        "draft": ids.draft(**DRAFT, replicate=2, **old),
        "essay": ids.essay(**ESSAY, replicate=2, **old),
        "evaluation": ids.evaluation(**EVALUATION, replicate=2, **old),
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


def test_a_covered_stage_needs_neither_task_id_nor_salt_and_another_names_what_it_lacks() -> None:
    """Removing the flag for good is deleting the two arguments. No salt (None) is a salt that was
    given: replicates of one task must not fold into one id because somebody forgot it."""
    fields: dict[str, Any] = {**EVALUATION, "replicate": 2}
    covered = GenerationIds(Rollout.parse("on"), "winter")
    assert covered.evaluation(**fields, task_id="t", salt="rep2") == covered.evaluation(**fields)
    legacy_ids = GenerationIds(Rollout.parse("draft,essay"), "winter")
    for given, lacking in (
        ({}, ["evaluation.task_id", "evaluation.salt"]),
        ({"task_id": "t"}, ["evaluation.salt"]),
        ({"salt": None}, ["evaluation.task_id"]),
    ):
        with pytest.raises(StoreError, match="evaluation") as caught:
            legacy_ids.evaluation(**fields, **given)
        assert lacking == [problem.where for problem in caught.value.problems]


def test_a_rollout_is_recorded_in_a_manifest_as_a_build_does() -> None:
    """Under the last key; off leaves no key, also where one was there before."""
    manifest: dict[str, Any] = {"combos": []}
    Rollout.parse("draft", "phase-1").record_in(manifest)
    assert {"combos": [], "rollout": {"stages": ["draft"], "scheme": "phase-1"}} == manifest
    Rollout.OFF.record_in(manifest)
    assert {"combos": []} == manifest


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


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_a_grid_of_ids_is_the_single_ids_in_the_documented_order(rollout: Rollout) -> None:
    """The last axis runs fastest; task ids and salts follow the cartesian rule."""
    ids = GenerationIds(rollout, "winter")
    combos, templates, models = ["c1", "c2"], ["t1", "T2"], ["m1", "m2"]
    drafts = [
        ids.draft(
            combo_id=combo,
            template_id=template,
            llm_model_id=model,
            replicate=number,
            task_id=legacy.draft_task(combo, template, model),
            salt=legacy.draft_salt(number),
        )
        for combo in combos
        for template in templates
        for model in models
        for number in (1, 2)
    ]
    assert drafts == list(
        ids.drafts(combo_ids=combos, template_ids=templates, llm_model_ids=models, replicates=2)
    )
    parents = [Parent(gen_id, f"task-{at}", at % 2 + 1) for at, gen_id in enumerate(drafts)]
    essays = [
        ids.essay(
            parent_gen_id=parent.gen_id,
            template_id=template,
            replicate=number,
            task_id=legacy.essay_task(parent.task_id, template),
            salt=legacy.essay_salt(parent.replicate, number),
        )
        for parent in parents
        for template in templates
        for number in (1, 2)
    ]
    assert essays == list(ids.essays(drafts=parents, template_ids=templates, replicates=2))
    evaluations = [
        ids.evaluation(
            parent_gen_id=essay,
            template_id=template,
            llm_model_id=model,
            replicate=number,
            task_id=legacy.evaluation_task(essay, template, model),
            salt=legacy.evaluation_salt(number),
        )
        for essay in essays
        for template in templates
        for model in models
        for number in (1, 2)
    ]
    assert evaluations == list(
        ids.evaluations(
            essay_gen_ids=essays, template_ids=templates, llm_model_ids=models, replicates=2
        )
    )


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_an_empty_axis_gives_no_ids(rollout: Rollout) -> None:
    """In every state."""
    ids = GenerationIds(rollout, "winter")
    axes: dict[str, Any] = {"template_ids": [], "llm_model_ids": ["m"], "replicates": 3}
    assert [] == list(ids.drafts(combo_ids=["c"], **axes))
    assert [] == list(ids.essays(drafts=[], template_ids=["t"], replicates=1))
    assert [] == list(ids.evaluations(essay_gen_ids=["e_x"], **axes))
