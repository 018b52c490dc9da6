"""The whole report as one record: what the page shows and what `--json` prints."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from genid_store.errors import StoreError
from genid_store.report.coverage import Coverage
from genid_store.report.faults import FaultList, ShownProblem, shown_problems
from genid_store.report.moves import Moves
from genid_store.report.standing import Standing
from genid_store.report.steps import CohortSteps

_REPEATED: Final = "have no text, although the store holds the text of their task under another id."
_AUDIT: Final = "genid store audit"
_STATUS: Final = "genid cohort status"


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
    def verdict(self) -> tuple[str, str]:
        """What matters most in one sentence, and the command to run next; money comes first."""
        if self.paid_twice:
            return f"{self.paid_twice} members {_REPEATED}", "genid cohort run --dry-run"
        if self.faults is None:
            return "The audit failed, so it is not known whether the store is sound.", _AUDIT
        if self.faults.total:
            return f"The store is not sound: {self.faults.total} audit findings.", _AUDIT
        if not any(cohort.built for cohort in self.cohorts):
            return "The store is sound, and no cohort is built yet.", "genid cohort build"
        waiting = self.standing.total - self.standing.made
        if waiting:
            return f"The store is sound; {waiting} generations wait for their text.", _STATUS
        return "The store is sound, and every generation has its text.", _STATUS

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
