"""A store is migrated and rolled back while a real daemon automates its generations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_kit import Daemon
from genid_dagster_adapter.partitions import register
from genid_dagster_adapter.translator import stage_asset_name
from genid_store.cli import run
from storekit import STAGES, Store, make_store, v1_id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A small mixed store with nothing left to make."""
    made = make_store(tmp_path / "store", generations=20, oddities=())
    for one in made.generations:
        path = made.path / one.folder / "parsed.txt"
        if not path.exists():
            path.write_text("filled\n")
    return made


@pytest.fixture
def daemon(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A daemon over an instance that knows all of the store."""
    found = Daemon(tmp_path, store.path, monkeypatch)
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        for stage in STAGES:
            keys = [key for rows in store.cohorts.values() for of, key in rows if of == stage]
            for key in dict.fromkeys(keys):
                event = dg.AssetMaterialization(stage_asset_name(stage), partition=key)
                instance.report_runless_asset_event(event)
            register(instance, stage, keys)
    return found


def _canary(store: Store, number: int) -> str:
    """Add a member that is to be made, and return its id: once it is, the daemon has looked."""
    task: dict[str, Any] = {
        "combo_id": "canary",
        "template_id": "deliberate-v1",
        "llm_model_id": "m",
    }
    task |= {"replicate": number}
    gen_id = v1_id("draft", task)
    folder = store.path / "gens" / "draft" / gen_id
    folder.mkdir()
    metadata = {"stage": "draft", "gen_id": gen_id, **task}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    membership = store.path / "cohorts" / "canaries" / "membership.csv"
    membership.parent.mkdir(exist_ok=True)
    rows = membership.read_text() if number > 1 else "stage,gen_id\n"
    membership.write_text(f"{rows}draft,{gen_id}\n")
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        register(instance, "draft", [gen_id])
    return gen_id


def _is_made(store: Store, gen_id: str) -> bool:
    return (store.path / "gens" / "draft" / gen_id / "parsed.txt").exists()


@pytest.mark.long
def test_a_live_daemon_generates_nothing_through_it(store: Store, daemon: Daemon) -> None:
    """Before, between and after, it makes the canaries and asks for nothing else, not even to
    record what is there."""
    canaries: list[str] = []
    with daemon.running():
        for command in (["migrate", "--execute"], ["rollback"], None):
            gen_id = _canary(store, len(canaries) + 1)
            daemon.wait(lambda gen_id=gen_id: _is_made(store, gen_id))  # type: ignore[misc]
            canaries.append(gen_id)
            if command is not None:
                assert 0 == run(["store", *command])
    assert canaries == daemon.calls()
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        assert len(canaries) == instance.get_runs_count()
