"""Migrations in processes of their own: killed at journal records and at any time, two at once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.migration import run
from genid_store.migration.journal import Journal
from genid_store.migration.state import open_plans, state_of
from migrationkit import Tree, differences, small_store, tree
from storekit import FAULTS, make_store

FORK = multiprocessing.get_context("fork")
DONE, REFUSED = 0, 7


def _in_a_process(work: Callable[[], object]) -> Any:
    """Start `work` in a child; its exit status is DONE, REFUSED, or minus the signal."""

    def child() -> None:
        try:
            work()
        except StoreError:
            os._exit(REFUSED)
        os._exit(DONE)

    process = FORK.Process(target=child)
    process.start()
    return process


def _small(path: Path) -> DataRoot:
    path.mkdir()
    return DataRoot.open(small_store(path))


@pytest.fixture
def before(tmp_path: Path) -> Tree:
    return tree(_small(tmp_path / "before").path)


@pytest.fixture
def after(tmp_path: Path) -> Tree:
    root = _small(tmp_path / "after")
    run.migrate(root)
    return tree(root.path)


def _die_at(record: int, *, written: bool, work: Callable[[], object]) -> Callable[[], None]:
    """Return `work` that kills its process just before, or after, a journal record is written."""

    def doomed() -> None:
        real, count = Journal.append, iter(range(1, 10**6))

        def append(self: Journal, event: str, **details: Any) -> None:
            last = next(count) == record
            if not last or written:
                real(self, event, **details)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)

        Journal.append = append  # type: ignore[method-assign]  # a child process of its own
        work()

    return doomed


def _go_on(root: DataRoot) -> None:
    if open_plans(root):
        run.resume(root)
    else:
        run.migrate(root)


def _go_back(root: DataRoot) -> None:
    if open_plans(root):
        run.rollback(root)


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("way", ["on", "back"])
def test_sigkill_at_every_journal_record(
    tmp_path: Path, before: Tree, after: Tree, *, written: bool, way: str
) -> None:
    """Going on gives the tree of an uninterrupted run, going back the original."""
    leave, expected = {"on": (_go_on, after), "back": (_go_back, before)}[way]
    record, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        record += 1
        root = _small(tmp_path / f"{way}-{record}")
        doomed = _die_at(record, written=written, work=lambda root=root: run.migrate(root))  # type: ignore[misc]
        process = _in_a_process(doomed)
        process.join()
        status = process.exitcode
        leave(root)
        assert [] == differences(expected, tree(root.path)), f"killed at record {record}"
    assert record > 8


def test_sigkill_while_going_back(tmp_path: Path, before: Tree) -> None:
    """At every journal record of the way back: going back goes on."""
    record, status = 0, -signal.SIGKILL
    while status == -signal.SIGKILL:
        record += 1
        root = _small(tmp_path / str(record))
        run.migrate(root)
        doomed = _die_at(record, written=True, work=lambda root=root: run.rollback(root))  # type: ignore[misc]
        process = _in_a_process(doomed)
        process.join()
        status = process.exitcode
        _go_back(root)
        assert [] == differences(before, tree(root.path)), f"killed at record {record}"
    assert record > 5


def _killed_at_random(tmp_path: Path, *, times: int, generations: int) -> None:
    """Kill a migration again and again at random times, going on or back, until it is done."""
    chance = random.Random(tmp_path.name)
    store = make_store(tmp_path / "store", generations=generations, faults=FAULTS)
    root = DataRoot.open(store.path)
    before = tree(root.path)
    run.migrate(root)
    after = tree(root.path)
    run.rollback(root)
    for _ in range(times):
        work = run.resume if open_plans(root) else run.migrate
        process = _in_a_process(lambda work=work: work(root))  # type: ignore[misc]
        process.join(timeout=chance.uniform(0.0, 0.3))
        process.kill()
        process.join()
        if chance.random() < 0.5:
            _go_on(root)
            assert [] == differences(after, tree(root.path))
        if chance.random() < 0.7:
            _go_back(root)
            assert [] == differences(before, tree(root.path))
    _go_back(root)
    assert [] == differences(before, tree(root.path))


def test_sigkill_at_random_times(tmp_path: Path) -> None:
    """A few."""
    _killed_at_random(tmp_path, times=6, generations=150)


@pytest.mark.long
def test_sigkill_at_many_random_times(tmp_path: Path) -> None:
    """Many, on a larger store."""
    _killed_at_random(tmp_path, times=150, generations=600)


def test_two_at_once(tmp_path: Path, after: Tree) -> None:
    """One migrates; the others are refused or find nothing to do."""
    root = _small(tmp_path / "store")
    processes = [_in_a_process(lambda: run.migrate(root)) for _ in range(4)]
    for process in processes:
        process.join()
    assert {DONE, REFUSED} >= {process.exitcode for process in processes}
    assert DONE in {process.exitcode for process in processes}
    ((plan, state),) = open_plans(root)
    assert "migrated" == state == state_of(plan)
    assert [] == differences(after, tree(root.path))
