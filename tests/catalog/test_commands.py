"""The commands about ids and stores, end to end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from genid_store.catalog.findings import KINDS
from genid_store.cli import run
from storekit import Made, Store, make_store

_DRAFT = {
    "combo_id": "combo_v1_85128e4e5ef3",
    "template_id": "creative-synthesis-v10",
    "llm_model_id": "gemini_25_pro",
    "replicate": 1,
}
_V1, _PHASE_1 = "d_2pkyzevzpngrcb4vm9d9j2b1mk", "d_5ezrffv9uf3lr37d"


@pytest.fixture(autouse=True)
def no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a data root nor a Dagster instance comes from outside."""
    for name in ("GENID_DATA_ROOT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)


class _Ran:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def genid(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process."""

    def call(*arguments: object) -> _Ran:
        status = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return _Ran(status, out, err)

    return call


def _options(fields: dict[str, Any]) -> list[str]:
    return [
        part
        for name, value in fields.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]


# -- derive ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("scheme", "expected"), [("v1", _V1), ("phase-1", _PHASE_1)])
def test_derive_prints_the_id(genid: Any, scheme: str, expected: str) -> None:
    """Under either scheme, and nothing else."""
    ran = genid("derive", "draft", *_options(_DRAFT), "--scheme", scheme)
    assert (0, f"{expected}\n", "") == (ran.status, ran.out, ran.err)


def test_derive_explains_itself_as_json(genid: Any) -> None:
    """With the canonical text, the digest and the UUID."""
    found = genid("derive", "draft", *_options(_DRAFT), "--json").json
    assert (_V1, _DRAFT) == (found["gen_id"], found["fields"])
    assert found["canonical"].startswith('{"combo_id":"combo_v1_85128e4e5ef3","genid":1,')
    assert found["blake3"].startswith(found["uuid"][:8])


@pytest.mark.parametrize("stage", ["essay", "evaluation"])
def test_derive_takes_the_fields_of_each_stage(genid: Any, stage: str) -> None:
    """A child names its parent; an essay's model may be left out."""
    parent = _V1 if stage == "essay" else genid("derive", "essay", *_options(
        {"parent_gen_id": _V1, "template_id": "t", "replicate": 1})).out.strip()  # fmt: skip
    fields = {"parent_gen_id": parent, "template_id": "t", "llm_model_id": "m", "replicate": 2}
    ran = genid("derive", stage, *_options(fields))
    assert (0, stage[0] if stage == "essay" else "v") == (ran.status, ran.out[0])


def test_derive_without_a_field_is_a_usage_error(genid: Any) -> None:
    """Every option that is missing is named."""
    ran = genid("derive", "draft", "--replicate", "1")
    assert 2 == ran.status
    assert "--combo-id, --template-id, --llm-model-id" in ran.err


def test_derive_refuses_what_identity_refuses(genid: Any) -> None:
    """With the field, the value and what to do; as JSON too."""
    ran = genid("derive", "draft", *_options({**_DRAFT, "combo_id": "inner space"}), "--json")
    assert 1 == ran.status
    assert "draft.combo_id" in ran.err
    assert "inner space" in ran.json["error"]


def test_derive_in_bulk_keeps_line_by_line(
    genid: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line out for each line in; refused lines are reported with their numbers."""
    lines = [
        json.dumps({**_DRAFT, "stage": "draft"}),
        json.dumps({**_DRAFT, "replicate": "1"}),
        "no json",
        "[]",
        json.dumps({**_DRAFT, "extra": 1}),
        '{"combo_id": "a", "combo_id": "b"}',
        json.dumps({**_DRAFT, "stage": "essay"}),
        json.dumps(_DRAFT),
    ]
    for as_json in (False, True):
        path = tmp_path / "lines"
        path.write_text("\n".join(lines))
        with open(path) as file:
            monkeypatch.setattr(sys, "stdin", file)
            ran = genid("derive", "draft", "--stdin", *(["--json"] if as_json else []))
        assert 1 == ran.status
        printed = ran.out.splitlines()
        if as_json:
            printed = [json.loads(line).get("gen_id", "") for line in printed]
        assert [_V1, "", "", "", "", "", "", _V1] == printed
        assert "line 2: draft.replicate" in ran.err
        assert "6 lines were refused" in ran.err


def test_derive_in_bulk_takes_no_other_fields(genid: Any) -> None:
    """Fields come from the lines alone."""
    assert 2 == genid("derive", "draft", "--stdin", "--replicate", "1").status


def test_derive_imports_neither_dagster_nor_a_dataframe_library() -> None:
    """It starts at once."""
    code = (
        "import sys; from genid_store.cli import run;"
        f"run(['derive', 'draft', *{_options(_DRAFT)!r}]);"
        "heavy = {'dagster', 'pyarrow', 'pandas', 'polars', 'duckdb', 'sqlite3', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{_V1}\n[]\n" == done.stdout


# -- explain ---------------------------------------------------------------------------------------
def test_explain_without_a_store_says_what_the_text_shows(genid: Any) -> None:
    """Family, stage, and for v1 the UUID."""
    assert {"id": _PHASE_1, "family": "phase-1", "stage": "draft", "uuid": None} == genid(
        "explain", _PHASE_1, "--json"
    ).json
    assert "v1" in genid("explain", _V1).out
    assert 1 == genid("explain", "../x").status


@pytest.mark.parametrize("family", ["legacy", "prefixed", "phase-1", "v1", "foreign"])
@pytest.mark.parametrize("stage", ["draft", "evaluation"])
def test_explain_with_a_store_says_the_rest(
    genid: Any, small: Store, family: str, stage: str
) -> None:
    """Fields, derivation, ancestors and children, for every family."""
    made = small.of(stage=stage, family=family)[0]
    ran = genid("explain", made.gen_id, "--data-root", small.path, "--json")
    [found] = ran.json["generations"]
    of = found["generation"]
    assert (0, made.v1, made.phase_1) == (ran.status, *of["expected"].values())
    assert made.v1 == found["fresh"]["gen_id"]
    assert (family != "foreign") == of["recomputes"]
    assert made.task["template_id"] == of["template_id"]
    assert (0 if stage == "draft" else 2) == len(found["ancestors"])
    assert (stage == "draft") == bool(found["children"])
    words = genid("explain", made.gen_id, "--data-root", small.path).out
    assert made.v1 is not None
    for part in (made.v1, made.task["template_id"], found["fresh"]["canonical"]):
        assert part in words


def test_explain_shows_what_is_wrong(genid: Any, mixed: Store) -> None:
    """Every oddity has an explanation, and none of them fails."""
    for made in mixed.generations:
        if made.oddity:
            ran = genid("explain", made.gen_id, "--data-root", mixed.path, "--json")
            assert 0 == ran.status, made


def _pair(store: Store) -> tuple[Made, Made]:
    one = store.of(stage="evaluation", family="legacy")[0]
    other = next(
        made
        for made in store.of(stage="evaluation", family="v1")
        if made.v1 == one.v1 and made.cohort == "v1-2026"
    )
    return one, other


def test_diff_says_that_two_are_the_same_task(genid: Any, small: Store) -> None:
    """A legacy and a v1 generation of one task."""
    one, other = _pair(small)
    found = genid("explain", one.gen_id, other.gen_id, "--data-root", small.path, "--json").json
    assert (True, None) == (found["same_task"], found["cause"])
    words = genid("explain", one.gen_id, other.gen_id, "--data-root", small.path).out
    assert "the same task and replicate" in words


def test_diff_names_the_fields(genid: Any, small: Store) -> None:
    """Siblings part at their own stage."""
    one = small.of(stage="evaluation", family="v1")[0]
    other = next(
        made
        for made in small.of(stage="evaluation", family="v1")
        if made.parent is one.parent and made.task["template_id"] != one.task["template_id"]
    )
    found = genid("explain", one.gen_id, other.gen_id, "--data-root", small.path, "--json").json
    assert "evaluation" == found["cause"]["stage"]
    assert "template_id" in [field["field"] for field in found["cause"]["differences"]]
    words = genid("explain", one.gen_id, other.gen_id, "--data-root", small.path).out
    assert "they part at the evaluation" in words


def test_two_ids_are_not_compared_without_a_store(genid: Any) -> None:
    """What an id was made from does not stand in its text."""
    assert 2 == genid("explain", _V1, _PHASE_1).status


def test_an_id_is_found_by_any_of_its_names(genid: Any, small: Store) -> None:
    """Its folder's, a prefix of it, and the deterministic id of its task; each says how."""
    for family in ("legacy", "prefixed", "phase-1", "v1", "foreign"):
        made = small.of(family=family)[0]
        for text, by in ((made.gen_id, "id"), (made.v1, "id" if family == "v1" else "v1")):
            ran = genid("explain", "--data-root", small.path, text, "--json")
            assert 0 == ran.status
            found = [(one["by"], one["generation"]["gen_id"]) for one in ran.json["generations"]]
            assert (by, made.gen_id) in found or by == "v1"
            assert {made.v1} == {
                one["generation"]["expected"]["v1"] for one in ran.json["generations"]
            }
    legacy = small.of(family="legacy")[0].gen_id
    assert legacy in genid("explain", "--data-root", small.path, legacy[:8]).out


def test_what_is_unknown_or_ambiguous_is_refused(genid: Any, small: Store) -> None:
    unknown = genid("explain", "--data-root", small.path, "000000-unknown", "--json")
    assert (1, True) == (unknown.status, "000000-unknown" in unknown.err)
    hand = genid("explain", "--data-root", small.path, "hand-made")
    assert (1, True) == (hand.status, "is the beginning of several" in hand.err)
    assert 2 == genid("explain", "a", "b", "c").status


# -- store audit -----------------------------------------------------------------------------------
def test_audit_of_a_sound_store(genid: Any, tmp_path: Path) -> None:
    """Exit status 0, and counts."""
    store = make_store(
        tmp_path / "data", generations=150, oddities=(), files=(), overlap=False,
        cohorts=("legacy-2024-01", "v1-2026"),
    )  # fmt: skip
    ran = genid("store", "audit", "--data-root", store.path)
    assert (0, True) == (ran.status, "sound: no findings" in ran.out)


def test_audit_with_findings(genid: Any, mixed: Store) -> None:
    """Exit status 1; the words and the JSON document say the same."""
    ran = genid("store", "audit", "--data-root", mixed.path, "--json")
    assert 1 == ran.status
    assert set(ran.json["counts"]) <= set(KINDS)
    words = genid("store", "audit", "--data-root", mixed.path).out
    for code, count in ran.json["counts"].items():
        assert f"{code}: {count}." in words
    assert f"{len(ran.json['findings'])} finding" in words


@pytest.mark.parametrize("what", ["missing", "a file", "another folder"])
def test_audit_refuses_what_is_not_a_data_root(genid: Any, tmp_path: Path, what: str) -> None:
    """A mistyped path is never a sound store."""
    path = tmp_path / "somewhere"
    if what == "a file":
        path.write_text("x")
    elif what == "another folder":
        path.mkdir()
    ran = genid("store", "audit", "--data-root", path)
    assert (1 if what == "another folder" else 2, "") == (ran.status, ran.out)
    assert "somewhere" in ran.err.replace("\n", "")


def test_audit_that_cannot_read_the_store_is_refused(genid: Any, tmp_path: Path) -> None:
    """A file where a stage's folder belongs."""
    (tmp_path / "gens").mkdir()
    (tmp_path / "gens" / "draft").write_text("x")
    ran = genid("store", "audit", "--data-root", tmp_path)
    assert (1, True) == (ran.status, "gens/draft" in ran.err)
    assert "Usage" not in ran.err


def test_audit_looks_at_the_partitions_of_an_instance(
    genid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is one, keys that no cohort names are findings."""
    from genid_dagster_adapter.instance import open_instance
    from genid_dagster_adapter.partitions import register
    from genid_store.fs.layout import DataRoot

    store = make_store(
        tmp_path / "data", generations=150, oddities=(), files=(), overlap=False,
        cohorts=("v1-2026",),
    )  # fmt: skip
    with open_instance(DataRoot.open(store.path)) as instance:
        register(instance, "draft", [store.of(stage="draft")[0].gen_id, "left-over"])
    ran = genid("store", "audit", "--data-root", store.path, "--json")
    assert {"partition-without-membership": 1} == ran.json["counts"]
    [finding] = ran.json["findings"]
    assert [["draft", "left-over"]] == finding["ids"]


def test_the_data_root_may_come_from_the_environment(
    genid: Any, small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GENID_DATA_ROOT stands in for --data-root."""
    monkeypatch.setenv("GENID_DATA_ROOT", str(small.path))
    assert 0 == genid("explain", small.generations[0].gen_id).status
