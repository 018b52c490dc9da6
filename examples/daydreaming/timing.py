"""Measure what Dagster costs around the example's calls, which themselves cost nothing here.

    python examples/daydreaming/timing.py [--keys N]

Prints the figures of docs/dagster.md: a run in this process, a run that the daemon launches, and
one look of the sensor's conditions at N keys of which nine in ten are made. All on a copy of
`data/` and an instance of its own, both in a temporary folder.
"""

import argparse
import contextlib
import io
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import register, registered
from genid_store.catalog.memberships import dump_membership
from genid_store.cli import run
from genid_store.cohort.planning.records import Row
from genid_store.cohort.seeding import members_of
from genid_store.fs.layout import DataRoot
from genid_store.generation.load import load_generator
from genid_store.ids.rollout import Rollout

HERE = Path(__file__).resolve().parent
CONFIG = "telemetry: {enabled: false}\nsensors: {use_threads: true, num_workers: 1}\n"
STAGES = ("draft", "essay", "evaluation")
SENSOR = "dagster/sensor_name"  # the tag of a run that the sensor asked for
PATIENCE = 300.0  # seconds that the daemon may take


def prepare(folder: Path) -> Path:
    """Make the copy and the instance in `folder`, build the cohort; return the copy."""
    root = folder / "data"
    shutil.copytree(HERE / "data", root)
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "dagster.yaml").write_text(CONFIG)
    os.environ |= {"GENID_DATA_ROOT": str(root), "DAGSTER_HOME": str(folder / "home")}
    os.environ["DD_DETERMINISTIC_GEN_IDS"] = "on"
    with contextlib.redirect_stdout(io.StringIO()):
        status = run(["cohort", "build", "--cohort-id", "timed"])
    if status:
        sys.exit("the cohort could not be built")
    return root


def in_this_process(folder: Path) -> tuple[float, float]:
    """Return the seconds of a run of one partition, and of each further one in it."""
    root = prepare(folder)
    definitions = build_definitions(
        data_root=root, generate=load_generator(f"{HERE / 'host.py'}:offline")
    )
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        keys = {stage: registered(instance, stage) for stage in STAGES}
        for stage in ("draft", "essay"):
            materialize_range(definitions, stage, instance, keys[stage][0], keys[stage][-1])

        def seconds(first: int, last: int) -> float:
            found = keys["evaluation"]
            began = time.perf_counter()
            materialize_range(definitions, "evaluation", instance, found[first], found[last])
            return time.perf_counter() - began

        one = statistics.median(seconds(at, at) for at in range(3))
        rest = seconds(3, len(keys["evaluation"]) - 1)
    return one, (rest - one) / (len(keys["evaluation"]) - 4)


def materialize_range(
    definitions: dg.Definitions, stage: str, instance: dg.DagsterInstance, first: str, last: str
) -> None:
    """Materialize the partitions from `first` to `last` in one run."""
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    asset = definitions.resolve_assets_def(f"{stage}_generation")
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    dg.materialize([asset], instance=instance, run_config=quiet, tags=tags)


def by_the_daemon(folder: Path) -> tuple[int, float, float, float]:
    """Return how many runs the daemon took for the cohort, the median seconds from the request of
    one to its start and to its end, and the seconds from the daemon's own start to the last end."""
    prepare(folder)
    with (
        dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance,
        daemon(folder),
    ):
        began = time.time()
        while time.time() < began + PATIENCE and not finished(instance):
            time.sleep(0.5)
        records = [one for one in instance.get_run_records() if one.dagster_run.tags.get(SENSOR)]
    waits = [one.start_time - one.create_timestamp.timestamp() for one in records if one.start_time]
    totals = [one.end_time - one.create_timestamp.timestamp() for one in records if one.end_time]
    last = max(one.end_time or 0.0 for one in records)
    return len(records), statistics.median(waits), statistics.median(totals), last - began


def finished(instance: dg.DagsterInstance) -> bool:
    """Say whether every partition of the stages is materialized, and no run under way."""
    status = dg.DagsterRunStatus
    busy = [status.QUEUED, status.NOT_STARTED, status.STARTING, status.STARTED]
    if instance.get_runs_count(dg.RunsFilter(statuses=busy)):
        return False
    return all(
        set(registered(instance, stage))
        <= instance.get_materialized_partitions(dg.AssetKey(f"{stage}_generation"))
        for stage in STAGES
    )


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[None]:
    """Run the daemon over the example's definitions; it is killed at the end."""
    program = Path(sys.executable).with_name("dagster-daemon")
    command = [str(program), "run", "-f", str(HERE / "definitions.py")]
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def conditions(folder: Path, count: int) -> float:
    """Return the seconds of one look at `count` registered drafts, nine in ten of them made."""
    root = DataRoot(folder / "data")
    keys = [f"key-{number}" for number in range(count)]
    rows = [Row("draft", key, "many", None, "combo", "t", "m", 1, "llm") for key in keys]
    root.membership("many").parent.mkdir(parents=True)
    root.membership("many").write_bytes(dump_membership(members_of(rows)))
    for at, key in enumerate(keys):
        root.generation("draft", key).mkdir(parents=True)
        (root.generation("draft", key) / "metadata.json").write_text("{}")
        if at % 10:
            (root.generation("draft", key) / "parsed.txt").write_text("made")
    definitions = build_definitions(
        data_root=root.path, generate=lambda request: "text", rollout=Rollout.OFF
    )
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, "draft", keys)
        for at, key in enumerate(keys):
            if at % 10:
                event = dg.AssetMaterialization("draft_generation", partition=key)
                instance.report_runless_asset_event(event)
        dg.evaluate_automation_conditions(definitions, instance)  # fills Dagster's cache
        began = time.perf_counter()
        asked = dg.evaluate_automation_conditions(definitions, instance).total_requested
        seconds = time.perf_counter() - began
    if asked != -(-count // 10):
        sys.exit(f"{asked} keys were asked for")
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=10_000)
    count = parser.parse_args().keys
    with tempfile.TemporaryDirectory(prefix="genid-timing-") as folder:
        one, each = in_this_process(Path(folder, "process"))
        print(f"a run in this process: {one:.2f} s, {each * 1000:.0f} ms each further partition")
        runs, start, end, whole = by_the_daemon(Path(folder, "daemon"))
        print(f"{runs} runs by the daemon: {start:.1f} s from request to start, {end:.1f} s to end")
        print(f"the cohort by the daemon, its own start included: {whole:.0f} s")
        look = conditions(Path(folder, "conditions"), count)
        print(f"one look at {count} keys, 9 in 10 made: {look:.2f} s")


if __name__ == "__main__":
    main()
