"""A pipe where a file belongs: told like any other fault, never waited for."""

import os
from pathlib import Path

import pytest

from genid_store.catalog.metadata import inspect_generation
from genid_store.fs.layout import DataRoot
from hardening_kit import command


@pytest.mark.parametrize(
    "place",
    [
        "gens/draft/d1/metadata.json",
        "gens/draft/d1/parsed.txt",
        "gens/draft/d1/raw_metadata.json",
        "cohorts/c1/membership.csv",
        "cohorts/c1/manifest.json",
    ],
)
def test_no_audit_and_no_plan_waits_for_a_pipe(tmp_path: Path, place: str) -> None:
    """Wherever a pipe stands, the audit and a migration's plan come to an end with words."""
    folder = tmp_path / "gens" / "draft" / "d1"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"stage": "draft", "gen_id": "d1"}', encoding="utf-8")
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    for words in (["store", "audit"], ["store", "migrate"], ["cohort", "list"]):
        done = command(*words, "--data-root", tmp_path)
        assert "Traceback" not in done.stderr, (words, done.stderr)
        assert done.returncode in (0, 1)


def test_metadata_that_is_a_pipe_is_no_metadata(tmp_path: Path) -> None:
    """Reading it gives a flaw at once."""
    folder = tmp_path / "gens" / "draft" / "d1"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "metadata.json")
    assert inspect_generation(DataRoot.open(tmp_path), "draft", "d1").problems
