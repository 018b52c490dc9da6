"""A system without the calls that Linux alone has: build, run, audit, migrate and roll back."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohort_kit import COHORT, OFF, built
from genid_store.cli import run
from genid_store.fs import trees
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
