"""What mutation testing found unguarded: small contracts that no other test would miss."""

from typing import Any

import attrs
import pytest

from genid import (
    Difference,
    Draft,
    DraftId,
    Essay,
    Explanation,
    ParsedId,
    Problem,
    SignatureError,
    normalize_component,
)
from genid.errors import shown


@pytest.mark.parametrize("record", [Difference, Explanation, ParsedId, Problem])
def test_records_take_keywords_alone(record: type[Any]) -> None:
    """No record can be made by position, so that fields can be added without harm."""
    with pytest.raises(TypeError, match="positional"):
        record(*[None] * len(attrs.fields(record)))


def test_a_wrong_parent_is_told_by_its_two_first_characters() -> None:
    """The message shows the prefix, not more of the id than that."""
    with pytest.raises(SignatureError, match="begins with 'e_', another stage's prefix"):
        Draft.reference("e_1ythvqj26bgqpsbwfqbqk5k2gc")


def test_one_problem_is_one_line_and_several_are_counted() -> None:
    """The text of an error is its only problem, or their number and each on a line of its own."""
    one, two = (
        Problem(place=place, value=1, reason="is wrong", remedy="right it") for place in "ab"
    )
    assert "a: 1 is wrong; right it" == str(SignatureError(one))
    assert "2 problems:\n  a: 1 is wrong; right it\n  b: 1 is wrong; right it" == str(
        SignatureError(one, two)
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 78, repr("x" * 78)),
        ("x" * 79, "'" + "x" * 79 + "… (str, 79 characters)"),
        (list(range(99)), repr(list(range(99)))[:80] + "… (list)"),
    ],
)
def test_a_long_value_is_cut_and_described(value: object, expected: str) -> None:
    """A message repeats 80 characters of a value; of a longer text it also gives the length."""
    assert expected == shown(value)


@pytest.mark.parametrize(
    ("text", "at"), [("ab c", 3), ("  ab c", 5), ("é", 1), ("x" * 9 + '"', 10)]
)
def test_the_first_bad_character_is_named_by_its_place(text: str, at: int) -> None:
    """The place counts from 1 and in the value as it was given, white space included."""
    with pytest.raises(SignatureError, match=rf"\b{at}\b"):
        normalize_component(text)


@pytest.mark.parametrize("parent", ["e1ythvqj26bgqpsb", "vA", "e", "e-1", "E_1", "x_1", "d_1"])
@pytest.mark.parametrize("template", ["t", "T"], ids=["settled", "folded"])
def test_only_a_known_letter_and_an_underscore_claim_a_stage(parent: str, template: str) -> None:
    """A parent that begins with another stage's letter is sound, whether or not another field has
    to be folded on the way."""
    essay = Essay(parent_gen_id=DraftId(parent), template_id=template, replicate=1)
    assert (parent, "t") == (essay.parent_gen_id, essay.template_id)
