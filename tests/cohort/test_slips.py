"""Slips that would silently mean another cohort are refused; what the pipeline takes is taken."""

import json
from pathlib import Path

import pytest

from cohort_kit import (
    OFF,
    ON,
    TABLES,
    built,
    make_root,
    of,
    planned,
    put_draft,
    put_essay,
    select,
    tree,
    write_table,
)
from genid_store.cli import run
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot

Say = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    for name in ("DD_COHORT", "DD_GEN_ID_SCHEME", "DAGSTER_HOME", "DD_DETERMINISTIC_GEN_IDS"):
        monkeypatch.delenv(name, raising=False)
    found = make_root(tmp_path / "root")
    put_draft(found, "d1")
    put_essay(found, "e1", "d1")
    return found


@pytest.mark.parametrize(
    "line",
    [
        "# mode evaluation-only",
        "# mode = evaluation-only",
        "# modes: evaluation-only",
        "# Evaluation only",
        "# fill_up",
        "# fill up",
        "# skip existing evaluations",
        "# skip-existing-evaluation",
        "# skip-existing",
        "# fill-up: true",
        "# skip-existing-evaluations=yes",
    ],
)
def test_a_comment_that_is_nearly_a_directive_is_refused(root: DataRoot, line: str) -> None:
    """With its line and how the directive is written."""
    select(root.path, "selected_essays.txt", ["# mode: evaluation-only", line, "e1"])
    before = tree(root)
    with pytest.raises(StoreError, match=r"selected_essays\.txt:2") as caught:
        built(root)
    assert "write `# " in str(caught.value)
    assert before == tree(root)


@pytest.mark.parametrize(
    "line", ["# the essays of spring", "# model: gpt", "#", "# filled by hand"]
)
def test_other_comments_are_comments(root: DataRoot, line: str) -> None:
    """And the directives themselves work, in any case."""
    select(root.path, "selected_essays.txt", [line, "# Mode: Evaluation-Only", "# FILLUP", "e1"])
    assert planned(root).fill_up is not None


@pytest.mark.parametrize(
    "name",
    [
        "selected_essay.txt",
        "selected-essays.txt",
        "Selected_Essays.txt",
        "selected_drafts",
        "selected_draft.txt",
        "selected_essays.txt.txt",
        "selected_eassys.txt",
        "essays_selected.txt",
        "selected_combo_mapping.csv",
        "selected_combo_mappings.txt",
        "selected_essays.txt ",
        " selected_essays.txt",
        "selected_essays .txt",
        "selected_essays. txt",
        "selected_essays.txt\n",
        "selected_drafts.\u00a0txt",
        "selected_drafts.txt\u200b",
        "selected essays.txt.txt\t",
        "selected_combo_mappings.csv ",
    ],
)
def test_a_file_that_is_nearly_a_selection_is_refused(root: DataRoot, name: str) -> None:
    """It would mean the whole cartesian cohort."""
    select(root.path, name, ["e1"])
    with pytest.raises(StoreError, match=name):
        built(root)


@pytest.mark.parametrize("name", ["selected_essays.txt.bak", "selected_essays_2024.txt", "notes"])
def test_a_file_that_was_put_aside_is_none(root: DataRoot, name: str) -> None:
    """A copy under another name is how a selection is switched off."""
    select(root.path, name, ["e1"])
    assert 8 == len(of(planned(root), "draft"))


@pytest.mark.parametrize(
    ("llm", "copy"), [(" LLM", "Copy "), ("\tLlm", "cOPY"), ("", "COPY\u3000")]
)
def test_a_generator_is_read_as_the_pipeline_reads_it(root: DataRoot, llm: str, copy: str) -> None:
    """Case and white space at the ends do not count."""
    expected = [row.mode for row in planned(root).rows]
    rows = TABLES["essay_templates.csv"]
    changed = [[one.replace("llm", llm).replace("copy", copy) for one in row] for row in rows]
    write_table(root.path, "essay_templates.csv", changed)
    assert expected == [row.mode for row in planned(root).rows]


@pytest.mark.parametrize("template", ["story/v1", "s" * 252])
def test_a_template_that_could_never_be_read_is_refused(root: DataRoot, template: str) -> None:
    """Where the flag covers its stage; with the flag off a host may have a way of its own. One that
    is not active does not matter."""
    rows = [["template_id", "active"], ["story-v1", "true"], [template, "true"]]
    write_table(root.path, "essay_templates.csv", rows)
    with pytest.raises(StoreError, match=r"essay_templates\.csv:3:template_id"):
        planned(root, ON)
    assert planned(root, OFF).rows
    write_table(root.path, "essay_templates.csv", [*rows[:2], [template, "false"]])
    assert planned(root, ON).rows


@pytest.mark.parametrize("combo", [None, "", 5])
@pytest.mark.parametrize("rollout", [OFF, ON], ids=["off", "on"])
def test_an_essay_without_a_combo_has_its_drafts(
    root: DataRoot, rollout: object, combo: object
) -> None:
    """In the evaluation-only mode; without a draft that names one it is refused."""
    put_essay(root, "e2", "d1", combo_id=combo)
    select(root.path, "selected_essays.txt", ["# mode: evaluation-only", "e2"])
    rows = planned(root, rollout).rows  # type: ignore[arg-type]
    assert {"combo_v1_one"} == {row.combo_id for row in rows}
    put_essay(root, "e3", "gone", combo_id=None)
    select(root.path, "selected_essays.txt", ["# mode: evaluation-only", "e3"])
    with pytest.raises(StoreError, match="combo_id is missing"):
        planned(root, rollout)  # type: ignore[arg-type]


def test_a_wrong_folder_and_a_mistyped_cohort_are_refused(
    root: DataRoot, tmp_path: Path, capsys: Say
) -> None:
    """Never an empty table and status 0."""
    (tmp_path / "wrong").mkdir()
    for command in ("list", "compare"):
        assert 1 == run(["cohort", command, "--data-root", str(tmp_path / "wrong")])
    capsys.readouterr()
    built(root)
    root.membership("damaged").parent.mkdir()
    root.membership("damaged").write_text("stage;gen_id\n")
    for options in ([], ["--json"]):
        assert 1 == run(["cohort", "list", "--data-root", str(root.path), *options])
        assert "cohorts/damaged/membership.csv:1" in capsys.readouterr().out
    for command in ("compare", "status"):
        assert 1 == run(["cohort", command, "--data-root", str(root.path), "--cohort-id", "typo"])
        assert "cohorts/typo/membership.csv" in capsys.readouterr().err


def test_families_are_read_off_the_ids(root: DataRoot, capsys: Say) -> None:
    """A host's manifest says nothing of a rollout: it is not recorded, and the ids speak."""
    built(root, ON)
    path = root.manifest("test-cohort")
    document = json.loads(path.read_text())
    command = ["cohort", "list", "--data-root", str(root.path), "--json"]
    for kept, expected in ((document, "all"), ({**document, "rollout": None}, "not recorded")):
        path.write_text(json.dumps({key: one for key, one in kept.items() if one is not None}))
        assert 0 == run(command)
        (record,) = json.loads(capsys.readouterr().out)["cohorts"]
        assert (expected, {"v1": 88}) == (record["rollout"], record["families"])


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with its own generator, and a cohort that is built."""
    monkeypatch.delenv("DD_DETERMINISTIC_GEN_IDS", raising=False)
    monkeypatch.setenv("GENID_DATA_ROOT", str(tmp_path / "data"))
    assert run(["init", str(tmp_path / "data")]) == 0
    assert run(["cohort", "build", "--cohort-id", "winter"]) == 0
    return tmp_path / "data"


def run_cohort(root: Path, cohort_id: str, *more: str) -> int:
    generate = f"{root}/generator.py:offline"
    return run(["cohort", "run", "--cohort-id", cohort_id, "--generate", generate, *more])


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_run_of_a_new_cohort_names_the_one_that_was_perhaps_meant(
    started: Path, capsys: pytest.CaptureFixture[str], dry: list[str]
) -> None:
    """Before it builds or pays; an id that is close to none is built without a word."""
    assert run_cohort(started, "wintre", *dry) == 0
    assert "did you mean winter?" in capsys.readouterr().err
    assert run_cohort(started, "other", *dry) == 0
    assert "did you mean" not in capsys.readouterr().err
    assert run(["cohort", "status", "--cohort-id", "wint"]) == 1
    assert "winter?" in capsys.readouterr().err


def test_texts_that_are_not_there_are_said_at_once_before_anything_is_paid(
    started: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of templates and concepts alike; not where the data root keeps no such texts at all."""
    (started / "templates" / "essay" / "story-v1.txt").unlink()
    for text in (started / "concepts" / "paragraph").iterdir():
        text.unlink()
    assert run_cohort(started, "other") == 1  # its members have metadata: none is new
    assert "other (built just now): 0 generator calls" in capsys.readouterr().out
    (started / "1_raw" / "replication_config.csv").write_text(
        "stage,replicates\ndraft,3\nessay,1\nevaluation,1\n"
    )
    assert run_cohort(started, "spring", "--dry-run") == 0
    said = capsys.readouterr().err
    assert "templates/essay/story-v1.txt: does not exist" in said
    assert len([line for line in said.splitlines() if line.startswith("notice: concepts/")]) == 2
    assert not (started / "cohorts" / "spring").exists()
    (started / "concepts" / "paragraph").rmdir()
    (started / "concepts").rmdir()
    assert run(["cohort", "build", "--cohort-id", "spring"]) == 0
    assert "concepts/" not in capsys.readouterr().err


def test_a_generator_that_returns_nothing_is_named_with_what_to_return(
    started: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It counts as unparsed, is called no further, and only what tries that again is shown."""
    (started / "host.py").write_text("def ask(request):\n    pass\n")
    words = ["--cohort-id", "winter", "--generate", f"{started}/host.py:ask", "--concurrency", "1"]
    assert run(["cohort", "run", *words]) == 1
    said = capsys.readouterr().out
    assert "cohort winter: 1 generator call\n" in said
    assert "ask returned neither a str nor a Generated but None; make it return the model's" in said
    assert "it was paid for" in said
    assert "--retry-unparsed retries what was not parsed" in said
    assert "--retry-failed" not in said
    (started / "host.py").write_text(
        "def ask(request):\n    return request.unparsed_text or 'an answer'\n"
    )
    run(["cohort", "run", *words, "--retry-unparsed"])
    texts = {path.read_text() for path in (started / "gens").glob("*/*/parsed.txt")}
    assert {"an answer"} == texts


def test_an_id_that_dagster_cannot_take_names_no_new_cohort(root: DataRoot) -> None:
    """Nothing is written; a cohort that is there can be rebuilt."""
    before = tree(root)
    with pytest.raises(StoreError, match="partition key"):
        built(root, cohort_id="a...b")
    assert before == tree(root)
    built(root, cohort_id="a..b")
    root.cohort("a..b").rename(root.cohort("a...b"))
    built(root, cohort_id="a...b")
