"""What a rebuild says before it writes, and that no text leaves a cohort unasked."""

import json
from pathlib import Path
from typing import Any

import pytest

from cohort_kit import COHORT, OFF, ON, built, make_root, put_draft, select, set_replicates, tree
from genid import Draft, gen_id
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import with_expected
from genid_store.catalog.metadata import Generation
from genid_store.cli import run
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.prepare import Prepared
from genid_store.cohort.regeneration import repeats_among
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.reuse import plan_reuse
from genid_store.ids.rollout import Rollout
from genid_store.stages import Member


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root", replicates=(2, 1, 1))


def _make(root: DataRoot, stage: str, gen_id: str) -> None:
    (root.generation(stage, gen_id) / "parsed.txt").write_text("paid for")


@pytest.mark.parametrize("rollout", [OFF, ON], ids=["off", "on"])
def test_a_text_leaves_only_when_asked(root: DataRoot, rollout: Rollout) -> None:
    """A replicate fewer: the refusal names the texts and counts what would be added and dropped;
    members without a text may go."""
    rows = built(root, rollout).plan.rows
    set_replicates(root.path, 1, 1, 1)
    assert built(root, rollout).plan.counts()["draft"] == 8
    set_replicates(root.path, 2, 1, 1)
    built(root, rollout)
    second = next(row for row in rows if row.stage == "draft" and row.replicate == 2)
    _make(root, "draft", second.gen_id)
    set_replicates(root.path, 1, 1, 1)
    before = tree(root)
    with pytest.raises(StoreError, match=r"1 text would leave the cohort") as caught:
        built(root, rollout)
    assert [f"draft {second.gen_id}"] == [problem.where for problem in caught.value.problems]
    assert "adds 0 members, drops 56" in caught.value.summary
    assert before == tree(root)
    done = built(root, rollout, drop=True)
    assert (second.stage, second.gen_id) in done.prepared.dropped
    assert "paid for" == (root.generation("draft", second.gen_id) / "parsed.txt").read_text()


def test_a_task_that_goes_on_under_another_id_does_not_leave(root: DataRoot) -> None:
    """The flag changes: every made member has its successor in the plan."""
    for row in built(root, OFF).plan.rows:
        _make(root, row.stage, row.gen_id)
    done = built(root, ON)
    assert (112, 112) == (len(done.prepared.added), len(done.prepared.dropped))
    assert 112 == len(built(root, OFF).prepared.dropped)


def test_a_cohort_of_another_shape_is_announced_before_it_is_written(
    root: DataRoot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A selection is taken away: what is added and dropped is said while the old file is there."""
    put_draft(root, "old", combo_id="combo_v1_other")
    select(root.path, "selected_drafts.txt", ["old"])
    built(root, ON)
    (root.tasks / "selected_drafts.txt").unlink()
    membership = root.membership(COHORT).read_bytes()
    seen: list[tuple[int, int]] = []

    def announce(prepared: Prepared) -> None:
        assert membership == root.membership(COHORT).read_bytes()
        seen.append((len(prepared.added), len(prepared.dropped)))

    build_cohort(root, Options(rollout=ON, cohort_id=COHORT), announce=announce)
    assert [(112, 7)] == seen
    for name in ("DAGSTER_HOME", "DD_COHORT", "DD_GEN_ID_SCHEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    set_replicates(root.path, 3, 1, 1)
    command = ["cohort", "build", "--data-root", str(root.path), "--cohort-id", COHORT]
    assert 0 == run(command)
    assert "168 members planned; adds 56, drops 0" in capsys.readouterr().err


def test_a_very_large_plan_is_confirmed_before_it_is_made(root: DataRoot) -> None:
    """`draft,300000`: the number is said, nothing is planned, and the number confirms it."""
    set_replicates(root.path, 300_000, 1, 1)
    with pytest.raises(StoreError, match="16,800,000 rows") as caught:
        built(root, ON)
    assert "(max_rows=16800000)" in str(caught.value)
    assert not root.own.exists()
    set_replicates(root.path, 2, 1, 1)
    with pytest.raises(StoreError, match="112 rows, the limit is 111"):
        built(root, ON, max_rows=111)
    assert 112 == len(built(root, ON, max_rows=112).plan.rows)


def test_a_build_and_a_run_agree_on_what_is_there_under_another_id(tmp_path: Path) -> None:
    """Of two generations without a number, each is the text of one replicate, for both of them."""
    root = DataRoot(tmp_path)
    fields: dict[str, Any] = {"combo_id": "c", "template_id": "t", "llm_model_id": "m"}
    for cohort in "ab":
        folder = root.generation("draft", cohort * 16)
        folder.mkdir(parents=True)
        document = {"stage": "draft", "gen_id": folder.name, "origin_cohort_id": cohort, **fields}
        (folder / "metadata.json").write_text(json.dumps(document))
        (folder / "parsed.txt").write_text(cohort)
    tasks = [Draft(**fields, replicate=number) for number in (1, 2, 3)]
    rows = {
        Member("draft", gen_id(task)): Generation(
            stage="draft", gen_id=gen_id(task), replicate=task.replicate, **fields
        )
        for task in tasks
    }
    with StoreIndex.fresh(root) as index:
        repeats = repeats_among(index, with_expected(index, rows.values()).values())
        plan = plan_reuse(index, rows, planned=rows)
    reused = {member.gen_id: task.elsewhere for member, task in plan.tasks.items()}
    assert [("a" * 16,), ("b" * 16,), ()] == list(reused.values())
    held = {gen_id: ids for gen_id, ids in reused.items() if ids}
    assert held == {repeat.gen_id: repeat.held for repeat in repeats}
