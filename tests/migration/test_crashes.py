"""A migration that is stopped anywhere leaves the old store or the new one, and nothing between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked
from genid_store.migration import run
from genid_store.migration.swap import UNFINISHED, open_migration
from hardening_kit import attempt
from migrationkit import (
    Tree,
    count_calls,
    differences,
    failures,
    killed_after,
    refusing,
    small_store,
    tiny_store,
    tree,
)

Write = Callable[[Path], Path]
CODES = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)


class Stores:
    """Makes the same store again and again, and knows its tree before and after a migration."""

    def __init__(self, folder: Path, write: Write) -> None:
        self.folder, self.write = folder, write
        self.number = 0
        self._settled: set[str] = set()
        root = self.make()
        self.before, self.failed = tree(root.path), failures(root.path)
        run.migrate(root)
        self.after = tree(root.path)

    def make(self) -> DataRoot:
        self.number += 1
        path = self.folder / str(self.number)
        path.mkdir(parents=True)
        return DataRoot.open(self.write(path))

    def migrated(self) -> DataRoot:
        root = self.make()
        run.migrate(root)
        return root

    def is_known(self, root: DataRoot) -> bool:
        """Say whether a store that is as it was before has been seen with the same bytes in
        `.genid/`: what comes next follows from the two, so going on once is enough."""
        found = repr({place: one[2:] for place, one in sorted(tree(root.own).items())})
        known = found in self._settled
        self._settled.add(found)
        return known


@pytest.fixture
def tiny(tmp_path: Path) -> Stores:
    return Stores(tmp_path, tiny_store)


def _state(root: DataRoot) -> str:
    """Return where the data root's migration stands, from its journal."""
    found = open_migration(root)
    return "none" if found is None else found.state


def _settle(root: DataRoot) -> None:
    """Finish what was begun; where nothing was, begin. Whatever the next command after a crash is,
    others may write after it."""
    state = _state(root)
    (run.resume if state in UNFINISHED else run.migrate if state == "none" else run.plan)(root)
    assert blocked(root) is None


def _is_one_of_two(root: DataRoot, stores: Stores, *, back: bool = False) -> None:
    """Check that the live tree is the old one before the exchange and the new one after it."""
    state = _state(root)
    if state in UNFINISHED:
        assert blocked(root) is not None, "nobody else may write in the middle of it"
        return
    expected, found = stores.after if state == "migrated" else stores.before, tree(root.path)
    if state == "migrated" or back:
        expected, found = _contents(expected), _contents(found)
    assert [] == differences(expected, found)


def _contents(found: Tree) -> Tree:
    """Leave out the times of folders, which the last steps of an exchange give back."""
    return {place: one if len(one) > 2 else one[:1] for place, one in found.items()}


def _untimed(found: Tree) -> Tree:
    return {place: (one[0], *one[2:]) for place, one in found.items()}


def _killed_and_resumed(stores: Stores) -> None:
    root, point = stores.make(), 1
    while killed_after(point, partial(run.migrate, root)):
        _is_one_of_two(root, stores)
        _settle(root)
        assert [] == differences(stores.after, tree(root.path)), f"killed after call {point}"
        root, point = stores.make(), point + 1
    assert point > 100


def _killed_and_rolled_back(stores: Stores) -> None:
    """From the first call of the exchange on: before it there is nothing to roll back."""
    root, point, seen = stores.make(), count_calls(partial(run.migrate, stores.make())), 0
    while point:
        assert killed_after(point, partial(run.migrate, root))
        if _state(root) == "none":
            break
        run.rollback(root)
        assert [] == differences(stores.before, tree(root.path)), f"killed after call {point}"
        assert stores.failed == failures(root.path)
        assert blocked(root) is None
        root, point, seen = stores.make(), point - 1, seen + 1
    assert seen > 10


def _killed_while_rolling_back(stores: Stores) -> None:
    root, point = stores.migrated(), 1
    while killed_after(point, partial(run.rollback, root)):
        _is_one_of_two(root, stores, back=True)
        if _state(root) != "none":
            run.rollback(root)
        assert [] == differences(stores.before, tree(root.path)), f"killed after call {point}"
        assert stores.failed == failures(root.path)
        root, point = stores.migrated(), point + 1
    assert point > 20


@pytest.fixture(params=["exchange", "renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Exchange in one step, or, as on systems without that, by several renames."""
    if request.param == "renames":
        monkeypatch.setattr(trees, "exchange", lambda first, second: False)
    return str(request.param)


def test_sigkill_after_every_call_of_a_migration(tiny: Stores) -> None:
    """The old tree, bit for bit, until the exchange; going on gives the tree of an uninterrupted
    run, and the store is free again."""
    _killed_and_resumed(tiny)


def test_sigkill_after_every_call_of_an_exchange(tiny: Stores, way: str) -> None:
    """Rolling back from there gives the tree from before."""
    _killed_and_rolled_back(tiny)


def test_sigkill_after_every_call_of_a_rollback(tiny: Stores, way: str) -> None:
    """The new tree, or the old one; rolling back again goes on."""
    _killed_while_rolling_back(tiny)


@pytest.mark.long
def test_sigkill_after_every_call_with_everything_awkward(tmp_path: Path, way: str) -> None:
    """The same on a store with chains, cycles and links."""
    _killed_and_resumed(Stores(tmp_path / "on", small_store))
    _killed_and_rolled_back(Stores(tmp_path / "back", small_store))
    _killed_while_rolling_back(Stores(tmp_path / "rollback", small_store))


def test_resuming_without_an_exchange_goes_on_too(
    tiny: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has no exchange, after a kill at each rename."""
    monkeypatch.setattr(trees, "exchange", lambda first, second: False)
    root, point = tiny.make(), count_calls(partial(run.migrate, tiny.make()))
    while killed_after(point, partial(run.migrate, root)) and _state(root) != "none":
        _settle(root)
        assert [] == differences(tiny.after, tree(root.path)), f"killed after call {point}"
        root, point = tiny.make(), point - 1


# -- what the system refuses -----------------------------------------------------------------------
def _refused(stores: Stores, code: int, *, for_ever: bool) -> Iterator[tuple[int, DataRoot]]:
    """Yield every store whose migration was refused at one call, with the call's number."""
    for point in range(1, count_calls(partial(run.migrate, stores.make())) + 1):
        root = stores.make()
        with refusing(point, code, for_ever=for_ever):
            _, error = attempt(StoreError, partial(run.migrate, root))
        if error is None:  # it was about a time, which is not essential
            assert _untimed(stores.after) == _untimed(tree(root.path)), point
        else:
            assert os.strerror(code) in str(error), (point, str(error))
            yield point, root


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_a_call_that_is_refused_stops_it_with_one_error(tiny: Stores, code: int) -> None:
    """At every call: nothing is lost, and the same command goes on."""
    stopped = 0
    for point, root in _refused(tiny, code, for_ever=False):
        _is_one_of_two(root, tiny)
        stopped += 1
        if _state(root) == "none" and tiny.is_known(root):
            continue
        _settle(root)
        assert [] == differences(_contents(tiny.after), _contents(tree(root.path))), point
    assert stopped > 50


def test_a_disk_that_stays_full_loses_nothing(tiny: Stores) -> None:
    """From every call on; once there is room, rolling back or beginning again works."""
    for point, root in _refused(tiny, errno.ENOSPC, for_ever=True):
        _is_one_of_two(root, tiny)
        if _state(root) == "none":
            if tiny.is_known(root):
                continue
            run.migrate(root)
        run.rollback(root)
        assert [] == differences(tiny.before, tree(root.path)), f"full from call {point} on"


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_a_rollback_that_is_refused_goes_on(tiny: Stores, code: int) -> None:
    """At every call."""
    for point in range(1, count_calls(partial(run.rollback, tiny.migrated())) + 1):
        root = tiny.migrated()
        with refusing(point, code):
            _, error = attempt(StoreError, partial(run.rollback, root))
        assert error is None or os.strerror(code) in str(error), (point, str(error))
        if _state(root) != "none":
            run.rollback(root)
        assert [] == differences(tiny.before, tree(root.path)), f"refused at call {point}"


def test_finishing_that_is_killed_is_finished_by_the_next_command(tiny: Stores) -> None:
    """The live tree does not change, whenever it stops."""
    root, point = tiny.migrated(), 1
    while killed_after(point, partial(run.finish, root)):
        assert [] == differences(tiny.after, tree(root.path))
        if _state(root) == "migrated":
            run.finish(root)
        run.plan(root)
        assert not list(root.own.glob("migrations/*/aside"))
        root, point = tiny.migrated(), point + 1
    assert point > 5
