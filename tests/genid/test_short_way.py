"""What is settled already takes one look: no signature that could is sent field by field."""

import types
from types import SimpleNamespace
from typing import Any, NewType

import pytest

from genid import Draft, Essay, Evaluation, Signature, canonical_bytes
from genid import _signature as registry
from genid._canonical import quick_look
from signature_kit import FOLDED

RevisionId = NewType("RevisionId", str)
SOUND: dict[str, Any] = {
    "combo_id": "c", "template_id": "t", "llm_model_id": "m", "parent_gen_id": "x", "replicate": 1,
    "note": "n", "tone": "o",
}  # fmt: skip


def long_way(signature: Any) -> None:
    raise AssertionError(f"{signature} was looked at field by field")


def looked_at(cls: type[Signature[Any]], **fields: Any) -> bytes:
    """Return the canonical bytes that one look gives, which must be those of the signature."""
    names = list(cls.__annotations__)
    given = {name: fields.get(name, SOUND[name]) for name in names}
    signature = SimpleNamespace(**given)
    quick_look(cls.stage, registry._variants(cls), long_way)(signature)
    data: bytes = signature._canonical
    assert canonical_bytes(cls(**given)) == data
    return data


@pytest.mark.parametrize("cls", [Draft, Essay, Evaluation])
def test_settled_signatures_take_one_look(cls: type[Signature[Any]]) -> None:
    """With the least and the greatest replicate, and each character that folding leaves."""
    looked_at(cls)
    for replicate in (1, 2, 2**31 - 1):
        looked_at(cls, replicate=replicate)
    for character in FOLDED:
        looked_at(cls, template_id=character)


@pytest.mark.parametrize("cls", [Draft, Essay, Evaluation])
def test_as_many_characters_as_one_component_may_have_take_one_look(
    cls: type[Signature[Any]],
) -> None:
    """In all texts together; more than that are counted one by one."""
    others = sum(name not in {"template_id", "replicate"} for name in cls.__annotations__)
    looked_at(cls, template_id="t" * (255 - others))
    with pytest.raises(AssertionError, match="field by field"):
        looked_at(cls, template_id="t" * (256 - others))


def test_an_absent_field_takes_one_look_too() -> None:
    """And is absent from the bytes."""
    assert b"llm_model_id" in looked_at(Essay)
    assert b"llm_model_id" not in looked_at(Essay, llm_model_id=None)


def test_every_set_of_fields_that_can_be_present_has_its_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two optional fields: both, either and none, none of the four the long way."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        note: str | None = None
        tone: str | None = None
        replicate: int

    assert 4 == len({
        looked_at(Revision, note=note, tone=tone) for note in ("n", None) for tone in ("o", None)
    })  # fmt: skip
    assert [0, 1, 1, 2] == [
        sum(name in Revision._rules and rule is Revision._rules[name] for name, rule in one.items())
        - 1
        for one in registry._variants(Revision)
    ]


#: What the look, Python and attrs call things themselves.
NAMES = ("text", "data", "signature", "otherwise", "type", "str", "int", "len", "look", "settled")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_may_have_any_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One look gives the same bytes as field by field, and nobody else's; the value stays."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    base: Any = Signature[RevisionId]
    body = {"__annotations__": {"combo_id": str, name: str, "replicate": int}}
    cls = types.new_class(
        "Note",
        (base,),
        {"stage": "note", "prefix": "n"},
        lambda namespace: namespace.update(body),
    )
    quick, slow = (cls(**{"combo_id": "c", name: value, "replicate": 1}) for value in ("v", " V"))
    assert quick == slow
    assert canonical_bytes(quick) == canonical_bytes(slow)
    assert f'"{name}":"v"'.encode() in canonical_bytes(quick)
    assert "v" == getattr(quick, name)
    others = [cls(**{"combo_id": "c", name: "cv", "replicate": 1})]
    assert canonical_bytes(quick) not in map(canonical_bytes, others)


def test_a_stage_may_check_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own `__attrs_post_init__` runs for every signature, settled ones too."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

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
