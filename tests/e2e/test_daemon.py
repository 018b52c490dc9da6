"""The real daemon makes an experiment: each member once, what fails not again, new cells alone."""

import json
import os
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from cohort_kit import make_root, write_table
from dagster_kit import Daemon, write_templates
from genid_store.cli import run
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures


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
def root(tmp_path: Path) -> DataRoot:
    """Two drafts, two essays (one template, written by a model), two judgements."""
    found = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    header = ["template_id", "generator", "active"]
    write_table(found.path, "essay_templates.csv", [header, ["story-v1", "llm", "true"]])
    write_table(found.path, "evaluation_templates.csv", [header, ["novelty-v1", "llm", "true"]])
    models = [["id", "for_generation", "for_evaluation"], ["m", "true", "true"]]
    write_table(found.path, "llm_models.csv", models)
    write_templates(found)
    return found


@pytest.fixture
def daemon(root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    return Daemon(tmp_path, root.path, monkeypatch)


def build(root: DataRoot) -> None:
    assert run(["cohort", "build", "--cohort-id", "c", "--json"]) == 0


def test_the_daemon_makes_each_member_once(
    root: DataRoot, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing draft is tried once and takes its descendants along, the others are made; built
    again nothing is asked for; a new evaluation template costs its own cell alone. Members that
    are missing at once share a run."""
    build(root)
    drafts = [
        line.split(",")[1]
        for line in root.membership("c").read_text().splitlines()
        if line.startswith("draft,")
    ]
    monkeypatch.setenv("FAILING", drafts[0])
    with daemon.running():
        daemon.wait(lambda: finished(3))
        build(root)
        with (root.raw / "evaluation_templates.csv").open("a") as table:
            table.write("depth-v1,llm,true\n")
        write_templates(root)
        build(root)
        daemon.wait(lambda: finished(4))
    calls = Counter(daemon.calls())
    assert set(calls.values()) == {1}
    assert len(calls) == 1 + 4
    assert failures.failed_ids(root, "draft") == {drafts[0]}
    made = {path.parent.name for path in root.gens.glob("*/*/parsed.txt")}
    assert made == set(calls) - {drafts[0]}
    metadata = json.loads((root.generation("draft", drafts[1]) / "metadata.json").read_text())
    assert metadata["origin_cohort_id"] == "c"
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        runs = [run for run in instance.get_runs() if run.job_name.startswith("__ASSET_JOB")]
    assert len(runs) == 1 + 1 + 1 + 1  # both drafts, the essay, its judgement, the new one
