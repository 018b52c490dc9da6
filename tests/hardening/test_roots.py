"""Data roots of unusual names: everything stays below them, and Dagster's files too."""

import os
from pathlib import Path

import pytest

from cohort_kit import ON, built, make_root
from genid_dagster_adapter.instance import open_instance
from genid_store.catalog.index.query import StoreIndex
from genid_store.errors import StoreError
from hardening_kit import command, refused

PLAIN = ("h#1", "ws 100%d", "é;x", "a:b@c", "file:x", "-x", "x\ny", "$HOME", "~", "*")
CHANGED = ("ws_feature%2Fx", "q?x=1", "%2e%2e", "a?", "%00")


@pytest.mark.parametrize("name", PLAIN + CHANGED)
def test_a_store_works_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """A build and the index, with nothing beside the data root."""
    root = make_root(tmp_path / name)
    assert built(root, ON).plan.rows
    with StoreIndex.fresh(root) as index:
        assert (True, True) == (index.persistent, bool(list(index.iter("draft"))))
    assert [name] == os.listdir(tmp_path)


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("embedded", [True, False])
def test_a_dagster_home_that_a_url_would_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, embedded: bool
) -> None:
    """Before anything is written: its databases would be other files, outside the data root."""
    root = make_root(tmp_path / (name if embedded else "root"))
    home = tmp_path / name
    home.mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("DAGSTER_HOME", "" if embedded else str(home))
    with pytest.raises(StoreError, match="databases misread"), open_instance(root):
        pass
    assert before == sorted(tmp_path.rglob("*"))


@pytest.mark.parametrize("embedded", [True, False])
def test_a_data_root_that_dagster_cannot_name_is_refused(tmp_path: Path, embedded: bool) -> None:
    """Its records hold the path, in UTF-8; without them a build goes on."""
    root = make_root(tmp_path / os.fsdecode(b"caf\xe9"))
    assert built(root, ON).plan.rows
    home = tmp_path / "home"
    home.mkdir()
    environ = {} if embedded else {"DAGSTER_HOME": str(home)}
    before = sorted(tmp_path.rglob("*"))
    told = refused(command("dagster", "sync", "--data-root", root.path, environ=environ))
    assert r"caf\udce9" in told
    assert "bytes that are not UTF-8" in told
    assert before == sorted(tmp_path.rglob("*"))


def test_a_dagster_home_of_another_unusual_name_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A percent sign alone is none of those."""
    root = make_root(tmp_path / "ws 100%d #1")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with open_instance(root) as instance:
        instance.add_dynamic_partitions("drafts", ["a"])
    assert ["ws 100%d #1"] == os.listdir(tmp_path)
