"""How far a build walks: each table read once, one plan, one refresh, one lock, no Dagster."""

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

import genid
import genid_store
from genid_store.cli import run
from genid_store.fs.layout import DataRoot

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "daydreaming" / "data"
OURS = tuple(os.path.dirname(str(one.__file__)) + os.sep for one in (genid, genid_store))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    for name in ("DAGSTER_HOME", "DD_COHORT", "DD_GEN_ID_SCHEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    shutil.copytree(EXAMPLE, tmp_path / "data")
    return DataRoot.open(tmp_path / "data")


def calls_of(arguments: list[str]) -> Counter[tuple[str, str]]:
    """Run a command; return how often each function of genid was entered in any thread, by file
    and name."""
    found: Counter[tuple[str, str]] = Counter()

    def watch(frame: FrameType, event: str, value: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and "<" not in code.co_name:
            found[code.co_filename, code.co_qualname] += 1

    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        status = run(arguments)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert status == 0
    return found


def test_a_first_build_reads_plans_refreshes_and_locks_once(root: DataRoot) -> None:
    """And enters at most 200 of genid's functions, what importing them takes aside."""
    shutil.copytree(EXAMPLE, root.path.with_name("other"))
    calls_of(["cohort", "build", "--data-root", str(root.path.with_name("other"))])
    found = calls_of(["cohort", "build", "--data-root", str(root.path), "--cohort-id", "c"])
    times = Counter[str]()
    for (_, name), count in found.items():
        times[name] += count
    names = ("read_config", "read_tables", "read_selection", "plan_cohort", "refresh", "_acquire")
    assert dict.fromkeys(names, 1) == {name: times[name] for name in names}
    assert len(list(root.raw.glob("*.csv"))) == times["read_csv"]
    assert len(found) <= 200, sorted(found)


def test_a_run_reads_plans_and_refreshes_once(root: DataRoot) -> None:
    """And enters at most 306 of genid's functions in all its threads, 22 generations and the
    answers of a host among them."""
    host = ["--generate", f"{EXAMPLE.parent / 'host.py'}:offline"]
    for folder in (root.path.with_name("other"), root.path):
        if folder != root.path:
            shutil.copytree(EXAMPLE, folder)
        arguments = ["--data-root", str(folder), "--cohort-id", "c"]
        calls_of(["cohort", "build", *arguments])
        found = calls_of(["cohort", "run", *arguments, *host])
    times = Counter[str]()
    for (_, name), count in found.items():
        times[name] += count
    names = (
        "read_config",
        "read_membership",
        "plan_reuse",
        "plan_work",
        "refresh",
        "provider_models",
    )
    assert dict.fromkeys(names, 1) == {name: times[name] for name in names}
    assert times["Executor.obtain"] == times["_Planning.add"] == 22
    assert 44 == times["Decider.decide"]  # once for the plan, once under the lease
    assert len(found) <= 306, sorted(found)


def test_no_command_of_a_cohort_needs_dagster(root: DataRoot) -> None:
    """`build`, `list`, `status`, `compare` and a dry run work where neither Dagster nor what it
    brings along can be imported."""
    script = (
        "import sys\n"
        "for name in ('dagster', 'genid_dagster_adapter', 'sqlalchemy', 'pydantic'):\n"
        "    sys.modules[name] = None\n"
        "from genid_store.cli import run\n"
        "for name in ('build', 'list', 'status', 'compare', 'build'):\n"
        "    more = [] if name == 'list' else ['--cohort-id', 'c']\n"
        f"    status = run(['cohort', name, '--data-root', {str(root.path)!r}, *more])\n"
        "    assert status == 0, name\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (0, "") == (ran.returncode, ran.stderr)
    assert "cohort c: cartesian, rollout all (v1)" in ran.stdout
