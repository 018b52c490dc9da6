"""Whatever was left by hand in the folders of ours: looked past or named, and nobody is stopped."""

import json
from pathlib import Path

import pytest

from cohort_kit import COHORT, OFF, ON, built
from genid_store.cli import run
from genid_store.fs.layout import DataRoot
from paid_kit import small_root

#: Folders of ours.
FOLDERS = (
    "", "staging", "staging/draft", "staging/draft/.gone.4711-00c0ffee", "leases", "leases/draft",
    "reused", "reused/draft", "renamed", "failures", "failures/draft", "batches", "memberships",
    f"memberships/{COHORT}", "migrations", "tmp", "replaced", "replaced/draft",
)  # fmt: skip
NAMES = (".DS_Store", "Thumbs.db", "notes", "notes.json", "notes.csv", "._x.json", "é \x1b[31m")
HOST = "def generate(request):\n    return 'SCORE: 7'\n"


def litter(root: DataRoot, *, folders: bool) -> int:
    """Put a file or a folder of each name into every folder of ours; return how many."""
    count = 0
    for folder in (root.own / name for name in FOLDERS):
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / name for name in NAMES):
            if folders:
                (path / "inner").mkdir(parents=True)
            else:
                path.write_text("x")
            count += 1
    return count


@pytest.mark.parametrize("folders", [False, True], ids=["files", "folders"])
def test_what_lies_about_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folders: bool
) -> None:
    """Every command that builds, runs, looks and migrates does what it does without, or names the
    one that could be the record of a batch."""
    root = small_root(tmp_path / "root")
    (tmp_path / "host.py").write_text(HOST)
    built(root, OFF)
    assert 100 < litter(root, folders=folders)
    place = ["--data-root", str(root.path)]
    cohort = [*place, "--cohort-id", COHORT]
    host = ["--generate", f"{tmp_path / 'host.py'}:generate"]
    commands = (
        ["cohort", "status", *cohort],
        ["cohort", "list", *place],
        ["cohort", "run", *cohort, *host],
        ["store", "audit", *place],
        ["report", *place, "--out", str(tmp_path / "report.html")],
        ["batch", "list", *place],
        ["store", "migrate", *place, "--execute"],
        ["store", "rollback", *place],
    )
    for command in commands:
        status = run([*command])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        assert "\x1b" not in shown.out + shown.err
        if status:
            assert 1 == status, shown
            assert (
                "notes: the record of the batch" in shown.err or "batches/notes.json" in shown.err
            )
    assert not any("notes" in path.name or "db" in path.name for path in root.gens.glob("*/*"))


def test_a_stray_entry_is_no_record(tmp_path: Path) -> None:
    """The same store without the look-alikes of records refuses nothing."""
    root = small_root(tmp_path / "root")
    (tmp_path / "host.py").write_text(HOST)
    built(root, ON)
    litter(root, folders=False)
    for path in [*root.own.rglob("notes.*"), *root.own.rglob("._x.json")]:
        path.unlink()
    options = ["--data-root", str(root.path), "--cohort-id", COHORT]
    host = ["--generate", f"{tmp_path / 'host.py'}:generate"]
    assert 0 == run(["cohort", "run", *options, *host])
    assert json.loads((root.own.parent / "cohorts" / COHORT / "manifest.json").read_text())
