"""Bringing an instance level with the disk: on SQLite and on PostgreSQL, killed, and with the
instance down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import postgres_kit
from cohort_kit import OFF
from dagster_kit import new_home, small_cohort
from genid_dagster_adapter import sync as syncing
from genid_dagster_adapter.events import report
from genid_dagster_adapter.instance import embedded_home, open_instance
from genid_dagster_adapter.partitions import registered
from genid_dagster_adapter.sync import sync
from genid_store.cli import run
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot

KEY = dg.AssetKey("draft_generation")
needs_postgres = pytest.mark.skipif(
    postgres_kit.missing() is not None, reason=str(postgres_kit.missing())
)


@pytest.fixture
def server() -> Iterator[postgres_kit.Postgres]:
    """One that a test may stop, and whose databases are empty."""
    with postgres_kit.postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The home of an instance on disk, and of one on PostgreSQL."""
    if request.param == "sqlite":
        return new_home(tmp_path / "home")
    server: postgres_kit.Postgres = request.getfixturevalue("server")
    return server.home(tmp_path / "home")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """40 drafts that are made, of one cohort."""
    root = DataRoot(tmp_path / "root")
    keys = [f"d_{number:02}" for number in range(40)]
    root.membership("c").parent.mkdir(parents=True)
    root.membership("c").write_text("".join(["stage,gen_id\n", *(f"draft,{k}\n" for k in keys)]))
    for key in keys:
        folder = root.generation("draft", key)
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text(json.dumps({"stage": "draft", "gen_id": key}))
        (folder / "parsed.txt").write_text(f"text of {key}\n")
    return root


def _event(key: dg.AssetKey, partition: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        key,
        partition=partition,
        description="told",
        metadata={"path": dg.MetadataValue.path(f"/{partition}"), "n": 3},
        tags={"dagster/data_version": f"version-{partition}", "dagster/code_version": "1"},
    )


def _told(instance: dg.DagsterInstance, key: dg.AssetKey) -> list[Any]:
    """Return all that an instance says of an asset, but for rows' numbers and the time."""
    records = instance.fetch_materializations(key, limit=100, ascending=True).records
    latest = instance.get_latest_materialization_event(key)
    assert latest is not None
    assert latest.dagster_event is not None
    events = [(one.partition_key, one.run_id, one.asset_materialization) for one in records]
    return [
        instance.get_materialized_partitions(key),
        latest.dagster_event.partition,
        [(partition, run, event and (event.metadata, event.tags, event.description))
         for partition, run, event in events],
        sorted(tuple(sorted(tags.items())) for tags in instance.get_event_tags_for_asset(key)),
        [instance.get_event_tags_for_asset(key, {"dagster/data_version": f"version-{name}"})
         for name in "abc"],
    ]  # fmt: skip


def test_a_batch_leaves_what_dagsters_own_call_leaves(home: Path) -> None:
    """Events, their tags, the latest one, the partitions; two assets in one batch are two."""
    one, other = dg.AssetKey(["x", "one"]), dg.AssetKey(["x", "other"])
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in "abc":
            instance.report_runless_asset_event(_event(one, name))
        expected = _told(instance, one)
        third = dg.AssetKey("third")
        report(instance, [_event(key, name) for key in (other, third) for name in "abc"])
        assert expected == _told(instance, other)
        assert expected == _told(instance, third)
        report(instance, [])


_SYNCING = """
import os
import sys
from pathlib import Path
import dagster as dg
from genid_dagster_adapter import sync as syncing
from genid_store.fs.layout import DataRoot

syncing._PAGE = 3
def progress(done, total):
    print(done, flush=True)
    sys.stdin.readline()
for _ in "123":  # what is imported is so for all
    if (child := os.fork()) == 0:
        print("process", os.getpid(), flush=True)
        with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
            syncing.sync(instance, DataRoot(Path(sys.argv[2])), progress=progress)
        os._exit(0)
    os.waitpid(child, 0)
print("process 0", flush=True)
"""


def test_a_sync_that_is_killed_is_completed_by_the_next_one(home: Path, root: DataRoot) -> None:
    """SIGKILL after some batches, three times; no key was registered without its event, none is
    missing in the end, and nothing was reported twice."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _SYNCING, str(home), str(root.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    lines = process.stdout

    def begun() -> int:
        """Return the next process, once the one before it has ended."""
        return next(int(line.split()[1]) for line in lines if line.startswith("process"))

    with process, dg.DagsterInstance.from_config(str(home)) as instance:
        child = begun()
        for batches in (1, 2, 4):
            for _ in range(batches):
                assert lines.readline()
                process.stdin.write("\n")
                process.stdin.flush()
            os.kill(child, signal.SIGKILL)
            child = begun()
            made = instance.get_materialized_partitions(KEY)
            assert len(made) >= 3 * batches
            assert set(registered(instance, "draft")) <= made
        sync(instance, root)
        assert 40 == len(registered(instance, "draft"))
        events = instance.fetch_materializations(KEY, limit=100).records
        assert 40 == len(events) == len(instance.get_materialized_partitions(KEY))
        again = sync(instance, root)
        assert (0, 0) == (sum(again.events.values()), sum(again.registered.values()))


@needs_postgres
def test_a_database_that_goes_down_is_one_error_and_made_up_for_later(
    server: postgres_kit.Postgres, root: DataRoot, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """In the middle of a sync, and before each command: the store is right, each says one thing,
    without a traceback, and a later sync puts the records right."""
    monkeypatch.setenv("DAGSTER_HOME", str(server.home(tmp_path / "home")))
    monkeypatch.setattr(syncing, "_PAGE", 10)
    # Dagster tries to connect several times, and waits for seconds in between.
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0)
    monkeypatch.chdir(tmp_path)
    host = small_cohort(tmp_path / "host", rollout=OFF)
    (tmp_path / "host.py").write_text("def make(request):\n    return request.gen_id\n")

    def genid(*words: str, status: int = 0, says: str = "records were not updated") -> None:
        capfd.readouterr()
        assert status == run([*words, "--data-root", str(host.path)])
        shown = capfd.readouterr()
        assert 1 == (shown.out + shown.err).count(says), shown
        assert "Traceback" not in shown.out + shown.err
        assert len(shown.err.splitlines()) <= 4, shown.err

    with pytest.raises(StoreError, match="does not answer") as caught, open_instance(root) as one:
        sync(one, root, progress=lambda done, total: server.stop())
    assert 1 == len(caught.value.problems)
    genid("cohort", "build", "--cohort-id", "d")
    genid("cohort", "run", "--cohort-id", "c", "--generate", "host.py:make")
    genid("store", "migrate", "--execute")
    genid("store", "rollback")
    genid("report", says="report.html")
    assert "does not answer" in (tmp_path / "report.html").read_text()
    genid("dagster", "sync", status=1, says="does not answer")
    assert host.membership("d").is_file()
    made = [one.name for one in host.stage("evaluation").iterdir() if (one / "parsed.txt").exists()]
    assert made
    server.start()
    with open_instance(root) as one:
        sync(one, root)
        assert 40 == len(one.get_materialized_partitions(KEY))
    assert 0 == run(["dagster", "sync", "--data-root", str(host.path)])
    with open_instance(host) as one:
        key = dg.AssetKey("evaluation_generation")
        assert one.get_materialized_partitions(key) == set(made) <= {*registered(one, "evaluation")}


@needs_postgres
@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_driver_of_postgresql_stores_the_events_of_a_run_or_none(
    server: postgres_kit.Postgres, root: DataRoot, tmp_path: Path, driver: str
) -> None:
    """psycopg2 does; with psycopg 3 SQLAlchemy takes dagster-postgres' statement for another one,
    as docs/dagster.md says. Where that fails one day the page can say better things."""
    pytest.importorskip(driver)

    @dg.asset
    def one() -> None:
        """Anything."""

    with dg.DagsterInstance.from_config(str(server.home(tmp_path / "home", driver))) as instance:
        if driver == "psycopg2":
            sync(instance, root)
            assert dg.materialize([one], instance=instance).success
        else:
            with pytest.raises(Exception, match="NOTIFY run_events"):
                dg.materialize([one], instance=instance)


_OPENING = """
import os
import sys
from pathlib import Path
from genid_dagster_adapter.instance import open_instance
from genid_store.fs.layout import DataRoot
for path in sys.argv[1:]:  # what is imported is so for all
    if (child := os.fork()) == 0:
        print(os.getpid(), flush=True)
        with open_instance(DataRoot(Path(path))) as instance:
            pass
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def test_a_kill_while_the_embedded_instance_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At several instants of its making; the next opening makes it, and it works."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    roots = {delay: DataRoot(tmp_path / f"after-{delay}") for delay in (0.05, 0.2, 0.6)}
    for root in roots.values():
        root.path.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _OPENING, *(one.path for one in roots.values())],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None

    def kill(child: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it was ready before
            os.kill(child, signal.SIGKILL)

    for delay, root in roots.items():
        child = int(process.stdout.readline())
        timer = threading.Timer(delay, kill, (child,))
        timer.start()
        status = int(process.stdout.readline())
        timer.cancel()
        made = embedded_home(root).exists()
        with open_instance(root) as instance:
            instance.add_dynamic_partitions("draft_gens", ["a"])
            assert ["a"] == instance.get_dynamic_partitions("draft_gens")
        assert made or os.WTERMSIG(status) == signal.SIGKILL
    process.wait()


_AT_ONCE = """
import os
import sys
from pathlib import Path
from genid_dagster_adapter.instance import open_instance
from genid_store.fs.layout import DataRoot
import dagster._core.storage.sqlite_storage  # what is imported is so for all
begun, begin = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        os.close(begin)
        os.read(begun, 1)  # until the last of them exists
        with open_instance(DataRoot(Path(sys.argv[1]))) as instance:
            os._exit(len(instance.get_dynamic_partitions("draft_gens")))
os.close(begin)
print([os.wait()[1] for _ in range(4)])
"""


def test_processes_that_make_an_instance_at_once_all_open_it(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The databases of a new DAGSTER_HOME, where Dagster lets all but one of them fail."""
    monkeypatch.setenv("DAGSTER_HOME", str(new_home(tmp_path / "home")))
    words = [sys.executable, "-W", "ignore", "-c", _AT_ONCE, str(root.path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "[0, 0, 0, 0]" == ran.stdout.strip(), ran.stderr


_MAKING = """
import os, sys
import dagster as dg
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import COHORTS, register
from genid_store.ids.rollout import Rollout

def generate(request):
    calls = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, (request.gen_id + "\\n").encode())
    os.close(calls)
    return f"{request.stage} {request.gen_id}\\n"

on = Rollout.parse("on")
definitions = build_definitions(data_root=sys.argv[1], rollout=on, generate=generate)
with dg.DagsterInstance.get() as instance:
    register(instance, COHORTS, ["c"])
    print("ready", flush=True)
    sys.stdin.readline()
    job = definitions.resolve_job_def("genid_make_missing")
    done = job.execute_in_process(partition_key="c", instance=instance, raise_on_error=False)
sys.exit(0 if done.success else 1)
"""


def _no_namespaces() -> str | None:
    """Return why no process can be given a network of its own here, or None."""
    try:
        tried = subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True)
    except FileNotFoundError:
        return "no unshare here"
    return None if tried.returncode == 0 else f"unshare -n: {tried.stderr.decode().strip()}"


@needs_postgres
@pytest.mark.skipif(_no_namespaces() is not None, reason=str(_no_namespaces()))
def test_two_processes_without_a_network_between_them_make_a_cohort_together(
    server: postgres_kit.Postgres, tmp_path: Path
) -> None:
    """Each in a network namespace of its own, over one file system and one database (reached by a
    socket of the file system): both runs succeed, and nothing is paid for twice."""
    root = small_cohort(tmp_path / "root")
    home = server.home_by_socket(tmp_path / "home")
    calls = tmp_path / "calls"
    processes = [
        subprocess.Popen(
            ["unshare", "-n", sys.executable, "-W", "ignore", "-c", _MAKING, root.path, calls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DAGSTER_HOME": str(home)},
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-4000:]
    paid = calls.read_text().split()
    assert sorted(set(paid)) == sorted(paid)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for stage in ("draft", "essay", "evaluation"):
            made = instance.get_materialized_partitions(dg.AssetKey(f"{stage}_generation"))
            assert made
            assert set(registered(instance, stage)) == made
