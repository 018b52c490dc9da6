"""What the report says of v1 ids, and that it holds little of each generation in memory."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from genid_store.cli import run
from genid_store.fs.layout import DataRoot
from genid_store.migration.scan import decide
from genid_store.report.page import html
from genid_store.stages import PIPELINE
from hardening_kit import environment
from report_kit import report_on
from storekit import Store, make_store


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A store of two legacy cohorts of the same tasks, the second of which was given the texts of
    the first."""
    root = tmp_path / "data"
    assert 0 == run(["init", str(root)])
    (root / "genid.toml").unlink()
    for cohort in ("one", "two"):
        words = ["--data-root", str(root), "--cohort-id", cohort, "--reuse"]
        generate = ["--generate", f"{root / 'generator.py'}:offline"]
        assert 0 == run(["cohort", "run", *words, *generate])
    return root


@pytest.mark.parametrize("which", ["mixed", "shared"])
def test_the_counts_are_of_ids_and_not_of_what_a_migration_decides(
    request: pytest.FixtureRequest, which: str
) -> None:
    """By stage: whether an id is its v1 id, differs from it, or has none, for the reasons of a
    plan. Of texts that were reused a plan moves one and leaves the others."""
    found = request.getfixturevalue(which)
    path = found.path if isinstance(found, Store) else found
    numbered, _ = decide(DataRoot.open(path))
    report, stays = report_on(path), 0
    for stage, counts in zip(PIPELINE, report.stages, strict=True):
        decided = Counter(one.what for one in numbered[stage].values())
        reasons = Counter(one.reason for one in numbered[stage].values() if one.reason)
        left = {reason: reasons.pop(reason, 0) for reason in ("empty-slot", "adopted")}
        shown = {
            one.reason: len(one.generations) for one in report.without_v1 if one.stage == stage
        }
        assert reasons == shown
        assert sum(reasons.values()) == len(counts.without_v1)
        assert decided["keeps"] == len(counts.has_v1)
        stays += left["adopted"]
        differing = decided["moves"] + decided["merged"] + left["adopted"]
        assert differing == len(counts.other_v1) > 0
    assert (stays > 0) == (which == "shared")
    said = html(report) + str(report.facts)
    assert [] == re.findall(r"would (?:move|stay|get|leave)|[Nn]othing would", said)
    assert "<code>genid store migrate" in said


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
