"""`genid init` creates a data root that can be built and run, wholly or not at all."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from genid_store.cli import run
from genid_store.fs.files import write_atomic


def words(command: str) -> int:
    return run(command.split())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests run in an empty folder, without any variable that stands in for an option."""
    for name in ("GENID_DATA_ROOT", "DD_COHORT", "DD_DETERMINISTIC_GEN_IDS", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_printed_commands_make_every_text_once(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `init` prints as next commands is run as printed; run again, nothing is generated."""
    assert 0 == words("init data")
    printed = capsys.readouterr().out.splitlines()
    commands = [line.strip() for line in printed if line.startswith("  ")]
    assert "cd data" == commands[0]
    monkeypatch.chdir(at_home / "data")
    for command, calls in [(commands[1], None), (commands[2], 6), (commands[2], 0)]:
        assert command.startswith("genid ")
        assert 0 == words(command.removeprefix("genid "))
        assert calls is None or f"{calls} generator calls" in capsys.readouterr().out
    assert 0 == words("store audit --data-root .")
    scores = [path.read_text() for path in (at_home / "data").glob("gens/evaluation/*/parsed.txt")]
    assert 2 == len(scores)
    assert all(0 <= int(score) <= 10 for score in scores)


@pytest.mark.parametrize("name", ["a b", "it's", "-x", "$HOME"])
def test_the_printed_folder_is_one_that_a_shell_enters(
    at_home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whatever its name is."""
    assert 0 == run(["init", "--", name])
    (entered,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  cd "))
    done = subprocess.run(
        ["sh", "-c", f"{entered} && pwd"], capture_output=True, text=True, check=False
    )
    assert f"{at_home / name}\n" == done.stdout


def test_a_folder_that_cannot_be_made_says_nothing_of_resuming(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No part of it is there to resume; the path is what to look at."""
    assert 1 == words("init /proc/genid")
    said = capsys.readouterr().err
    assert "/proc/genid: No such file or directory; check that the path is right" in said
    assert "resume" not in said


@pytest.mark.parametrize("command", ["init data", "init data --json"])
def test_an_empty_folder_is_filled(
    at_home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder of that name is no obstacle, and nothing else is left beside it."""
    (at_home / "data").mkdir()
    assert 0 == words(command)
    assert ["data"] == os.listdir(at_home)
    assert {"genid.toml", "README.md", "generator.py", "1_raw/llm_models.csv"} <= names(
        at_home / "data"
    )
    printed = capsys.readouterr().out
    if "--json" in command:
        assert names(at_home / "data") == set(json.loads(printed)["files"])


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("full", "is not empty"),
        ("file", "is not a folder"),
        ("link", "is not a folder"),
        (".", "is the current folder"),
        ("nowhere/data", "its parent folder does not exist"),
    ],
)
def test_what_is_there_is_left_alone(
    at_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: str,
    reason: str,
) -> None:
    """Refused with its reason, and the disk is as it was."""
    (at_home / "full").mkdir()
    (at_home / "full" / "notes.txt").write_text("mine")
    (at_home / "file").write_text("mine")
    (at_home / "link").symlink_to(at_home / "elsewhere")
    (at_home / "empty").mkdir()
    before = sorted(at_home.rglob("*"))
    if folder == ".":
        monkeypatch.chdir(at_home / "empty")
    assert 1 == words(f"init {folder}")
    assert reason in capsys.readouterr().err
    assert before == sorted(at_home.rglob("*"))


@pytest.mark.parametrize("fails_at", [1, 8, 15])
def test_a_failure_leaves_nothing(
    at_home: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """The disk is full at the first file, in between or at the last: no folder is there."""
    written: list[Path] = []

    def until_full(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) == fails_at:
            raise OSError(28, "No space left on device", str(path))
        write_atomic(path, data)

    monkeypatch.setattr("genid_store.fs.new_folder.write_atomic", until_full)
    assert 1 == words("init data")
    assert [] == os.listdir(at_home)


def test_an_unknown_variable_of_a_template_is_named(
    at_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The generator says which file has it and which variables there are; the others are made."""
    assert 0 == words("init data")
    template = at_home / "data" / "templates" / "essay" / "story-v1.txt"
    template.write_text("Notes: $notes")
    capsys.readouterr()
    generate = f"--generate {at_home / 'data' / 'generator.py'}:offline"
    assert 1 == words(f"cohort run --data-root data --cohort-id first {generate}")
    said = capsys.readouterr().out
    assert "templates/essay/story-v1.txt: $notes is unknown; use $" in said
    assert "$parent_text" in said
