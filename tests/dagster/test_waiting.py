"""Nothing waits silently: for another run's generation, or for those that a migration waits for."""

import functools
import threading
import time
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest

from dagster_kit import lay
from genid_store.errors import StoreError
from genid_store.fs import leases
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import lease
from genid_store.fs.locks import blocked
from genid_store.migration import run
from genid_store.migration.plan import make_plan
from storekit import make_store


def test_a_claim_that_is_waited_for_is_named_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another run makes the generation: the log says which, and that interrupting is safe."""
    root = lay(tmp_path, "draft", "d1")
    monkeypatch.setattr(leases, "LOG_INTERVAL", 0.0)
    stop = threading.Event()
    real = leases._take

    def take(path: Path) -> int | None:
        if len(caplog.records) >= 2:
            stop.set()
        return real(path)

    def wait() -> None:
        with lease(root, "draft", "d1", stop) as held:
            assert held is False

    with lease(root, "draft", "d1", threading.Event()):
        monkeypatch.setattr(leases, "_take", take)
        Context().run(wait)  # as in another run: not from within what the lease is held for
    assert "draft d1" in caplog.messages[0]
    assert "interrupting is safe" in caplog.messages[0]


def test_waiting_for_makers_is_told_and_limited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names what is being made; past the limit an error does, with the remedy."""
    root = lay(tmp_path, "draft", "d1")
    clock = iter([0.0, 0.0, 31.0, 32.0, 100.0])
    with lease(root, "draft", "d1", threading.Event()), monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(clock))
        patch.setattr(time, "sleep", lambda seconds: None)
        with pytest.raises(StoreError, match="draft/d1") as caught:
            run.wait_for_makers(root, limit=60.0)
    assert "run the same command again" in str(caught.value)
    assert 2 == sum("draft/d1" in message for message in caplog.messages)
    run.wait_for_makers(root, limit=0.0)


def test_a_migration_waits_for_makers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives up waiting has changed nothing, and none is given a generation meanwhile."""
    store = make_store(tmp_path / "store", generations=12, oddities=())
    root = DataRoot(store.path)
    one = next(one for one in store.generations if one.family == "legacy")
    impatient = functools.partial(run.wait_for_makers, limit=0.0)
    monkeypatch.setattr(run, "wait_for_makers", impatient)
    with lease(root, one.stage, one.gen_id, threading.Event()):
        with pytest.raises(StoreError, match="being made"):
            run.migrate(root)
        assert (store.path / one.folder).is_dir()
        assert blocked(root) is None
    barred = []
    real = make_plan

    def planned(*args: Any, **rest: Any) -> Any:
        barred.append(blocked(root))
        return real(*args, **rest)

    monkeypatch.setattr(run, "make_plan", planned)
    run.migrate(root)
    assert barred[0] is not None
    assert not (store.path / one.folder).exists()
