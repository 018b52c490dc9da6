"""One rule decides what happens to a task: in a plan, in a run, and in the report after it."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genid import Draft, Essay, gen_id
from genid_store import Request
from genid_store.catalog.memberships import read_membership
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.records import Asked
from genid_store.generation.run import Done, plan_run, run_cohort
from genid_store.generation.status import states_of
from genid_store.generation.workload import Workload, blocked_members

TASK = {"combo_id": "tides", "template_id": "t", "llm_model_id": "m"}


@pytest.fixture
def bare(tmp_path: Path) -> DataRoot:
    """A data root with a template a stage and no generation."""
    for name in ("gens", "cohorts", "templates/draft", "templates/essay"):
        (tmp_path / name).mkdir(parents=True)
    for stage in ("draft", "essay"):
        (tmp_path / "templates" / stage / "t.txt").write_text("Write.")
    return DataRoot.open(tmp_path)


def draft(replicate: int = 1) -> str:
    return str(gen_id(Draft(**TASK, replicate=replicate)))


def essay(parent: str, replicate: int = 1) -> str:
    return str(gen_id(Essay(parent_gen_id=parent, template_id="t", replicate=replicate)))  # type: ignore[arg-type]


def put(root: DataRoot, stage: str, name: str, text: str | None = None, **more: Any) -> Path:
    """Make a generation: its metadata, and its text where there is one."""
    folder = root.gens / stage / name
    folder.mkdir(parents=True)
    document = {"stage": stage, "gen_id": name, "replicate": 1, "mode": "llm", **TASK, **more}
    (folder / "metadata.json").write_text(json.dumps(document))
    if text is not None:
        (folder / "raw.txt").write_text(text)
        (folder / "parsed.txt").write_text(text)
    return folder


def cohort(root: DataRoot, *members: tuple[str, str]) -> None:
    (root.cohorts / "c").mkdir()
    lines = [",".join(one) for one in members]
    (root.cohorts / "c" / "membership.csv").write_text("\n".join(["stage,gen_id", *lines, ""]))


def plan(root: DataRoot, asked: Asked) -> Workload:
    return plan_run(root, "c", read_membership(root, "c"), asked)


def labels(work: Workload) -> dict[str, str]:
    return {member.gen_id: why.label for member, why in work.waiting.items()}


def run(root: DataRoot, asked: Asked, call: Callable[[Request], str] | None = None) -> Done:
    return run_cohort(root, "c", call or (lambda request: "a text"), asked, concurrency=1)


def test_paying_again_keeps_to_the_limit(bare: DataRoot) -> None:
    """Two legacy members of a task that is there may both pay: each counts as a call."""
    put(bare, "draft", "old_a", text="A")
    for name in ("leg_b", "leg_c"):
        put(bare, "draft", name)
    cohort(bare, ("draft", "leg_b"), ("draft", "leg_c"))
    asked, calls = Asked(pay_again=True, max_calls=1), list[str]()

    def call(request: Request) -> str:
        calls.append(request.gen_id)
        return "a text"

    assert (1, {"leg_c": "over the limit"}) == (
        plan(bare, asked).total_calls,
        labels(plan(bare, asked)),
    )
    run(bare, asked, call)
    assert ["leg_b"] == calls


@pytest.mark.parametrize("limit", [1, None])
def test_paying_again_does_not_repeat_what_failed_in_the_run(
    bare: DataRoot, limit: int | None
) -> None:
    """The second legacy member of a task waits where the call for the first has just failed."""
    for name in ("leg_b", "leg_c"):
        put(bare, "draft", name)
    cohort(bare, ("draft", "leg_b"), ("draft", "leg_c"))
    calls = list[str]()

    def failing(request: Request) -> str:
        calls.append(request.gen_id)
        raise RuntimeError("read timeout")

    done = run(bare, Asked(pay_again=True, max_calls=limit), failing)
    assert ["leg_b"] == calls
    assert ["failed", "blocked"] == [one.kind for one in done.outcomes]


@pytest.fixture
def beside(bare: DataRoot, monkeypatch: pytest.MonkeyPatch) -> tuple[DataRoot, str]:
    """Two essays; one's task failed under another id, over a draft that cannot be read now."""
    first, second = draft(), draft(2)
    closed = put(bare, "draft", "old_d", text="one") / "parsed.txt"
    put(bare, "draft", first, text="one")
    put(bare, "draft", second, text="two", replicate=2)
    put(bare, "essay", "old_e", parent_gen_id="old_d")
    failures.record(bare, "essay", "old_e", "HTTP 500")
    for parent in (first, second):
        put(bare, "essay", essay(parent), parent_gen_id=parent)
    cohort(bare, ("essay", essay(first)), ("essay", essay(second)))
    real = os.open

    def refusing(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    return bare, essay(first)


def test_what_cannot_be_read_holds_up_its_own_task_alone(beside: tuple[DataRoot, str]) -> None:
    """In the plan, in the run, and in what is said after it."""
    root, held = beside
    assert {held: "unreadable"} == labels(plan(root, Asked()))
    done = run(root, Asked())
    assert ["made"] == [one.kind for one in done.outcomes]
    (blocked,) = blocked_members(done.workload)
    assert held == blocked.gen_id
    assert "old_d/parsed.txt: Permission denied" in blocked.reason


def test_a_copy_is_not_made_over_what_was_paid_for(bare: DataRoot) -> None:
    """An essay that is now to be copied and has an unparsed answer keeps that."""
    put(bare, "draft", draft(), text="one")
    folder = put(bare, "essay", essay(draft()), parent_gen_id=draft(), mode="copy")
    (folder / "raw.txt").write_text("paid")
    cohort(bare, ("essay", essay(draft())))
    assert {essay(draft()): "unparsed"} == labels(plan(bare, Asked()))
    run(bare, Asked())
    assert ("paid", False) == (
        (folder / "raw.txt").read_text(),
        (folder / "parsed.txt").exists(),
    )


def test_a_failure_without_words_counts(bare: DataRoot) -> None:
    """A record that gives no reason holds its task under every id, too."""
    put(bare, "draft", "old_a")
    failures.record(bare, "draft", "old_a", "")
    put(bare, "draft", draft())
    cohort(bare, ("draft", draft()))
    assert {draft(): "failed"} == labels(plan(bare, Asked()))
    assert 0 == len(run(bare, Asked()).outcomes)


def test_a_plan_counts_as_the_status_does(bare: DataRoot) -> None:
    """What failed or was not parsed is said to be that, also where its parent has no text."""
    put(bare, "draft", draft())
    failures.record(bare, "draft", draft(), "HTTP 500")
    essays = [essay(draft(), number) for number in (1, 2, 3)]
    folders = [
        put(bare, "essay", name, parent_gen_id=draft(), replicate=number)
        for number, name in enumerate(essays, start=1)
    ]
    failures.record(bare, "essay", essays[0], "HTTP 500")
    (folders[1] / "raw.txt").write_text("paid")
    cohort(bare, ("draft", draft()), *(("essay", one) for one in essays))
    states = Counter(states_of(bare, read_membership(bare, "c")).values())
    left = Counter(labels(plan(bare, Asked())).values())
    assert {"failed": 2, "unparsed": 1, "missing": 1} == states
    assert {"failed": 2, "unparsed": 1, "blocked": 1} == left


def test_all_that_holds_a_task_up_is_named_at_once(bare: DataRoot) -> None:
    """With every option by which it would go on."""
    put(bare, "draft", "old_a", text="A")
    put(bare, "draft", "old_b")
    failures.record(bare, "draft", "old_b", "HTTP 500")
    put(bare, "draft", "leg_c")
    cohort(bare, ("draft", "leg_c"))
    (why,) = plan(bare, Asked()).waiting.values()
    assert "old_a" in why.reason
    assert "failed under the id old_b: HTTP 500" in why.reason
    assert {"retry_failed", "pay_again", "reuse"} == set(why.ways)


def test_a_lost_answer_under_another_id_can_be_paid_for_again(bare: DataRoot) -> None:
    """A `raw.txt` that leads nowhere: the option that is offered makes the text."""
    folder = put(bare, "draft", "old_a")
    (folder / "raw.txt").symlink_to("nowhere")
    put(bare, "draft", draft())
    cohort(bare, ("draft", draft()))
    (why,) = plan(bare, Asked()).waiting.values()
    assert ("pay_again",) == why.ways
    done = run(bare, Asked(pay_again=True))
    assert ["made"] == [one.kind for one in done.outcomes]
