"""A further stage is one class; a badly declared one fails when it is defined."""

import pickle
from importlib import import_module, reload
from pathlib import Path
from typing import Any, ClassVar, NewType, TypeVar

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
    Grid,
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
from signature_kit import AN_ESSAY

RevisionId = NewType("RevisionId", str)
OtherId = NewType("OtherId", str)


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


def test_a_stage_may_refer_to_itself() -> None:
    """A revision of a revision: the first has no parent, and is another task than its successor."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        draft_gen_id: DraftId
        previous_gen_id: RevisionId | None = None
        replicate: int

    draft = DraftId("d_x")
    first = Revision(draft_gen_id=draft, replicate=1)
    second = Revision(draft_gen_id=draft, previous_gen_id=gen_id(first), replicate=1)
    by_hand = Revision(draft_gen_id=draft, previous_gen_id=RevisionId("R-By-Hand"), replicate=1)
    for revision in (first, second, by_hand):
        data = slow_reference.canonical("revision", revision.fields())
        assert data == canonical_bytes(revision)
        assert slow_reference.gen_id("revision", revision.fields()) == gen_id(revision)
    assert 3 == len({gen_id(revision) for revision in (first, second, by_hand)})
    assert ("draft_gen_id", "draft") == (parent_field(Revision), parent_stage(Revision))
    for wrong in ("d_x", "r x", "", 1):
        with pytest.raises(SignatureError, match=r"revision\.previous_gen_id"):
            Revision(draft_gen_id=draft, previous_gen_id=wrong, replicate=1)  # type: ignore[arg-type]


def test_a_stage_may_have_itself_as_its_only_parent() -> None:
    """It is a root where it has none; grids and columns take it like any other."""

    class Revision(Signature[RevisionId], stage="revision", prefix="r"):
        parent_gen_id: RevisionId | None = None
        editor_id: str
        replicate: int

    assert ("parent_gen_id", "revision") == (parent_field(Revision), parent_stage(Revision))
    roots = Grid(Revision, editor_id=["a", "b"], replicate=[1])
    later = Grid(Revision, parent_gen_id=roots, editor_id=["a"], replicate=[1])
    one_by_one = [
        gen_id(Revision(parent_gen_id=parent, editor_id="a", replicate=1)) for parent in roots
    ]
    assert one_by_one == list(later)
    arrow, pa = pytest.importorskip("genid.arrow"), pytest.importorskip("pyarrow")
    table = pa.table(
        {"parent_gen_id": [None, *roots], "editor_id": ["a"] * 3, "replicate": [1] * 3}
    )
    assert [next(iter(roots)), *later] == arrow.gen_ids(table, Revision).to_pylist()
    steps = arrow.chain(
        (Revision, pa.table({"editor_id": ["a", "b"], "replicate": [1, 1]})),
        (Revision, pa.table({"parent_row": [0, 1], "editor_id": ["a"] * 2, "replicate": [1] * 2})),
    )
    assert list(later) == steps[1]["gen_id"].to_pylist()


def defined(*, note_type: object, prefix: str = "n", module: str = __name__) -> Any:
    """Run a notebook's cell: a type of ids and the class of its stage, both new."""
    cell: dict[str, Any] = {
        "NoteId": NewType("NoteId", str), "NOTE": note_type, "__name__": module,
    }  # fmt: skip
    source = f"""
from genid import Signature
class Note(Signature[NoteId], stage="note", prefix="{prefix}"):
    note: NOTE {"= None" if note_type == (str | None) else ""}
    replicate: int
"""
    exec(source, cell)
    return cell["Note"]


def test_a_class_defined_again_takes_the_place_of_the_first() -> None:
    """A notebook's cell that is run twice: same ids, one stage, whose class is the new one."""
    first, second = defined(note_type=str), defined(note_type=str)
    one, other = first(note="a", replicate=1), second(note="A ", replicate=1)
    assert (one, gen_id(one), hash(one)) == (other, gen_id(other), hash(other))
    parsed = parse_id(gen_id(second(note="a", replicate=1)))
    assert ("v1", "note") == (parsed.family, parsed.stage)
    assert ["draft", "essay", "evaluation", "note"] == list(STAGES)
    assert (True, False) == (STAGES["note"] is second, STAGES["note"] is first)


def test_children_of_a_class_that_is_defined_again_keep_working() -> None:
    """Those defined before, those that still import the old id type, and new ones."""
    first = defined(note_type=str)

    class Before(Signature[RevisionId], stage="before", prefix="b"):
        parent_gen_id: first.__genid_id_types__[0]  # type: ignore[name-defined]
        replicate: int

    second = defined(note_type=str)

    class After(Signature[OtherId], stage="after", prefix="a"):
        parent_gen_id: first.__genid_id_types__[0]  # type: ignore[name-defined]
        other_gen_id: second.__genid_id_types__[0]  # type: ignore[name-defined]
        replicate: int

    note: Any = gen_id(second(note="a", replicate=1))
    assert note == Before(parent_gen_id=note, replicate=1).parent_gen_id
    assert note == After(parent_gen_id=note, other_gen_id=note, replicate=1).other_gen_id
    assert "note" == parent_stage(Before) == parent_stage(After)
    wrong: Any = "d_x"
    with pytest.raises(SignatureError, match=r"before\.parent_gen_id.*another stage's prefix"):
        Before(parent_gen_id=wrong, replicate=1)
    with pytest.raises(SignatureError, match=r"after\.parent_gen_id.*another stage's prefix"):
        After(parent_gen_id=wrong, other_gen_id=note, replicate=1)


@pytest.mark.parametrize(
    ("again", "match"),
    [
        ({"note_type": DraftId}, "another note; restore what made ids; if it made none, restart"),
        ({"note_type": str | None}, "another note; restore"),
        ({"note_type": str, "prefix": "o"}, "another prefix; restore"),
        ({"note_type": str, "module": "other"}, "defined already, by .*Note; import that class"),
        ({"note_type": int}, "not the type of a field"),
    ],
)
def test_a_class_that_would_give_other_ids_is_refused(again: dict[str, Any], match: str) -> None:
    """Other fields, types or prefix, or another module: the first stays, no remedy changes ids."""
    first = defined(note_type=str)
    with pytest.raises(DeclarationError, match=match) as caught:
        defined(**again)
    assert first is STAGES["note"]
    assert "another name" not in str(caught.value)
    assert "another letter" not in str(caught.value)


QUESTIONS = """
from typing import NewType
from genid import Signature
QuestionId = NewType("QuestionId", str)
class Question(Signature[QuestionId], stage="question", prefix="q"):
    text_id: str
    replicate: int
"""
ANSWERS = """
from typing import NewType
from genid import Signature
from stages_of_questions import QuestionId
AnswerId = NewType("AnswerId", str)
class Answer(Signature[AnswerId], stage="answer", prefix="a"):
    parent_gen_id: QuestionId
    replicate: int
"""


def test_a_module_of_stages_can_be_reloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`importlib.reload` of the parents' module and of the children's, in either order."""
    (tmp_path / "stages_of_questions.py").write_text(QUESTIONS)
    (tmp_path / "stages_of_answers.py").write_text(ANSWERS)
    monkeypatch.syspath_prepend(tmp_path)
    questions, answers = map(import_module, ("stages_of_questions", "stages_of_answers"))
    before = gen_id(answers.Answer(parent_gen_id="q_x", replicate=1))
    for module in (questions, questions, answers, questions, answers):
        reload(module)
        assert before == gen_id(answers.Answer(parent_gen_id="q_x", replicate=1))
    assert (questions.Question, answers.Answer) == (STAGES["question"], STAGES["answer"])


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


def bad_replicate_text() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str
        replicate: str


def bad_self_required() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        parent_gen_id: OtherId
        replicate: int


def bad_parent_default() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        parent_gen_id: EssayId | None = EssayId("e_x")
        replicate: int


def bad_replicate_optional() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        text: str
        replicate: int | None = None


def bad_two_parents_in_one() -> None:
    class X(Signature[OtherId], stage="x", prefix="x"):
        parent_gen_id: DraftId | EssayId
        replicate: int


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


def test_what_is_missing_is_told_without_a_value() -> None:
    """Nothing that is there is shown in its place, here or in a copy of the error."""
    with pytest.raises(DeclarationError) as caught:

        class X(Signature, stage="x", prefix="x"):  # type: ignore[type-arg]
            text: str

    told = [str(problem).partition("X.")[2] for problem in caught.value.problems]
    assert ["id_type: is missing", "replicate: is missing"] == [
        text.partition(";")[0] for text in told
    ]
    copied = pickle.loads(pickle.dumps(caught.value.problems))
    assert copied == caught.value.problems
    assert list(map(str, copied)) == list(map(str, caught.value.problems))


def test_a_replicate_alone_is_no_task() -> None:
    """The message does not list it as a wrong value."""
    with pytest.raises(DeclarationError, match=r"X: has no field beside its replicate; add a c"):

        class X(Signature[OtherId], stage="x", prefix="x"):
            replicate: int


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
