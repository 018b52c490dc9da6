"""Cohorts built by `genid cohort build` through Dagster equal the existing pipeline's."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from cohort_kit import tree
from dagster_kit import new_home
from genid import parse_v1
from genid_store.cli import run
from genid_store.fs.layout import DataRoot

FLAGS = {"off": "", "draft": "draft", "draft_essay": "draft,essay", "all": "true"}
CARTESIAN = ("cartesian_real_tables", "cartesian_replicated")
OTHERS = ("curated_essays", "evaluation_only", "evaluation_fill_up")
COHORT = "golden-cohort"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_home(tmp_path_factory.mktemp("dagster-home"))


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.delenv("DD_COHORT", raising=False)
    return monkeypatch


def build(
    scenario: Path, tmp_path: Path, environment: pytest.MonkeyPatch, flag: str, scheme: str
) -> DataRoot:
    """Build a scenario's cohort with the command."""
    environment.setenv("DD_DETERMINISTIC_GEN_IDS", flag)
    environment.setenv("DD_GEN_ID_SCHEME", scheme)
    root = DataRoot.open(shutil.copytree(scenario / "input", tmp_path / "root"))
    assert run(command(root)) == 0
    return root


def command(root: DataRoot) -> list[str]:
    words = ["cohort", "build", "--data-root", str(root.path), "--cohort-id", COHORT, "--json"]
    return [*words, "--partition-prefix", f"{root.path.parent.name}_"]


def rows(root: DataRoot, columns: list[str]) -> list[dict[str, str]]:
    """Return the members in their order, as metadata.json has them."""
    members = root.membership(COHORT).read_text(encoding="utf-8").splitlines()[1:]
    found = []
    for stage, gen_id in (line.split(",") for line in members):
        text = (root.generation(stage, gen_id) / "metadata.json").read_text(encoding="utf-8")
        metadata = json.loads(text)
        found.append({column: str(metadata.get(column, "")) for column in columns})
    return found


@pytest.mark.parametrize("state", FLAGS)
@pytest.mark.parametrize("name", CARTESIAN + OTHERS)
def test_every_state_gives_the_reference_rows(
    shared: Path, tmp_path: Path, environment: pytest.MonkeyPatch, name: str, state: str
) -> None:
    """Row for row, order included; with the flag off every file byte for byte."""
    scenario = shared / "golden" / name
    root = build(scenario, tmp_path, environment, FLAGS[state], "phase-1")
    with (scenario / "expected" / f"{state}.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        expected = list(reader)
    assert expected == rows(root, list(reader.fieldnames or ()))
    reference = scenario / "expected" / "off_files"
    if state == "off" and reference.is_dir():
        wanted = {
            path.relative_to(reference).as_posix(): path.read_bytes()
            for path in reference.rglob("*")
            if path.is_file()
        }
        assert wanted == {place: (root.path / place).read_bytes() for place in wanted}
        added = set(tree(root)) - {
            path.relative_to(scenario / "input").as_posix()
            for path in (scenario / "input").rglob("*")
        }
        assert added == {*wanted, f"cohorts/{COHORT}/manifest.json"}


@pytest.mark.parametrize("name", CARTESIAN)
def test_the_same_rows_come_out_with_v1_ids(
    shared: Path,
    tmp_path: Path,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """Parents follow, every id parses strictly, and a second build writes and registers nothing."""
    scenario = shared / "golden" / name
    root = build(scenario, tmp_path, environment, "true", "v1")
    with (scenario / "expected" / "all.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        phase_1 = list(reader)
    ours = rows(root, list(reader.fieldnames or ()))
    names = {row["gen_id"]: parse_v1(row["gen_id"]).text for row in ours}
    mapping = dict(zip((row["gen_id"] for row in phase_1), names, strict=True))
    mapping[""] = ""
    translated = [
        {**row, "gen_id": mapping[row["gen_id"]], "parent_gen_id": mapping[row["parent_gen_id"]]}
        for row in phase_1
    ]
    assert translated == ours
    before = tree(root)
    capsys.readouterr()
    assert run(command(root)) == 0
    assert before == tree(root)
    assert [] == json.loads(capsys.readouterr().out)["files"]
