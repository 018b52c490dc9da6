"""Cohorts as the existing pipeline makes them, row for row and byte for byte."""

import csv
import shutil
from pathlib import Path

import pytest

from cohort_kit import metadata, tree
from genid import parse_v1
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.prepare import prepare
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout

SCENARIOS = (
    "cartesian_real_tables",
    "cartesian_replicated",
    "curated_essays",
    "evaluation_only",
    "evaluation_fill_up",
)
FLAGS = {"off": None, "draft": "draft", "draft_essay": "draft,essay", "all": "true"}
COLUMNS = (
    "stage",
    "gen_id",
    "origin_cohort_id",
    "parent_gen_id",
    "combo_id",
    "template_id",
    "llm_model_id",
    "replicate",
    "mode",
)
Rows = list[dict[str, str]]


@pytest.fixture(params=SCENARIOS)
def scenario(request: pytest.FixtureRequest, shared: Path) -> Path:
    found: Path = shared / "golden" / request.param
    return found


@pytest.fixture
def root(scenario: Path, tmp_path: Path) -> DataRoot:
    return DataRoot.open(shutil.copytree(scenario / "input", tmp_path / "root"))


def expected(scenario: Path, state: str) -> Rows:
    with (scenario / "expected" / f"{state}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def on_disk(root: DataRoot) -> Rows:
    """Return the membership as the reference files have it: what the metadata says of each row."""
    text = root.membership("golden-cohort").read_text(encoding="utf-8")
    members = [line.split(",") for line in text.splitlines()[1:]]
    records = (metadata(root, stage, gen_id) for stage, gen_id in members)
    return [{column: str(record.get(column, "")) for column in COLUMNS} for record in records]


def build_golden(root: DataRoot, state: str, scheme: str) -> None:
    build_cohort(
        root, Options(rollout=Rollout.parse(FLAGS[state], scheme), cohort_id="golden-cohort")
    )


@pytest.mark.parametrize("state", FLAGS)
def test_every_state_gives_the_reference_rows_in_their_order(
    scenario: Path, root: DataRoot, state: str
) -> None:
    """Membership and seeded metadata equal what the existing pipeline makes (phase-1 and off)."""
    build_golden(root, state, "phase-1")
    assert expected(scenario, state) == on_disk(root)


def test_with_the_flag_off_every_file_is_byte_for_byte_the_pipelines(
    scenario: Path, root: DataRoot
) -> None:
    """Files added by the membership step are equal, and no others are added but the manifest."""
    reference = scenario / "expected" / "off_files"
    if not reference.exists():
        pytest.skip("no reference files for this scenario")
    before = tree(root)
    build_golden(root, "off", "v1")
    added = {name: data for name, (data, _) in tree(root).items() if name not in before}
    manifest = added.pop("cohorts/golden-cohort/manifest.json")
    assert b'"rollout"' not in manifest
    files = (path for path in reference.rglob("*") if path.is_file())
    assert {path.relative_to(reference).as_posix(): path.read_bytes() for path in files} == added


@pytest.mark.parametrize("state", FLAGS)
def test_v1_gives_the_same_rows_with_its_own_ids_and_parents_following(
    scenario: Path, root: DataRoot, state: str
) -> None:
    """Row by row only ids and parents differ; the parent of each is its counterpart's partner."""
    build_golden(root, state, "v1")
    theirs, ours = expected(scenario, state), on_disk(root)
    partner = {them["gen_id"]: us["gen_id"] for them, us in zip(theirs, ours, strict=True)}
    known = {
        essay: essay for essay in ("e_sq5klak2lljyyom", "4h6j8l0n2p4r6t8v", "9xk3ukesmu6nfmwc")
    }
    follow = {"": "", **known, **partner}
    for them, us in zip(theirs, ours, strict=True):
        assert follow[them["parent_gen_id"]] == us["parent_gen_id"]
        same = set(COLUMNS) - {"gen_id", "parent_gen_id", "origin_cohort_id"}
        assert {name: them[name] for name in same} == {name: us[name] for name in same}
        if Rollout.parse(FLAGS[state]).covers(us["stage"]):
            assert us["stage"] == parse_v1(us["gen_id"]).stage


@pytest.mark.parametrize("state", FLAGS)
def test_a_second_build_writes_no_file(root: DataRoot, state: str) -> None:
    """Bytes and modification times of everything stay."""
    build_golden(root, state, "v1")
    before = tree(root)
    build_golden(root, state, "v1")
    assert before == tree(root)


@pytest.mark.parametrize(
    ("scenario_name", "cohort_id"),
    [
        ("cartesian_real_tables", "cohort-d72c78ad666d"),
        ("cartesian_replicated", "cohort-58f3f19819a0"),
    ],
)
@pytest.mark.parametrize("flag", [None, "on"])
def test_the_computed_cohort_id_is_the_pipelines_in_every_state(
    shared: Path, scenario_name: str, cohort_id: str, flag: str | None
) -> None:
    """The rollout is no part of the cohort id."""
    root = DataRoot.open(shared / "golden" / scenario_name / "input")
    prepared = prepare(root, Options(rollout=Rollout.parse(flag)))
    assert cohort_id == prepared.plan.cohort_id
