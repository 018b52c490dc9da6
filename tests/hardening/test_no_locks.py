"""A file system without locks: refused in words before anything is written, never a traceback."""

import errno
import fcntl
import os
from pathlib import Path
from typing import NoReturn

import pytest
from filelock import FileLock

from genid_store.catalog.index.query import StoreIndex
from genid_store.errors import StoreError
from genid_store.fs import locks as lock
from genid_store.fs.layout import DataRoot
from genid_store.generation.once import Executor
from hardening_kit import tree, without_own


def no_locks(*_: object) -> NoReturn:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def not_implemented(*_: object, **__: object) -> NoReturn:
    raise NotImplementedError("FileSystem does not appear to support flock")


@pytest.mark.parametrize("old", [False, True], ids=["by errno", "by an older filelock"])
def test_a_build_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, old: bool
) -> None:
    """Where the system cannot lock, the data root's lock says so and names the remedy."""
    if old:
        monkeypatch.setattr(FileLock, "acquire", not_implemented)
    else:
        monkeypatch.setattr(fcntl, "flock", no_locks)
    root = DataRoot.open(tmp_path)
    with (
        pytest.raises(StoreError, match="mount it with them, or use a local disk"),
        lock.root_lock(root, lock.BUILD),
    ):
        pytest.fail("there is no lock to be had")
    assert {} == without_own(tree(tmp_path))


def test_an_index_without_locks_lives_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is a cache: without locks it answers from memory and leaves no database."""
    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "gens" / "draft" / "d1").mkdir(parents=True)
    with StoreIndex.fresh(DataRoot.open(tmp_path)) as index:
        assert ("d1", False) == (next(iter(index.iter("draft"))).gen_id, index.persistent)
    assert not (tmp_path / ".genid" / "index.sqlite").exists()


def test_nothing_is_paid_for_without_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks two runs could pay twice, so that the generator is not called."""
    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / "gens" / "draft" / "d1").mkdir(parents=True)
    calls: list[object] = []

    def generate(request: object) -> str:
        calls.append(request)
        return "text"

    outcome = Executor(root=DataRoot.open(tmp_path), generator=generate).obtain("draft", "d1")
    assert ("refused", []) == (outcome.kind, calls)
