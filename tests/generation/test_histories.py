"""Random histories of one small universe of tasks, with a ledger of calls that is kept outside.

Builds in every state of the rollout, runs, single calls of the library, migrations, rollbacks and
undos, each killed at a random change to the disk or not; hosts that write metadata again; answers
that fail. However they follow one another, no task is paid for twice and no text is lost.
"""

import contextlib
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cohort_kit import set_replicates
from genid_store import Store, StoreError
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.giving import take_back
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from genid_store.migration import run as migration
from hardening_kit import killed
from paid_kit import DRAFT, STATES, OutsideLedger, small_root, task_of, texts_of

#: At which change to the disk a step is killed; None: it is not.
KILLS = st.one_of(st.none(), st.integers(1, 40), st.integers(1, 300))
MIGRATIONS = (migration.migrate, migration.resume, migration.rollback, migration.finish)


class Histories(RuleBasedStateMachine):
    """One store; `allowed` counts the further calls that a task may have: one for each that a kill
    caught before its answer was on disk, one for each failure that was asked for again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="genid-histories-"))
        self.root = small_root(self.folder / "root")
        self.ledger = OutsideLedger(self.folder / "ledger")
        self.allowed: Counter[str] = Counter()
        self.caught: set[str] = set()  # texts that a kill kept from the disk

    def step(self, at: int | None, work: Callable[[], object]) -> None:
        """Do a step, or have it killed; a refusal is an answer."""

        def quietly() -> None:
            with contextlib.suppress(StoreError):
                work()

        if at is None:
            quietly()
            return
        before = len(self.ledger.calls())
        killed(quietly, self.root.path, at)
        for call in self.ledger.calls()[before:][-1:]:
            if call.text not in texts_of(self.root) and not self.failed(call.task):
                self.allowed[call.task] += 1
                self.caught.add(call.text)

    def failed(self, task: str) -> bool:
        """Return whether a failure of a task is on record."""
        records = self.root.own.glob("failures/*/*.json")
        return any(task_of(self.root, path.parent.name, path.stem) == task for path in records)

    def make(
        self, cohort: str, at: int | None = None, *, failing: bool = False, **asked: object
    ) -> None:
        answer = self.ledger.answering(self.root, failing=failing)
        asks = Asked(reuse=True, **asked)  # type: ignore[arg-type]
        if self.root.membership(cohort).exists():
            self.step(at, lambda: run_cohort(self.root, cohort, answer, asks, concurrency=1))

    # -- steps -------------------------------------------------------------------------------------
    @rule(cohort=st.sampled_from("ab"), state=st.sampled_from(sorted(STATES)), at=KILLS)
    def build(self, cohort: str, state: str, at: int | None) -> None:
        options = Options(rollout=STATES[state], cohort_id=cohort)
        self.step(at, lambda: build_cohort(self.root, options))

    @rule(
        cohort=st.sampled_from("ab"),
        limit=st.sampled_from([1, 3, None]),
        failing=st.booleans(),
        at=KILLS,
    )
    def run(self, cohort: str, limit: int | None, failing: bool, at: int | None) -> None:
        self.make(cohort, at, failing=failing, max_calls=limit)

    @rule(cohort=st.sampled_from("ab"))
    def retry(self, cohort: str) -> None:
        """What failed is retried, which is one more call for each."""
        calls = self.ledger.calls()
        texts = {"", *self.caught}  # what a kill caught is no text of its task
        made = {call.task for call in calls if call.text not in texts}
        failed = {call.task for call in calls} - made
        self.make(cohort, retry_failed=True)
        again = {call.task for call in self.ledger.calls()[len(calls) :]}
        self.allowed.update(again & failed)

    @rule(at=KILLS)
    def once(self, at: int | None) -> None:
        answer = self.ledger.answering(self.root)
        self.step(at, lambda: Store.open(self.root.path).once(DRAFT, answer))

    @rule()
    def rewrite(self) -> None:
        """A host writes metadata again without what it does not know."""
        for path in self.root.gens.glob("*/*/metadata.json"):
            metadata = json.loads(path.read_text())
            for name in ("adopted_from", "previous_gen_id", "previous_gen_ids"):
                metadata.pop(name, None)
            if path.parts[-3] == "evaluation":
                metadata.pop("replicate", None)
            path.write_text(json.dumps(metadata))

    @rule(replicates=st.integers(1, 2))
    def replicate(self, replicates: int) -> None:
        set_replicates(self.root.path, replicates, 1, 1)

    @rule(at=KILLS)
    def unreuse(self, at: int | None) -> None:
        self.step(at, lambda: take_back(self.root))

    @rule(at=KILLS, work=st.sampled_from(MIGRATIONS))
    def migrate(self, at: int | None, work: Callable[[DataRoot], object]) -> None:
        self.step(at, lambda: work(self.root))

    # -- what holds --------------------------------------------------------------------------------
    @invariant()
    def paid_once(self) -> None:
        paid = Counter(call.task for call in self.ledger.calls())
        assert {} == {one: count for one, count in paid.items() if count > 1 + self.allowed[one]}

    @invariant()
    def nothing_lost(self) -> None:
        answered = {call.text for call in self.ledger.calls()} - self.caught - {""}
        assert set() == answered - texts_of(self.root)

    def teardown(self) -> None:
        """Whatever came before, the store can be brought to an end: both cohorts are made."""
        try:
            for work in (migration.resume, migration.rollback):
                self.step(None, lambda: work(self.root))  # noqa: B023
            for cohort in "ab":
                last = Options(rollout=STATES["on"], cohort_id=cohort, drop=True)
                build_cohort(self.root, last)
                self.retry(cohort)
                answer = self.ledger.answering(self.root)
                done = run_cohort(self.root, cohort, answer, Asked(reuse=True))
                assert {} == done.workload.waiting
                assert all(one.complete for one in done.outcomes)
            self.paid_once()
            self.nothing_lost()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def test_no_history_pays_twice_or_loses_a_text(pytestconfig: pytest.Config) -> None:
    """2,000 histories in the long form."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=2_000 if pytestconfig.getoption("--long") else 20,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
