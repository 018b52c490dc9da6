"""A migration that is stopped anywhere can be gone on with or undone, exactly."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import lease
from genid_store.fs.locks import blocked
from genid_store.migration import files, run
from genid_store.migration import state_folder as own
from genid_store.migration.state import open_plans
from migrationkit import (
    Tree,
    differences,
    failures,
    full_disk_at,
    killed_at,
    small_store,
    tree,
)

Make = Callable[[], DataRoot]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone: what is tested is the death of a process, not of a machine."""
    monkeypatch.setattr(files, "sync_filesystem", lambda path: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes the same small store in a new place."""
    numbers = iter(range(10**6))

    def made() -> DataRoot:
        root = tmp_path / str(next(numbers))
        root.mkdir()
        return DataRoot.open(small_store(root))

    return made


@pytest.fixture
def before(make: Make) -> Tree:
    return tree(make().path)


@pytest.fixture
def after(make: Make) -> Tree:
    root = make()
    run.migrate(root)
    return tree(root.path)


def _changes(make: Make, operation: Callable[[DataRoot], object]) -> int:
    root = make()
    with killed_at(None) as switch:
        operation(root)
    return switch.count


def _points(total: int, *, every: int, offset: int = 1) -> Iterator[int]:
    return iter(range(offset, total + 1, every))


def _settle(root: DataRoot) -> None:
    """Go on with what was begun; where nothing was, begin."""
    if any(state != "migrated" for _, state in open_plans(root)):
        run.resume(root)
    elif not open_plans(root):
        run.migrate(root)


def _killed_and_resumed(make: Make, after: Tree, every: int) -> None:
    for point in _points(_changes(make, run.migrate), every=every):
        root = make()
        with killed_at(point) as switch:
            run.migrate(root)
        assert switch.tripped
        _settle(root)
        assert differences(after, tree(root.path)) == [], f"killed at change {point}"
        assert _is_free(root)
        assert list(failures(root.path)) == [f"essay/{_failed(after)}.json"]


def _is_free(root: DataRoot) -> bool:
    """Say whether others may use the data root; the first command after a crash sees to that."""
    run.plan(root)
    return blocked(root) is None


def _failed(after: Tree) -> str:
    places = [place for place in after if place.startswith("gens/essay/e_")]
    found = [p for p in places if p.endswith("metadata.json") and b'"other"' in after[p][2]]
    return found[0].split("/")[2]


def _killed_and_rolled_back(make: Make, before: Tree, every: int) -> None:
    for point in _points(_changes(make, run.migrate), every=every, offset=2):
        root = make()
        with killed_at(point):
            run.migrate(root)
        if open_plans(root):
            run.rollback(root)
        assert differences(before, tree(root.path)) == [], f"killed at change {point}"
        assert list(failures(root.path)) == ["essay/e_1hand.json"], f"killed at change {point}"


def _killed_while_going_back(make: Make, before: Tree, every: int) -> None:
    def there_and_back(root: DataRoot) -> None:
        run.migrate(root)
        run.rollback(root)

    there = _changes(make, run.migrate)
    for point in _points(_changes(make, there_and_back), every=every, offset=there + 1):
        root = make()
        run.migrate(root)
        with killed_at(point - there):
            run.rollback(root)
        if open_plans(root):
            run.rollback(root)
        assert differences(before, tree(root.path)) == [], f"killed at change {point}"
        assert _is_free(root)


def test_resuming_after_a_kill_gives_the_tree_of_an_uninterrupted_run(
    make: Make, after: Tree
) -> None:
    """At a sample of the changes to the disk; the failed generation's record follows it."""
    _killed_and_resumed(make, after, every=9)


def test_rolling_back_after_a_kill_gives_the_original_tree(make: Make, before: Tree) -> None:
    """At a sample of the changes to the disk."""
    _killed_and_rolled_back(make, before, every=9)


def test_a_rollback_that_is_killed_is_gone_on_with(make: Make, before: Tree) -> None:
    """At a sample of the changes to the disk."""
    _killed_while_going_back(make, before, every=9)


@pytest.mark.long
def test_resuming_after_a_kill_at_every_change(make: Make, after: Tree) -> None:
    """Every single one."""
    _killed_and_resumed(make, after, every=1)


@pytest.mark.long
def test_rolling_back_after_a_kill_at_every_change(make: Make, before: Tree) -> None:
    """Every single one."""
    _killed_and_rolled_back(make, before, every=1)


@pytest.mark.long
def test_a_rollback_killed_at_every_change_is_gone_on_with(make: Make, before: Tree) -> None:
    """Every single one."""
    _killed_while_going_back(make, before, every=1)


def test_giving_up_waiting_half_way_names_the_command_to_go_on_with(
    make: Make, before: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not say that nothing was changed: folders have moved by then."""
    root = make()
    with killed_at(_changes(make, run.migrate) // 2):
        run.migrate(root)
    assert [] != differences(before, tree(root.path))
    impatient = functools.partial(own.wait_for_makers, limit=0.0)
    with monkeypatch.context() as patch, lease(root, "draft", "any", threading.Event()):
        patch.setattr(own, "wait_for_makers", impatient)
        for go_on, command in ((run.resume, "migrate --resume"), (run.rollback, "store rollback")):
            with pytest.raises(StoreError, match=f"go on with `genid .*{command}`") as caught:
                go_on(root)
            assert "nothing more was changed" in caught.value.summary
    run.rollback(root)
    assert [] == differences(before, tree(root.path))


def _full(make: Make, before: Tree, after: Tree, every: int) -> None:
    for point in _points(_changes(make, run.migrate), every=every):
        for leave, expected in ((_settle, after), (run.rollback, before)):
            root = make()
            try:
                with full_disk_at(point):
                    run.migrate(root)
            except StoreError as error:
                told = str(error)  # at some points there is only tidying left, and no error
                assert "No space left" in told, told
                assert "room" in told or "put that right" in told, told
            if leave is _settle or open_plans(root):
                leave(root)
            assert differences(expected, tree(root.path)) == [], f"full at change {point}"


def test_a_full_disk_stops_with_a_remedy_and_nothing_lost(
    make: Make, before: Tree, after: Tree
) -> None:
    """ENOSPC at a sample of the changes: one error, then either way out works."""
    _full(make, before, after, every=23)


@pytest.mark.long
def test_a_full_disk_at_every_change(make: Make, before: Tree, after: Tree) -> None:
    """Every single one."""
    _full(make, before, after, every=1)
