"""Four processes ask for the same tasks at once, under ids of four kinds, and one of them is killed
at one instant after another: the ledger of calls and the store agree task by task."""

import os
import shutil
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cohort_kit import set_replicates
from genid_store import Store
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from hardening_kit import killed
from paid_kit import DRAFT, STATES, OutsideLedger, small_root, task_of, texts_of

COHORTS = ("on", "phase-1", "draft,essay")


def four_ways(root: DataRoot, ledger: OutsideLedger) -> list[Callable[[], object]]:
    """Return what the four processes do: three cohorts' runs, and a program without a cohort."""
    answer = ledger.answering(root)
    asked = Asked(reuse=True)
    runs = [
        lambda state=state: run_cohort(root, _name(state), answer, asked, concurrency=2)
        for state in COHORTS
    ]
    return [*runs, lambda: Store.open(root.path).once(DRAFT, answer)]


def _name(state: str) -> str:
    return state.replace(",", "-")


def forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # the parent fails with the status
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def test_a_kill_at_any_instant_costs_at_most_the_calls_in_flight(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """200 instants in the long form. A task has one call, and one more only where the killed
    process had the first in flight; every other answer is in the store."""
    kills, instants = 0, 200 if pytestconfig.getoption("--long") else 16
    template = small_root(tmp_path / "template")
    set_replicates(template.path, 2, 1, 1)
    for state in COHORTS:
        build_cohort(template, Options(rollout=STATES[state], cohort_id=_name(state)))
    for number in range(instants):
        root = DataRoot.open(shutil.copytree(template.path, tmp_path / "root"))
        ledger = OutsideLedger(tmp_path / "ledger")
        ways = four_ways(root, ledger)
        victim = ways.pop(number % len(ways))
        at = 1 + number * 250 // instants
        others = [forked(one) for one in ways]
        kills += killed(victim, root.path, at)
        assert [0, 0, 0] == [os.waitpid(one, 0)[1] for one in others]
        agree(root, ledger, set(others))
        for one in (*ways, victim):
            one()
        agree(root, ledger, set(others))
        for state in COHORTS:
            assert {"made"} == set(_states(root, _name(state)))
        assert 8 == len({call.task for call in ledger.calls()})
        shutil.rmtree(root.path)
        ledger.path.unlink()
    assert kills > instants // 2


def _states(root: DataRoot, cohort_id: str) -> list[str]:
    from genid_store.catalog.memberships import read_membership
    from genid_store.generation.status import state_of

    return [state_of(root, *member) for member in read_membership(root, cohort_id)]


def agree(root: DataRoot, ledger: OutsideLedger, lived: set[int]) -> None:
    """Assert that no task has two calls but one that the killed process had in flight, and that
    every answer of a process that lived is in the store, as its task's text alone."""
    texts, calls = texts_of(root), ledger.calls()
    lost = [call for call in calls if call.text not in texts]
    assert not {call.process for call in lost} & {*lived, os.getpid()}, lost
    assert len(lost) <= 2  # the calls that were in flight
    kept = Counter(call.task for call in calls if call.text in texts)
    assert {} == {task: count for task, count in kept.items() if count > 1}
    tasks = {call.text: call.task for call in calls}
    for path in root.gens.glob("*/*/raw.txt"):
        task = task_of(root, path.parts[-3], path.parts[-2])
        copied = "essay/parsed" in task and "evaluation" not in task
        assert copied or task == tasks[path.read_text()], path
