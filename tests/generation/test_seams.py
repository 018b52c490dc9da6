"""The seams between two runs: what one has just done, the other sees before it pays."""

import asyncio
import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from socket import gaierror
from ssl import SSLError
from typing import Any
from urllib.error import URLError

import pytest

from cohort_kit import OFF, ON, write_table
from genid import Draft, DraftId, Essay, gen_id
from genid_store import Request, Store, StoreError
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.cohort import prepare
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs import leases
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures, once, publish, reuse
from genid_store.generation.calling import answer, is_unpaid
from genid_store.generation.content import ParentMissing, usable_text
from genid_store.generation.ledger import Ledger
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked, Generator
from genid_store.generation.reuse import plan_reuse
from genid_store.generation.run import run_cohort
from genid_store.ids.rollout import Rollout
from genid_store.migration.run import migrate
from genid_store.stages import Member

PHASE_1 = Rollout.parse("on", "phase-1")


MINE = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)


class Calls:
    """A generator that counts, and whose texts differ from call to call."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, request: Request) -> str:
        self.asked.append(request.gen_id)
        return f"text {len(self.asked)}"


def build(root: DataRoot, cohort_id: str, rollout: Rollout = ON) -> Member:
    """Build a cohort; return its first draft, which is the same task in every state."""
    build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))
    return read_membership(root, cohort_id)[0]


def draft_of(root: DataRoot, member: Member) -> Draft:
    with StoreIndex.fresh(root) as index:
        found = index.get(*member)
    assert found is not None
    return Draft(
        combo_id=str(found.combo_id),
        template_id=str(found.template_id),
        llm_model_id=str(found.llm_model_id),
        replicate=1,
    )


def test_a_failure_is_on_record_before_the_lease_is_given_up(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gets the lease next sees it, however quickly that is."""
    member = build(root, "c")
    seen = []

    def given_up(descriptor: int) -> None:
        seen.append(failures.read(root, *member))
        give_up(descriptor)

    give_up = leases._release
    monkeypatch.setattr(leases, "_release", given_up)
    assert "failed" == Executor(root=root, generator=lambda request: "").obtain(*member).kind
    assert seen
    assert all(seen)


def test_a_text_made_while_the_index_was_read_is_seen(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run makes the task under another id after this one has looked and before it began."""
    build(root, "c")
    build(root, "d", PHASE_1)
    calls = Calls()

    def planned(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(reuse, "plan_reuse", plan_reuse)
        plan = plan_reuse(*arguments, **options)
        run_cohort(root, "d", calls, Asked())
        return plan

    monkeypatch.setattr(reuse, "plan_reuse", planned)
    run_cohort(root, "c", calls, Asked())
    assert len(calls.asked) == len({_task(root, name) for name in calls.asked})


@pytest.mark.parametrize("answers", [True, False])
def test_a_call_in_flight_while_another_run_plans_is_waited_for(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """It was begun under another id before the other run looked, and ended after that: its text is
    given, and a failure counts."""
    mine = build(root, "c")
    build(root, "d", PHASE_1)
    asked, planned, calls = threading.Event(), threading.Event(), Calls()

    def slow(request: Request) -> str:
        if not asked.is_set():
            asked.set()
            planned.wait(20)
        text = calls(request)
        if not answers:
            raise ValueError("no answer")
        return text

    first = threading.Thread(target=lambda: _executor(root, mine, slow).obtain(*mine))
    first.start()
    asked.wait(20)

    def planning(*arguments: Any, **options: Any) -> Any:
        plan = plan_reuse(*arguments, **options)
        planned.set()
        return plan

    monkeypatch.setattr(reuse, "plan_reuse", planning)
    run_cohort(root, "d", slow, Asked())
    first.join()
    assert len(calls.asked) == len({_task(root, name) for name in calls.asked})


def _task(root: DataRoot, gen_id: str) -> str:
    with StoreIndex.fresh(root) as index:
        return str(index.find(gen_id)[0].expected["v1"])


def test_a_store_sees_what_a_run_has_made_since_it_was_opened(root: DataRoot) -> None:
    """The whole store is looked at once; what is made under other ids later is seen too."""
    member = build(root, "c", OFF)
    draft = draft_of(root, member)
    calls = Calls()
    store = Store.open(root.path)
    store.once(MINE, calls)
    run_cohort(root, "c", calls, Asked())
    before = len(calls.asked)
    assert (root.generation(*member) / "parsed.txt").read_text() == store.once(draft, calls)
    assert before == len(calls.asked)


def test_a_line_that_a_full_disk_cut_off_is_an_error_and_hides_no_other(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it name another id, however much of it was written."""
    build(root, "c")
    real = os.write
    for size in range(1, 17):
        log = Ledger(root)
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda to, data, n=size: real(to, data[:n]))
            with pytest.raises(OSError, match="No space left"):
                log.add("draft", "task", "x-1-2")
        log.add("draft", "task", "y")
        log.add("draft", "task", "z")
        assert ("y", "z") == log.made("draft", "task")


def test_a_text_of_a_run_that_was_killed_before_it_said_so_is_found(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published and not in the ledger: a run that planned before finds it under the lease."""
    mine, other = build(root, "c"), build(root, "d", PHASE_1)
    calls = Calls()
    late = _executor(root, other, calls)
    first = _executor(root, mine, calls)

    def killed(*ignored: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(failures, "forget", killed)
        with pytest.raises(KeyboardInterrupt):
            first.obtain(*mine)
    assert "adopted" == late.obtain(*other).kind
    assert 1 == len(calls.asked)


@pytest.mark.parametrize("complete", [True, False])
def test_an_answer_under_another_id_that_was_written_aside_is_found(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    """A run of another cohort publishes it and reuses its text: no one is called."""
    mine = build(root, "c")
    build(root, "d", PHASE_1)
    aside = (
        root.own / "staging" / "draft" / (mine.gen_id if complete else f".{mine.gen_id}.7-00c0ffee")
    )
    aside.mkdir(parents=True)
    for name in ("parsed.txt", "raw.txt"):
        (aside / name).write_text("paid")
    calls = Calls()
    run_cohort(root, "d", calls, Asked())
    assert "paid" == (root.generation(*mine) / "parsed.txt").read_text()
    other = read_membership(root, "d")[0]
    assert "paid" == (root.generation(*other) / "parsed.txt").read_text()


def test_a_store_finds_an_answer_under_another_id_that_was_written_aside(root: DataRoot) -> None:
    """As a run does."""
    mine = build(root, "c", OFF)
    draft = draft_of(root, mine)
    aside = root.own / "staging" / "draft" / f".{mine.gen_id}.7-00c0ffee"
    aside.mkdir(parents=True)
    for name in ("parsed.txt", "raw.txt"):
        (aside / name).write_text("paid")
    calls = Calls()
    assert "paid" == Store.open(root.path).once(draft, calls)
    assert [] == calls.asked


def test_nobody_takes_up_what_another_run_is_writing(root: DataRoot) -> None:
    """A start completes, publishes and removes only where no other run is at work, whatever the
    id's family."""
    member = build(root, "c", OFF)

    def call(request: Request) -> str:
        before = sorted(root.own.glob("staging/*/*"))
        assert before
        assert 0 == once.recover(root)
        assert before == sorted(root.own.glob("staging/*/*"))
        return "text"

    outcome = _executor(root, member, call).obtain(*member)
    assert ("made", "") == (outcome.kind, outcome.reason)


def _executor(root: DataRoot, member: Member, call: Callable[[Request], str]) -> Executor:
    with StoreIndex.fresh(root) as index:
        return Executor(root=root, generator=call, plan=plan_reuse(index, [member]))


@pytest.mark.parametrize(
    ("error", "unpaid"),
    [
        (KeyError("OPENAI_API_KEY"), True),
        (KeyError("key_points"), False),
        (KeyError("monkey"), False),
        (ImportError("no parser"), False),
        (ConnectionRefusedError(), True),
        (TimeoutError(), False),
        (KeyError("HF_TOKEN"), True),
        (gaierror(-2, "no such name"), True),
        (URLError(ConnectionRefusedError()), True),
        (URLError(TimeoutError()), False),
        (SSLError(), False),
        (BrokenPipeError(), False),
        (MemoryError(), False),
    ],
)
def test_only_what_shows_that_nothing_was_paid_is_tried_again(
    error: Exception, unpaid: bool
) -> None:
    """A KeyError for a missing part of an answer comes after the call: the answer is paid for."""
    assert unpaid == is_unpaid(error)


def test_a_connection_that_broke_after_the_request_was_sent_may_be_paid() -> None:
    """Clients raise one error for what never began and for what broke off: its cause tells."""

    class APIConnectionError(Exception):
        pass

    class ConnectError(Exception):
        pass

    began, refused = APIConnectionError("broke off"), APIConnectionError("nobody there")
    began.__cause__ = ConnectionResetError()
    refused.__cause__ = ConnectError()
    assert (False, True) == (is_unpaid(began), is_unpaid(refused))


def test_a_callable_whose_own_dealings_with_a_store_fail_may_have_paid(tmp_path: Path) -> None:
    """Its answer may be there before a further step asks the store: asked once, then on record."""
    store, asked = Store.open(tmp_path), []
    draft, judged = (
        Draft(combo_id=name, template_id="t", llm_model_id="m", replicate=1) for name in "cd"
    )

    def judge(request: Request) -> str:
        raise TimeoutError

    def call(request: Request) -> str:
        asked.append(request.gen_id)
        return store.once(judged, judge)

    for _ in range(2):
        with pytest.raises(StoreError, match="failed: 1 generation"):
            store.once(draft, call)
    assert 1 == len(asked)


def test_no_network_is_known_under_urllib_too() -> None:
    """`urllib.error.URLError` has the error of the socket as its reason."""
    import socket
    import urllib.error

    assert is_unpaid(urllib.error.URLError(socket.gaierror(-2, "unknown")))


def test_an_async_callable_that_exits_fails_alone(tmp_path: Path) -> None:
    """`sys.exit` in a coroutine ends neither the event loop nor the run."""

    async def call(request: Request) -> str:
        if request.fields["replicate"] == 1:
            raise SystemExit(3)
        return "text"

    drafts = [
        Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=n) for n in (1, 2, 3)
    ]
    store = Store.open(tmp_path)
    with pytest.raises(StoreError, match="SystemExit"):
        store.once_all(drafts, call, concurrency=1)
    assert [drafts[0]] == store.missing(drafts)


def test_an_interrupt_that_the_callable_raises_itself_is_its_failure(tmp_path: Path) -> None:
    """It may have been paid for: it is on record, and only retried on request."""
    calls: list[str] = []

    def call(request: Request) -> str:
        calls.append(request.gen_id)
        raise KeyboardInterrupt

    store = Store.open(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreError, match="KeyboardInterrupt"):
            store.once(MINE, call)
    assert 1 == len(calls)
    assert {gen_id(MINE)} == failures.failed_ids(store.root, "draft")


def test_async_calls_of_one_process_share_one_loop_and_leave_no_threads(tmp_path: Path) -> None:
    """An async client belongs to one loop: that of the first call serves every later one."""
    import asyncio

    loops = set()

    async def call(request: Request) -> str:
        loops.add(id(asyncio.get_running_loop()))
        return "text"

    store = Store.open(tmp_path)
    before = threading.active_count()
    for number in range(1, 6):
        store.once(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=number), call)
    assert 1 == len(loops)
    assert threading.active_count() <= before + 1


def test_a_root_under_two_names_has_one_lease(root: DataRoot) -> None:
    """A record lock is the process's: its threads are told apart by the file, not by its name."""
    link = root.path.parent / "link"
    link.symlink_to(root.path)
    stop = threading.Event()
    stop.set()
    with (
        leases.lease(root, "draft", "task", stop) as mine,
        leases.lease(DataRoot(link), "draft", "task", stop) as theirs,
    ):
        assert (True, False) == (mine, theirs)


def test_a_lease_is_given_up_whatever_is_refused_about_its_file(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stays and blocks no one."""

    def refused(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    at_once = threading.Event()
    at_once.set()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        with leases.lease(root, "draft", "task", at_once) as held:
            assert held
    assert ["task"] == os.listdir(leases.leases(root) / "draft")
    with leases.lease(root, "draft", "task", at_once) as held:
        assert held


def test_a_forked_child_can_take_leases_whatever_its_parent_was_doing(root: DataRoot) -> None:
    """The table is another thread's at the moment of the fork."""
    began, go = threading.Event(), threading.Event()

    def look() -> None:
        with leases._table:
            began.set()
            go.wait(20)

    thread = threading.Thread(target=look)
    thread.start()
    began.wait(20)
    threading.Timer(0.1, go.set).start()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        with leases.lease(root, "draft", "task", threading.Event()) as held:
            os._exit(0 if held else 1)
    assert (pid, 0) == os.waitpid(pid, 0)
    thread.join()


def _raise() -> str:
    raise ValueError("in the child")


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize(
    ("status", "end"),
    [
        pytest.param(0, lambda: "of the child", id="returns"),
        pytest.param(1, _raise, id="raises"),
        pytest.param(3, lambda: sys.exit(3), id="exits"),
        pytest.param(1, lambda: sys.exit("a reason"), id="exits with a reason"),
    ],
)
def test_a_child_that_the_callable_forks_ends_where_it_leaves_the_callable(
    root: DataRoot, status: int, end: Callable[[], str], is_async: bool
) -> None:
    """It neither releases what its parent holds nor removes or publishes anything."""
    member, process = build(root, "c"), os.getpid()
    seen: list[object] = []

    def fork(request: Request) -> str:
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            return end()
        seen.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        seen.append(len(leases.held(root)))
        seen.append(len(list(root.own.glob("staging/draft/.*"))))
        return "of the parent"

    async def fork_in_loop(request: Request) -> str:
        return fork(request)

    try:
        executor = Executor(root=root, generator=fork_in_loop if is_async else fork)
        outcome = executor.obtain(*member)
    finally:
        if os.getpid() != process:
            os._exit(99)
    assert ("made", [status, 2, 1]) == (outcome.kind, seen)
    assert "of the parent" == (root.generation(*member) / "parsed.txt").read_text()


def test_a_text_that_is_no_unicode_is_one_error(tmp_path: Path) -> None:
    """Of a host that writes latin-1: said with the file's name, and never paid for again."""
    draft = MINE
    store, calls = Store.open(tmp_path), Calls()
    store.once(draft, calls)
    path = next(tmp_path.glob("gens/draft/*/parsed.txt"))
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(StoreError, match=r"parsed\.txt"):
        store.get(draft)
    with pytest.raises(StoreError, match=r"parsed\.txt"):
        store.once(draft, calls)
    assert 1 == len(calls.asked)


def test_a_cohort_that_is_declared_loses_no_member(root: DataRoot) -> None:
    """One that another program declared, or that a pipeline wrote without a manifest, stays."""
    build(root, "c")
    root.manifest("c").unlink()
    before = read_membership(root, "c")
    draft = MINE
    first = ", ".join(" ".join(member) for member in sorted(before)[:3])
    left = f"not declared now: {first} and {len(before) - 3} more;"
    with pytest.raises(StoreError, match=left):
        Store.open(root.path).declare("c", [draft])
    assert before == read_membership(root, "c")


def test_a_build_leaves_a_cohort_of_other_stages_as_it_was_declared(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables plan none of its members."""
    root.cohort("c").mkdir(parents=True)
    rows = b"stage,gen_id\nevaluation,one\n"
    root.membership("c").write_bytes(rows)
    monkeypatch.setattr(prepare, "PIPELINE", ("draft", "essay"))  # evaluations: a user's stage
    with pytest.raises(StoreError, match="no table plans: evaluation"):
        build(root, "c")
    assert rows == root.membership("c").read_bytes()
    assert not root.manifest("c").exists()


def test_declared_cohorts_differ_by_more_than_case(tmp_path: Path) -> None:
    """As cohorts that are built do: where case is ignored, both would be one folder."""
    store = Store.open(tmp_path)
    store.declare("may", [MINE])
    with pytest.raises(StoreError, match=r"differs from the new cohort's id"):
        store.declare("May", [MINE])
    assert ["may"] == [folder.name for folder in store.root.cohorts.iterdir()]


def test_a_new_cohort_is_not_declared_under_an_id_that_dagster_cannot_take(tmp_path: Path) -> None:
    """Before anything is written; one that is there is declared again."""
    store = Store.open(tmp_path)
    with pytest.raises(StoreError, match=r"partition key"):
        store.declare("a...b", [MINE])
    assert not (tmp_path / "cohorts").exists()
    store.declare("a..b", [MINE])
    store.root.cohort("a..b").rename(store.root.cohort("a...b"))
    assert store.declare("a...b", [MINE])


def test_an_empty_path_is_not_the_current_folder() -> None:
    """It comes from a variable that is not set."""
    with pytest.raises(StoreError, match="is not a folder; give the store's folder"):
        Store.open("")


def test_what_a_kill_left_of_a_generation_that_was_begun_is_swept(tmp_path: Path) -> None:
    """Its metadata, written aside; the next program that opens the store removes it."""
    store = Store.open(tmp_path)
    draft = MINE
    aside = store.root.own / "staging" / "draft" / f".{gen_id(draft)}.7-00c0ffee"
    aside.mkdir(parents=True)
    (aside / "metadata.json").write_text("{")
    other = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=2)
    store.once(other, Calls())
    assert [] == list(aside.parent.iterdir())
    assert [] == [path for path in store.root.temporary.glob("*") if path.is_dir()]


def test_a_store_without_cohorts_is_sound(tmp_path: Path) -> None:
    """A user of `once` alone is not told that no cohort names what was made."""
    store = Store.open(tmp_path)
    store.once(Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1), Calls())
    with StoreIndex.fresh(store.root) as index:
        assert () == audit(index).findings


@pytest.mark.parametrize("nested", ["once", "once_all", "async", "in a thread"])
def test_a_callable_that_asks_for_its_own_generation_is_told_so(
    tmp_path: Path, nested: str
) -> None:
    """It would wait for itself; another generation it may ask for."""
    store = Store.open(tmp_path)
    other = Draft(combo_id="other", template_id="t", llm_model_id="m", replicate=1)

    def ask(request: Request) -> str:
        return store.once(other, lambda one: "other") + store.once(MINE, ask)

    def ask_for_many(request: Request) -> str:
        return "".join(store.once_all([other, MINE], ask_for_many))

    async def ask_later(request: Request) -> str:
        return await asyncio.to_thread(store.once, MINE, ask_later)

    def ask_in_a_thread(request: Request) -> str:
        with ThreadPoolExecutor() as pool:
            return pool.submit(copy_context().run, ask, request).result()

    call: dict[str, Generator] = {
        "once": ask,
        "once_all": ask_for_many,
        "async": ask_later,
        "in a thread": ask_in_a_thread,
    }
    with pytest.raises(StoreError, match="its own callable waits for this generation"):
        store.once(MINE, call[nested])
    assert "later" == Store.open(tmp_path).once(MINE, lambda one: "later", retry_failed=True)


@pytest.mark.parametrize("concurrency", [1, 2])
def test_callables_that_ask_for_each_others_generations_are_told_so(
    tmp_path: Path, concurrency: int
) -> None:
    """Three in a circle, from threads of their own: one is told, and so the others end too."""
    store, fields = Store.open(tmp_path), {"template_id": "t", "llm_model_id": "m"}
    circle = [Draft(combo_id=str(number), replicate=1, **fields) for number in range(3)]
    begun = threading.Barrier(len(circle))
    errors: list[str] = []

    def ask(number: int) -> None:
        def call(request: Request) -> str:
            begun.wait(60)
            after = circle[(number + 1) % len(circle)]
            return "".join(store.once_all([after], lambda one: "", concurrency=concurrency))

        try:
            store.once(circle[number], call)
        except StoreError as error:
            errors.append(str(error))

    threads = [
        threading.Thread(target=ask, args=(number,), daemon=True) for number in range(len(circle))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert not any(one.is_alive() for one in threads)
    assert len(circle) == len(errors)
    assert 1 <= sum("callable waits for this generation" in one for one in errors)


@pytest.mark.parametrize("year", [1970, 2999])
def test_who_began_before_a_failure_does_not_try_it_again(root: DataRoot, year: int) -> None:
    """Two runs are asked to retry what failed, on machines whose clocks differ: it is tried again
    once."""
    member, calls = build(root, "c"), Calls()

    def fail(request: Request) -> str:
        calls(request)
        raise RuntimeError("no answer")

    Executor(root=root, generator=fail).obtain(*member)
    first, second = (
        Executor(root=root, generator=fail, asked=Asked(retry_failed=True)) for _ in range(2)
    )
    assert "failed" == first.obtain(*member).kind
    record = root.own / "failures" / member.stage / f"{member.gen_id}.json"
    failure = json.loads(record.read_text())
    record.write_text(json.dumps({**failure, "at": f"{year}-01-01T00:00:00+00:00"}))
    assert "failed" == second.obtain(*member).kind
    assert 2 == len(calls.asked)


def test_an_essay_over_an_id_from_before_a_migration_is_told_the_new_one(root: DataRoot) -> None:
    """Its draft's text is there, under another id now."""
    member = build(root, "c", Rollout.OFF)
    run_cohort(root, "c", Calls(), Asked(max_calls=1))
    new = str(gen_id(draft_of(root, member)))
    migrate(root)
    essay = Essay(parent_gen_id=DraftId(member.gen_id), template_id="t", replicate=1)
    store = Store.open(root.path)
    told = f"{member.gen_id} is {new} since a migration; give {new} as the parent"
    assert (None, [essay]) == (store.get(essay), store.missing([essay]))
    with pytest.raises(StoreError, match=told):
        store.once(essay, Calls())


def test_a_store_is_a_folder(tmp_path: Path) -> None:
    """A file is refused by its name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file: is not a folder"):
        Store.open(tmp_path / "file")


def test_an_interrupt_of_the_main_thread_ends_a_run_whatever_a_host_calls_its_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host may replace the threads of Python, as gevent does."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(threading, "current_thread", threading.Thread)
    with pytest.raises(KeyboardInterrupt):
        answer(interrupted)


def test_a_spare_descriptor_that_the_host_closed_or_took_is_left_to_it(tmp_path: Path) -> None:
    """Neither fails giving them up."""
    store = Store.open(tmp_path)
    store.once(MINE, lambda request: "a text")
    closed, taken = publish._spares[:2]
    os.close(closed)
    own = os.open(tmp_path, os.O_RDONLY)
    os.dup2(own, taken)
    publish.give_up_spares()
    assert [] == publish._spares
    assert os.path.samestat(os.fstat(taken), os.stat(tmp_path))
    for descriptor in {own, taken}:
        os.close(descriptor)


def test_only_a_text_that_has_children_must_be_utf_8(tmp_path: Path) -> None:
    """Nothing is made from an evaluation, so its text is reused as it is."""
    root = DataRoot(tmp_path)
    for stage in ("draft", "evaluation"):
        root.generation(stage, "x").mkdir(parents=True)
        (root.generation(stage, "x") / "parsed.txt").write_bytes("é".encode("latin-1"))
    assert "é".encode("latin-1") == usable_text(root, "evaluation", "x")
    with pytest.raises(ParentMissing, match="save it as UTF-8"):
        usable_text(root, "draft", "x")


def test_evaluations_without_a_number_count_before_their_new_parent_is_indexed(
    root: DataRoot,
) -> None:
    """A build that forbids regeneration knows a planned essay's id, and finds the text below it."""
    write_table(
        root.path, "essay_templates.csv", [["template_id", "generator"], ["parsed", "copy"]]
    )
    drafts = Rollout.parse("draft")
    build_cohort(root, Options(rollout=drafts, cohort_id="autumn"))
    run_cohort(root, "autumn", lambda request: "SCORE: 7", Asked())
    for path in root.gens.glob("evaluation/*/metadata.json"):
        document = json.loads(path.read_text())
        del document["replicate"]
        path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=r"evaluation .*: the store has this work"):
        build_cohort(root, Options(rollout=drafts, cohort_id="winter", forbid_regeneration=True))
