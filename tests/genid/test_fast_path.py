"""The fast path takes every signature that it can, and gives the bytes of the slow one."""

import inspect
import types
from types import SimpleNamespace
from typing import Any, NewType

import attrs
import pytest

from genid import Draft, Essay, EssayId, Evaluation, Signature, canonical_bytes
from genid._fast_path import fast_init
from signature_kit import FOLDED

RevisionId = NewType("RevisionId", str)
SOUND: dict[str, Any] = {
    "combo_id": "c", "template_id": "t", "llm_model_id": "m", "parent_gen_id": "x", "replicate": 1,
    "note": "n", "tone": "o",
}  # fmt: skip


def slow_path(signature: Any) -> None:
    raise AssertionError(f"{signature} was checked field by field")


def fast_bytes(cls: type[Signature[Any]], **fields: Any) -> bytes:
    """Return the canonical bytes of the fast path, which must be those of the signature."""
    names = list(cls.__annotations__)
    given = {name: fields.get(name, SOUND[name]) for name in names}
    signature = SimpleNamespace()
    fast_init(cls, cls.__genid_rules__, slow_path)(signature, **given)
    data: bytes = signature._canonical
    assert canonical_bytes(cls(**given)) == data
    return data


@pytest.mark.parametrize("cls", [Draft, Essay, Evaluation])
def test_normalized_signatures_take_the_fast_path(cls: type[Signature[Any]]) -> None:
    """With the least and the greatest replicate, and each character that folding leaves."""
    fast_bytes(cls)
    for replicate in (1, 2, 2**31 - 1):
        fast_bytes(cls, replicate=replicate)
    for character in FOLDED:
        fast_bytes(cls, template_id=character)


@pytest.mark.parametrize("cls", [Draft, Essay, Evaluation])
def test_as_many_characters_as_one_component_may_have_take_the_fast_path(
    cls: type[Signature[Any]],
) -> None:
    """In all texts together; more than that are counted one by one."""
    others = sum(name not in {"template_id", "replicate"} for name in cls.__annotations__)
    fast_bytes(cls, template_id="t" * (255 - others))
    with pytest.raises(AssertionError, match="field by field"):
        fast_bytes(cls, template_id="t" * (256 - others))


def test_an_absent_field_takes_the_fast_path_too() -> None:
    """And is absent from the bytes."""
    assert b"llm_model_id" in fast_bytes(Essay)
    assert b"llm_model_id" not in fast_bytes(Essay, llm_model_id=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in ("llm_model_id", "parent_gen_id") for value in ("", 1, b"m")),
        ("llm_model_id", "M"), ("parent_gen_id", "e_x"), ("replicate", True), ("replicate", 0),
    ],
)  # fmt: skip
def test_the_slow_path_gets_what_may_be_wrong(name: str, value: Any) -> None:
    """An optional field is checked like a required one, and before its value is written out."""
    with pytest.raises(AssertionError, match="field by field"):
        fast_bytes(Essay, **{name: value})


def test_every_set_of_fields_that_can_be_present_takes_the_fast_path() -> None:
    """Of optional components and an optional parent: all eight sets, with bytes of their own."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        note: str | None = None
        parent_gen_id: EssayId | None = None
        replicate: int
        tone: str | None = None

    absent_or = {"note": ("n", None), "parent_gen_id": ("e_x", None), "tone": ("o", None)}
    assert 8 == len({
        fast_bytes(Revision, note=note, parent_gen_id=parent, tone=tone)
        for note in absent_or["note"]
        for parent in absent_or["parent_gen_id"]
        for tone in absent_or["tone"]
    })  # fmt: skip


#: What the method, Python and attrs call things themselves.
NAMES = (
    "text", "data", "signature", "otherwise", "type", "str", "int", "len", "values",
    "normalized", "rules",
)  # fmt: skip


@pytest.mark.parametrize("kind", [str, str | None])
@pytest.mark.parametrize("name", NAMES)
def test_a_field_may_have_any_name(name: str, kind: Any) -> None:
    """Both paths give the same bytes, and no other signature's; the value stays."""
    base: Any = Signature[RevisionId]
    body: dict[str, Any] = {"__annotations__": {"combo_id": str, name: kind, "replicate": int}}
    if kind is not str:
        body[name] = None
    cls = types.new_class(
        "Note",
        (base,),
        {"stage": "note", "prefix": "n"},
        lambda namespace: namespace.update(body),
    )
    fast, slow = (cls(**{"combo_id": "c", name: value, "replicate": 1}) for value in ("v", " V"))
    assert fast == slow
    assert canonical_bytes(fast) == canonical_bytes(slow)
    assert f'"{name}":"v"'.encode() in canonical_bytes(fast)
    assert "v" == getattr(fast, name)
    others = [cls(**{"combo_id": "c", name: "cv", "replicate": 1})]
    assert canonical_bytes(fast) not in map(canonical_bytes, others)


def test_a_stage_may_check_more() -> None:
    """Its own `__attrs_post_init__` runs for every signature, normalized ones too."""

    class Note(Signature[RevisionId], stage="note", prefix="n"):
        note: str
        replicate: int

        def __attrs_post_init__(self) -> None:
            super().__attrs_post_init__()
            if self.note == "bad":
                raise ValueError("bad")

    assert b'"note":"good"' in canonical_bytes(Note(note="Good", replicate=1))
    for note in ("bad", " BAD"):
        with pytest.raises(ValueError, match="bad"):
            Note(note=note, replicate=1)


def test_what_attrs_does_for_a_field_is_done_for_every_signature() -> None:
    """Converters, validators and aliases are attrs' own: the fast path takes no such stage."""

    class Note(Signature[RevisionId], stage="note", prefix="n"):
        note: str = attrs.field(converter=str.strip, validator=attrs.validators.max_len(3))
        tone: str = attrs.field(alias="sound")
        replicate: int

    note: Any = Note
    for _ in range(2):
        assert note(note=" n\u2003", sound="o", replicate=1).fields() == {
            "note": "n", "tone": "o", "replicate": 1
        }  # fmt: skip
        with pytest.raises(ValueError, match="Length"):
            note(note="long", sound="o", replicate=1)


def test_a_stage_may_have_an_init_of_its_own() -> None:
    """Which stays, whatever it passes on."""

    class Note(Signature[RevisionId], stage="note", prefix="n"):
        note: str
        replicate: int

        def __init__(self, number: int) -> None:
            self.__attrs_init__(note=f"n{number}", replicate=number)  # type: ignore[attr-defined]

    assert ["n1", "n2"] == [Note(number).note for number in (1, 2)]


def test_who_wraps_an_init_keeps_it() -> None:
    """A decorator of the class's `__init__` is called each time."""
    calls = []

    class Note(Signature[RevisionId], stage="note", prefix="n"):
        note: str
        replicate: int

    made = Note.__init__

    def counting(self: Any, **fields: Any) -> None:
        calls.append(fields)
        made(self, **fields)

    Note.__init__ = counting  # type: ignore[method-assign]
    assert ["n", "o", "p"] == [Note(note=note, replicate=1).note for note in "nop"]
    assert 3 == len(calls)


def test_a_field_that_is_given_by_position_stays_so() -> None:
    """For the second signature, too."""

    class Note(Signature[RevisionId], stage="note", prefix="n"):
        note: str = attrs.field(kw_only=False)
        replicate: int

    note: Any = Note
    assert ["n", "o"] == [note(text, replicate=1).note for text in "no"]


@pytest.mark.parametrize("cls", [Draft, Essay, Evaluation])
def test_the_fast_path_is_called_as_the_init_of_attrs_is(cls: Any) -> None:
    """By the same parameters, with the same words for one that is missing or unknown."""
    fast, slow = fast_init(cls, cls.__genid_rules__, slow_path), inspect.unwrap(cls.__init__)
    assert inspect.signature(slow) == inspect.signature(fast)
    said = []
    for init in (fast, slow):
        for given in ({"replicate": 1}, {**SOUND, "number": 1}):
            with pytest.raises(TypeError) as caught:
                init(SimpleNamespace(), **given)
            said.append(str(caught.value))
    assert said[:2] == said[2:]
