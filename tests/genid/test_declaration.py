"""A further stage is one class; a badly declared one fails when it is defined."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import ClassVar, NewType, TypeVar

import pytest

import slow_reference
from genid import (
    PHASE_1,
    STAGES,
    DeclarationError,
    Draft,
    DraftId,
    Essay,
    EssayId,
    Evaluation,
    SchemeError,
    Signature,
    SignatureError,
    canonical_bytes,
    explain,
    gen_id,
    parent_field,
    parent_stage,
    parse_id,
    parse_v1,
)
from genid import _signature as registry
from signature_kit import AN_ESSAY

RevisionId = NewType("RevisionId", str)
OtherId = NewType("OtherId", str)


@pytest.fixture(autouse=True)
def only_the_usual_stages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget a test's stages."""
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


def test_a_fourth_stage_is_one_class() -> None:
    """Ids, parents, parsing, explaining and refusals work from the class alone."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        parent_gen_id: EssayId
        editor_id: str
        style: str | None = None
        replicate: int

    plain = Revision(parent_gen_id=gen_id(AN_ESSAY), editor_id="Ed ", replicate=3)
    styled = Revision(parent_gen_id=gen_id(AN_ESSAY), editor_id="ed", replicate=3, style="Dry")
    assert ["draft", "essay", "evaluation", "revision"] == list(STAGES)
    for revision in (plain, styled):
        data = slow_reference.canonical("revision", revision.fields())
        assert data == canonical_bytes(revision)
        assert slow_reference.typeid(explain(revision).uuid, "r") == gen_id(revision)
        assert "revision" == parse_v1(gen_id(revision)).stage == parse_id(gen_id(revision)).stage
    assert b'"style":"dry"' in canonical_bytes(styled)
    assert "d_x" == Draft.reference("d_x")
    with pytest.raises(SignatureError, match="another stage's prefix"):
        Draft.reference("r_x")
    with pytest.raises(SignatureError, match=r"revision\.parent_gen_id"):
        Revision(parent_gen_id=EssayId("d_x"), editor_id="e", replicate=1)
    with pytest.raises(SchemeError, match="revision"):
        gen_id(plain, PHASE_1)


def test_a_stage_says_what_its_parent_is() -> None:
    """The field and the stage; of several references the first; nothing for a root."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        editor_id: str
        essay_gen_id: EssayId
        draft_gen_id: DraftId
        replicate: int

    assert (None, None) == (parent_field(Draft), parent_stage(Draft))
    assert ("parent_gen_id", "draft") == (parent_field(Essay), parent_stage(Essay))
    assert ("parent_gen_id", "essay") == (parent_field(Evaluation), parent_stage(Evaluation))
    assert ("essay_gen_id", "essay") == (parent_field(Revision), parent_stage(Revision))
    for look in (parent_field, parent_stage):
        with pytest.raises(SignatureError, match="stage"):
            look(Signature)


def test_an_r_prefix_means_nothing_before_there_is_such_a_stage() -> None:
    """A letter claims a stage only once a stage has it."""
    assert "r_x" == Draft.reference("r_x")
    assert "foreign" == parse_id("r_x").family


def test_string_annotations_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module with `from __future__ import annotations` can define a stage."""
    (tmp_path / "stage_of_notes.py").write_text(
        "from __future__ import annotations\n"
        "from typing import NewType\n"
        "from genid import DraftId, Signature\n"
        "NoteId = NewType('NoteId', str)\n"
        "class Note(Signature[NoteId], stage='note', prefix='n'):\n"
        "    parent_gen_id: DraftId\n"
        "    replicate: int\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    note = import_module("stage_of_notes").Note(parent_gen_id="d_x", replicate=1)
    expected = b'{"genid":1,"parent_gen_id":"d_x","replicate":1,"stage":"note"}'
    assert expected == canonical_bytes(note)


T = TypeVar("T", bound=str)


def bad_prefix_taken() -> None:
    class X(Signature[OtherId], stage="x", prefix="d"):
        text: str
        replicate: int


def bad_prefix_upper() -> None:
    class X(Signature[OtherId], stage="x", prefix="X"):
        text: str
        replicate: int


def bad_prefix_long() -> None:
    class X(Signature[OtherId], stage="x", prefix="xy"):
        text: str
        replicate: int


def bad_prefix_digit() -> None:
    class X(Signature[OtherId], stage="x", prefix="7"):
        text: str
        replicate: int


def bad_prefix_newline() -> None:
    class X(Signature[OtherId], stage="x", prefix="x\n"):
        text: str
        replicate: int


def bad_prefix_type() -> None:
    class X(Signature[OtherId], stage="x", prefix=5):  # type: ignore[arg-type]
        text: str
        replicate: int


def bad_stage_taken() -> None:
    class X(Signature[OtherId], stage="draft", prefix="x"):
        text: str
        replicate: int


def bad_stage_name() -> None:
    class X(Signature[OtherId], stage='x"', prefix="x"):
        text: str
        replicate: int


def bad_stage_type() -> None:
    class X(Signature[OtherId], stage=None, prefix="x"):  # type: ignore[arg-type]
        text: str
        replicate: int


def bad_id_type_taken() -> None:
    class X(Signature[DraftId], stage="x", prefix="x"):
        text: str
        replicate: int


def bad_id_type_plain() -> None:
    class X(Signature[str], stage="x", prefix="x"):
        text: str
        replicate: int


def bad_id_type_variable() -> None:
    class X(Signature[T], stage="x", prefix="x"):
        text: str
        replicate: int


def bad_id_type_none() -> None:
    class X(Signature, stage="x", prefix="x"):  # type: ignore[type-arg]
        text: str
        replicate: int


def bad_base() -> None:
    class X(Draft, stage="x", prefix="x"):
        text: str


def bad_second_base() -> None:
    class Mixin:
        pass

    class X(Signature[OtherId], Mixin, stage="x", prefix="x"):
        text: str
        replicate: int


def bad_field_type() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        weight: float
        replicate: int


def bad_field_unhashable_type() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        names: list[str]
        replicate: int


def bad_field_unknown_parent() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        parent_gen_id: RevisionId
        replicate: int


def bad_field_other_number() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str
        size: int
        replicate: int


def bad_field_name() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        Text: str
        replicate: int


def bad_field_reserved() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        genid: str
        replicate: int


def bad_field_default() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str = "a"
        replicate: int


def bad_optional_without_default() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str | None
        replicate: int


def bad_replicate_default() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str
        replicate: int = 1


def bad_replicate_type() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str
        replicate: bool


def bad_no_replicate() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str


def bad_only_replicate() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        replicate: int


def bad_field_self() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        self: str
        replicate: int


def bad_unknown_annotation() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: "Nowhere"  # type: ignore[name-defined]  # noqa: F821
        replicate: int


BAD = {name: value for name, value in globals().items() if name.startswith("bad_")}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_declaration_fails_when_defined(name: str) -> None:
    """Each fault is a DeclarationError that shows the class, and registers nothing."""
    with pytest.raises(DeclarationError, match=r"X\b"):
        BAD[name]()
    assert ["draft", "essay", "evaluation"] == list(STAGES)


def test_all_faults_come_at_once() -> None:
    """One error lists them."""
    with pytest.raises(DeclarationError) as caught:

        class X(Signature[str], stage="X", prefix="d"):
            weight: float

    assert 5 <= len(caught.value.problems)


def test_stage_and_prefix_are_part_of_the_declaration() -> None:
    """Without them the class statement itself fails."""
    with pytest.raises(TypeError, match="stage"):

        class X(Signature[OtherId]):  # type: ignore[call-arg]
            replicate: int


def test_class_variables_are_no_fields() -> None:
    """A ClassVar stays what it is."""

    class X(Signature[OtherId], stage="x", prefix="x"):
        note: ClassVar[str] = "about"
        text: str
        replicate: int

    assert {"text": "a", "replicate": 1} == X(text="a", replicate=1).fields()
