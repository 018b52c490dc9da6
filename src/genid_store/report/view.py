"""The whole report as one record: what the page shows and what `--json` prints."""

from __future__ import annotations

from attrs import frozen

from genid_store.errors import StoreError
from genid_store.report.coverage import Coverage
from genid_store.report.faults import FaultList, ShownProblem, shown_problems
from genid_store.report.moves import Moves
from genid_store.report.standing import Standing
from genid_store.report.steps import CohortSteps


@frozen
class Trouble:
    """Why a part of the report is not there, or not whole: a summary and every problem."""

    summary: str
    problems: tuple[ShownProblem, ...]

    @classmethod
    def of(cls, error: StoreError) -> Trouble:
        """Return what an error says, as the page shows it."""
        return cls(error.summary, shown_problems(error.problems))


@frozen(kw_only=True)
class Flag:
    """The rollout state that the environment asks for; `label` is None where it is no state."""

    label: str | None
    scheme: str
    trouble: Trouble | None = None


@frozen(kw_only=True)
class Report:
    """One data root at one moment. A part that could not be made is None, and its trouble says why.

    `made_at` is a text and the only thing that differs between two reports on one state.
    """

    root: str
    version: str
    made_at: str
    flag: Flag
    standing: Standing
    cohorts: tuple[CohortSteps, ...]
    cohorts_trouble: Trouble | None
    tables_trouble: Trouble | None
    faults: FaultList | None
    faults_trouble: Trouble | None
    dagster_trouble: Trouble | None
    coverage: Coverage
    moves: Moves | None
    moves_trouble: Trouble | None

    @property
    def paid_twice(self) -> int:
        """Members that a run of the cohorts, as they are now, would pay for a second time."""
        return sum(len(cohort.steps[0].repeats) for cohort in self.cohorts if cohort.steps)

    @property
    def facts(self) -> tuple[tuple[str, int | None], ...]:
        """The report in a few numbers; None where one could not be found out."""
        return (
            ("generations", self.standing.total),
            ("with content", self.standing.made),
            ("with a deterministic id", self.standing.deterministic),
            ("cohorts", sum(cohort.built for cohort in self.cohorts)),
            ("members that a run would pay for twice", self.paid_twice),
            ("audit findings", None if self.faults is None else self.faults.total),
            ("evaluations missing", self.coverage.missing),
            (
                "generations that a migration would move",
                None if self.moves is None else self.moves.moving,
            ),
        )
