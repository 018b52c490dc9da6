"""What each step of the flag would change: the counts are those of the ids."""

import json
import shutil
from pathlib import Path

import pytest

from genid_store.cohort.build import build_cohort, compare_with
from genid_store.cohort.prepare import Options, prepare
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from genid_store.report.listed import Listed
from genid_store.report.steps import CohortSteps, Step
from report_kit import report_on
from storekit import Store, make_store

STATES = [Rollout.parse(flag) for flag in ("off", "draft", "draft,essay", "on")]


@pytest.fixture
def tables(tmp_path: Path) -> DataRoot:
    """A data root with tables and no generation."""
    store = make_store(tmp_path / "data", generations=200, oddities=(), selection=None)
    for folder in ("gens", "cohorts"):
        shutil.rmtree(store.path / folder)
    counts = "stage,replicates\ndraft,1\nessay,2\nevaluation,1\n"
    (store.path / "1_raw" / "replication_config.csv").write_text(counts)
    return DataRoot.open(store.path)


@pytest.fixture(autouse=True)
def _every_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every id of a list, not the first ones alone."""
    add = Listed.add
    monkeypatch.setattr(Listed, "add", lambda self, entry, kept=0: add(self, entry, 10**6))


def _make(root: DataRoot, rollout: Rollout, cohort_id: str = "c", *, content: bool = True) -> None:
    """Build a cohort and, on request, give every member its text."""
    report = build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))
    for row in report.plan.rows if content else ():
        (root.generation(row.stage, row.gen_id) / "parsed.txt").write_text("text")


def _only(root: DataRoot) -> CohortSteps:
    (cohort,) = report_on(root.path).cohorts
    return cohort


def test_a_step_changes_what_compare_says(tables: DataRoot) -> None:
    """Each step's changed ids are those of `cohort compare` between the two states."""
    _make(tables, Rollout.OFF)
    cohort = _only(tables)
    assert ("tables", ["off", "draft", "draft,essay", "all"]) == (
        cohort.basis,
        [step.label for step in cohort.steps],
    )
    for before, after, step in zip(STATES[:-1], STATES[1:], cohort.steps[1:], strict=True):
        expected = compare_with(tables, Options(rollout=after, cohort_id="c"), before).changed()
        assert expected == {
            stage: sum(key[0] == stage for key in step.changed.first) for stage in expected
        }


def test_a_flip_over_a_finished_cohort_pays_for_nothing(tables: DataRoot) -> None:
    """Every changed member is made already under its older id, so a run reuses it."""
    _make(tables, Rollout.OFF)
    now, *later = _only(tables).steps
    assert (0, 0, 0) == (len(now.to_pay), len(now.reused), len(now.copied))
    for step in later:
        assert (0, 0) == (len(step.to_pay), len(step.copied))
        assert set() < set(step.changed.first) <= set(step.reused.first)
        assert set(step.reused.first) == {(one.stage, one.gen_id) for one in step.reuses.first}


def test_members_that_exist_under_the_new_id_are_not_made(tables: DataRoot) -> None:
    """Where a deterministic cohort made the tasks before, a legacy one flips for nothing."""
    _make(tables, STATES[3], "first")
    _make(tables, Rollout.OFF, "second", content=False)
    second = next(one for one in report_on(tables.path).cohorts if one.cohort_id == "second")
    last = second.steps[-1]
    assert last.members == len(last.there)
    assert len(second.steps[0].reused) == len(second.steps[0].reuses) > 0


def test_a_covered_cohort_has_its_state_behind_it(tables: DataRoot) -> None:
    """A cohort built in a state of the rollout has the later states before it only."""
    _make(tables, STATES[2])
    cohort = _only(tables)
    assert ("draft,essay", ["draft,essay", "all"]) == (
        cohort.recorded,
        [step.label for step in cohort.steps],
    )


def test_a_cohort_that_is_not_built_is_planned_from_the_tables(tables: DataRoot) -> None:
    """A root without cohorts shows what the tables would make."""
    cohort = _only(tables)
    assert (False, "tables", 4) == (cohort.built, cohort.basis, len(cohort.steps))
    first = cohort.steps[0]
    assert first.members == len(first.to_pay) + len(first.copied) > 0


def test_recorded_members_are_asked_for_again_where_the_tables_changed(tables: DataRoot) -> None:
    """A membership that the tables no longer plan gives the same steps from the members alone."""
    _make(tables, Rollout.OFF)
    planned = _only(tables)
    models = tables.raw / "llm_models.csv"
    models.write_text(models.read_text() + "another,true,true,vendor/another\n")
    restated = _only(tables)
    assert ("tables", "membership") == (planned.basis, restated.basis)
    for ours, theirs in zip(planned.steps, restated.steps, strict=True):
        assert _ids(ours) == _ids(theirs)


def _ids(step: Step) -> list[set[tuple[str, str]]]:
    parts = (step.to_pay, step.reused, step.copied, step.there, step.changed, step.unknown)
    return [set(part.first) for part in parts]


def test_every_family_walks_through_the_rollout(mixed: Store) -> None:
    """A mixed store's cohorts all have steps, and every member is in every state."""
    mixed_report = report_on(mixed.path)
    assert 10 == len(mixed_report.cohorts)
    for cohort in mixed_report.cohorts:
        assert cohort.steps
        for step in cohort.steps:
            parts = (step.to_pay, step.reused, step.copied, step.there)
            listed = [key for part in parts for key in part.first]
            assert step.members == len(listed) == len(set(listed)) > 0


def test_a_cohort_of_another_scheme_keeps_it(tables: DataRoot) -> None:
    """A cohort built under phase-1 goes on under phase-1."""
    _make(tables, Rollout(stages=("draft",), scheme="phase-1"))
    last = _only(tables).steps[-1]
    expected = prepare(
        tables, Options(rollout=Rollout(stages=STATES[3].stages, scheme="phase-1"), cohort_id="c")
    )
    assert len(expected.plan.rows) == last.members
    assert {"stages": ["draft"], "scheme": "phase-1"} == json.loads(
        tables.manifest("c").read_bytes()
    )["rollout"]
