"""The outlook on a migration: its counts are the plan's, and it holds no plan in memory."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from genid_store.fs.layout import DataRoot
from genid_store.migration.number import Numbered
from genid_store.migration.scan import decide
from genid_store.stages import PIPELINE
from hardening_kit import environment
from report_kit import report_on
from storekit import Store, make_store


def test_the_outlook_counts_what_a_plan_decides(mixed: Store) -> None:
    """By stage: what keeps its id, gets another one, or stays; an empty slot that becomes one with
    another generation is among those that move, because its members and children follow."""
    root, numbered = DataRoot.open(mixed.path), dict[str, Numbered]()
    report = report_on(mixed.path)
    for stage, found in zip(PIPELINE, report.stages, strict=True):
        numbered[stage] = decide(root, stage, numbered)
        decided = Counter(one.what for one in numbered[stage].decisions.values())
        assert decided["keeps"] == len(found.keeps)
        assert decided["moves"] + decided["merged"] == len(found.moves) > 0
        assert decided["stays"] == len(found.stays)
        reasons = Counter(one.reason for one in numbered[stage].decisions.values() if one.reason)
        del reasons["empty-slot"]
        shown = {one.reason: len(one.generations) for one in report.staying if one.stage == stage}
        assert reasons == shown


PEAK = """
import resource, sys
from genid_store.cli import run
run(["report", "--data-root", sys.argv[1], "--out", sys.argv[2]])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(folder: Path, generations: int) -> int:
    """Return the most kilobytes that a report on so many generations holds."""
    store = make_store(folder / f"{generations}", generations=generations, oddities=())
    # below a shell: a process's peak begins with that of the one that started it
    line = [sys.executable, "-c", PEAK, str(store.path), str(folder / "page.html")]
    done = subprocess.run(
        ["sh", "-c", '"$@"; true', "sh", *line],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("fewer", "more"), [(1_000, 9_000), pytest.param(10_000, 50_000, marks=pytest.mark.long)]
)
def test_a_report_holds_little_of_each_generation(tmp_path: Path, fewer: int, more: int) -> None:
    """Less than 1.2 kB of memory for each further one, so that 200,000 take less than 300 MB."""
    growth = (peak(tmp_path, more) - peak(tmp_path, fewer)) * 1024 / (more - fewer)
    assert growth < 1_200
