"""A run that is interrupted or killed: what was paid for is kept, the next run makes the rest."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cohort_kit import make_root, write_table
from dagster_kit import write_templates
from genid_store.fs.layout import DataRoot

#: Each call notes that it began, then waits for a file to appear before it answers.
HOST = """
import os, time
FOLDER = os.environ["HOST_FOLDER"]

def make(request):
    with open(os.path.join(FOLDER, "calls"), "a") as calls:
        calls.write(request.gen_id + "\\n")
    while not os.path.exists(os.path.join(FOLDER, "go")):
        time.sleep(0.02)
    return "text of " + request.gen_id
"""
MEMBERS = 4 + 8 + 8  # drafts, essays (half of them copies), evaluations
CALLS = 4 + 4 + 8


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    found = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    judgements = [["template_id", "generator", "active"], ["novelty-v1", "llm", "true"]]
    write_table(found.path, "evaluation_templates.csv", judgements)
    write_templates(found)
    (tmp_path / "host.py").write_text(HOST)
    return found


def start(root: DataRoot, *options: str) -> subprocess.Popen[str]:
    folder = root.path.parent
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("DD_", "DAGSTER", "GENID"))},
        "HOST_FOLDER": str(folder),
        "DD_DETERMINISTIC_GEN_IDS": "on",
    }
    command = ["cohort", "run", "--data-root", str(root.path), "--cohort-id", "c"]
    generator = ["--generate", f"{folder / 'host.py'}:make", "--concurrency", "2", *options]
    return subprocess.Popen(
        [sys.executable, "-m", "genid_store", *command, *generator],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def calls(root: DataRoot) -> list[str]:
    path = root.path.parent / "calls"
    return path.read_text().split() if path.exists() else []


def wait_for_calls(process: subprocess.Popen[str], root: DataRoot, count: int) -> None:
    """Return when `count` calls have begun; fail when the process ends before, or is too slow."""
    for _ in range(3000):
        if len(calls(root)) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("the calls did not begin")


def made(root: DataRoot) -> set[str]:
    return {path.parent.name for path in root.gens.glob("*/*/parsed.txt")}


@pytest.mark.parametrize("stopping", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_lets_the_calls_in_flight_finish(
    root: DataRoot, stopping: signal.Signals
) -> None:
    """By Ctrl-C, or by a service manager: exit 130; both calls in flight are recorded, no other
    began; the next run makes the rest."""
    process = start(root)
    wait_for_calls(process, root, 2)
    os.kill(process.pid, stopping)
    (root.path.parent / "go").touch()
    out, errors = process.communicate(timeout=180)
    assert process.returncode == 130, out + errors
    assert "interrupted" in out
    assert "Traceback" not in errors
    begun = calls(root)
    assert set(begun) == made(root)
    assert len(begun) < CALLS
    again = start(root)
    out, errors = again.communicate(timeout=180)
    assert again.returncode == 0, out + errors
    assert (len(calls(root)), len(set(calls(root))), len(made(root))) == (CALLS, CALLS, MEMBERS)


def test_the_third_interrupt_ends_a_run_at_once(root: DataRoot) -> None:
    """The second one leaves the run, and says that Python waits for the calls in flight; the third
    waits no longer, and shows no traceback."""
    process = start(root)
    wait_for_calls(process, root, 2)
    assert process.stderr is not None
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reading.start()
    for _ in range(60):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        if any("Ctrl-C again" in line for line in said):
            break
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert -signal.SIGINT == process.wait(timeout=60)
    reading.join()
    assert "Traceback" not in "".join(said)
    assert set() == made(root)


def test_a_killed_run_costs_only_the_calls_in_flight(root: DataRoot) -> None:
    """SIGKILL while two calls run: the rest was recorded as it finished, and is not made again."""
    first = start(root, "--max-generations", "2")
    (root.path.parent / "go").touch()
    assert first.wait(timeout=180) == 0, first.communicate()
    (root.path.parent / "go").unlink()
    kept = calls(root)
    second = start(root)
    wait_for_calls(second, root, 4)
    os.killpg(second.pid, signal.SIGKILL)
    second.communicate(timeout=60)
    assert made(root) >= set(kept)
    lost = set(calls(root)) - made(root)
    (root.path.parent / "go").touch()
    third = start(root)
    out, errors = third.communicate(timeout=180)
    assert third.returncode == 0, out + errors
    assert len(calls(root)) == CALLS + len(lost)
    assert len(lost) == 2
    assert len(made(root)) == MEMBERS


def test_two_runs_at_once_pay_once(root: DataRoot) -> None:
    """Both make the same cohort; each generation is called for by one of them alone."""
    (root.path.parent / "go").touch()
    both = [start(root), start(root)]
    for process in both:
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, out + errors
    assert (len(calls(root)), len(set(calls(root))), len(made(root))) == (CALLS, CALLS, MEMBERS)


def test_a_run_that_ignores_interrupts_ends_by_itself(root: DataRoot, tmp_path: Path) -> None:
    """As under `nohup`, or in the background of a script: Dagster's helpers end all the same."""
    (tmp_path / "go").touch()
    command = [sys.executable, "-m", "genid_store", "cohort", "run", "--json"]
    command += ["--data-root", str(root.path), "--cohort-id", "c"]
    command += ["--generate", f"{tmp_path / 'host.py'}:make"]
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
        env={**os.environ, "HOST_FOLDER": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert CALLS == len((tmp_path / "calls").read_text().split())
