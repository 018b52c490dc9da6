"""The commands that change a store: what they print, what they refuse, their exit status."""

from __future__ import annotations

import io
import json
import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from genid_store.cli import run
from genid_store.fs import trees
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.migration.run import migrate
from genid_store.migration.swap import open_migration
from migrationkit import differences, killed_after, small_store, tree


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone, and no instance of another test's."""
    monkeypatch.setattr(trees, "sync_filesystem", lambda path: None)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    (tmp_path / "store").mkdir()
    monkeypatch.setenv("GENID_DATA_ROOT", str(tmp_path / "store"))
    return DataRoot.open(small_store(tmp_path / "store"))


Say = pytest.CaptureFixture[str]


def _json(say: Say, *arguments: str) -> tuple[int, Any]:
    say.readouterr()
    status = run(["store", *arguments, "--json"])
    return status, json.loads(say.readouterr().out)


def _text(say: Say, *arguments: str) -> tuple[int, str]:
    say.readouterr()
    status = run(["store", *arguments])
    captured = say.readouterr()
    return status, captured.out + captured.err


def test_a_dry_run_prints_the_summary_and_how_to_go_on(root: DataRoot, capsys: Say) -> None:
    """And leaves the store alone."""
    before = tree(root.path, inodes=True)
    status, said = _text(capsys, "migrate")
    assert 0 == status
    for words in ("# Migration plan", "What stays", "Duplicates", "--execute --plan"):
        assert words in said
    assert [] == differences(before, tree(root.path, inodes=True))


def test_there_and_back(root: DataRoot, capsys: Say) -> None:
    """With the plan that was looked at; a second time there is nothing to move."""
    before = tree(root.path, inodes=True)
    _, plan = _json(capsys, "migrate")
    status, done = _json(capsys, "migrate", "--execute", "--plan", plan["plan"])
    assert (0, "migrated", []) == (status, done["state"], done["followed"])
    status, said = _text(capsys, "migrate", "--execute")
    assert (0, True) == (status, "nothing to move" in said)
    status, resumed = _json(capsys, "migrate", "--resume")
    assert (0, "migrated") == (status, resumed["state"])
    status, back = _json(capsys, "rollback")
    assert (0, "rolled-back") == (status, back["state"])
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize(
    "command",
    [
        ["cohort", "list"],
        ["cohort", "status", "--cohort-id", "c"],
        ["cohort", "build", "--cohort-id", "c"],
        ["cohort", "run", "--cohort-id", "c", "--dry-run"],
        ["cohort", "run", "--cohort-id", "c", "--reuse-only"],
        ["report"],
        ["store", "audit"],
        ["explain", "d_2pkyzevzpngrcb4vm9d9j2b1mk"],
        ["dagster", "sync"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_other_command_refuses_a_store_that_is_half_exchanged(
    root: DataRoot, capsys: Say, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """It would take for damage what the exchange left, and advise to repair it: it names the two
    commands that end the migration, and changes nothing."""
    for point in count(10, 10):
        assert killed_after(point, partial(migrate, root))
        if blocked(root) and open_migration(root):
            break
    before = tree(root.path)
    assert 1 == run(command)
    said = capsys.readouterr()
    assert "the data root is blocked by an unfinished migration" in said.err
    assert "(genid store migrate --resume, genid store rollback)" in said.err
    assert "" == said.out
    assert [] == differences(before, tree(root.path))
    assert 0 == run(["store", "migrate", "--resume"])
    assert not blocked(root)


def test_finishing_ends_the_way_back(
    root: DataRoot, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks before; the old ids go on resolving."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    run(["store", "migrate", "--execute"])
    status, said = _text(capsys, "migrate", "--finish")  # there is nobody to answer
    assert (1, True) == (status, "Delete the former store?" in said)
    assert "the confirmation: was not given; answer y, or give --yes" in said
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert 1 == _text(capsys, "migrate", "--finish")[0]
    assert "migrated" == _json(capsys, "migrate", "--resume")[1]["state"]
    status, done = _json(capsys, "migrate", "--finish", "--yes")
    assert (0, "finished") == (status, done["state"])
    status, said = _text(capsys, "rollback")
    assert 1 == status
    assert "no open migration" in said
    assert 0 == run(["explain", "chained", "--json"])
    assert "previous" == json.loads(capsys.readouterr().out)["generations"][0]["by"]


def test_what_was_made_since_is_listed(root: DataRoot, capsys: Say) -> None:
    """With what has become of it."""
    run(["store", "migrate", "--execute"])
    (root.stage("draft") / "later").mkdir()
    status, said = _text(capsys, "rollback")
    assert (0, True) == (status, "gens/draft/later: made since the migration" in said)
    run(["store", "migrate", "--execute"])
    (root.stage("draft") / "later" / "raw.txt").write_text("x")
    expected = [{"path": "gens/draft/later/raw.txt", "what": "made since the migration"}]
    assert expected == _json(capsys, "rollback")[1]["since"]


def test_a_hosts_table_follows(root: DataRoot, capsys: Say) -> None:
    """Where the option names it."""
    table = root.path / "reports/scores.csv"
    before = table.read_text()
    arguments = ("migrate", "--execute", "--table", "reports/scores.csv")
    assert 0 == _json(capsys, *arguments)[0]
    assert before != table.read_text()
    status, said = _text(capsys, "migrate", "--table", "../x")
    assert (1, True) == (status, "cannot be rewritten" in said)


def test_blockers_are_exit_status_1(root: DataRoot, capsys: Say) -> None:
    """For the dry run as for executing."""
    root.membership("one").write_text("nothing\n")
    for arguments in (["migrate"], ["migrate", "--execute"]):
        status, said = _text(capsys, *arguments)
        assert 1 == status
        assert "cohorts/one/membership.csv" in said


def test_blockers_count_where_nothing_else_moves(root: DataRoot, capsys: Say) -> None:
    """What could not be judged is no store with nothing to move."""
    for arguments in (["migrate", "--execute"], ["migrate", "--finish", "--yes"]):
        assert 0 == run(["store", *arguments])
    root.membership("one").write_text("nothing\n")
    for arguments in (["migrate"], ["migrate", "--execute"]):
        status, said = _text(capsys, *arguments)
        assert (1, False) == (status, "nothing to move" in said)
        assert "cohorts/one/membership.csv" in said


def test_a_disk_without_room_shows_in_the_dry_run(
    root: DataRoot, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1, with how much it takes."""
    real = os.statvfs(root.path)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real[:3], 1, 1, *real[5:])))
    status, said = _json(capsys, "migrate")
    assert 1 == status
    assert "takes up to" in said["missing_room"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate", "--execute", "--resume"],
        ["migrate", "--plan", "x"],
        ["migrate", "--finish", "--resume"],
        ["migrate", "--execute", "--dry-run"],
        ["rollback", "--force"],
        ["migrate", "--data-root", "/nowhere"],
    ],
)
def test_usage_errors_are_exit_status_2(root: DataRoot, capsys: Say, arguments: list[str]) -> None:
    """And change nothing."""
    before = tree(root.path, inodes=True)
    assert 2 == _text(capsys, *arguments)[0]
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate", "--resume"],
        ["rollback"],
        ["migrate", "--finish", "--yes"],
    ],
)
def test_what_there_is_not_is_exit_status_1(
    root: DataRoot, capsys: Say, arguments: list[str]
) -> None:
    """With a remedy, and nothing changed."""
    before = tree(root.path, inodes=True)
    status, said = _text(capsys, *arguments)
    assert 1 == status
    assert said.startswith("genid: ")
    assert [] == differences(before, tree(root.path, inodes=True))


def test_dagster_follows_into_the_embedded_instance_and_back(root: DataRoot, capsys: Say) -> None:
    """By itself where there is one, or later; keys of nobody are counted, and pruned on request."""
    from genid_dagster_adapter.instance import open_instance
    from genid_dagster_adapter.partitions import register, registered

    def sync(*arguments: str) -> Any:
        capsys.readouterr()
        assert 0 == run(["dagster", "sync", "--data-root", str(root.path), "--json", *arguments])
        return json.loads(capsys.readouterr().out)

    with open_instance(root) as instance:
        register(instance, "draft", ["chained", "of-nobody"])
    _, done = _json(capsys, "migrate", "--execute", "--no-dagster")
    assert [] == done["followed"]
    done = sync()
    assert ["chained", "of-nobody"] == done["unowned"]["draft"]
    assert ["chained", "of-nobody"] == sync("--prune")["deleted"]["draft"]
    _, back = _json(capsys, "rollback")
    assert back["followed"]
    sync("--prune")
    with open_instance(root) as instance:
        keys = registered(instance, "draft")
    assert "chained" in keys
    assert set(os.listdir(root.stage("draft"))) >= set(keys)


def test_a_broken_instance_fails_no_migration(
    root: DataRoot, capsys: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store is migrated; the records can follow later."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "gone"))
    status, said = _text(capsys, "migrate", "--execute")
    assert 0 == status
    assert "genid dagster sync" in said
    assert "DAGSTER_HOME" in said


def test_old_ids_in_a_selection_still_find_their_generations(root: DataRoot, capsys: Say) -> None:
    """A selection file written before the migration and put there afterwards works."""
    from genid_store.catalog.index.query import StoreIndex
    from genid_store.catalog.lookup import stored_id

    old = sorted(os.listdir(root.stage("essay")))
    run(["store", "migrate", "--execute"])
    with StoreIndex.fresh(root) as index:
        found = {gen_id: stored_id(index, "essay", gen_id) for gen_id in old}
    assert None not in found.values()
    assert set(found.values()) == set(os.listdir(root.stage("essay")))
