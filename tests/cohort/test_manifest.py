"""The cohort's id and its manifest."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort_kit import COHORT, OFF, ON, built, everything, make_root, put_draft
from genid_store.catalog.recorded import Recorded, parse_recorded
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import prepare
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout

MANIFEST = """{
  "combos": [
    "combo_v1_one",
    "combo_v1_two"
  ],
  "templates": {
    "draft": [
      "links-v1",
      "links-v2"
    ],
    "essay": [
      "parsed-v1",
      "story-v1"
    ],
    "evaluation": [
      "novelty-v1",
      "style-v1"
    ]
  },
  "llms": {
    "generation": [
      "writer_a",
      "writer_b"
    ],
    "evaluation": [
      "judge_a"
    ]
  }%s
}"""


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root")


def test_the_manifest_holds_the_active_ids_sorted(root: DataRoot) -> None:
    """Its keys in the contract's order, no newline at the end, no rollout while it is off."""
    built(root)
    assert (MANIFEST % "").encode() == root.manifest(COHORT).read_bytes()


def test_the_manifest_records_a_rollout_that_covers_a_stage(root: DataRoot) -> None:
    """Its stages and its scheme, after everything else."""
    built(root, Rollout.parse("draft", "phase-1"))
    rollout = """,
  "rollout": {
    "stages": [
      "draft"
    ],
    "scheme": "phase-1"
  }"""
    assert (MANIFEST % rollout).encode() == root.manifest(COHORT).read_bytes()


def test_the_computed_id_follows_the_tables_and_not_the_rollout(root: DataRoot) -> None:
    """And it is what the cohort is built as."""
    off = prepare(root, Options(rollout=OFF)).plan.cohort_id
    assert off == prepare(root, Options(rollout=ON)).plan.cohort_id
    assert f"cohorts/{off}/membership.csv" in build_cohort(root, Options(rollout=ON)).files
    path = root.raw / "draft_templates.csv"
    path.write_text(path.read_text().replace("false", "true"))
    assert off != prepare(root, Options(rollout=OFF)).plan.cohort_id


def test_with_a_selection_file_the_id_must_be_given(tmp_path: Path) -> None:
    """The computed one would be the same for any selection."""
    root = make_root(tmp_path / "root", drafts=["d1"])
    put_draft(root, "d1")
    before = everything(root.path)
    with pytest.raises(StoreError, match=r"selected_drafts\.txt.*DD_COHORT \(cohort_id=ID\)"):
        build_cohort(root, Options(rollout=OFF))
    assert before == everything(root.path)


BAD = ["", ".", "..", "a/b", "../x", "a\\b", "a\0b", " a", "a b", "-a", ".a", "ä", "x" * 10_000]


@pytest.mark.parametrize("cohort_id", BAD)
def test_a_cohort_id_that_is_not_a_safe_path_segment_is_refused(
    root: DataRoot, cohort_id: str
) -> None:
    """By the option and by the variable, and nothing is written."""
    before = everything(root.path)
    with pytest.raises(StoreError, match="not a safe path segment"):
        build_cohort(root, Options(rollout=OFF, cohort_id=cohort_id))
    assert before == everything(root.path)
    with pytest.raises(StoreError, match="not a safe path segment"):
        given_cohort_id(cohort_id, {})
    if cohort_id:
        with pytest.raises(StoreError, match="DD_COHORT"):
            given_cohort_id(None, {"DD_COHORT": cohort_id})


@pytest.mark.parametrize("value", ["", "0", "false", "False", "none", "NULL", " "])
def test_some_values_of_the_variable_mean_unset(value: str) -> None:
    """As they always have."""
    assert given_cohort_id(None, {"DD_COHORT": value}) is None


def test_the_option_goes_before_the_variable() -> None:
    """And the variable before computing one."""
    assert "a" == given_cohort_id("a", {"DD_COHORT": "b"})
    assert "b" == given_cohort_id(None, {"DD_COHORT": "b"})
    assert given_cohort_id(None, {}) is None


def test_a_manifest_says_what_it_was_built_in(root: DataRoot) -> None:
    """Absence of a rollout means off; what cannot be made out says nothing."""
    built(root, Rollout.parse("draft,essay"))
    data = root.manifest(COHORT).read_bytes()
    assert Recorded(rollout=Rollout.parse("draft,essay")) == parse_recorded(data)
    assert Recorded(rollout=OFF) == parse_recorded(b"{}")
    for broken in (b"", b"[]", b'{"rollout": 1}', b'{"rollout": {"stages": ["essay"]}}', b"\xff"):
        assert Recorded() == parse_recorded(broken)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.dictionaries(st.sampled_from(["rollout", "stages", "scheme"]), inner),
    ).map(lambda document: json.dumps(document).encode())
)
def test_any_bytes_of_a_manifest_are_read(data: bytes) -> None:
    """Never an error: the build replaces it."""
    assert isinstance(parse_recorded(data), Recorded)
