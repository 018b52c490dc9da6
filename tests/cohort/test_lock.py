"""The lock of a data root: one holder at a time, and none that outlives its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, MIGRATION, Block, block, blocked, holder, root_lock, unblock

HOLD = """
import sys
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import root_lock
with root_lock(DataRoot(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path)


def hold(root: DataRoot, purpose: str) -> subprocess.Popen[str]:
    """Start a process that holds the lock until it is told to go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root.path), purpose],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_is_named_while_the_lock_is_held_and_forgotten_after(root: DataRoot) -> None:
    """A note says who holds the lock; nothing but the empty lock file stays."""
    with root_lock(root, BUILD):
        noted = holder(root)
        assert noted is not None
        assert (BUILD, os.getpid()) == (noted.purpose, noted.pid)
    assert ["lock"] == os.listdir(root.own)


def test_a_second_holder_in_the_same_process_is_refused(root: DataRoot) -> None:
    """The lock is not re-entrant."""
    with (
        root_lock(root, BUILD),
        pytest.raises(StoreError, match="held by cohort build"),
        root_lock(root, BUILD, wait=0),
    ):
        pass


def test_a_migration_elsewhere_refuses_a_build_at_once_and_by_name(root: DataRoot) -> None:
    """Nobody waits for a migration."""
    process = hold(root, MIGRATION)
    try:
        with (
            pytest.raises(StoreError, match=f"held by migration .process {process.pid} on"),
            root_lock(root, BUILD, wait=3600),
        ):
            pass
    finally:
        process.communicate("\n")


def test_a_build_waits_for_another_build(root: DataRoot) -> None:
    """Builds are short, so the second one takes its turn."""
    process = hold(root, BUILD)
    assert process.stdin is not None
    with pytest.raises(StoreError, match="in use"), root_lock(root, BUILD, wait=0.1):
        pass
    process.stdin.write("\n")
    process.stdin.flush()
    with root_lock(root, BUILD, wait=60):
        assert holder(root) is not None
    process.communicate()


def test_the_lock_of_a_killed_process_is_free_although_its_note_stays(root: DataRoot) -> None:
    """A stale lock is recognized: the system let go of it when the process died."""
    process = hold(root, MIGRATION)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stale = holder(root)
    assert stale is not None
    assert process.pid == stale.pid
    with root_lock(root, BUILD, wait=0):
        mine = holder(root)
        assert mine is not None
        assert os.getpid() == mine.pid


def test_a_block_outlives_the_process_and_stops_everybody_but_its_purpose(root: DataRoot) -> None:
    """An interrupted migration keeps builds out until it is resumed or rolled back."""
    with root_lock(root, MIGRATION):
        block(root, Block(by=MIGRATION, reason="interrupted half-way", remedy="resume it"))
    with pytest.raises(StoreError, match="interrupted half-way; resume it"):  # noqa: SIM117
        with root_lock(root, BUILD):
            pass
    with root_lock(root, MIGRATION):
        unblock(root)
    with root_lock(root, BUILD):
        assert blocked(root) is None


def test_a_block_that_cannot_be_read_still_blocks(root: DataRoot) -> None:
    """A damaged record never counts as none."""
    root.own.mkdir()
    (root.own / "blocked.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"), root_lock(root, BUILD):
        pass


def test_a_root_that_cannot_be_written_is_refused_with_its_reason(tmp_path: Path) -> None:
    """A file where `.genid/` belongs is named."""
    (tmp_path / ".genid").write_text("")
    with pytest.raises(StoreError, match=r"\.genid"), root_lock(DataRoot(tmp_path), BUILD):
        pass
