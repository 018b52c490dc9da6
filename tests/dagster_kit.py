"""What the tests of generating share: generations laid by hand, a generator that counts."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from cohort_kit import ON, make_root, write_table
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Request
from genid_store.ids.rollout import Rollout

PARENT = {"essay": "draft", "evaluation": "essay"}


def lay(root: Path, stage: str, gen_id: str, **fields: object) -> DataRoot:
    """Write one generation's metadata and its template's text; return the data root.

    The number in the id is the replicate's, so that two ids are two tasks.
    """
    digits = "".join(filter(str.isdigit, gen_id))[:9]
    data_root = DataRoot(root)
    metadata = {
        "stage": stage,
        "gen_id": gen_id,
        "origin_cohort_id": "c",
        "mode": "llm",
        "template_id": f"{stage}-t",
        "combo_id": "combo_v1_0123456789ab",
        "llm_model_id": "m",
        "replicate": int(digits or 0) + 1,
        **fields,
    }
    folder = data_root.generation(stage, gen_id)
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    template = data_root.template(stage, str(metadata["template_id"]))
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text(f"write a {stage}")
    return data_root


def write(root: Path, stage: str, gen_id: str, name: str, text: str) -> None:
    """Put one file into a generation's folder."""
    (DataRoot(root).generation(stage, gen_id) / name).write_text(text)


def read(root: Path, stage: str, gen_id: str, name: str) -> str:
    """Return one file of a generation."""
    return (DataRoot(root).generation(stage, gen_id) / name).read_text()


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Counting:
    """A generator that counts its calls by id; an evaluation's text holds a score.

    Ids in `failing` raise; `texts` gives other answers.
    """

    def __init__(self, *failing: str) -> None:
        self.calls: list[str] = []
        self.failing = set(failing)

    def __call__(self, request: Request) -> str:
        self.calls.append(request.gen_id)
        if request.gen_id in self.failing:
            raise RuntimeError(f"no answer for {request.gen_id}")
        return f"{request.stage} {request.gen_id}\n"


def write_templates(root: DataRoot) -> None:
    """Write a text for every template that the tables name."""
    for stage in ("draft", "essay", "evaluation"):
        with (root.raw / f"{stage}_templates.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                path = root.template(stage, row["template_id"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"template {row['template_id']}\n", encoding="utf-8")


def small_cohort(path: Path, rollout: Rollout = ON) -> DataRoot:
    """Build the cohort `c`: 2 drafts, 4 essays (2 of them copies), 4 evaluations."""
    found = make_root(path, combos=False, replicates=(1, 1, 1))
    models = [["id", "for_generation", "for_evaluation"], ["m", "true", "true"]]
    write_table(found.path, "llm_models.csv", models)
    judgements = [["template_id", "generator", "active"], ["novelty-v1", "llm", "true"]]
    write_table(found.path, "evaluation_templates.csv", judgements)
    write_templates(found)
    build_cohort(found, Options(rollout=rollout, cohort_id="c"))
    return found


def new_home(path: Path) -> Path:
    """Make a Dagster home that sends nothing anywhere; return it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    return path


def materialize_range(
    definitions: dg.Definitions,
    key: dg.AssetKey,
    instance: dg.DagsterInstance,
    *ends: str,
    **config: object,
) -> bool:
    """Materialize the partitions from the first end to the last, in the order of their
    registration, in one run with the given config; return whether all succeeded."""
    tags = {
        "dagster/asset_partition_range_start": ends[0],
        "dagster/asset_partition_range_end": ends[-1],
    }
    asset = definitions.resolve_assets_def(key)
    return dg.materialize(
        [asset],
        instance=instance,
        run_config={**QUIET, "ops": {asset.op.name: {"config": config}}},
        tags=tags,
        raise_on_error=False,
    ).success


#: Definitions for a daemon: each call is noted in the file CALLS, the id in FAILING raises.
_AUTOMATED = """
import os
import dagster as dg
from genid_dagster_adapter.definitions import build_definitions

def generate(request):
    with open(os.environ["CALLS"], "a") as file:
        file.write(request.gen_id + "\\n")
    if request.gen_id == os.environ.get("FAILING"):
        raise RuntimeError("no answer")
    return "generated"

defs = build_definitions(
    generate=generate,
    automation="running",
    automation_interval=1,
    executor=dg.in_process_executor,
)
"""
_PATIENCE = 600  # looks at what is waited for, half a second apart


class Daemon:
    """Dagster's real daemon over a data root whose missing members it makes, in `folder`."""

    def __init__(self, folder: Path, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        home = new_home(folder / "home")
        with (home / "dagster.yaml").open("a") as config:
            config.write("sensors: {use_threads: true, num_workers: 1}\n")
        (folder / "defs.py").write_text(_AUTOMATED)
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("GENID_DATA_ROOT", str(root))
        patch.setenv("CALLS", str(self.calls_file))

    def calls(self) -> list[str]:
        """Return the ids that the generator was called for, in order."""
        return self.calls_file.read_text().split() if self.calls_file.exists() else []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it in a process group of its own, which is killed at the end."""
        with (self.folder / "daemon.log").open("wb") as log:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-f", "defs.py"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait(self, until: Callable[[], bool]) -> None:
        """Return when `until` says so; fail with the daemon's log when that takes too long."""
        idle = threading.Event()
        for _ in range(_PATIENCE):
            if until():
                return
            idle.wait(0.5)
        pytest.fail((self.folder / "daemon.log").read_text()[-4000:])


def requested(definitions: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """Return the keys of each stage that the automation conditions ask for now."""
    found = dg.evaluate_automation_conditions(definitions, instance)
    return {
        stage: {
            str(key) for key in found.get_requested_partitions(dg.AssetKey(f"{stage}_generation"))
        }
        for stage in ("draft", "essay", "evaluation")
    }
