"""Explaining one id, and why two differ."""

from typing import Any
from uuid import UUID

import pytest

from genid import Difference, Draft, DraftId, Essay, Explanation, SignatureError, diff, explain
from signature_kit import A_DRAFT, AN_ESSAY


def test_an_explanation_shows_every_step() -> None:
    """Canonical text, full digest, UUID and id."""
    expected = Explanation(
        stage="draft",
        fields={
            "combo_id": "combo_v1_85128e4e5ef3",
            "template_id": "creative-synthesis-v10",
            "llm_model_id": "gemini_25_pro",
            "replicate": 1,
        },
        canonical=(
            '{"combo_id":"combo_v1_85128e4e5ef3","genid":1,"llm_model_id":"gemini_25_pro",'
            '"replicate":1,"stage":"draft","template_id":"creative-synthesis-v10"}'
        ),
        blake3="569fbeedfed5e618726e896a64258693eb481e8948f4bcd87636d7e987b78cfa",
        gen_id="d_2pkyzevzpngrcb4vm9d9j2b1mk",
    )
    assert expected == explain(A_DRAFT)
    assert UUID("569fbeed-fed5-8618-b26e-896a64258693") == expected.uuid


def test_equal_signatures_do_not_differ() -> None:
    """Spelling is no difference."""
    spelled = Draft(
        combo_id="Combo_V1_85128E4E5EF3",
        template_id=" creative-synthesis-v10",
        llm_model_id="GEMINI_25_PRO",
        replicate=1,
    )
    assert () == diff(A_DRAFT, spelled)


def test_fields_that_differ_are_listed_in_order() -> None:
    """An absent field is None."""
    a = Essay(parent_gen_id=DraftId("d_x"), template_id="t", replicate=1)
    b = Essay(parent_gen_id=DraftId("d_y"), template_id="t", replicate=1, llm_model_id="m")
    assert (
        Difference(field="parent_gen_id", a="d_x", b="d_y"),
        Difference(field="llm_model_id", a=None, b="m"),
    ) == diff(a, b)


def test_signatures_of_two_stages_differ_in_the_stage_first() -> None:
    """Then in every field that only one has."""
    fields = [difference.field for difference in diff(A_DRAFT, AN_ESSAY)]
    assert ["stage", "combo_id", "template_id", "llm_model_id", "parent_gen_id"] == fields


@pytest.mark.parametrize("pair", [(A_DRAFT, "d_x"), (None, A_DRAFT)])
def test_only_signatures_are_compared_and_explained(pair: Any) -> None:
    """Anything else is refused by name."""
    with pytest.raises(SignatureError, match="is not a signature"):
        diff(*pair)
    with pytest.raises(SignatureError, match="is not a signature"):
        explain("d_x")  # type: ignore[arg-type]
