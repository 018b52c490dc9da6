"""Reading metadata.json: three things are coerced, and nothing else is silently wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.catalog import findings, metadata
from genid_store.catalog.metadata import Generation, inspect_generation, parse_metadata
from genid_store.fs.layout import DataRoot

_GOOD: dict[str, Any] = {
    "stage": "draft",
    "gen_id": "abc",
    "combo_id": "combo_v1_1",
    "template_id": " Template ",
    "llm_model_id": "Model",
    "replicate": 2,
    "origin_cohort_id": "cohort",
    "mode": "llm",
}


def _read(folder: str = "draft", **changes: Any) -> Generation:
    document = {**_GOOD, "stage": folder, **changes}
    document = {key: value for key, value in document.items() if value is not ...}
    return parse_metadata(folder, "abc", json.dumps(document).encode(), "metadata.json")


def _codes(generation: Generation) -> list[tuple[str, str]]:
    return [(str(flaw.code), flaw.field) for flaw in generation.problems]


def test_texts_are_kept_exactly_as_they_are() -> None:
    """Legacy ids are made of the texts as written, so nothing is trimmed or folded."""
    found = _read()
    assert ("combo_v1_1", " Template ", "Model", 2, "cohort", "llm") == (
        found.combo_id,
        found.template_id,
        found.llm_model_id,
        found.replicate,
        found.origin_cohort_id,
        found.mode,
    )
    assert ((), ()) == (found.problems, found.coerced)


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_template_id_is_read_from_its_older_name(stage: str) -> None:
    """A missing template_id is read from <stage>_template, and that is noted."""
    found = _read(stage, parent_gen_id="p", template_id=..., **{f"{stage}_template": "old"})
    assert "old" == found.template_id
    assert (f"template_id read from {stage}_template",) == found.coerced
    assert [] == _codes(found)


def test_another_stages_template_is_not_taken() -> None:
    """An evaluation's template is not its draft's."""
    found = _read("evaluation", parent_gen_id="p", template_id=..., draft_template="old")
    assert (None, [("field-missing", "template_id")]) == (found.template_id, _codes(found))


def test_model_is_read_from_model_id() -> None:
    """A missing llm_model_id is read from model_id, and that is noted."""
    found = _read(llm_model_id=..., model_id="old")
    assert ("old", ("llm_model_id read from model_id",)) == (found.llm_model_id, found.coerced)


@pytest.mark.parametrize(("value", "number"), [("3", 3), (3.0, 3), ("2147483647", 2**31 - 1)])
def test_replicate_is_read_from_a_text_or_a_whole_float(value: object, number: int) -> None:
    """`"3"` and `3.0` are the number 3, and that is noted."""
    found = _read(replicate=value)
    assert (number, (f"replicate read from {value!r}",)) == (found.replicate, found.coerced)


@pytest.mark.parametrize("value", [..., None])
def test_an_absent_replicate_stays_absent_and_counts_as_the_first(value: object) -> None:
    """A missing replicate is None, and 1 where a number is needed."""
    found = _read(replicate=value)
    assert (None, 1, []) == (found.replicate, found.effective_replicate, _codes(found))


@pytest.mark.parametrize(
    "value", [True, 0, -1, 2**31, 1.5, "03", "+3", " 3", "٣", "", "three", [], {}, float("nan")]
)
def test_any_other_replicate_is_wrong(value: object) -> None:
    """What is no whole number from 1 up is a flaw, and no number is made up for it."""
    found = _read(replicate=value)
    assert (None, None) == (found.replicate, found.effective_replicate)
    assert [("field-wrong", "replicate")] == _codes(found)


@pytest.mark.parametrize("name", ["combo_id", "template_id", "llm_model_id", "gen_id", "stage"])
@pytest.mark.parametrize("value", [..., None, ""])
def test_a_missing_field_is_named(name: str, value: object) -> None:
    """Absent, null and empty are all missing."""
    changes: dict[str, Any] = {name: value}
    assert [("field-missing", name)] == _codes(_read(**changes))


@pytest.mark.parametrize("name", ["combo_id", "template_id", "llm_model_id", "parent_gen_id"])
@pytest.mark.parametrize("value", [7, True, ["x"], {"a": 1}, 1.5])
def test_a_field_of_the_wrong_type_is_named_with_its_value(name: str, value: object) -> None:
    """Nothing is converted to text."""
    changes: dict[str, Any] = {name: value}
    found = _read(**changes)
    assert None is getattr(found, name)
    assert [("field-wrong", name, value)] == [
        (flaw.code, flaw.field, flaw.value) for flaw in found.problems
    ]


def test_an_essay_needs_a_parent_and_no_model() -> None:
    """An essay without a model has its draft's; one without a parent is no task."""
    assert [] == _codes(_read("essay", parent_gen_id="p", llm_model_id=..., combo_id=...))
    assert [("field-missing", "parent_gen_id")] == _codes(_read("essay"))


def test_two_names_with_two_values_are_a_conflict() -> None:
    """The documented name counts, and the disagreement is reported."""
    found = _read(model_id="other")
    assert ("Model", [("field-conflict", "llm_model_id")]) == (found.llm_model_id, _codes(found))
    assert [] == _codes(_read(model_id="Model"))


def test_half_a_surrogate_pair_is_no_text() -> None:
    """A JSON escape can make a text that cannot be written anywhere."""
    assert [("field-wrong", "template_id")] == _codes(_read(template_id="\ud800"))


def test_folder_and_metadata_may_disagree_and_it_is_said() -> None:
    """The folder's name is the id; what the metadata says is kept beside it."""
    found = _read(gen_id="other", stage_=1)
    assert ("abc", "other") == (found.gen_id, found.declared_gen_id)
    assert [("folder-mismatch", "gen_id")] == _codes(found)
    document = json.dumps({**_GOOD, "stage": "essay"}).encode()
    mismatch = parse_metadata("draft", "abc", document, "x")
    assert [("stage-mismatch", "stage")] == _codes(mismatch)


@pytest.mark.parametrize("value", ["old", ["older", "old"]])
def test_ids_from_before_migrations_are_read(value: object) -> None:
    """`previous_gen_id` is one id or several."""
    expected = ("old",) if value == "old" else ("older", "old")
    assert expected == _read(previous_gen_id=value).previous_gen_ids
    assert [("field-wrong", "previous_gen_id")] == _codes(_read(previous_gen_id=3))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", findings.METADATA_EMPTY),
        (b" \n\t", findings.METADATA_EMPTY),
        (b'{"stage": "dra', findings.METADATA_MALFORMED),
        (b"[]", findings.METADATA_MALFORMED),
        (b"null", findings.METADATA_MALFORMED),
        (b'{"a": 1, "a": 2}', findings.METADATA_MALFORMED),
        (b'{"a" : 1, "a" : 2}', findings.METADATA_MALFORMED),
        (b'{"a": {"b": 1, "b": 2}}', findings.METADATA_MALFORMED),
        (b'{"a": "\xff"}', findings.METADATA_MALFORMED),
        ("{}".encode("utf-16"), findings.METADATA_MALFORMED),
        (b"\xef\xbb\xbf{}", findings.METADATA_MALFORMED),
        (b"[" * 100_000, findings.METADATA_MALFORMED),
        (b'{"replicate": 1' + b"0" * 5_000 + b"}", findings.METADATA_MALFORMED),
    ],
)
def test_what_is_no_json_object_is_one_flaw(data: bytes, code: str) -> None:
    """Nothing of such a file is used."""
    found = parse_metadata("draft", "abc", data, "gens/draft/abc/metadata.json")
    assert [(code, "gens/draft/abc/metadata.json")] == [(f.code, f.where) for f in found.problems]
    assert {} == dict(found.raw)


def test_a_file_that_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    """A missing file and one that cannot be read are two different flaws."""
    root = DataRoot.open(tmp_path)
    (tmp_path / "gens/draft/a").mkdir(parents=True)
    (tmp_path / "gens/draft/b/metadata.json").mkdir(parents=True)
    assert ["metadata-missing"] == [f.code for f in inspect_generation(root, "draft", "a").problems]
    assert ["metadata-missing"] == [f.code for f in inspect_generation(root, "draft", "c").problems]
    assert ["metadata-unreadable"] == [
        f.code for f in inspect_generation(root, "draft", "b").problems
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    stage=st.sampled_from(["draft", "essay", "evaluation"]),
    document=st.dictionaries(
        st.sampled_from([*_GOOD, "parent_gen_id", "model_id", "draft_template", "previous_gen_id"]),
        _JSON,
    ),
)
def test_any_document_is_read_without_an_exception(stage: str, document: dict[str, Any]) -> None:
    """What is kept is a text or a number in range, and everything else is a flaw."""
    found = parse_metadata(stage, "abc", json.dumps(document).encode(), "x")
    assert found.replicate is None or 1 <= found.replicate < 2**31
    for name in ("combo_id", "template_id", "llm_model_id", "parent_gen_id"):
        assert isinstance(getattr(found, name), str | None)
        if found.raw.get(name) not in (None, "") and getattr(found, name) is None:
            assert name in {flaw.field for flaw in found.problems}


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    """Bytes that are no metadata are a flaw, never an exception."""
    assert parse_metadata("draft", "abc", data, "x").problems


_VALUES = st.sampled_from(
    [
        "abc",
        "draft",
        "essay",
        "é",
        "\ud800",
        "",
        " x ",
        "7",
        None,
        0,
        1,
        2**31 - 1,
        2**31,
        1.0,
        True,
    ]
) | st.lists(st.just("abc"), max_size=1)
_KEYS = st.sampled_from(
    [*_GOOD, "parent_gen_id", "model_id", "draft_template", "previous_gen_id", "adopted_from", "x"]
)


@given(
    stage=st.sampled_from(["draft", "essay", "evaluation"]),
    changes=st.dictionaries(_KEYS, _VALUES, max_size=3),
    parent=st.sampled_from(["p", ...]),
)
def test_what_needs_no_closer_look_reads_the_same_with_one(
    stage: str, changes: dict[str, Any], parent: Any
) -> None:
    """The short way through plain documents is that and nothing else."""
    document = {**_GOOD, "stage": stage, "parent_gen_id": parent, **changes}
    document = {key: value for key, value in document.items() if value is not ...}
    data = json.dumps(document).encode()
    found = parse_metadata(stage, "abc", data, "metadata.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "_plain", lambda *given: None)
        assert parse_metadata(stage, "abc", data, "metadata.json") == found


def test_a_plain_document_takes_no_closer_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or reading a large store would take much longer."""
    monkeypatch.delattr(metadata, "_Reading")
    assert () == _read().problems
