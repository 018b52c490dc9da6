"""A store is migrated and rolled back while a real daemon automates its generations."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genid_dagster_adapter.cli import run
from genid_dagster_adapter.partitions import register
from genid_dagster_adapter.stage_assets import stage_asset_name
from storekit import STAGES, Store, make_store, v1_id

DEFINITIONS = """
import os
from genid_dagster_adapter.definitions import build_definitions

def generate(request):
    with open(os.environ["CALLS"], "a") as file:
        file.write(request.gen_id + "\\n")
    return "generated"

defs = build_definitions(generate=generate, automation="running", automation_interval=1)
"""
PATIENCE = 600  # looks, half a second apart
CONFIG = """
telemetry: {enabled: false}
sensors: {use_threads: true, num_workers: 1}
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A small mixed store with nothing left to make, and an instance that knows all of it."""
    made = make_store(tmp_path / "store", generations=20, oddities=())
    for one in made.generations:
        path = made.path / one.folder / "parsed.txt"
        if not path.exists():
            path.write_text("filled\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text(CONFIG)
    (tmp_path / "defs.py").write_text(DEFINITIONS)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENID_DATA_ROOT", str(made.path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        for stage in STAGES:
            keys = [key for rows in made.cohorts.values() for of, key in rows if of == stage]
            for key in dict.fromkeys(keys):
                event = dg.AssetMaterialization(stage_asset_name(stage), partition=key)
                instance.report_runless_asset_event(event)
            register(instance, stage, keys)
    return made


@contextmanager
def _daemon(tmp_path: Path) -> Iterator[None]:
    """Run the daemon in a process group of its own, which is killed at the end."""
    with (tmp_path / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-f", "defs.py"],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait(until: Callable[[], bool], tmp_path: Path) -> None:
    idle = threading.Event()
    for _ in range(PATIENCE):
        if until():
            return
        idle.wait(0.5)
    pytest.fail((tmp_path / "daemon.log").read_text()[-4000:])


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
def test_a_live_daemon_generates_nothing_through_it(store: Store, tmp_path: Path) -> None:
    """Before, between and after, it makes the canaries and nothing else."""
    canaries: list[str] = []
    with _daemon(tmp_path):
        for command in (["migrate", "--execute"], ["rollback"], None):
            gen_id = _canary(store, len(canaries) + 1)
            _wait(lambda gen_id=gen_id: _is_made(store, gen_id), tmp_path)  # type: ignore[misc]
            canaries.append(gen_id)
            if command is not None:
                assert 0 == run(["store", *command])
    assert canaries == (tmp_path / "calls").read_text().split()
