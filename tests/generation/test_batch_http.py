"""The example's batch object against a provider over HTTP, which bills: no task is in it twice."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_server import Provider, serving
from genid import Draft, gen_id
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation import batch as batching
from genid_store.generation import batches, failures
from genid_store.generation.load import load_host
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from genid_store.ids.rollout import Rollout
from genid_store.stages import Member

pytestmark = pytest.mark.network_free
EXAMPLE = Path(__file__).parents[2] / "examples" / "daydreaming"
#: What a process does to files and sockets; it is killed before one of these.
STEPS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "fcntl.lockf",
         "socket.connect"}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the example's cohort, of which nothing is made."""
    path = tmp_path_factory.mktemp("batch") / "data"
    shutil.copytree(EXAMPLE / "data", path)
    build_cohort(DataRoot.open(path), Options(rollout=Rollout.parse("on"), cohort_id="c"))
    return path


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    found = Provider(pace=5)
    with serving(found) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "key")
        monkeypatch.setenv("OPENAI_MAX_RETRIES", "0")
        monkeypatch.setenv("OPENAI_BATCH_REQUESTS", "7")
        monkeypatch.setattr(batching, "_FIRST", 0.001)
        monkeypatch.setattr(batching, "_LONGEST", 0.001)
        yield found


def fresh(built: Path, tmp_path: Path, number: int = 0) -> DataRoot:
    path = tmp_path / f"root-{number}"
    shutil.copytree(built, path)
    return DataRoot.open(path)


def run(root: DataRoot, **asked: bool) -> None:
    run_cohort(root, "c", load_host(f"{EXAMPLE / 'host.py'}:batch"), Asked(**asked))


def missing(root: DataRoot) -> list[Member]:
    members = read_membership(root, "c")
    return [one for one in members if not (root.generation(*one) / "parsed.txt").is_file()]


def test_a_cohort_goes_through_an_endpoint(built: Path, tmp_path: Path, provider: Provider) -> None:
    """Slow and out of order, split by the endpoint's limit; every text is parsed and published."""
    root = fresh(built, tmp_path)
    run(root)
    assert [] == missing(root)
    assert {1} == set(provider.billed.values())
    sizes = [one["request_counts"]["total"] for one in provider.batches.values()]
    assert 7 == max(sizes)
    parsed = {(root.generation(*one) / "parsed.txt").read_text()
              for one in read_membership(root, "c") if one.stage == "evaluation"}  # fmt: skip
    assert {"7"} == parsed


def test_failed_missing_and_repeated_rows(built: Path, tmp_path: Path, provider: Provider) -> None:
    """Each is a failure of its own, asked again when asked; nothing is written over another."""
    root = fresh(built, tmp_path)
    evaluations = [one for one in read_membership(root, "c") if one.stage == "evaluation"]
    lost, failed = evaluations[0].gen_id, evaluations[1].gen_id
    provider.missing.add(lost)
    provider.failing.add(failed)
    message = {"message": {"content": "not yours\nSCORE: 1\n"}}
    stray = {"response": {"status_code": 200, "body": {"choices": [message]}}}
    provider.twisted = lambda rows: rows.extend(
        [{"custom_id": "v_unknown", **stray}, {"custom_id": rows[0]["custom_id"], **stray}]
    )
    run(root)
    assert {lost, failed} == {one.gen_id for one in missing(root)}
    record = failures.read(root, "evaluation", failed)
    assert record is not None
    assert "no luck" in record.reason
    assert batches.kept_aside(root)
    provider.missing.clear()
    provider.failing.clear()
    run(root, retry_failed=True)
    assert [] == missing(root)
    assert {lost: 2, failed: 2} == {one: n for one, n in provider.billed.items() if n > 1}


@pytest.mark.parametrize("some", [3, pytest.param(None, marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", ["before 429", "before 500", "after 500", "after drop"])
def test_any_request_may_fail(
    built: Path, tmp_path: Path, provider: Provider, fault: str, some: int | None
) -> None:
    """Before or after it took effect: the run continues by itself, and nothing is billed twice."""
    run(fresh(built, tmp_path, 99))
    count = len(provider.requests)
    numbers = random.Random(fault).sample(range(count), some or count)
    for number in numbers:
        provider.__init__(pace=5)  # type: ignore[misc]
        provider.faults = {number: fault}
        root = fresh(built, tmp_path, number)
        run(root)
        assert [] == missing(root), number
        assert {1} == set(provider.billed.values()), number


# -- kills -----------------------------------------------------------------------------------------
def child(root: DataRoot, at: int) -> int:
    """Run the cohort in a process of its own, which ends at its nth step; return its id."""
    pid = os.fork()
    if pid:
        return pid
    count = 0

    def step(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if event in STEPS or writes:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    try:
        sys.addaudithook(step)
        run(root)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{error!r}\n".encode())
    os._exit(1)


def killing(provider: Provider, victim: list[int], at: int, after: bool) -> None:
    """Let the provider kill the process at a request, before or after that took effect."""

    def kill(number: int) -> None:
        if number == at and victim:
            os.kill(victim[0], signal.SIGKILL)

    setattr(provider, "after" if after else "before", kill)


@pytest.mark.parametrize("wanted", [25, pytest.param(500, marks=pytest.mark.long)])
def test_no_task_is_billed_twice_whenever_a_process_is_killed(
    built: Path, tmp_path: Path, provider: Provider, wanted: int
) -> None:
    """At steps of its own and at requests, on either side of their effect, several in a row."""
    import openai  # noqa: F401 - once, and not in each process

    chance = random.Random(16)
    kills = scenario = 0
    while kills < wanted:
        scenario += 1
        provider.__init__(pace=chance.choice((2, 7)), seed=scenario)  # type: ignore[misc]
        root = fresh(built, tmp_path, scenario)
        for attempt in range(9):
            victim: list[int] = []
            at = chance.randrange(1, 220) if attempt < 8 else 0
            provider.before = provider.after = lambda number: None
            if attempt < 8 and chance.random() < 0.4:
                request = len(provider.requests) + chance.randrange(12)
                killing(provider, victim, request, chance.random() < 0.5)
                at = 0
            victim.append(child(root, at))
            status = os.waitstatus_to_exitcode(os.waitpid(victim[0], 0)[1])
            victim.clear()
            provider.rest()
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
        assert [] == missing(root), scenario
        assert {1} == set(provider.billed.values()), scenario
        assert [] == batches.open_batches(root)
        assert [] == batches.kept_aside(root)
        shutil.rmtree(root.path)


#: Runs a command and prints its peak in KiB. A process's own peak begins with that of the one that
#: forked it, which should be small.
_MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.parametrize("members", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_ten_thousand_members_take_two_hundred_megabytes(
    built: Path, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    """At most, in the process that submits and collects them to the end."""
    monkeypatch.setenv("OPENAI_BATCH_REQUESTS", "50000")
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    provider.pace = members * 2 // 5
    root = fresh(built, tmp_path)
    first = next(one for one in read_membership(root, "c") if one.stage == "draft")
    model = json.loads((root.generation(*first) / "metadata.json").read_text())
    fields = {name: model[name] for name in ("combo_id", "template_id", "llm_model_id")}
    lines = ["stage,gen_id"]
    for number in range(1, members + 1):
        name = gen_id(Draft(**fields, replicate=number))
        lines.append(f"draft,{name}")
        folder = root.generation("draft", name)
        folder.mkdir(exist_ok=True)
        metadata = {**model, "gen_id": name, "replicate": number}
        (folder / "metadata.json").write_text(json.dumps(metadata))
    root.membership("c").write_text("\n".join(lines) + "\n")
    arguments = ["--data-root", str(root.path), "--cohort-id", "c"]
    host = f"{EXAMPLE / 'host.py'}:batch"
    command = [sys.executable, "-m", "genid_store", "cohort", "run", *arguments, "--generate", host]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command], capture_output=True, text=True, check=True
    )
    assert [] == missing(root)
    assert {1} == set(provider.billed.values())
    assert members == len(provider.billed)
    assert 1 == len(provider.batches)
    assert int(done.stderr.splitlines()[-1]) < 200 * 1024
