"""What mutation testing found unguarded: small contracts that no other test would miss."""

import tracemalloc
from typing import Any, NewType

import attrs
import pytest

from genid import (
    PHASE_1,
    V1,
    DeclarationError,
    Difference,
    Draft,
    DraftId,
    Essay,
    Explanation,
    Grid,
    ParsedId,
    ParseError,
    Problem,
    Signature,
    SignatureError,
    gen_id,
    is_gen_id,
    normalize_component,
    parse_v1,
)
from genid.errors import shown

RevisionId = NewType("RevisionId", str)


@pytest.mark.parametrize("record", [Difference, Explanation, ParsedId, Problem])
def test_records_take_keywords_alone(record: type[Any]) -> None:
    """No record can be made by position, so that fields can be added without harm."""
    with pytest.raises(TypeError, match="positional"):
        record(*[None] * len(attrs.fields(record)))


def test_a_wrong_parent_is_shown_by_its_two_first_characters() -> None:
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
        pytest.param(10**5000, "a value of type int, too large to show,", id="huge"),
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


@pytest.mark.parametrize("first", ["-", "!", "/", " ", ".", "i", "8"])
def test_the_first_character_of_a_suffix_is_looked_at(first: str) -> None:
    """A suffix that begins with no digit from 0 to 7 is refused, not looked up."""
    text = f"d_{first}pkyzevzpngrcb4vm9d9j2b1mk"
    assert not is_gen_id(text)
    with pytest.raises(ParseError):
        parse_v1(text)


@pytest.mark.parametrize("one", [V1, PHASE_1])
def test_schemes_cannot_be_changed(one: Any) -> None:
    """A scheme is one object for everybody: no attribute can be set on it."""
    with pytest.raises(AttributeError):
        one.salt = "x"


def test_an_absent_field_does_not_hide_a_bad_one_after_it() -> None:
    """Fields behind an optional one that is absent are checked like any other."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        editor_id: str
        style: str | None = None
        publisher_id: str
        replicate: int

    with pytest.raises(SignatureError) as refused:
        Revision(editor_id="Ed", publisher_id="a b", replicate=0)
    assert ["revision.publisher_id", "revision.replicate"] == [
        problem.place for problem in refused.value.problems
    ]


def test_a_taken_name_is_recognized_by_its_letters() -> None:
    """A stage that is named like another one is refused, whichever object holds the name."""
    with pytest.raises(DeclarationError, match="is defined already"):

        class _Again(Signature[RevisionId], stage="".join(["dra", "ft"]), prefix="r"):
            editor_id: str
            replicate: int


def test_a_number_is_a_field_as_the_replicate_alone() -> None:
    """An `int` under any other name, before or behind it in the alphabet, has no rule."""
    with pytest.raises(DeclarationError) as refused:

        class _Counted(Signature[RevisionId], stage="revision", prefix="r"):
            editor_id: str
            amount: int
            volume: int
            replicate: int

    assert ["amount", "volume"] == [
        problem.place.rpartition(".")[2] for problem in refused.value.problems
    ]


def test_a_grid_of_children_asks_its_parents_one_by_one() -> None:
    """The first of 64,000 children is there before the second parent is: none is held."""
    names = [f"x{number}" for number in range(40)]
    drafts = Grid(Draft, combo_id=names, template_id=names, llm_model_id=names, replicate=[1])
    essays = Grid(Essay, parent_gen_id=drafts, template_id=["t"], replicate=[1])
    first = Draft(combo_id="x0", template_id="x0", llm_model_id="x0", replicate=1)
    child = Essay(parent_gen_id=gen_id(first), template_id="t", replicate=1)
    tracemalloc.start()
    assert gen_id(child) == next(iter(essays))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 64_000 == len(essays)
    assert 500_000 > peak
