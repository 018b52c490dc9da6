"""The real daemon makes an experiment: each member once, what fails not again, new cells alone."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from cohort_kit import make_root, write_table
from dagster_kit import write_templates
from genid_dagster_adapter.cli import run
from genid_dagster_adapter.generation import failures
from genid_dagster_adapter.store.layout import DataRoot

DEFINITIONS = """
import os
from genid_dagster_adapter.definitions import build_definitions

def generate(request):
    with open(os.environ["CALLS"], "a") as file:
        file.write(request.gen_id + "\\n")
    if request.gen_id == os.environ["FAILING"]:
        raise RuntimeError("no answer")
    return "text"

defs = build_definitions(generate=generate, automation="running", automation_interval=1)
"""
PATIENCE = 600  # looks, half a second apart


@contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """Run the daemon in a process group of its own, which is killed at the end."""
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-f", "defs.py"],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait(folder: Path, until: Callable[[], bool]) -> None:
    idle = threading.Event()
    for _ in range(PATIENCE):
        if until():
            return
        idle.wait(0.5)
    pytest.fail((folder / "daemon.log").read_text()[-4000:])


def finished(count: int) -> bool:
    """Say whether no run is under way and at least `count` partitions of each kind are recorded."""
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        active = [
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.NOT_STARTED,
        ]
        if instance.get_runs_count(dg.RunsFilter(statuses=active)):
            return False
        recorded = [
            len(instance.get_materialized_partitions(dg.AssetKey(f"{stage}_generation")))
            for stage in ("draft", "essay", "evaluation")
        ]
        return sum(recorded) >= count


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """Two drafts, two essays (one template, written by a model), two judgements."""
    found = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    header = ["template_id", "generator", "active"]
    write_table(found.path, "essay_templates.csv", [header, ["story-v1", "llm", "true"]])
    write_table(found.path, "evaluation_templates.csv", [header, ["novelty-v1", "llm", "true"]])
    models = [["id", "for_generation", "for_evaluation"], ["m", "true", "true"]]
    write_table(found.path, "llm_models.csv", models)
    write_templates(found)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nsensors: {use_threads: true, num_workers: 1}\n"
    )
    (tmp_path / "defs.py").write_text(DEFINITIONS)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("GENID_DATA_ROOT", str(found.path))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    return found


def build(root: DataRoot) -> None:
    assert run(["cohort", "build", "--cohort-id", "c", "--json"]) == 0


def test_the_daemon_makes_each_member_once(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing draft is tried once and takes its descendants along, the others are made; built
    again nothing is asked for; a new evaluation template costs its own cell alone."""
    build(root)
    drafts = [
        line.split(",")[1]
        for line in root.membership("c").read_text().splitlines()
        if line.startswith("draft,")
    ]
    monkeypatch.setenv("FAILING", drafts[0])
    with daemon(tmp_path):
        wait(tmp_path, lambda: finished(3))
        build(root)
        with (root.raw / "evaluation_templates.csv").open("a") as table:
            table.write("depth-v1,llm,true\n")
        write_templates(root)
        build(root)
        wait(tmp_path, lambda: finished(4))
    calls = Counter((tmp_path / "calls").read_text().split())
    assert set(calls.values()) == {1}
    assert len(calls) == 1 + 4
    assert failures.failed_ids(root, "draft") == {drafts[0]}
    made = {path.parent.name for path in root.gens.glob("*/*/parsed.txt")}
    assert made == set(calls) - {drafts[0]}
    metadata = json.loads((root.generation("draft", drafts[1]) / "metadata.json").read_text())
    assert metadata["origin_cohort_id"] == "c"
