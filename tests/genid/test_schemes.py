"""Schemes: selectable by object and by name; phase-1 refuses what it cannot express."""

from typing import Any

import pytest

from genid import (
    PHASE_1,
    SCHEMES,
    V1,
    Draft,
    DraftId,
    Essay,
    Scheme,
    SchemeError,
    Signature,
    SignatureError,
    gen_id,
    scheme,
)
from signature_kit import A_DRAFT


def test_schemes_have_names() -> None:
    """The current one is first, and each is found by its name."""
    assert {"v1": V1, "phase-1": PHASE_1} == dict(SCHEMES)
    assert ["v1", "phase-1"] == [scheme(name).name for name in SCHEMES]


def test_a_scheme_is_chosen_by_object_or_name() -> None:
    """v1 is what comes without a choice."""
    assert gen_id(A_DRAFT) == gen_id(A_DRAFT, V1) == gen_id(A_DRAFT, "v1") == V1.derive(A_DRAFT)
    assert "d_5ezrffv9uf3lr37d" == gen_id(A_DRAFT, PHASE_1) == gen_id(A_DRAFT, "phase-1")


@pytest.mark.parametrize("name", ["V1", "", "v2", "phase_1", None, 1, V1.derive])
def test_an_unknown_scheme_is_refused(name: Any) -> None:
    """The error lists the known ones."""
    with pytest.raises(SchemeError, match="v1, phase-1"):
        gen_id(A_DRAFT, name)


@pytest.mark.parametrize("value", ["d_x", None, {"stage": "draft"}, Draft])
def test_only_signatures_have_ids(value: Any) -> None:
    """Anything else is refused by name."""
    with pytest.raises(SignatureError, match="is not a signature"):
        gen_id(value)


def test_phase_1_refuses_the_separator() -> None:
    """Components and parents alike; every place is named."""
    signatures: list[tuple[Signature[Any], str]] = [
        (Draft(combo_id="a|b", template_id="t", llm_model_id="m", replicate=1), "draft.combo_id"),
        (Essay(parent_gen_id=DraftId("a|"), template_id="t", replicate=1), "essay.parent_gen_id"),
    ]
    for signature, place in signatures:
        with pytest.raises(SchemeError, match=place):
            gen_id(signature, PHASE_1)


def test_phase_1_refuses_an_essay_with_a_model_of_its_own() -> None:
    """It has no place for one."""
    essay = Essay(parent_gen_id=DraftId("d_x"), template_id="t", replicate=1, llm_model_id="m")
    with pytest.raises(SchemeError, match=r"essay\.llm_model_id"):
        gen_id(essay, PHASE_1)


def test_phase_1_folds_a_parent() -> None:
    """As it always did; v1 takes a parent as it is."""
    upper, lower = (
        Essay(parent_gen_id=DraftId(parent), template_id="t", replicate=1)
        for parent in ("Hand.01", "hand.01")
    )
    assert gen_id(upper, PHASE_1) == gen_id(lower, PHASE_1)
    assert gen_id(upper) != gen_id(lower)


def test_a_scheme_has_a_rule() -> None:
    """None is made that derives nothing."""
    with pytest.raises(TypeError):
        Scheme("v1")  # type: ignore[call-arg]
