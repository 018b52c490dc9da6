"""Migrations in processes of their own: killed at any time, and several at once."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path

import pytest

from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, MIGRATION, Block, block, blocked, root_lock
from genid_store.migration import run
from genid_store.migration.swap import UNFINISHED, open_migration
from migrationkit import REFUSED, differences, in_a_process, small_store, tree
from storekit import FAULTS, make_store


def _state(root: DataRoot) -> str:
    found = open_migration(root)
    return "none" if found is None else found.state


def _killed_at_random(tmp_path: Path, *, times: int, generations: int, seed: int = 0) -> None:
    """Kill migrations and rollbacks at random instants, and go on or back from there."""
    chance = random.Random(seed)
    store = make_store(tmp_path / "store", generations=generations, faults=FAULTS)
    root = DataRoot.open(store.path)
    before = tree(root.path)
    run.migrate(root)
    after = tree(root.path)
    for _ in range(times):
        state = _state(root)
        if state in UNFINISHED:
            work = run.rollback if state == "swapping-back" or chance.random() < 0.5 else run.resume
        else:
            work = run.rollback if state == "migrated" else run.migrate
        process = in_a_process(lambda work=work: work(root))  # type: ignore[misc]
        process.join(timeout=chance.uniform(0.0, generations / 1000))
        process.kill()
        process.join()
        state = _state(root)
        if state == "none":
            assert [] == differences(before, tree(root.path))
        elif state == "migrated":
            assert [] == differences(after, tree(root.path))
    if _state(root) != "none":
        run.rollback(root)
    assert [] == differences(before, tree(root.path))
    run.plan(root)
    assert blocked(root) is None


def test_sigkill_at_random_times(tmp_path: Path) -> None:
    """A few: whenever it is not in the middle of an exchange, it is one of two trees."""
    _killed_at_random(tmp_path, times=8, generations=150)


@pytest.mark.long
def test_sigkill_at_200_random_instants_of_5000_generations(tmp_path: Path) -> None:
    """The size of a real store."""
    _killed_at_random(tmp_path, times=200, generations=5000)


def test_several_at_once(tmp_path: Path) -> None:
    """One migrates; the others are refused or find nothing to do."""
    for name in ("expected", "store"):
        (tmp_path / name).mkdir()
        small_store(tmp_path / name)
    expected, root = DataRoot.open(tmp_path / "expected"), DataRoot.open(tmp_path / "store")
    run.migrate(expected)
    processes = [in_a_process(lambda: run.migrate(root)) for _ in range(4)]
    for process in processes:
        process.join()
    assert {0, REFUSED} >= {process.exitcode for process in processes}
    assert 0 in {process.exitcode for process in processes}
    assert "migrated" == _state(root)
    assert [] == differences(tree(expected.path), tree(root.path))


def test_a_block_of_a_process_ends_with_it(tmp_path: Path) -> None:
    """While it lives nobody may begin; when it was killed the store is free at once."""
    (tmp_path / "store").mkdir()
    root = DataRoot.open(small_store(tmp_path / "store"))
    ready = tmp_path / "ready"

    def hold() -> None:
        with root_lock(root, MIGRATION):
            block(root, Block(by=MIGRATION, reason="building", remedy="wait", while_locked=True))
            ready.touch()
            signal.pause()

    process = in_a_process(hold)
    waited = threading.Event()
    while not ready.exists():
        waited.wait(0.01)
    assert blocked(root) is not None
    with pytest.raises(StoreError, match="in use"), root_lock(root, BUILD, wait=0.0):
        pass
    process.kill()
    process.join()
    assert blocked(root) is None
    with root_lock(root, BUILD):
        pass
    assert not (root.own / "blocked.json").exists()
