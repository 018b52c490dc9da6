"""A system without the calls that Linux alone has, and one that ignores the case of names."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohort_kit import COHORT, OFF, ON, built, write_table
from genid_store.catalog import findings
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.cli import run
from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.stages import PIPELINE
from hardening_kit import tree
from paid_kit import small_root

#: What of `os` macOS lacks.
LINUX_ALONE = (
    "O_DIRECT", "O_LARGEFILE", "O_NOATIME", "O_PATH", "O_TMPFILE", "copy_file_range", "eventfd",
    "fdatasync", "getxattr", "listxattr", "memfd_create", "pipe2", "posix_fadvise",
    "posix_fallocate", "removexattr", "sched_getaffinity", "setxattr", "splice",
)  # fmt: skip


def test_macos_has_every_call_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is built, run, audited, migrated, rolled back, migrated and finished."""
    root = small_root(tmp_path / "root")
    host = tmp_path / "host.py"
    host.write_text("def generate(request):\n    return 'SCORE: 7'\n")
    for name in LINUX_ALONE:
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(trees, "_libc", SimpleNamespace)  # neither renameat2 nor syncfs
    built(root, OFF)
    place = ["--data-root", str(root.path)]
    for command in (
        ["cohort", "run", *place, "--cohort-id", COHORT, "--generate", f"{host}:generate"],
        ["store", "audit", *place],
        ["store", "migrate", *place, "--execute"],
        ["store", "rollback", *place],
        ["store", "migrate", *place, "--execute"],
        ["store", "migrate", *place, "--finish", "--yes"],
        ["store", "audit", *place],
    ):
        assert 0 == run(command), command
    texts = [one.read_text() for one in root.gens.rglob("parsed.txt")]
    assert ["SCORE: 7"] * 5 == texts


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
