"""A task whose answer is under another id and cannot be used is not paid for under this one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cohort_kit import OFF, ON
from genid import Draft
from genid_store import Generated, Request, Rollout, Store, StoreError
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import read_generation
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked
from genid_store.generation.run import plan_run, run_cohort
from genid_store.generation.workload import blocked_members
from genid_store.stages import Member

PHASE_1 = Rollout.parse("on", "phase-1")


def build(root: DataRoot, cohort_id: str, rollout: Rollout) -> list[Member]:
    """Build a cohort; return its drafts, which are the same tasks in every state."""
    build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))
    return [one for one in read_membership(root, cohort_id) if one.stage == "draft"]


class Calls:
    def __init__(self) -> None:
        self.asked: list[Member] = []

    def __call__(self, request: Request) -> str:
        self.asked.append(Member(request.stage, request.gen_id))
        return f"text {len(self.asked)}"


def failing(request: Request) -> str:
    raise ValueError("half-way")


def unparsed(request: Request) -> Generated:
    return Generated(text="paid", unparsed="no score in it")


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: list[Callable[[Path], object]] = [
    _link,
    _folder,
    lambda path: path.write_text(""),
    lambda path: path.write_text("another text"),
    lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    lambda path: path.unlink(),
]


@pytest.mark.parametrize("rollout", [ON, PHASE_1, OFF], ids=["on", "phase-1", "off"])
@pytest.mark.parametrize(
    ("answer", "flag"), [(failing, "retry_failed"), (unparsed, "retry_unparsed")]
)
def test_what_came_of_a_task_counts_under_every_id(
    root: DataRoot, rollout: Rollout, answer: Callable[[Request], str], flag: str
) -> None:
    """A failure or an unparsed text: no one is called, a dry run says so, a retry pays once."""
    build(root, "c", PHASE_1 if rollout is ON else ON)
    run_cohort(root, "c", answer, Asked(max_calls=1))  # one draft; nothing was made over it
    failed = next(iter(root.gens.glob("draft/*/raw.txt")), None)
    calls = Calls()
    drafts = build(root, "d", rollout)
    work = plan_run(root, "d", read_membership(root, "d"), Asked())
    done = run_cohort(root, "d", calls, Asked())
    assert len(drafts) - 1 == len([one for one in calls.asked if one.stage == "draft"])
    assert work.total_calls == len(calls.asked)
    assert {"made", "copied"} >= {one.kind for one in done.outcomes}
    before = len(calls.asked)
    run_cohort(root, "d", calls, Asked(**{flag: True}))
    assert 1 == len([one for one in calls.asked[before:] if one.stage == "draft"])
    assert failed is None or "paid" == failed.read_text()


def test_an_unparsed_text_is_handed_on_under_another_id(root: DataRoot) -> None:
    """So that a callable that can parse it now pays for nothing, in any cohort."""
    build(root, "c", PHASE_1)
    run_cohort(root, "c", unparsed, Asked(max_calls=1))
    handed: list[str | None] = []

    def parsing(request: Request) -> Generated:
        handed.append(request.unparsed_text)
        return Generated(text=request.unparsed_text or "new", parsed="7")

    build(root, "d", ON)
    run_cohort(root, "d", parsing, Asked(retry_unparsed=True))
    assert 1 == handed.count("paid")


@pytest.mark.parametrize(
    ("answer", "way"), [(failing, "retry_failed"), (unparsed, "retry_unparsed")]
)
def test_paying_again_is_about_legacy_ids(
    root: DataRoot, answer: Callable[[Request], str], way: str
) -> None:
    """What failed or was not parsed under a legacy id is retried under a deterministic one
    in its own way, which is named beside that id."""
    build(root, "c", OFF)
    run_cohort(root, "c", answer, Asked(max_calls=1))
    calls, drafts = Calls(), build(root, "d", ON)
    done = run_cohort(root, "d", calls, Asked(pay_again=True))
    held = next(one for one in drafts if one not in calls.asked)
    found = blocked_members(done.workload)
    reasons = [one for one in found if (one.stage, one.gen_id) in drafts]
    assert [(held.gen_id, True)] == [(one.gen_id, way in one.ways) for one in reasons]
    assert str(next(iter(read_membership(root, "c"))).gen_id) in reasons[0].reason


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
@pytest.mark.parametrize("rollout", [ON, OFF], ids=["on", "off"])
def test_a_text_under_another_id_that_cannot_be_used_is_not_paid_for_again(
    root: DataRoot, damage: Callable[[Path], object], rollout: Rollout
) -> None:
    """A dropped link, a pointer, an empty or another text: checked first, by every reader."""
    drafts = build(root, "c", PHASE_1)
    calls = Calls()
    run_cohort(root, "c", calls, Asked(max_calls=len(drafts)))
    for member in drafts:
        damage(root.generation(*member) / "parsed.txt")
    build(root, "d", rollout)
    work = plan_run(root, "d", read_membership(root, "d"), Asked())
    run_cohort(root, "d", calls, Asked())
    assert (0, len(drafts)) == (work.total_calls, len(calls.asked))
    assert {"unreachable", "unparsed", "blocked"} >= {one.label for one in work.waiting.values()}
    store = Store.open(root.path)
    draft = Draft(
        combo_id="combo_v1_one", template_id="links-v1", llm_model_id="writer_a", replicate=1
    )
    with pytest.raises(StoreError, match="the same task is un"):
        store.once(draft, calls)
    assert len(drafts) == len(calls.asked)
    run_cohort(root, "d", calls, Asked(pay_again=True, retry_unparsed=True))
    assert len(calls.asked) > len(drafts)


@pytest.mark.parametrize("nothing", ["../x", "a b", ".", "x" * 256])
def test_a_parent_that_no_id_can_be_keeps_nobody_else_waiting(root: DataRoot, nothing: str) -> None:
    """Neither where a member names it, nor where a text does of which the task is not known."""
    build(root, "c", OFF)
    members = read_membership(root, "c")
    orphan = next(one for one in members if one.stage == "essay")
    metadata = root.generation(*orphan) / "metadata.json"
    values = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**values, "parent_gen_id": nothing}))
    strange = root.gens / "essay" / "strange"
    strange.mkdir()
    known = {"stage": "essay", "gen_id": "strange", "parent_gen_id": nothing, "replicate": 1}
    (strange / "metadata.json").write_text(json.dumps(known))
    (strange / "parsed.txt").write_text("of no known task")
    call = Calls()
    done = run_cohort(root, "c", call, Asked())
    below = {one for one in members if orphan in (one, read_generation(root, *one).parent)}
    assert set(members) - below == {Member(one.stage, one.gen_id) for one in done.outcomes}
    assert all(one.complete for one in done.outcomes)
    assert orphan in done.workload.waiting
