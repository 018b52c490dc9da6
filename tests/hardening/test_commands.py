"""Every command that writes, on data roots with links to the outside and on damaged ones."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import storekit
from genid_store.cli import run
from genid_store.fs.layout import DataRoot
from hardening_kit import tree

GENERATE = "def generate(request):\n    return f'{request.stage} {request.gen_id}'\n"
COHORT = "fresh"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """A small store of all families with tables, a host's callable beside it, and the flag on."""
    for name in ("DAGSTER_HOME", "DD_COHORT", "DD_GEN_ID_SCHEME", "GENID_DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    folder = tmp_path / "root"
    storekit.make_store(folder, generations=20, oddities=(), files=("parsed.txt",), selection=None)
    (tmp_path / "host.py").write_text(GENERATE, encoding="utf-8")
    return DataRoot.open(folder)


def writing_commands(root: DataRoot) -> Iterator[list[str]]:
    """Yield every command that changes a data root, in an order in which each has work to do."""
    here = ["--data-root", str(root.path)]
    generate = ["--generate", f"{root.path.parent}/host.py:generate"]
    yield ["store", "audit", *here, "--json"]
    yield ["cohort", "build", *here, "--cohort-id", COHORT]
    yield ["cohort", "run", *here, "--cohort-id", COHORT, *generate, "--max-generations", "2"]
    yield ["store", "unreuse", *here]
    yield ["store", "migrate", *here]
    yield ["store", "migrate", *here, "--execute", "--no-dagster"]
    yield ["store", "rollback", *here, "--no-dagster"]
    yield ["store", "migrate", *here, "--execute"]
    yield ["store", "migrate", *here, "--finish", "--yes"]
    yield ["dagster", "sync", *here]
    yield ["report", *here, "--out", str(root.path / "report.html")]


LINKED = (".genid", ".genid/dagster", "gens/draft")
LINKED_LONG = (
    "cohorts", ".genid/migrations",
    ".genid/tmp", ".genid/leases", ".genid/staging", ".genid/failures", ".genid/reused",
    ".genid/renamed",
    ".genid/memberships", f"cohorts/{COHORT}", "cohorts/mixed-2026", "gens", "gens/essay",
    "2_tasks", "report.html",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [*LINKED, *(pytest.param(name, marks=pytest.mark.long) for name in LINKED_LONG)]
)
def test_no_command_follows_a_link_out_of_the_data_root(
    root: DataRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whatever part of the data root is a link to the outside: no command changes anything
    there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = root.path / name
    if link.exists():
        link.rename(outside / "target")
    elif "." not in link.name[1:]:
        (outside / "target").mkdir()
    else:
        (outside / "target").write_bytes(b"not ours")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "target")
    before = tree(outside)
    for command in writing_commands(root):
        status = run(command)
        assert (status in (0, 1, 2), before) == (True, tree(outside)), command
    capsys.readouterr()


@pytest.mark.long
def test_a_generation_that_is_a_link_out_is_never_written_through(
    root: DataRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where generations' folders are links to the outside, no command changes anything there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    assert 0 == run(["cohort", "build", "--data-root", str(root.path), "--cohort-id", COHORT])
    for stage in ("draft", "essay", "evaluation"):
        for folder in sorted(root.stage(stage).iterdir()):
            folder.rename(outside / folder.name)
            folder.symlink_to(outside / folder.name)
    before = tree(outside)
    for command in writing_commands(root):
        status = run(command)
        assert (status in (0, 1), before) == (True, tree(outside)), command
    capsys.readouterr()


@pytest.mark.long
def test_every_command_refuses_in_words_and_json(
    root: DataRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """With broken tables and stores without sense each command ends with 0, 1 or 2 and words."""
    for path in [*root.raw.iterdir(), *root.cohorts.rglob("*.csv")]:
        path.write_bytes(b'\xff\xfe"\0,')
    for path in root.gens.rglob("metadata.json"):
        path.write_bytes(b"[" * 20_000)
    for command in writing_commands(root):
        status = run([*command, "--json"] if "--json" not in command else command)
        out, err = capsys.readouterr()
        assert status in (0, 1, 2), command
        assert "Traceback" not in err
        if status == 1 and "report" not in command:
            json.loads(out)


@pytest.mark.parametrize("what", ["missing", "a file", "empty", "other"])
def test_every_command_refuses_what_is_not_a_data_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    """A data root that is missing or a file is a usage error; a folder that is none is refused
    with one message, by every command, and nothing appears in it."""
    folder = tmp_path / "root"
    if what == "a file":
        folder.write_bytes(b"x")
    elif what != "missing":
        folder.mkdir()
    if what == "other":
        (folder / "src").mkdir()
    (tmp_path / "host.py").write_text(GENERATE, encoding="utf-8")
    before = tree(tmp_path)
    for command in writing_commands(DataRoot(folder)):
        status = run(command)
        shown = capsys.readouterr()
        if folder.is_dir():
            assert (1, True) == (status, "this is not a data root" in shown.err), command
        else:
            assert 2 == status, command
    assert before == tree(tmp_path)


def test_looking_writes_nothing_at_all(
    root: DataRoot, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What only looks leaves a data root as it was, `.genid/` included, apart from the index."""
    assert 0 == run(["cohort", "build", "--data-root", str(root.path), "--cohort-id", COHORT])
    gen_id = next(root.stage("draft").iterdir()).name
    here = ["--data-root", str(root.path)]
    generate = ["--generate", f"{root.path.parent}/host.py:generate"]
    shutil.copytree(root.path, tmp_path / "copy", symlinks=True)
    before = tree(root.path)
    for command in (
        ["cohort", "compare", *here, "--cohort-id", COHORT, "--after", "off"],
        ["cohort", "list", *here],
        ["cohort", "status", *here, "--cohort-id", COHORT],
        ["cohort", "run", *here, "--cohort-id", COHORT, *generate, "--dry-run"],
        ["store", "unreuse", *here, "--dry-run"],
        ["explain", gen_id, *here],
        ["explain", gen_id, gen_id, *here],
    ):
        assert 0 == run(command), command
        after = {name: data for name, data in tree(root.path).items() if "/index." not in name}
        was = {name: data for name, data in before.items() if "/index." not in name}
        assert was == after, command
    capsys.readouterr()
