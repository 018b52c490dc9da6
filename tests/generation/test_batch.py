"""Batches: what is in one is not paid for otherwise, and what comes back is never lost."""

import asyncio
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cohort_kit import OFF, ON, make_root
from dagster_kit import write_templates
from genid import Draft, gen_id
from genid_store import Collected, Generated, Request, Rollout, Store, StoreError
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import read_generation
from genid_store.cli import run as command
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import lease
from genid_store.generation import batch as batching
from genid_store.generation import batches, failures, once
from genid_store.generation.pool import obtain_all
from genid_store.generation.records import Asked
from genid_store.generation.run import Done, run_cohort
from genid_store.generation.status import wanted_ids
from genid_store.migration.run import migrate
from genid_store.stages import Member

STAGES = ("draft", "essay", "evaluation")


class Provider:
    """A batch object whose provider is in memory; `billed` counts each custom_id that it was given.

    A look at a batch gives all rows that are done by then: `pace` more than at the last look.
    """

    def __init__(self, pace: int = 100) -> None:
        self.pace = pace
        self.rows: dict[str, list[str]] = {}
        self.looks: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.errors: dict[str, Exception] = {}
        self.missing: set[str] = set()
        self.extra: list[tuple[str, Any]] = []
        self.cancelled: set[str] = set()

    def find(self, key: str) -> str | None:
        return f"at {key}" if f"at {key}" in self.rows else None

    def submit(self, key: str, requests: Iterable[Request]) -> str:
        self.rows[f"at {key}"] = [request.custom_id for request in requests]
        self.billed.update(self.rows[f"at {key}"])
        return f"at {key}"

    def collect(self, batch: str) -> Collected:
        rows = self.rows[batch]
        self.looks[batch] += 1
        done = min(self.pace * self.looks[batch], len(rows))
        ended = done == len(rows) or batch in self.cancelled
        there = [name for name in rows[:done] if name not in self.missing]
        answers: list[tuple[str, Any]] = [
            (one, self.errors.get(one, f"text of {one}")) for one in there
        ]
        return Collected(answers=[*answers, *self.extra], ended=ended, done=done)

    def cancel(self, batch: str) -> None:
        self.cancelled.add(batch)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_FIRST", 0.001)
    monkeypatch.setattr(batching, "_LONGEST", 0.001)
    monkeypatch.setattr(batching, "PATIENCE", 2)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    found = make_root(tmp_path / "root", replicates=(1, 1, 1))
    write_templates(found)
    return found


def build(root: DataRoot, cohort_id: str = "c", rollout: Rollout = ON) -> list[Member]:
    build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))
    return list(read_membership(root, cohort_id))


def run(
    root: DataRoot, host: object, cohort_id: str = "c", *, wait: bool = True, **asked: Any
) -> Done:
    return run_cohort(root, cohort_id, host, Asked(**asked), wait=wait)  # type: ignore[arg-type]


def missing(root: DataRoot, members: Iterable[Member]) -> list[Member]:
    return [one for one in members if not (root.generation(*one) / "parsed.txt").is_file()]


def kinds(done: Done) -> Counter[str]:
    return Counter(one.kind for one in done.outcomes)


def text(root: DataRoot, member: Member) -> str:
    return (root.generation(*member) / "parsed.txt").read_text()


def only(root: DataRoot) -> batches.Batch:
    (found,) = batches.open_batches(root)
    return found


@contextmanager
def never(*names: str) -> Iterator[Any]:
    """Give a callable that must not be called."""
    asked: list[str] = []

    def call(request: Request) -> str:
        asked.append(request.gen_id)
        return "paid"

    yield call
    assert [] == asked


def test_a_cohort_goes_through_batches_ancestors_first(root: DataRoot) -> None:
    """Every stage is a batch of its own; each task is in one, once, under its own id."""
    members = build(root)
    host = Provider(pace=1)
    done = run(root, host)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())
    assert len(host.billed) == kinds(done)["made"]
    prefixes = ["".join(sorted({name[0] for name in rows})) for rows in host.rows.values()]
    assert ["d", "e", "v"] == prefixes
    assert [] == batches.open_batches(root)
    assert 0 == len(run(root, host).outcomes)


def test_the_key_follows_from_the_work_alone(root: DataRoot, tmp_path: Path) -> None:
    """In another root, in another order, the same work over the same texts has the same key: 128
    bits in hex."""
    other, parents = DataRoot(tmp_path / "other"), {"a": "digest"}
    keys = {
        batches.batch_key(root, "draft", ["b", "a"], parents),
        batches.batch_key(other, "draft", ["a", "b"], parents),
    }
    assert 1 == len(keys)
    (key,) = keys
    assert "b_" == key[:2]
    assert 16 == len(bytes.fromhex(key[2:]))
    assert key != batches.batch_key(root, "essay", ["a", "b"], parents)
    assert key != batches.batch_key(root, "draft", ["a", "b"], {"a": "another"})


def test_a_run_that_does_not_wait_leaves_the_batch_to_the_next(root: DataRoot) -> None:
    """The next collects it, submits the stage below, and so on; nothing is in two batches."""
    members = build(root)
    host = Provider(pace=100)
    first = run(root, host, wait=False)
    assert {"waiting"} == set(kinds(first))
    for _ in range(5):
        run(root, host, wait=False)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


def test_what_has_come_is_published_before_the_batch_is_over(root: DataRoot) -> None:
    """And its record says how much is done."""
    members = build(root)
    host = Provider(pace=1)
    run(root, host, wait=False)
    run(root, host, wait=False)
    drafts = [one for one in members if one.stage == "draft"]
    assert len(drafts) - 1 == len(missing(root, drafts))
    (batch,) = [one for one in batches.open_batches(root) if one.stage == "draft"]
    assert f"1 of {len(drafts)} done" in str(batch)


def test_rows_without_the_template_that_they_are_made_from_are_not_submitted(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch stays here; with the file, the next run submits it."""
    monkeypatch.setattr(once, "PIPELINE", ())  # as if all stages were a user's
    members, host = build(root), Provider()
    submit = host.submit

    def submitted(key: str, requests: Iterable[Request]) -> str:
        return submit(key, [one for one in requests if one.template_text])

    monkeypatch.setattr(host, "submit", submitted)
    (root.path / "templates").rename(root.path / "Templates")
    with pytest.raises(StoreError, match=r"templates/draft/.*\.txt: is missing.*test_batch\.py:"):
        run(root, host)
    assert not host.billed
    (root.path / "Templates").rename(root.path / "templates")
    run(root, host)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


def test_everyone_respects_a_batch(root: DataRoot) -> None:
    """An ordinary run, the library and the condition of automatic runs leave its members alone."""
    members = build(root)
    run(root, Provider(), wait=False)
    with never() as call:
        done = run(root, call)
        assert done.workload.waiting[members[0]].label == "in a batch"
        with StoreIndex.fresh(root) as index:
            row = index.get(*members[0])
        assert row is not None
        draft = Draft(
            combo_id=str(row.combo_id),
            template_id=str(row.template_id),
            llm_model_id=str(row.llm_model_id),
            replicate=1,
        )
        assert members[0].gen_id == gen_id(draft)
        with pytest.raises(StoreError, match="in a batch since"):
            Store.open(root.path).once(draft, call)
    assert not wanted_ids(root, members[0].stage, [members[0].gen_id])


def test_the_flag_flipped_while_a_batch_is_out(root: DataRoot) -> None:
    """The same task under its other id waits for the batch, and reuses its text."""
    legacy = build(root, "old", OFF)
    host = Provider(pace=1)
    run(root, host, "old", wait=False)
    covered = build(root, "new", ON)
    with never() as call:
        run(root, call, "new")
    run(root, host, "new")
    run(root, host, "old", reuse=True)
    assert [] == missing(root, [*legacy, *covered])
    assert {1} == set(host.billed.values())
    assert text(root, legacy[0]) == text(root, covered[0])


def test_status_shows_the_batch_of_a_task(
    root: DataRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under any id; of a cohort without a member in it there is none."""
    build(root, "old", OFF)
    run(root, Provider(), "old", wait=False)
    build(root, "new", ON)
    shown = {}
    for cohort_id in ("old", "new"):
        capsys.readouterr()
        arguments = ["--data-root", str(root.path), "--cohort-id", cohort_id, "--json"]
        assert 0 == command(["cohort", "status", *arguments])
        shown[cohort_id] = [one["key"] for one in json.loads(capsys.readouterr().out)["batches"]]
    assert {"old": [only(root).key], "new": [only(root).key]} == shown


def test_progress_says_what_is_out_before_it_is_in_the_store(root: DataRoot) -> None:
    """As soon as the provider says how many rows are done; the record on disk says so too."""
    build(root)
    host = Provider(pace=1)
    said, seen = [0], []

    def finish(request: Request, given: str) -> str:
        seen.append((said[-1], str(only(root))))
        return given

    host.finish = finish  # type: ignore[attr-defined]
    run_cohort(root, "c", host, Asked(), progress=lambda state: said.append(state.in_batches))
    size = len(next(iter(host.rows.values())))
    assert f"1 of {size} done" in seen[0][1]
    assert size - 1 == seen[0][0]


def test_overlapping_cohorts_share_a_batch(root: DataRoot) -> None:
    """The second submits only what is in none, and waits for the first one's as well."""
    first, host = build(root, "first"), Provider(pace=1)
    run(root, host, "first", wait=False, max_calls=1)
    second = build(root, "second")
    run(root, host, "second")
    assert [] == missing(root, [*first, *second])
    assert {1} == set(host.billed.values())
    assert 2 == sum(rows[0].startswith("d") for rows in host.rows.values())


def test_two_processes_submit_once(root: DataRoot) -> None:
    """The second waits for the first one's batch, whichever comes first to collect."""
    members, host = build(root), Provider(pace=1)
    others = [threading.Thread(target=run, args=(root, host)) for _ in range(3)]
    for one in others:
        one.start()
    for one in others:
        one.join()
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


def test_whoever_had_begun_is_waited_for(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that an ordinary run is making goes into no batch: its lease is taken once, after the
    intention is on disk."""
    members = build(root)
    draft = next(one for one in members if one.stage == "draft")
    begun, end = threading.Event(), threading.Event()

    def slow(request: Request) -> str:
        begun.set()
        end.wait()
        return "made meanwhile"

    def obtained(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(batching, "obtain_all", obtain_all)
        assert "preparing" == only(root).state
        end.set()
        return obtain_all(*arguments, **options)

    monkeypatch.setattr(batching, "obtain_all", obtained)
    ordinary = threading.Thread(target=run, args=(root, slow), kwargs={"max_calls": 1})
    ordinary.start()
    begun.wait()
    host = Provider()
    run(root, host)
    ordinary.join()
    assert "made meanwhile" == text(root, draft)
    assert draft.gen_id not in host.billed


def test_rows_that_fail_or_are_missing_are_failures_of_their_own(root: DataRoot) -> None:
    """Asked again only when asked, then under another key; the others are published."""
    members, host = build(root), Provider()
    drafts = [one for one in members if one.stage == "draft"]
    host.errors[drafts[0].gen_id] = RuntimeError("no luck")
    host.missing.add(drafts[1].gen_id)
    run(root, host)
    reasons = [failures.read(root, *one) for one in drafts[:2]]
    assert ["no luck", "no answer came"] == [
        next(word for word in ("no luck", "no answer came") if one and word in one.reason)
        for one in reasons
    ]
    run(root, host)
    assert 1 == host.billed[drafts[0].gen_id]
    host.errors.clear()
    host.missing.clear()
    run(root, host, retry_failed=True)
    assert [] == missing(root, members)
    assert {drafts[0].gen_id: 2, drafts[1].gen_id: 2} == {
        name: count for name, count in host.billed.items() if count > 1
    }


def test_a_row_fails_again_and_again_under_keys_of_its_own(root: DataRoot) -> None:
    """A batch that is over is never taken for the next attempt."""
    members, host = build(root), Provider()
    draft = members[0]
    host.errors[draft.gen_id] = RuntimeError("no luck")
    run(root, host)
    for attempt in (2, 3):
        run(root, host, retry_failed=True)
        assert attempt == host.billed[draft.gen_id]
    record = failures.read(root, *draft)
    assert record is not None
    assert 3 == record.attempts


def test_answers_that_belong_nowhere_are_kept_aside(
    root: DataRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an unknown custom_id, or another text for one that has its text: nothing is overwritten,
    and the same one, given at every look, is kept once."""
    members, host = build(root), Provider(pace=1)
    known = members[0].gen_id
    host.extra = [("d_unknown", "whose?"), (known, f"text of {known}")]
    run(root, host)
    host.extra = []
    kept = [json.loads(path.read_text()) for path in batches.kept_aside(root)]
    assert {"whose?"} == {one["text"] for one in kept if one["custom_id"] == "d_unknown"}
    assert f"text of {known}" == text(root, members[0])
    capsys.readouterr()
    assert 0 == command(["batch", "list", "--data-root", str(root.path), "--json"])
    assert len(kept) == len(json.loads(capsys.readouterr().out)["kept_aside"])


def test_a_repeated_row_overwrites_nothing(root: DataRoot) -> None:
    """The first answer stays; another text under the same custom_id is kept aside."""
    members, host = build(root), Provider()
    known = members[0].gen_id
    host.extra = [(known, "another")]
    run(root, host, max_calls=1)
    assert f"text of {known}" == text(root, members[0])
    (kept,) = batches.kept_aside(root)
    assert "another" == json.loads(kept.read_text())["text"]


def test_the_same_answers_may_be_given_twice(root: DataRoot) -> None:
    """After a kill before the record went: nothing is written, kept aside or counted again."""
    members, host = build(root), Provider()
    failed = members[1]
    host.errors[failed.gen_id] = RuntimeError("no luck")
    run(root, host, wait=False)
    record = only(root)
    run(root, host, wait=False)
    before = (root.generation(*members[0]) / "raw.txt").stat().st_mtime_ns
    batches.write(root, record)
    run(root, host, wait=False)
    assert before == (root.generation(*members[0]) / "raw.txt").stat().st_mtime_ns
    assert [] == batches.kept_aside(root)
    found = failures.read(root, *failed)
    assert found is not None
    assert 1 == found.attempts


def test_a_text_that_came_meanwhile_stays(root: DataRoot) -> None:
    """Written by hand while the batch was out: the answer, which is paid for, is kept aside."""
    members, host = build(root), Provider()
    run(root, host, wait=False)
    (root.generation(*members[0]) / "parsed.txt").write_text("by hand")
    run(root, host)
    assert "by hand" == text(root, members[0])
    kept = [json.loads(path.read_text())["text"] for path in batches.kept_aside(root)]
    assert [f"text of {members[0].gen_id}"] == kept


@pytest.mark.parametrize(
    ("stage", "whole", "wait"),
    [("draft", False, False), ("draft", True, True), ("essay", False, True)],
)
def test_an_answer_waits_for_the_metadata_of_its_member(
    root: DataRoot, stage: str, whole: bool, wait: bool
) -> None:
    """It stays in its batch, which says what to do, and is published once that is done."""
    members, host = build(root), Provider()
    run(root, host, wait=False)
    if stage == "essay":
        run(root, host, wait=False)
    (out,) = (one for one in batches.open_batches(root) if one.stage == stage)
    member = Member(stage, min(out.members.values()))
    folder = root.generation(*member)
    shutil.rmtree(folder) if whole else (folder / "metadata.json").unlink()
    done = run(root, host, wait=wait)
    (refused,) = (one for one in done.outcomes if one.gen_id == member.gen_id)
    assert "refused" == refused.kind
    assert "build the cohort again" in refused.reason
    assert [] == batches.kept_aside(root)
    build(root)
    run(root, host)
    assert f"text of {member.gen_id}" == text(root, member)
    assert [] == missing(root, members)
    assert [] == batches.open_batches(root)
    assert {1} == set(host.billed.values())


def test_an_answer_that_waits_is_kept_aside_when_its_batch_is_given_up(root: DataRoot) -> None:
    """Nothing else would end the batch where the metadata never comes back."""
    members, host = build(root), Provider()
    run(root, host, wait=False)
    (root.generation(*members[0]) / "metadata.json").unlink()
    run(root, host, wait=False)
    (key,) = (one.key for one in batches.open_batches(root) if one.stage == members[0].stage)
    assert _cancel(root, host, key)
    kept = [json.loads(path.read_text())["text"] for path in batches.kept_aside(root)]
    assert [f"text of {members[0].gen_id}"] == kept


def test_members_that_left_the_cohort_are_collected(root: DataRoot) -> None:
    """What is in a batch is brought to the store, whichever run requested it."""
    members, host = build(root), Provider()
    run(root, host, wait=False)
    path = root.membership("c")
    lines = path.read_text().splitlines(keepends=True)
    gone = next(one for one in members if one.stage == "draft")
    path.write_text("".join(line for line in lines if gone.gen_id not in line))
    done = run(root, host, wait=False)
    assert f"text of {gone.gen_id}" == text(root, gone)
    assert gone.gen_id not in {one.gen_id for one in done.outcomes}


@pytest.mark.parametrize(
    "damage",
    ['{"key"', "[]", "{}", '{"members": []}', "", None],
    ids=["torn", "a list", "empty object", "members a list", "empty", "a dangling link"],
)
def test_a_damaged_record_stops_every_payment(root: DataRoot, damage: str | None) -> None:
    """Any task may be in that batch: nothing is paid for until it is put back or given up."""
    members, host = build(root), Provider()
    run(root, host, wait=False)
    path = batches.folder(root) / f"{only(root).key}.json"
    path.unlink()
    if damage is None:
        path.symlink_to("nowhere")
    else:
        path.write_text(damage)
    with never() as call:
        for one in (call, host):
            with pytest.raises(StoreError, match="not known"):
                run(root, one)
        with pytest.raises(StoreError, match="cannot be read"):
            Store.open(root.path).once(
                Draft(combo_id="x", template_id="t", llm_model_id="m", replicate=1), call
            )
    with pytest.raises(StoreError, match="in a batch"):
        migrate(root)
    assert not wanted_ids(root, members[0].stage, [members[0].gen_id])


def test_a_damaged_record_can_be_given_up(root: DataRoot) -> None:
    """The answers are found by the key and kept aside."""
    build(root)
    host = Provider()
    run(root, host, wait=False)
    key = only(root).key
    (batches.folder(root) / f"{key}.json").write_text("?")
    assert _cancel(root, host, key)
    assert len(host.rows[f"at {key}"]) == len(batches.kept_aside(root))
    assert [] == batches.open_batches(root)


def _cancel(root: DataRoot, host: object, key: str) -> bool:
    from genid_store.generation.once import Executor

    executor = Executor(root=root, generator=lambda request: "")
    return batching.Batching(executor=executor, host=host, report=lambda one: None).cancel(key)


def test_a_batch_can_be_given_up(root: DataRoot) -> None:
    """What it has done is kept, the rest failed and is asked again when asked."""
    members, host = build(root), Provider(pace=1)
    run(root, host, wait=False)
    assert _cancel(root, host, only(root).key)
    drafts = [one for one in members if one.stage == "draft"]
    assert len(drafts) - 1 == len(missing(root, drafts))
    run(root, host)
    assert {1} == set(host.billed.values())
    host.pace = 100
    run(root, host, retry_failed=True)
    assert [] == missing(root, members)


def test_what_was_never_submitted_can_be_given_up(root: DataRoot) -> None:
    """A provider that refuses a batch holds its members until it is cancelled."""
    members, host = build(root), Provider()
    host.submit = _raising  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError, match="400"):
        run(root, host, wait=False)
    with never() as call:
        run(root, call)
    assert _cancel(root, host, only(root).key)
    with never() as call:
        run(root, call)
    done = run(root, lambda request: "x", retry_failed=True)
    assert [] == missing(root, members)
    assert done.outcomes


def test_why_a_batch_is_not_submitted_is_on_record_until_it_is(
    root: DataRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its key stays: a provider that took it all the same is asked for it."""
    build(root)
    host = Provider()
    submit, host.submit = host.submit, _raising  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError, match="400"):
        run(root, host, wait=False)
    before = only(root)
    assert "RuntimeError: 400" == before.error
    assert "RuntimeError: 400" in str(before)
    assert 0 == command(["batch", "list", "--data-root", str(root.path)])
    assert "  not submitted so far: RuntimeError: 400\n" in capsys.readouterr().out
    host.submit = submit  # type: ignore[method-assign]
    run(root, host, wait=False)
    assert (before.key, None) == (only(root).key, only(root).error)


def _raising(*arguments: object) -> str:
    raise RuntimeError("400")


def test_a_migration_refuses_while_a_batch_is_out(root: DataRoot) -> None:
    """Its members must keep their ids until it is collected."""
    build(root, "c", OFF)
    host = Provider()
    run(root, host, wait=False)
    with pytest.raises(StoreError, match="in a batch"):
        migrate(root)
    run(root, host)
    migrate(root)


def test_refusals_come_before_a_batch(root: DataRoot) -> None:
    """Legacy members whose task is there are refused before anything is submitted."""
    build(root, "new", ON)
    run(root, lambda request: "x", "new")
    build(root, "old", OFF)
    host = Provider()
    with pytest.raises(StoreError, match="second time"):
        run(root, host, "old")
    run(root, host, "old", reuse=True)
    assert {} == host.rows


def test_legacy_members_paid_for_again_are_in_a_batch_once(root: DataRoot) -> None:
    """Asked for explicitly, they get texts of their own."""
    build(root, "new", ON)
    run(root, lambda request: "x", "new")
    legacy = build(root, "old", OFF)
    host = Provider()
    run(root, host, "old", pay_again=True)
    assert [] == missing(root, legacy)
    assert {1} == set(host.billed.values())


def test_batches_are_split_alike(root: DataRoot) -> None:
    """By rows and by bytes, in the order of the ids; a row that is larger than a batch is alone."""
    host = Provider()
    one = batching.Batching(executor=None, host=host, report=lambda found: None)  # type: ignore[arg-type]
    wanted = {name: (name, size) for name, size in zip("fedcba", (9, 1, 1, 50, 1, 1), strict=True)}
    assert [["a", "b", "c", "d", "e", "f"]] == list(one._split(wanted))
    host.max_requests = 2  # type: ignore[attr-defined]
    assert [["a", "b"], ["c", "d"], ["e", "f"]] == list(one._split(wanted))
    host.max_bytes = 10  # type: ignore[attr-defined]
    assert [["a", "b"], ["c"], ["d", "e"], ["f"]] == list(one._split(wanted))


def test_an_async_batch_object_is_one_too(root: DataRoot) -> None:
    """Its methods run on the one event loop."""
    members, inner = build(root), Provider()
    loops = set()

    class Host:
        async def find(self, key: str) -> str | None:
            loops.add(asyncio.get_running_loop())
            return inner.find(key)

        async def submit(self, key: str, requests: Iterable[Request]) -> str:
            return inner.submit(key, requests)

        async def collect(self, batch: str) -> Collected:
            return inner.collect(batch)

        async def finish(self, request: Request, given: str) -> Generated:
            return Generated(text=given, parsed=f"{request.stage}: {given}")

    run(root, Host())
    assert [] == missing(root, members)
    assert text(root, members[0]).startswith("draft: ")
    assert 1 == len(loops)


def test_what_finish_raises_loses_no_text(root: DataRoot) -> None:
    """The answer is kept as one that could not be parsed."""
    members, host = build(root), Provider()
    host.finish = _raising  # type: ignore[attr-defined]
    done = run(root, host)
    assert {"unparsed"} == set(kinds(done))
    assert "in _raising)" in done.outcomes[0].reason
    assert (root.generation(*members[0]) / "raw.txt").read_text().startswith("text of ")


@pytest.mark.parametrize("given", ["", " ", None, 7, Generated(text=""), {"text": "x"}])
def test_what_finish_returns_loses_no_text(root: DataRoot, given: Any) -> None:
    """Of no text, or of another type: the provider's answer is kept, and why it has no form."""
    members, host = build(root), Provider()
    host.finish = lambda request, answer: given  # type: ignore[attr-defined]
    done = run(root, host)
    assert {"unparsed"} == set(kinds(done))
    assert (root.generation(*members[0]) / "raw.txt").read_text().startswith("text of ")
    assert "finish" in done.outcomes[0].reason
    assert [] == batches.open_batches(root)


@pytest.mark.parametrize("given", [None, b"bytes", {"text": "x"}, Generated(text=b"x")])  # type: ignore[arg-type]
def test_an_answer_of_another_type_holds_up_no_other(root: DataRoot, given: Any) -> None:
    """It is kept as text that could not be parsed, once; the batch ends with all the others."""
    drafts = [one for one in build(root) if one.stage == "draft"]
    assert 1 < len(drafts)
    host = Provider()
    host.errors = {drafts[0].gen_id: given}
    done = run(root, host)
    assert {"unparsed": 1, "made": len(drafts) - 1} == {
        kind: sum(one.kind == kind and one.stage == "draft" for one in done.outcomes)
        for kind in ("unparsed", "made")
    }
    assert [] == batches.open_batches(root)
    assert not list((root.own / "replaced").rglob("*.txt"))
    assert {1} == set(host.billed.values())


@pytest.mark.parametrize("row", [(["d"], "x"), ("d", "x", "y"), None, 7, "dx", (None, "x")])
def test_a_row_that_is_no_pair_is_kept_aside_and_holds_up_no_other(
    root: DataRoot, row: Any
) -> None:
    """It is kept once, however often it is given."""
    members, host = build(root), Provider(pace=1)
    host.extra = [row]
    run(root, host)
    assert [] == missing(root, members)
    assert [] == batches.open_batches(root)
    keys = {path.parent.name for path in batches.kept_aside(root)}
    assert len(keys) == len(batches.kept_aside(root))


def test_an_answer_that_finish_rewrites_is_known_again(root: DataRoot) -> None:
    """What came back is kept as it came, so that another process takes it for the same answer."""
    members, host = build(root), Provider(pace=1)
    host.finish = lambda request, answer: f"{answer}, finished"  # type: ignore[attr-defined]
    while missing(root, members):
        run(root, host, wait=False)
    assert [] == batches.kept_aside(root)
    folder = root.generation(*members[0])
    assert (folder / "raw.txt").read_text().startswith("text of ")
    assert (folder / "parsed.txt").read_text().endswith(", finished")


def test_what_was_made_meanwhile_is_not_submitted(root: DataRoot) -> None:
    """A batch that could not be submitted is planned again without what is there by then."""
    members, host = build(root), Provider()
    submit, host.submit = host.submit, _raising  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError):
        run(root, host)
    host.submit = submit  # type: ignore[method-assign]
    assert "intended" == only(root).state
    first, *others = [one for one in members if one.stage == "draft"]
    (root.generation(*first) / "parsed.txt").write_text("by hand")
    run(root, host)
    assert [] == missing(root, members)
    assert "by hand" == text(root, first)
    assert first.gen_id not in host.billed
    assert {one.gen_id for one in others} <= set(host.billed)
    assert {1} == set(host.billed.values())


def test_an_answer_is_no_child_of_a_text_that_it_was_not_made_from(root: DataRoot) -> None:
    """A draft that is made again while its essays are out: their answers are kept aside."""
    members, host = build(root), Provider()
    essays = [one for one in members if one.stage == "essay"]
    collect, host.collect = host.collect, _only_drafts(host)  # type: ignore[method-assign]
    run(root, host, wait=False)
    run(root, host, wait=False)
    out = [one for one in batches.open_batches(root) if one.stage == "essay"]
    asked = {Member("essay", one) for batch in out for one in batch.members.values()}
    draft = members[0]
    assert "draft" == draft.stage
    (root.generation(*draft) / "parsed.txt").write_text("another text")
    host.collect = collect  # type: ignore[method-assign]
    done = run(root, host)
    over = {one for one in asked if read_generation(root, *one).parent_gen_id == draft.gen_id}
    assert over
    assert over == set(missing(root, essays))
    assert len(over) == len(batches.kept_aside(root))
    assert over == {
        Member(one.stage, one.gen_id)
        for one in done.outcomes
        if one.kind == "failed" and "text has changed since" in one.reason
    }


def _only_drafts(host: Provider) -> Any:
    collect = host.collect

    def drafts(batch: str) -> Collected:
        found = collect(batch)
        return found if host.rows[batch][0].startswith("d_") else Collected(answers=[], ended=False)

    return drafts


def test_the_clock_decides_nothing(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record from the future, or from 1970, is resumed like any other."""
    members, host = build(root), Provider(pace=1)
    monkeypatch.setattr(batches, "now", lambda: "2999-01-01T00:00:00+00:00")
    run(root, host, wait=False)
    monkeypatch.setattr(batches, "now", lambda: "1970-01-01T00:00:00+00:00")
    run(root, host)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


def test_what_a_killed_process_only_prepared_holds_nobody(root: DataRoot) -> None:
    """Its lease ended with it; while another process has that, its tasks are left alone."""
    members = build(root)
    draft = batches.Batch(
        key=batches.DRAFT,
        stage="draft",
        state="preparing",
        since="",
        members={one.gen_id: one.gen_id for one in members},
    )
    batches.write(root, draft)
    with lease(root, *batches.LEASE, threading.Event()), never() as call:
        run(root, call)
    assert wanted_ids(root, members[0].stage, [members[0].gen_id])
    run(root, Provider())
    assert [] == missing(root, members)


def test_an_interrupt_leaves_the_batch(root: DataRoot) -> None:
    """The run ends immediately, and the next one resumes the same batch."""
    members, host = build(root), Provider(pace=0)
    collect = host.collect

    def interrupted(batch: str) -> Collected:
        os.kill(os.getpid(), signal.SIGINT)
        return collect(batch)

    host.collect = interrupted  # type: ignore[method-assign]
    done = run(root, host)
    assert done.interrupted
    host.collect, host.pace = collect, 100  # type: ignore[method-assign]
    run(root, host)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


@pytest.mark.parametrize("method", ["find", "submit", "collect"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_provider_that_fails_for_a_while_is_asked_again(
    root: DataRoot, method: str, when: str
) -> None:
    """Before or after it did what was asked: never twice in a batch."""
    members, host = build(root), Provider()
    inner = getattr(host, method)
    failed: list[str] = []

    def failing(*arguments: Any) -> Any:
        found = inner(*arguments) if when == "after" or len(failed) > 1 else None
        if len(failed) < 2:
            failed.append(method)
            raise ConnectionError("try later")
        return found

    setattr(host, method, failing)
    run(root, host)
    assert [] == missing(root, members)
    assert {1} == set(host.billed.values())


@pytest.mark.parametrize("method", ["find", "submit", "collect"])
@pytest.mark.parametrize("wrong", [7, "", b"x", ["a"]])
def test_a_host_of_another_mind_gets_a_clear_error(
    root: DataRoot, method: str, wrong: object
) -> None:
    """What it returns is named; the batch stays as it is."""
    build(root)
    host = Provider()
    setattr(host, method, lambda *arguments: wrong)

    def twice() -> None:
        run(root, host, wait=False)
        run(root, host, wait=False)

    with pytest.raises(StoreError, match=r"batch b_[0-9a-f]{32}"):
        twice()
    assert 1 == len(batches.open_batches(root))


def test_async_calls_share_one_loop_and_are_in_flight_together(root: DataRoot) -> None:
    """As many as `concurrency` says; an interrupt lets those in flight finish and records them."""
    build(root)
    loops, flying, most, ended = set(), 0, 0, 0
    together = asyncio.Event()

    async def call(request: Request) -> str:
        nonlocal flying, most, ended
        loops.add(asyncio.get_running_loop())
        flying += 1
        most = max(most, flying)
        if flying == 5:
            os.kill(os.getpid(), signal.SIGINT)
            together.set()
        await together.wait()
        flying -= 1
        ended += 1
        return "text"

    done = run_cohort(root, "c", call, Asked(), concurrency=5)
    assert done.interrupted
    assert (1, 5) == (len(loops), most)
    found = kinds(done)
    assert ended == found.pop("made") < done.workload.total_calls
    assert set(found) <= {"stopped"}  # one that was about to begin
