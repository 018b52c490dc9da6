"""genid.toml: what a data root remembers, and who decides where the environment speaks too."""

import json
from pathlib import Path

import pytest

from cohort_kit import make_root, tree
from genid_store.cli import run
from genid_store.config import Config, effective_rollout, read_config, write_rollout
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, SCHEME, Rollout

ON = Rollout.parse("on")
Say = pytest.CaptureFixture[str]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    for name in (FLAG, SCHEME, "DD_COHORT", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    found = make_root(tmp_path / "root", combos=False)
    monkeypatch.setenv("GENID_DATA_ROOT", str(found.path))
    return found


def _say(root: DataRoot, text: str) -> None:
    (root.path / "genid.toml").write_text(text)


def test_without_a_file_nothing_is_asked_for(root: DataRoot) -> None:
    """And ids are legacy ones."""
    assert Config() == read_config(root)
    assert Rollout.OFF == effective_rollout(read_config(root), {})


def test_every_key_is_read(root: DataRoot) -> None:
    """Stages as one text, as the variable has them, or as a list."""
    _say(
        root,
        '[rollout]\nstages = ["draft", "essay"]\nscheme = "phase-1"\n'
        '[stages]\nmodule = "host.stages"\n[combos]\nk_max = 2\ndescription_level = "sentence"\n',
    )
    expected = Config(
        rollout=Rollout(stages=("draft", "essay"), scheme="phase-1"),
        stages_module="host.stages",
        k_max=2,
        description_level="sentence",
    )
    assert expected == read_config(root)
    _say(root, '[rollout]\nstages = "on"\n')
    assert read_config(root).rollout == ON


@pytest.mark.parametrize(
    "text",
    [
        "[rollout",
        "[rolout]\nstages = 'on'",
        "[rollout]\nstage = 'on'",
        "[rollout]\nstages = 'drafts'",
        "[rollout]\nstages = ['essay']",
        "[rollout]\nstages = [1]",
        "[rollout]\nstages = true",
        "[rollout]\nstages = 'on'\nscheme = 'v9'",
        "[rollout]\nscheme = 'v9'",
        "[combos]\nk_max = 0",
        "[combos]\nk_max = true",
        "[combos]\nk_max = '2'",
        "combos = 3",
        "[stages]\nmodule = 3",
        "[rollout]\nscheme = 'phase-1'",
        pytest.param(f"[combos]\nk_max = {'1' * 5000}", id="5,000 digits"),
    ],
)
def test_what_is_not_understood_is_refused_by_every_command(
    root: DataRoot, capsys: Say, text: str
) -> None:
    """A typo never means off: one error with the file and the key, and nothing is written."""
    _say(root, text)
    before = tree(root)
    for command in ("build", "status", "compare"):
        assert 1 == run(["cohort", command, "--cohort-id", "c"])
        assert "genid.toml" in capsys.readouterr().err
    assert before == tree(root)


def test_a_file_with_several_faults_is_one_error(root: DataRoot) -> None:
    """Each with its key."""
    _say(root, "[rollout]\nstages = 'essay'\n[combos]\nk_max = 0\nmax_k = 3\n")
    with pytest.raises(StoreError) as caught:
        read_config(root)
    assert ["genid.toml:combos.k_max", "genid.toml:combos.max_k", "genid.toml:rollout"] == [
        problem.where for problem in caught.value.problems
    ]


@pytest.mark.parametrize(
    ("environ", "file", "expected"),
    [
        ({}, "on", ON),
        ({FLAG: ""}, "on", ON),
        ({FLAG: "true"}, "on", ON),
        ({FLAG: "draft"}, None, Rollout.parse("draft")),
        ({SCHEME: "phase-1"}, None, Rollout.parse("", "phase-1")),
        ({FLAG: "off"}, "on", None),
        ({FLAG: "draft"}, "on", None),
        ({SCHEME: "phase-1"}, "on", None),
        ({FLAG: "on"}, "", None),
    ],
)
def test_the_variable_decides_and_a_contradiction_is_an_error(
    root: DataRoot, environ: dict[str, str], file: str | None, expected: Rollout | None
) -> None:
    """None: the variable and the file contradict each other."""
    if file is not None:
        _say(root, f'[rollout]\nstages = "{file}"\n')
    config = read_config(root)
    if expected is None:
        with pytest.raises(StoreError, match="contradicts"):
            effective_rollout(config, environ)
    else:
        assert expected == effective_rollout(config, environ)


def test_a_contradiction_is_said_before_anything_is_written(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, capsys: Say
) -> None:
    """Nor is anything paid for: the run's generator is not even called."""
    _say(root, '[rollout]\nstages = "on"\n')
    monkeypatch.setenv(FLAG, "off")
    before = tree(root)
    host = root.path.parent / "host.py"
    host.write_text("def make(request):\n    raise SystemExit('called')\n")
    assert 1 == run(["cohort", "build", "--cohort-id", "c"])
    assert 1 == run(["cohort", "run", "--cohort-id", "c", "--generate", f"{host}:make"])
    assert FLAG in capsys.readouterr().err
    assert before == tree(root)
    assert not root.own.exists()


def test_a_terminal_without_the_variable_builds_what_the_file_says(
    root: DataRoot, capsys: Say
) -> None:
    """And the build says which combo parameters it used."""
    _say(root, '[rollout]\nstages = "on"\n[combos]\nk_max = 2\n')
    assert 0 == run(["cohort", "build", "--cohort-id", "c", "--json"])
    record = json.loads(capsys.readouterr().out)
    assert "all" == record["rollout"]
    assert [("2", "paragraph", 2)] == [
        (one["k_max"], one["description_level"], len(one["concept_ids"]))
        for one in record["combos"]
    ]
    assert 0 == run(["cohort", "build", "--cohort-id", "c"])
    assert "k_max 2, level paragraph" in capsys.readouterr().out


def test_finishing_a_rollout_writes_the_file_once_no_legacy_member_is_to_be_made(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, capsys: Say
) -> None:
    """What the file said before stays; from then on no terminal needs the variable."""
    _say(root, "# ours\n[combos]\nk_max = 2\n")
    assert 1 == run(["rollout", "finish"])
    assert 0 == run(["cohort", "build", "--cohort-id", "c"])
    monkeypatch.setenv(FLAG, "on")
    before = (root.path / "genid.toml").read_bytes()
    assert 1 == run(["rollout", "finish"])
    assert "would still be made under legacy ids" in capsys.readouterr().err
    assert before == (root.path / "genid.toml").read_bytes()
    assert 0 == run(["cohort", "build", "--cohort-id", "c"])
    assert 0 == run(["rollout", "finish"])
    assert (root.path / "genid.toml").read_bytes().startswith(before)
    assert 0 == run(["rollout", "finish"])
    monkeypatch.delenv(FLAG)
    assert ON == effective_rollout(read_config(root), {})
    assert 2 == read_config(root).k_max


def test_finishing_a_rollout_adds_to_what_was_read(root: DataRoot) -> None:
    """The file is read once: the section never comes under a text that was not checked."""
    _say(root, "[combos]\nk_max = 2\n")
    config = read_config(root)
    _say(root, "[rollout]\nstages = 'draft'\n")
    write_rollout(root, config, ON)
    assert Config(rollout=ON, k_max=2) == read_config(root)


def test_a_file_that_says_another_rollout_is_not_rewritten(root: DataRoot) -> None:
    """By hand, where that is meant."""
    _say(root, '[rollout]\nstages = "draft"\n')
    with pytest.raises(StoreError, match="another rollout"):
        write_rollout(root, read_config(root), ON)
    assert Rollout.parse("draft") == read_config(root).rollout
