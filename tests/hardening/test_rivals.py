"""Builds, migrations and kills on one data root at the same time: never a mixture."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import storekit
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_memberships
from genid_store.errors import StoreError
from genid_store.fs import locks as lock
from genid_store.fs.layout import DataRoot
from genid_store.migration import run as migration
from hardening_kit import HANGS, environment, tree, without_own

BUILD = """
import sys
from genid_store.cohort.build import build_cohort
from genid_store.cohort.prepare import Options
from genid_store.errors import StoreError
from genid_store.ids.rollout import Rollout
from genid_store.fs.layout import DataRoot
try:
    options = Options(rollout=Rollout.parse("on"), cohort_id="fresh")
    build_cohort(DataRoot.open(sys.argv[1]), options)
except StoreError as error:
    sys.exit(f"refused: {error}")
"""
MIGRATE = """
import sys
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.migration import run
try:
    run.migrate(DataRoot.open(sys.argv[1]))
except StoreError as error:
    sys.exit(f"refused: {error}")
"""
HOLD = """
import sys
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import root_lock
with root_lock(DataRoot.open(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A sound store of all families with tables, and no selection."""
    folder = tmp_path / "root"
    storekit.make_store(folder, generations=60, oddities=(), files=("parsed.txt",), selection=None)
    return DataRoot.open(folder)


def start(script: str, root: DataRoot, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root.path), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def holding(root: DataRoot, purpose: str) -> "subprocess.Popen[str]":
    """Return a process that holds the lock until its input ends."""
    process = start(HOLD, root, purpose)
    assert process.stdout is not None
    assert "held\n" == process.stdout.readline()
    return process


def end(*processes: "subprocess.Popen[str]") -> list[tuple[int, str]]:
    answers = [process.communicate(timeout=HANGS)[1] for process in processes]
    return [(one.returncode, text) for one, text in zip(processes, answers, strict=True)]


def members_without_generation(root: DataRoot) -> list[tuple[str, str]]:
    members = read_memberships(root).members.values()
    return [
        (stage, gen_id)
        for cohort in members
        for stage, gen_id in cohort
        if not (root.generation(stage, gen_id) / "metadata.json").is_file()
    ]


def finding_codes(root: DataRoot) -> set[str]:
    with StoreIndex.fresh(root, persist=False) as index:
        return {str(finding.code) for finding in audit(index).findings}


@pytest.mark.parametrize("first", ["build", "migration"])
def test_a_build_and_a_migration_at_once_leave_a_sound_store(root: DataRoot, first: str) -> None:
    """Whichever comes first: each is done or refused in words, and no member lost its
    generation."""
    before = finding_codes(root)
    scripts = [BUILD, MIGRATE] if first == "build" else [MIGRATE, BUILD]
    answers = end(*[start(script, root) for script in scripts])
    assert all(code == 0 or text.startswith("refused: ") for code, text in answers), answers
    assert any(code == 0 for code, _ in answers), answers
    assert [] == members_without_generation(root)
    assert finding_codes(root) <= before


def test_a_migration_keeps_builds_out_at_once(root: DataRoot) -> None:
    """A build does not wait for a migration: it is refused, and told who holds the data root."""
    holder = holding(root, lock.MIGRATION)
    before = without_own(tree(root.path))
    ((code, text),) = end(start(BUILD, root))
    assert (1, before) == (code, without_own(tree(root.path)))
    assert f"migration (process {holder.pid} on " in text
    end(holder)


def test_a_build_goes_on_when_the_one_before_it_is_killed(root: DataRoot) -> None:
    """A build that waits for another one gets the lock when that one dies of SIGKILL."""
    holder = holding(root, lock.BUILD)
    waiting = start(BUILD, root)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=1.5)
    holder.send_signal(signal.SIGKILL)
    assert [(0, "")] == end(waiting)
    holder.communicate()
    assert (root.path / "cohorts" / "fresh" / "membership.csv").is_file()


def test_a_migration_waits_for_a_build(root: DataRoot) -> None:
    """A migration that finds a build under way begins when it has ended."""
    holder = holding(root, lock.BUILD)
    waiting = start(MIGRATE, root)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=1.5)
    assert [(0, ""), (0, "")] == end(holder, waiting)


def test_a_stale_note_of_a_holder_holds_nobody_off(root: DataRoot) -> None:
    """The note of a migration that was killed is only a note, also with a living process's id."""
    holder = holding(root, lock.MIGRATION)
    holder.kill()
    holder.communicate()
    note = root.own / "lock-holder.json"
    note.write_bytes(note.read_bytes().replace(str(holder.pid).encode(), str(os.getpid()).encode()))
    assert [(0, "")] == end(start(BUILD, root))


def test_an_interrupted_migration_blocks_builds_until_it_is_ended(root: DataRoot) -> None:
    """With a migration half done nobody holds the lock, and a build is refused all the same; after
    the rollback it is done."""
    lock.block(root, lock.Block(by=lock.MIGRATION, reason="half done", remedy="go on or back"))
    ((code, text),) = end(start(BUILD, root))
    assert 1 == code
    assert "half done" in text
    assert "go on or back" in text
    migration.plan(root)  # looks at the journals: nothing was begun, so the block is lifted
    assert [(0, "")] == end(start(BUILD, root))


def test_the_lock_is_not_taken_twice_by_one_process(root: DataRoot) -> None:
    """A second acquisition in one process is refused like anybody else's, not a deadlock."""
    with (
        lock.root_lock(root, lock.MIGRATION),
        pytest.raises(StoreError, match="in use"),
        lock.root_lock(root, lock.BUILD, wait=0.1),
    ):
        pytest.fail("the lock was given twice")
