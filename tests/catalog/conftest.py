"""Stores for the tests of the store: a sound one, and one with everything in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genid_store.catalog.index import reading as index_reading
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import DataRoot
from storekit import FAULTS, Store, make_store


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of some 1,000 generations with all four families and every oddity and fault; tests
    read it and change nothing outside `.genid/`."""
    folder = tmp_path_factory.mktemp("mixed") / "data"
    return make_store(
        folder,
        generations=1000,
        faults=FAULTS,
        files=("raw.txt", "parsed.txt", "raw_metadata.json"),
    )


@pytest.fixture
def small(tmp_path: Path) -> Store:
    """A small store without any oddity; several generations are of one task."""
    files = ("raw.txt", "parsed.txt")
    return make_store(tmp_path / "data", generations=200, oddities=(), files=files)


@pytest.fixture
def index(small: Store) -> Iterator[StoreIndex]:
    """The refreshed index of the small store."""
    with StoreIndex.fresh(DataRoot.open(small.path)) as opened:
        yield opened


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files that changed a moment ago for settled, as they would be a moment later."""
    monkeypatch.setattr(index_reading, "TICK_NS", 0)
