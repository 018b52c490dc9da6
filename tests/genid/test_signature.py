"""Signatures: what they accept, what they refuse, and that they are values."""

import copy
import pickle
from enum import StrEnum
from typing import Any

import attrs
import pytest
from blake3 import blake3

from genid import (
    Draft,
    DraftId,
    Essay,
    EssayId,
    Evaluation,
    GenIdError,
    Grid,
    Signature,
    SignatureError,
    canonical_bytes,
    gen_id,
    normalize_component,
)
from signature_kit import A_DRAFT, AN_ESSAY, AN_EVALUATION

FIELDS: dict[str, Any] = attrs.asdict(A_DRAFT)


class Model(StrEnum):
    """A string that is not exactly one."""

    SONNET = "sonnet-4"


def refused(cls: type[Signature[Any]], **fields: Any) -> SignatureError:
    """Construct, and return the error that must come."""
    with pytest.raises(SignatureError) as caught:
        cls(**fields)
    return caught.value


def test_fields_are_normalized_on_construction() -> None:
    """Attributes hold what identity is made of."""
    draft = Draft(combo_id="\tC ", template_id="T\n", llm_model_id="M\f\v\r", replicate=7)
    assert ("c", "t", "m", 7) == attrs.astuple(draft)


def test_equal_signatures_are_equal_and_hash_equal() -> None:
    """However they were spelled; another class or replicate is another value."""
    spelled = Draft(**{**FIELDS, "combo_id": f" {FIELDS['combo_id'].upper()} "})
    assert A_DRAFT == spelled
    assert hash(A_DRAFT) == hash(spelled)
    assert A_DRAFT != Draft(**{**FIELDS, "replicate": 2})


def test_a_signature_is_frozen_and_keyword_only() -> None:
    """Nothing of it can be assigned, and nothing passed by position."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        A_DRAFT.replicate = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Draft("c", "t", "m", 1)  # type: ignore[call-arg]


@pytest.mark.parametrize("missing", sorted(FIELDS))
def test_every_field_is_required(missing: str) -> None:
    """Nothing has a default, the replicate least of all."""
    with pytest.raises(TypeError, match=missing):
        Draft(**{name: value for name, value in FIELDS.items() if name != missing})


@pytest.mark.parametrize("signature", [A_DRAFT, AN_ESSAY, AN_EVALUATION])
def test_copies_keep_value_and_id(signature: Signature[Any]) -> None:
    """Pickling, copying and evolving give equal signatures with the same bytes."""
    for twin in (
        pickle.loads(pickle.dumps(signature)),
        copy.deepcopy(signature),
        attrs.evolve(signature),  # type: ignore[misc]
    ):
        assert signature == twin
        assert canonical_bytes(signature) == canonical_bytes(twin)


def test_only_fields_are_shown() -> None:
    """The repr is a call that makes an equal signature."""
    assert A_DRAFT == eval(repr(A_DRAFT))


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, 0, -1, 2**31, b"1", [1]])
def test_what_is_no_replicate(value: object) -> None:
    """Exactly an int from 1 to 2^31-1; the error shows field, value and remedy."""
    error = refused(Draft, **{**FIELDS, "replicate": value})
    assert "draft.replicate" == error.problems[0].place
    assert value is error.problems[0].value
    assert str(value)[:5] in str(error)


@pytest.mark.parametrize("value", [1, 999_999_999, 1_000_000_000, 2**31 - 1])
def test_what_is_a_replicate(value: int) -> None:
    """Both ends of the range are in it, and it is written in decimal."""
    assert f'"replicate":{value},'.encode() in canonical_bytes(
        Draft(**{**FIELDS, "replicate": value})
    )


@pytest.mark.parametrize("name", ["combo_id", "template_id", "llm_model_id"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        (" \t\n\r\f\v", "is empty"),
        ("a" * 256, "256 characters"),
        ("a b", "U+0020 ' ' as character 2"),
        ("  é", "U+00E9 'é' as character 3"),
        ('"', "U+0022"),
        ("\\", "U+005C"),
        ("a\x7f", "U+007F"),
        ("\ud800", "U+D800"),
        ("\x85a", "U+0085"),
        (None, "NoneType"),
        (7, "int"),
        (b"c", "bytes"),
        (Model.SONNET, "Model"),
    ],
)
def test_what_is_no_component(name: str, value: object, says: str) -> None:
    """Each refusal names the field and what is wrong with the value."""
    error = refused(Draft, **{**FIELDS, name: value})
    assert f"draft.{name}" == error.problems[0].place
    assert says in str(error)


@pytest.mark.parametrize("length", [1, 254, 255])
def test_components_of_every_length_up_to_255(length: int) -> None:
    """The length counts after trimming, and all components may be long at once."""
    texts = dict.fromkeys(("combo_id", "template_id", "llm_model_id"), "x" * length)
    assert ("x" * length,) * 3 + (1,) == attrs.astuple(Draft(**texts, replicate=1))
    padded = {name: f"  {text} " for name, text in texts.items()}
    assert Draft(**texts, replicate=1) == Draft(**padded, replicate=1)


def test_all_problems_come_at_once() -> None:
    """One error lists every field that is wrong, in the order of declaration."""
    error = refused(Draft, combo_id="", template_id="a b", llm_model_id="m", replicate=0)
    expected = ["draft.combo_id", "draft.template_id", "draft.replicate"]
    assert expected == [problem.place for problem in error.problems]
    assert str(error).startswith("3 problems:\n  draft.combo_id")


def test_errors_are_value_errors_that_survive_pickling() -> None:
    """A worker process can send one home."""
    error = refused(Draft, **{**FIELDS, "combo_id": "x" * 10_000})
    assert isinstance(error, GenIdError)
    assert isinstance(error, ValueError)
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    assert 400 > len(str(error))
    assert "10000 characters" in str(error)


@pytest.mark.parametrize(
    "parent",
    [
        "d_2pkyzevzpngrcb4vm9d9j2b1mk",
        "d_5ezrffv9uf3lr37d",
        "6mnl1prnb7hitkpc",
        "Draft-By-Hand.01",
        "d",
        "_e_x",
        "ee_x",
        "D_x",
        "E_x",
        "x_y",
        "x" * 255,
        "a|b",
    ],
)
def test_a_parent_is_taken_exactly_as_it_is(parent: str) -> None:
    """Ids of every family: nothing is dropped or folded."""
    essay = Essay(parent_gen_id=DraftId(parent), template_id="t", replicate=1)
    assert parent == essay.parent_gen_id
    assert f'"parent_gen_id":"{parent}"'.encode() in canonical_bytes(essay)
    assert parent == Draft.reference(parent)


@pytest.mark.parametrize(
    "parent", ["e_x", "v_5ezrffv9uf3lr37d", " d_x", "d_x\n", "", "x" * 256, "d_ü", 'd_"', None, 5]
)
def test_what_is_no_draft_for_an_essay(parent: Any) -> None:
    """Another stage's prefix, white space, and all that a component may not hold either."""
    error = refused(Essay, parent_gen_id=parent, template_id="t", replicate=1)
    assert "essay.parent_gen_id" == error.problems[0].place
    with pytest.raises(SignatureError, match="draft id"):
        Draft.reference(parent)


def test_an_evaluation_has_an_essay_as_parent() -> None:
    """A draft's id in its place is refused and the right stage named."""
    error = refused(
        Evaluation,
        parent_gen_id=gen_id(A_DRAFT),
        template_id="t",
        llm_model_id="m",
        replicate=1,
    )
    assert "pass the id of a generation of essay" in str(error)


def test_an_essays_model_is_there_or_left_out() -> None:
    """None is absence; a model of its own makes another essay; an empty one is refused."""
    essay = Essay(parent_gen_id=DraftId("d_x"), template_id="t", replicate=1)
    other = Essay(parent_gen_id=DraftId("d_x"), template_id="t", replicate=1, llm_model_id=" M")
    assert b"llm_model_id" not in canonical_bytes(essay)
    assert b'"llm_model_id":"m"' in canonical_bytes(other)
    assert {"parent_gen_id": "d_x", "template_id": "t", "replicate": 1} == essay.fields()
    assert "m" == other.fields()["llm_model_id"]
    refused(Essay, parent_gen_id="d_x", template_id="t", replicate=1, llm_model_id="")
    spelled = Essay(parent_gen_id=DraftId("d_x"), template_id=" T", replicate=1)
    assert essay == spelled


@pytest.mark.parametrize(
    "text",
    ["Why not?", "Write an essay.\n\nBe brief.", "pourquoi\u202fpas", "你好世界", "x" * 256, "a b"],
)
def test_a_text_in_place_of_an_id_gets_advice_to_hash_it(text: str) -> None:
    """The remedy says how, and what it says makes a component."""
    how = r"identify it by its hash: blake3\(text\.encode\(\)\)\.hexdigest\(\)"
    with pytest.raises(SignatureError, match=how):
        normalize_component(text)
    hashed = blake3(text.encode()).hexdigest()
    assert hashed == normalize_component(hashed)


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\0b", "", "  ", '"'])
def test_an_id_with_a_stray_character_gets_no_such_advice(value: str) -> None:
    """Only what looks like prose does; the id of a parent never."""
    for refused_by in (normalize_component, Draft.reference):
        with pytest.raises(SignatureError) as caught:
            refused_by(value)
        assert "hash" not in str(caught.value)
    with pytest.raises(SignatureError) as caught:
        Draft.reference("Why not?")
    assert "hash" not in str(caught.value)


def test_the_bare_base_is_no_signature() -> None:
    """Only a stage can be constructed."""
    with pytest.raises(TypeError, match="Signature is a base"):
        Signature()


def test_normalize_component_gives_what_a_signature_holds() -> None:
    """The one function for comparing table ids; its error names the place that is given."""
    assert "gemini_25_pro" == normalize_component(" Gemini_25_Pro\n")
    with pytest.raises(SignatureError, match=r"llm_models\.csv:7:id: 'a b' has"):
        normalize_component("a b", place="llm_models.csv:7:id")


def test_an_id_type_is_a_plain_string_at_run_time() -> None:
    """NewTypes cost nothing."""
    assert str is type(gen_id(AN_ESSAY))
    assert gen_id(AN_ESSAY) == EssayId(gen_id(AN_ESSAY))


@pytest.mark.parametrize("stage", ["draft", A_DRAFT, Signature, int, None])
def test_what_is_no_stage_is_refused_where_a_class_is_asked_for(stage: Any) -> None:
    """A name, a signature, the base itself: each by the same message, in grids and in columns."""
    with pytest.raises(SignatureError, match="is not a stage's class; pass the class"):
        Grid(stage, combo_id=["c"])
    arrow = pytest.importorskip("genid.arrow")
    pa = pytest.importorskip("pyarrow")
    for call in (arrow.gen_ids, arrow.bad_rows, arrow.add_gen_id):
        with pytest.raises(SignatureError, match="is not a stage's class; pass the class"):
            call(pa.table({"combo_id": ["c"]}), stage)
