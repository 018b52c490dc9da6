"""A system without the calls that Linux alone has, and one that ignores the case of names."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohort_kit import COHORT, OFF, ON, built, put_draft, write_table
from genid_store import Request
from genid_store.catalog import findings
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.cli import run
from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from genid_store.stages import PIPELINE
from hardening_kit import attempt, folding, tree, without_own
from paid_kit import small_root

#: What of `os` macOS lacks.
LINUX_ALONE = (
    "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_TMPFILE", "copy_file_range", "eventfd",
    "fdatasync", "getxattr", "listxattr", "memfd_create", "pipe2", "posix_fadvise",
    "posix_fallocate", "removexattr", "sched_getaffinity", "setxattr", "splice",
)  # fmt: skip


@pytest.fixture
def on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LINUX_ALONE:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(trees, "_libc", SimpleNamespace)  # neither renameat2 nor syncfs


def live_a_life(path: Path, host: Path) -> dict[str, bytes]:
    """Build, run, audit, migrate, roll back, migrate, finish and run a cohort; return the store."""
    root = small_root(path)
    host.write_text("def generate(request):\n    return 'SCORE: 7'\n")
    built(root, OFF)
    place = ["--data-root", str(root.path)]
    again = ["cohort", "run", *place, "--cohort-id", COHORT, "--generate", f"{host}:generate"]
    for command in (
        again,
        ["store", "audit", *place],
        ["store", "migrate", *place, "--execute"],
        ["store", "rollback", *place],
        ["store", "migrate", *place, "--execute"],
        ["store", "migrate", *place, "--finish", "--yes"],
        ["store", "audit", *place],
        again,
    ):
        assert 0 == run(command), command
    texts = [one.read_text() for one in root.gens.rglob("parsed.txt")]
    assert ["SCORE: 7"] * 5 == texts
    names = ("metadata.json", "parsed.txt", "membership.csv", "manifest.json")
    return {
        name: data
        for name, data in without_own(tree(root.path)).items()
        if name.rpartition("/")[2] in names
    }


@pytest.mark.usefixtures("on_a_mac")
def test_macos_has_every_call_that_is_needed(tmp_path: Path) -> None:
    """A store is built, run, audited, migrated, rolled back, migrated and finished."""
    assert live_a_life(tmp_path / "root", tmp_path / "host.py")


@pytest.mark.usefixtures("on_a_mac")
def test_a_disk_that_folds_names_makes_no_difference(tmp_path: Path) -> None:
    """Where case and composition of a name are nothing, a store comes to what it does elsewhere."""
    disk, host = tmp_path / "disk", tmp_path / "host.py"
    disk.mkdir()
    with folding(disk):
        folded = live_a_life(disk / "Gro\u0308\u00dfe", host)
    assert ["Gro\u0308\u00dfe"] == os.listdir(disk)
    plain = live_a_life(tmp_path / "plain", host)
    for name in plain.keys() | folded.keys():
        if name.endswith(("parsed.txt", "membership.csv")):
            assert plain[name] == folded[name]


class Counted:
    """A generator that knows what it was asked for, and never gives a text twice."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, request: Request) -> str:
        self.calls.append(request.gen_id)
        return f"SCORE: {len(self.calls)}"


@pytest.mark.usefixtures("on_a_mac")
@pytest.mark.parametrize("spelling", [COHORT.upper(), COHORT.title(), COHORT.replace("o", "O")])
def test_a_cohort_in_another_spelling_pays_nothing_again(tmp_path: Path, spelling: str) -> None:
    """On a disk that folds names a cohort is found by every spelling of its own; another spelling
    of one that is there is refused where it would be built, and pays nothing where it is run."""
    with folding(tmp_path):
        root, paid = small_root(tmp_path / "root"), Counted()
        built(root, ON)
        run_cohort(root, COHORT, paid, Asked())
        count, before = len(paid.calls), without_own(tree(root.path))
        attempt(StoreError, lambda: run_cohort(root, spelling, paid, Asked()))
        with pytest.raises(StoreError, match="differs from the new cohort's id"):
            built(root, ON, cohort_id=spelling)
        assert (4, 4) == (count, len(paid.calls))
        assert before == without_own(tree(root.path))


@pytest.mark.usefixtures("on_a_mac")
def test_members_that_differ_in_case_alone_never_lose_a_text(tmp_path: Path) -> None:
    """A host's ids from a disk that told them apart: on one that does not, what is in the one
    folder stays, and the other member is not paid for into it."""
    with folding(tmp_path):
        root, paid = small_root(tmp_path / "root"), Counted()
        put_draft(root, "Hand-Made")
        text = root.generation("draft", "Hand-Made") / "parsed.txt"
        text.write_text("paid for")
        root.cohort("c").mkdir(parents=True)
        root.membership("c").write_text("stage,gen_id\ndraft,Hand-Made\ndraft,hand-made\n")
        attempt(StoreError, lambda: run_cohort(root, "c", paid, Asked()))
        assert ("paid for", []) == (text.read_text(), paid.calls)


@pytest.mark.parametrize(
    ("there", "wanted"), [("Trial", "trial"), ("trial", "TRIAL"), ("a.B-c_d", "A.b-C_D")]
)
def test_two_cohorts_never_differ_in_case_alone(tmp_path: Path, there: str, wanted: str) -> None:
    """Where case is ignored the second would replace the first, whose name it is given there."""
    root = small_root(tmp_path / "root")
    built(root, ON, cohort_id=there)
    before = tree(root.path)
    with pytest.raises(StoreError, match=f"cohorts/{there}: differs from the new cohort's id"):
        built(root, ON, cohort_id=wanted)
    assert before == tree(root.path)
    built(root, ON, cohort_id=there)


def test_cohorts_that_differ_in_case_alone_are_found(tmp_path: Path) -> None:
    """Where they come from a host: each can be built again, and the audit names both."""
    root = small_root(tmp_path / "root")
    built(root, ON, cohort_id="trial")
    shutil.copytree(root.cohort("trial"), root.cohorts / "Trial")
    built(root, ON, cohort_id="trial")
    with StoreIndex.fresh(root, persist=False) as index:
        [found] = audit(index).findings
    assert (findings.CASE_COLLISION, "cohorts/Trial") == (found.code, found.where)
    assert "Trial, trial" in found.message


@pytest.mark.parametrize("twin", ["ONLY", "Only", "only "])
@pytest.mark.parametrize("stage", PIPELINE)
def test_two_templates_never_differ_in_case_alone(tmp_path: Path, stage: str, twin: str) -> None:
    """Under a deterministic id they are one, refused with both rows before anything is written."""
    root = small_root(tmp_path / "root")
    write_table(root.path, f"{stage}_templates.csv", [["template_id"], ["only"], [twin]])
    before = tree(root.path)
    with pytest.raises(StoreError, match=f"{stage}_templates.csv"):
        built(root, ON)
    assert before == tree(root.path)
