"""What each step of the flag would change: the counts are those of the ids."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from genid_store.catalog.index.query import StoreIndex
from genid_store.cli import run
from genid_store.cohort.build import build_cohort, compare_with
from genid_store.cohort.prepare import Options, prepare
from genid_store.fs.layout import DataRoot
from genid_store.generation import batches
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
    parts = (
        step.to_pay,
        step.in_batch,
        step.reused,
        step.copied,
        step.there,
        step.changed,
        step.unknown,
    )
    return [set(part.first) for part in parts]


def _dry_run(root: DataRoot, cohort_id: str, capsys: pytest.CaptureFixture[str]) -> Any:
    words = ["--dry-run", "--reuse", "--json", "--data-root", str(root.path)]
    assert 0 == run(["cohort", "run", "--cohort-id", cohort_id, *words])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("rollout", [Rollout.OFF, STATES[3]], ids=["off", "on"])
def test_what_is_to_be_paid_for_is_counted_by_task(
    tables: DataRoot, capsys: pytest.CaptureFixture[str], rollout: Rollout
) -> None:
    """Once, however many cohorts share it: one of them pays, and the others are given the texts."""
    for cohort_id in ("june", "july", "may"):
        _make(tables, rollout, cohort_id, content=False)
    before, planned = report_on(tables.path), _dry_run(tables, "june", capsys)
    copied = sum(one["copied"] for one in planned["stages"].values())
    assert planned["total_calls"] == before.to_pay > 0
    assert (copied, 0, 0) == (before.to_copy, before.in_batch, before.reused)
    _make(tables, rollout, "june")
    after, others = (
        report_on(tables.path),
        [_dry_run(tables, one, capsys) for one in ("may", "july")],
    )
    assert 0 == after.to_pay == after.to_copy == sum(one["total_calls"] for one in others)
    assert after.reused == sum(len(one["reused"]) for one in others)
    assert (after.reused > 0) == (rollout == Rollout.OFF)


@pytest.mark.parametrize("rollout", [Rollout.OFF, STATES[3]], ids=["off", "on"])
def test_what_is_in_a_batch_is_a_kind_of_its_own(
    tables: DataRoot, capsys: pytest.CaptureFixture[str], rollout: Rollout
) -> None:
    """Not to be paid for, in any state of the flag; a batch whose record is damaged may hold
    everything, and then nothing is promised."""
    _make(tables, rollout, content=False)
    before = report_on(tables.path)
    with StoreIndex.fresh(tables) as index:
        drafts = list(index.iter("draft"))[:2]
    members = {one.expected["v1"] or "": one.gen_id for one in drafts}
    batch = batches.Batch(
        key="b_1",
        stage="draft",
        state="submitted",
        since=batches.now(),
        members=members,
        handle="x",
    )
    batches.write(tables, batch)
    report, planned = report_on(tables.path), _dry_run(tables, "c", capsys)
    assert 2 == report.in_batch == planned["left"]["in a batch"]
    assert before.to_pay - 2 == report.to_pay
    assert {2} == {len(step.in_batch) for step in report.cohorts[0].steps}
    assert "open batches at a provider: 1." in report.verdict[0]
    (batches.folder(tables) / "b_2.json").write_text("{")
    report = report_on(tables.path)
    assert (0, before.to_pay + before.to_copy) == (report.to_pay, report.in_batch)
    assert "open batches at a provider: 2." in report.verdict[0]


def test_every_family_walks_through_the_rollout(mixed: Store) -> None:
    """A mixed store's cohorts all have steps, and every member is in every state."""
    mixed_report = report_on(mixed.path)
    assert 10 == len(mixed_report.cohorts)
    for cohort in mixed_report.cohorts:
        assert cohort.steps
        for step in cohort.steps:
            parts = (step.to_pay, step.in_batch, step.reused, step.copied, step.there)
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
