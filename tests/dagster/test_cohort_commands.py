"""`genid cohort`: what each command prints, writes and returns."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cohort_kit import everything, make_root, tree, write_table
from dagster_kit import new_home, write_templates
from genid_store.cli import run
from genid_store.fs.layout import DataRoot

HOST = """
import os
from genid_store.generation.records import Generated

def make(request):
    with open(os.environ["CALLS"], "a") as calls:
        calls.write(request.gen_id + "\\n")
    if request.gen_id in os.environ.get("FAILING", ""):
        raise RuntimeError("no answer")
    if request.stage == "evaluation" and os.environ.get("UNPARSED"):
        return Generated(text="no score", unparsed="no SCORE: line")
    return "text of " + request.gen_id

not_callable = 3
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One instance on disk for all of these tests: the partition sets differ by prefix."""
    return new_home(tmp_path_factory.mktemp("dagster-home"))


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """One combo, 2 draft templates, 1 writer, 2 essay templates (one copies), 2 judgements."""
    found = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    models = [["id", "for_generation", "for_evaluation"]]
    write_table(
        found.path,
        "llm_models.csv",
        [*models, ["writer", "true", "false"], ["judge", "false", "true"]],
    )
    write_templates(found)
    return found


class Cohort:
    """Runs `genid cohort …` on one data root, in this process."""

    def __init__(self, root: DataRoot, prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self.prefix, self.capsys = root, prefix, capsys
        self.calls_file = root.path.parent / "calls"
        self.status: int | None = None

    def __call__(self, command: str, *options: str, given: str | None = "c") -> str:
        arguments = ["cohort", command, "--data-root", str(self.root.path), *options]
        if given is not None and command != "list":
            arguments += ["--cohort-id", given]
        if command in {"build", "run"}:
            arguments += ["--partition-prefix", self.prefix, "--asset-prefix", self.prefix]
        if command == "run":
            host = self.root.path.parent / "host.py"
            host.write_text(HOST)
            arguments += ["--generate", f"{host}:make"] if "--generate" not in options else []
        self.capsys.readouterr()
        self.status = run(arguments)
        self.said = self.capsys.readouterr()
        return self.said.out

    def json(self, command: str, *options: str, given: str | None = "c") -> Any:
        return json.loads(self(command, "--json", *options, given=given))

    def calls(self) -> list[str]:
        return self.calls_file.read_text().split() if self.calls_file.exists() else []


@pytest.fixture
def cohort(
    root: DataRoot,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cohort:
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    for name in ("DD_COHORT", "DD_GEN_ID_SCHEME", "GENID_DATA_ROOT", "FAILING", "UNPARSED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return Cohort(root, f"{tmp_path.name}_", capsys)


def stages(record: Any, name: str) -> list[int]:
    return [record["stages"][stage][name] for stage in ("draft", "essay", "evaluation")]


def test_build_says_what_it_did_and_a_second_one_does_nothing(cohort: Cohort) -> None:
    """Rows, new metadata, what was there; the instance follows; then no file and no partition."""
    first = cohort.json("build")
    assert [stages(first, name) for name in ("members", "new_metadata")] == [[2, 4, 8]] * 2
    assert first["followed"] == ["Dagster: 4 materializations reported, 14 partitions registered"]
    before = tree(cohort.root)
    second = cohort.json("build")
    assert before == tree(cohort.root)
    assert stages(second, "already_there") == [2, 4, 8]
    assert (second["files"], second["followed"]) == ([], [])


def test_the_figures_are_a_table_for_people(cohort: Cohort) -> None:
    """No progress and no colour where the output is no terminal."""
    out = cohort("build")
    assert "cohort c: cartesian, rollout all (v1)" in out
    assert ["evaluation", "8", "0", "8", "0"] in [line.split() for line in out.splitlines()]
    assert "\x1b" not in out + cohort.said.err


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["words", "json"])
def test_a_refused_build_is_one_message_and_leaves_nothing(
    cohort: Cohort, options: list[str]
) -> None:
    """Exit status 1, every problem with its place, no traceback, not even `.genid/`."""
    (cohort.root.raw / "replication_config.csv").unlink()
    (cohort.root.raw / "llm_models.csv").write_text("id,for_generation,for_evaluation\n,x,true\n")
    before = everything(cohort.root.path)
    out = cohort("build", *options)
    assert cohort.status == 1
    assert before == everything(cohort.root.path)
    assert "1_raw/llm_models.csv:2" in cohort.said.err
    assert "replication_config.csv" in cohort.said.err
    assert "Traceback" not in cohort.said.err
    if options:
        assert len(json.loads(out)["problems"]) >= 2


def test_a_wrong_flag_stops_everything(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo never means off."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "drafts")
    cohort("build")
    assert cohort.status == 1
    assert "draft,essay,evaluation" in cohort.said.err


def test_usage_errors_are_2(cohort: Cohort) -> None:
    """A missing data root, an unknown option, a generator that is none."""
    assert run(["cohort", "build", "--data-root", str(cohort.root.path / "none")]) == 2
    cohort("build", "--no-such-option")
    assert cohort.status == 2
    host = cohort.root.path.parent / "host.py"
    host.write_text(HOST)
    for name in ("nothing", "no.such.module:f", f"{host}:absent", f"{host}:not_callable", "x.py:f"):
        cohort("run", "--generate", name)
        assert cohort.status == 2, name
        assert "--generate" in cohort.said.err


def test_a_rebuild_says_what_it_drops_and_what_the_flag_changed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former membership is kept below `.genid/`."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "off")
    cohort.json("build")
    former = cohort.root.membership("c").read_bytes()
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "draft")
    record = cohort.json("build")
    assert {stage for stage, _ in record["dropped"]} == {"draft"}  # legacy essays keep their ids
    assert former == (cohort.root.path / record["kept_membership"]).read_bytes()
    assert record["rollout_changes"]["before"] == "off"
    assert record["rollout_changes"]["after"] == "draft"
    assert record["rollout_changes"]["ids_changed"] == {"draft": 2, "essay": 0, "evaluation": 0}


def test_run_makes_what_is_missing_and_a_second_run_calls_nobody(cohort: Cohort) -> None:
    """Drafts, essays (half of them copies), evaluations; then 0 calls and 0 Dagster runs."""
    first = cohort.json("run")
    assert cohort.status == 0
    assert stages(first, "made") == [2, 2, 8]
    assert stages(first, "copied") == [0, 2, 0]
    assert (first["calls"], len(cohort.calls())) == (12, 12)
    before = tree(cohort.root)
    second = cohort.json("run")
    assert (cohort.status, second["calls"], len(cohort.calls())) == (0, 0, 12)
    assert stages(second, "there") == [2, 4, 8]
    assert before == tree(cohort.root)


def test_one_more_template_costs_its_own_cells_alone(cohort: Cohort) -> None:
    """An evaluation template is added: 4 essays, 1 judge, 1 replicate."""
    cohort.json("run")
    with (cohort.root.raw / "evaluation_templates.csv").open("a") as table:
        table.write("depth-v1,llm,true\n")
    write_templates(cohort.root)
    assert cohort.json("run")["calls"] == 0  # a cohort that is there is its membership
    cohort.json("build")
    record = cohort.json("run")
    assert stages(record, "made") == [0, 0, 4]
    assert len(cohort.calls()) == 12 + 4


def test_a_dry_run_counts_and_writes_nothing(cohort: Cohort) -> None:
    """Per stage and model, before anything was built; then it comes true."""
    before = everything(cohort.root.path)
    record = cohort.json("run", "--dry-run")
    assert before == everything(cohort.root.path)
    assert record["total_calls"] == 12
    kinds = ("members", "calls", "copied", "reused", "there", "left")
    assert [stages(record, kind) for kind in kinds] == [
        [2, 4, 8],
        [2, 2, 8],
        [0, 2, 0],
        *[[0, 0, 0]] * 3,
    ]
    assert {(one["stage"], one["model"], one["calls"]) for one in record["calls"]} == {
        ("draft", "writer", 2),
        ("essay", "writer", 2),
        ("evaluation", "judge", 8),
    }
    assert cohort.json("run")["calls"] == 12
    assert cohort.json("run", "--dry-run")["total_calls"] == 0


def test_max_generations_caps_the_calls(cohort: Cohort) -> None:
    """Parents first, and what is left is made by later runs: each call once."""
    assert cohort.json("run", "--max-generations", "0")["calls"] == 0
    first = cohort.json("run", "--max-generations", "3")
    assert (cohort.status, first["calls"]) == (0, 3)
    assert first["left_by_limit"] > 0
    assert stages(first, "made") == [2, 1, 0]
    assert cohort.json("run")["calls"] == 9
    assert len(cohort.calls()) == len(set(cohort.calls())) == 12


def test_a_failing_member_costs_only_what_hangs_on_it(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 1 with the reason; not tried again by itself; with --retry-failed the rest follows."""
    cohort.json("build")
    bad = cohort.root.membership("c").read_text().splitlines()[1].split(",")[1]
    monkeypatch.setenv("FAILING", bad)
    record = cohort.json("run")
    assert (cohort.status, record["failed"]) == (1, 1)
    assert record["failures"][0]["gen_id"] == bad
    assert "no answer" in record["failures"][0]["reason"]
    assert stages(record, "made") == [1, 1, 4]
    calls = len(cohort.calls())
    monkeypatch.delenv("FAILING")
    assert cohort.json("run")["calls"] == 0
    assert cohort.status == 1
    assert f"failed: draft {bad}" in cohort("status")
    record = cohort.json("run", "--retry-failed")
    assert (cohort.status, len(cohort.calls()) - calls) == (0, 1 + 1 + 4)


def test_a_member_that_cannot_be_begun_is_no_success(cohort: Cohort) -> None:
    """An essay's metadata is cut short: exit 1, and it is named with the evaluations after it. An
    essay that the limit left, and what hangs on it, is not."""
    cohort.json("build")
    bad = next(path for path in sorted((cohort.root.gens / "essay").iterdir()))
    (bad / "metadata.json").write_text('{"stage": "es')
    capped = cohort.json("run", "--max-generations", "0")
    assert (cohort.status, capped["blocked"][0]["gen_id"]) == (1, bad.name)
    assert {one["stage"] for one in capped["blocked"]} == {"essay", "evaluation"}
    record = cohort.json("run")
    assert (cohort.status, record["failed"]) == (1, 0)
    assert [one["stage"] for one in record["blocked"]] == ["essay", "evaluation", "evaluation"]
    assert f"gens/essay/{bad.name}/metadata.json" in record["blocked"][0]["reason"]
    assert record["blocked"][1]["reason"] == f"essay {bad.name} has no content"
    said = cohort("run")
    assert f"blocked: essay {bad.name}: gens/essay" in said
    assert "blocked by these: 2\n" in said
    assert "blocked: evaluation" not in said


@pytest.mark.parametrize("stage", ["draft", "essay"])
def test_a_member_without_a_folder_is_told_as_that(cohort: Cohort, stage: str) -> None:
    """Whose folder got another spelling, for one: a dry run counts no call that no run makes."""
    cohort.json("run")
    folder = next(cohort.root.stage(stage).iterdir())
    folder.rename(folder.with_name(folder.name.upper()))
    planned, record = cohort.json("run", "--dry-run"), cohort.json("run")
    assert (0, 0) == (planned["total_calls"], record["calls"])
    assert planned["blocked"] == record["blocked"]
    place = f"gens/{stage}/{folder.name}: there is no folder of this name; "
    assert record["blocked"][0]["reason"].startswith(place)
    cohort("build")
    assert 0 == cohort.json("run")["calls"] == cohort.status


def test_a_dry_run_names_what_a_run_would_leave(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same words: failures, members that are blocked, those behind them, and the remedies.
    Of what a limit leaves, those that failed before are named."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "off")
    cohort.json("run")
    shutil.rmtree(cohort.root.stage("evaluation"))
    damaged = min(cohort.root.gens.glob("draft/*/metadata.json"))
    damaged.write_text("{")  # the text is there, and nobody can tell of which task
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    cohort("build")
    min(cohort.root.gens.glob("essay/e_*/metadata.json")).write_text("[")
    failing = [path.name for path in cohort.root.gens.glob("evaluation/v_*")]
    monkeypatch.setenv("FAILING", " ".join(failing))
    words = ("failed", "blocked", "--retry")
    cohort("run")
    dry, document = cohort("run", "--dry-run"), cohort.json("run", "--dry-run")
    again, record = cohort("run"), cohort.json("run")
    lines = [line for line in again.splitlines() if line.startswith(words)]
    assert lines == [line for line in dry.splitlines() if line.startswith(words)]
    kinds = {line.partition(":")[0] for line in lines}
    assert {"failed in a former run", "blocked", "blocked by these"} <= kinds
    for name in ("failures", "blocked"):
        assert record[name]
        assert record[name] == document[name]
    capped = ("run", "--retry-failed", "--max-generations", "0")
    document, record = cohort.json(*capped, "--dry-run"), cohort.json(*capped)
    for name in ("failures", "blocked"):
        assert record[name]
        assert record[name] == document[name]


def test_an_unparsed_text_is_reported_and_kept(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid for and without a score: never paid for again by itself."""
    monkeypatch.setenv("UNPARSED", "yes")
    assert cohort.json("run")["failed"] == 8
    assert cohort.status == 1
    assert cohort.json("run")["calls"] == 0
    assert stages(cohort.json("status"), "unparsed") == [0, 0, 8]
    monkeypatch.delenv("UNPARSED")
    assert cohort.json("run", "--retry-failed")["calls"] == 0
    assert cohort.json("run", "--retry-unparsed")["calls"] == 8
    assert cohort.status == 0


def test_repeated_work_is_told_and_refused(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made with the flag off, asked for again with it on."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "off")
    cohort.json("run")
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    before = tree(cohort.root)
    cohort("build", "--forbid-regeneration")
    assert cohort.status == 1
    assert "12 members would be paid for a second time" in cohort.said.err
    assert before == tree(cohort.root)
    assert len(cohort.json("build")["repeated_work"]) == 14
    assert "text under another id: 14 members" in cohort("build")
    assert len(cohort.json("run", "--dry-run")["reused"]) == 14
    record = cohort.json("run")
    assert (cohort.status, record["calls"]) == (0, 0)
    assert stages(record, "reused") == [2, 4, 8]


def test_a_cohort_that_is_built_runs_from_its_membership(cohort: Cohort) -> None:
    """Its tables no longer say who its members are: they are not even looked at."""
    cohort.json("run")
    (cohort.root.raw / "replication_config.csv").unlink()
    before = tree(cohort.root)
    record = cohort.json("run")
    assert (cohort.status, record["calls"]) == (0, 0)
    assert before == tree(cohort.root)
    assert cohort.json("run", "--dry-run")["total_calls"] == 0
    cohort("build")
    assert cohort.status == 1


def test_status_and_list_count_members(cohort: Cohort) -> None:
    """Without Dagster; an unknown cohort is refused with where it was looked for."""
    cohort.json("run", "--max-generations", "3")
    assert stages(cohort.json("status"), "made") == [2, 3, 0]
    assert stages(cohort.json("status"), "missing") == [0, 1, 8]
    (record,) = json.loads(cohort("list", "--json"))["cohorts"]
    assert (record["cohort_id"], record["rollout"]) == ("c", "all")
    assert (record["members"], record["made"], record["missing"]) == (14, 5, 9)
    cohort("status", given="nowhere")
    assert cohort.status == 1
    assert "cohorts/nowhere/membership.csv" in cohort.said.err


def test_compare_writes_nothing_and_shows_old_and_new_ids(cohort: Cohort) -> None:
    """As JSON and a table; with the state that it was built in as the first."""
    cohort.json("build")
    before = everything(cohort.root.path)
    rows = cohort.json("compare", "--before", "off")["changes"]
    assert len(rows) == 14
    assert {row["new_exists"] for row in rows} == {True}
    assert {row["old_exists"] for row in rows} == {False}
    assert all(row["old"] != row["new"] for row in rows)
    assert cohort.json("compare", "--after", "on") == cohort.json("compare", "--after", "all")
    record = cohort.json("compare", "--after", "off")
    assert record["before"]["stages"] == ["draft", "essay", "evaluation"]
    assert record["stages"]["draft"]["changed"] == 2
    assert "before: all, after: draft" in cohort("compare", "--after", "draft")
    same = cohort.json("compare", "--after", "all")["changes"]
    assert all(row["old"] == row["new"] for row in same)
    assert before == everything(cohort.root.path)


def test_compare_knows_the_last_build_of_a_computed_id(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an id, the state to compare with is that of the cohort that the tables come to."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "draft")
    cohort.json("build", given=None)
    assert "before: draft, after: draft,essay" in cohort(
        "compare", "--after", "draft,essay", given=None
    )


def test_without_an_instance_none_is_made(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build asks for none; `genid dagster sync` makes the embedded one, which sends no telemetry,
    and later builds are followed there."""
    monkeypatch.delenv("DAGSTER_HOME")
    assert cohort.json("build")["followed"] == []
    assert not (cohort.root.own / "dagster").exists()
    here = ["--data-root", str(cohort.root.path), "--json"]
    cohort.capsys.readouterr()
    assert run(["dagster", "sync", *here]) == 0
    done = json.loads(cohort.capsys.readouterr().out)
    assert done["registered"] == {"draft": 2, "essay": 4, "evaluation": 8}
    config = (cohort.root.own / "dagster" / "dagster.yaml").read_text()
    assert "telemetry:\n  enabled: false" in config
    assert len(cohort.json("build", given="d")["followed"]) == 1


BROKEN = {
    "no folder": None,
    "bad YAML": "telemetry: {enabled: false",
    "unknown key": "no_such_setting: 1\n",
    "unset variable": "storage: {sqlite: {base_dir: {env: NO_SUCH_VARIABLE}}}\n",
    "missing module": "event_log_storage: {module: no_such_module, class: Log}\n",
    "damaged database": "",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_instance_is_one_message_and_the_build_is_done(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """Whatever is wrong with it; the audit goes on without it, and without a traceback."""
    home, text = tmp_path / "broken", BROKEN[case]
    if text is not None:
        home.mkdir()
        (home / "dagster.yaml").write_text(text)
    if case == "damaged database":
        for name in ("runs.db", "index.db"):
            path = home / "history" / ("runs" if name == "index.db" else "") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    (line,) = cohort.json("build")["followed"]
    assert cohort.status == 0
    assert cohort.root.membership("c").is_file()
    assert "genid dagster sync" in line
    assert "Traceback" not in line + cohort.said.err
    cohort.capsys.readouterr()
    run(["store", "audit", "--data-root", str(cohort.root.path)])
    said = cohort.capsys.readouterr()
    assert "partitions were not looked at" in said.err
    assert "Traceback" not in said.err
    assert run(["dagster", "sync", "--data-root", str(cohort.root.path)]) == 1
    assert cohort.json("build", "--no-dagster")["followed"] == []
    for command in (["store", "audit"], ["report"]):
        assert run([*command, "--data-root", str(cohort.root.path), "--no-dagster", "--json"]) == 0
        assert "Dagster" not in cohort.capsys.readouterr().err
