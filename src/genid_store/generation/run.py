"""Make what a cohort lacks, in this process.

`cohort run`, the Dagster job and library users all come here with a cohort's id. The cohort is its
membership, unchanged: nothing is planned from the tables, so the caller builds a new cohort first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Final

from attrs import evolve, frozen

from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import Generation
from genid_store.errors import Problem, StoreError, counted
from genid_store.fs.files import guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import refuse_block
from genid_store.generation.batch import BatchHost, Batching, is_batch
from genid_store.generation.batches import refuse_unreadable
from genid_store.generation.decision import Decider
from genid_store.generation.once import Executor, Stop, recover
from genid_store.generation.pool import CONCURRENCY, obtain_all
from genid_store.generation.records import Asked, Generator, Outcome, never_called
from genid_store.generation.reuse import REMEDY, REMEDY_WAYS, plan_reuse_of
from genid_store.generation.workload import Workload, plan_work
from genid_store.stages import Member, parent_stage, stage_names

_LISTED: Final = 20  # members that a refusal names

#: The signals that, like Ctrl-C, end a run after the calls in flight.
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Progress:
    """How far a run is: how many `calls` it plans, how many are `done` and `in_flight`, how many
    members `failed`, how many rows are `in_batches`, and whether it was `interrupted`.

    It passes itself to `say` at each change, from one thread at a time.
    """

    def __init__(self, members: Iterable[Member], say: Callable[[Progress], None]) -> None:
        self.outcomes: list[Outcome] = []
        self.calls = self.done = self.in_flight = self.failed = self.in_batches = 0
        self.interrupted = False
        self._members, self._say, self._lock = frozenset(members), say, threading.Lock()

    def called(self, change: int) -> None:
        """Note that a call began (1) or ended (-1)."""
        with self._lock:
            self.in_flight += change
            self.done += change < 0
            self._say(self)

    def interrupt(self) -> None:
        """Note that no other call begins."""
        with self._lock:
            self.interrupted = True
            self._say(self)

    def looked(self, in_batches: int) -> None:
        """Note how many rows are in batches."""
        with self._lock:
            self.in_batches = in_batches
            self._say(self)

    def report(self, outcome: Outcome) -> None:
        """Note the outcome of a generation; an open batch may hold generations of other cohorts."""
        with self._lock:
            if (outcome.stage, outcome.gen_id) in self._members:
                self.outcomes.append(outcome)
                self.failed += not outcome.complete and outcome.kind != "waiting"
            self._say(self)


@frozen(kw_only=True)
class Done:
    """The result of a run: its outcomes in order, its plan, whether it was interrupted, and the
    `Stop.why` of what else stopped it."""

    outcomes: tuple[Outcome, ...]
    workload: Workload
    interrupted: bool
    stopped: str = ""


def plan_run(
    root: DataRoot,
    cohort_id: str,
    members: Sequence[Member],
    asked: Asked,
    *,
    planned: Mapping[Member, Generation] | None = None,
    awaited: bool = False,
) -> Workload:
    """Return what a run of a cohort's members would do; nothing is written.

    `planned` has the members of a cohort that is not written yet. `awaited`: the run waits for
    batches.

    StoreError: a migration is unfinished, the index or the record of a batch cannot be used, or a
    file cannot be read.
    """
    with guarded(root):
        refuse_block(root)
        refuse_unreadable(root)
        reuse = plan_reuse_of(root, members, cohort_id=cohort_id, planned=planned)
        decider = Decider(root=root, plan=reuse, asked=asked)
        return plan_work(decider, members, planned=planned, awaited=awaited)


def run_cohort(
    root: DataRoot,
    cohort_id: str,
    generator: Generator | BatchHost,
    asked: Asked,
    *,
    concurrency: int = CONCURRENCY,
    wait: bool = True,
    provider_models: Mapping[str, str] | None = None,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Done:
    """Make what is missing, ancestors first; an interrupt ends it after the calls in flight.

    With a batch object, all open batches are collected first. The members then go into batches of
    their own, stage by stage, which are waited for or, with `wait` False, left to the next run.

    StoreError: before any call, the membership cannot be read, or the store has tasks of legacy
    members under other ids and `asked` does not say what to do about them; later, there was an OS
    error, or a provider does not answer.
    """
    with guarded(root):
        recover(root)
        members = read_membership(root, cohort_id)
        stop = Stop()
        counting = Progress(members, progress)
        executor = Executor(
            root=root,
            generator=generator if callable(generator) else never_called,
            provider_models=provider_models or {},
            asked=asked,
            stop=stop,
            on_call=counting.called,
        )
    batching = None
    if is_batch(generator):
        batching = Batching(
            executor=executor,
            host=generator,
            report=counting.report,
            concurrency=concurrency,
            looked=counting.looked,
        )
        _until_interrupted(root, partial(batching.take_up, wait=wait), stop, counting)
    work = plan_run(root, cohort_id, members, asked, awaited=batching is not None and wait)
    refuse_paid(work)
    counting.calls = work.total_calls
    executor = evolve(executor, plan=work.decider.plan)

    def obtain() -> None:
        if batching is None:
            obtain_work(executor, work, counting.report, concurrency=concurrency)
            return
        planned = evolve(batching, executor=executor)
        for stage in stage_names():
            todo = [*work.ready(stage), *work.in_batches(stage)]
            planned.obtain(stage, todo, wait=wait)

    _until_interrupted(root, obtain, stop, counting)
    return Done(
        outcomes=tuple(counting.outcomes),
        workload=work,
        interrupted=counting.interrupted,
        stopped=stop.why,
    )


def obtain_work(
    executor: Executor,
    work: Workload,
    report: Callable[[Outcome], None],
    *,
    concurrency: int = CONCURRENCY,
) -> None:
    """Obtain the generations of a plan, ancestors first; `report` as in `obtain_all`."""
    for stage in stage_names():
        begun: set[str] = set()
        while ready := [one for one in work.ready(stage) if one not in begun]:
            obtain_all(executor, stage, ready, report, concurrency=concurrency)
            begun.update(ready)
            if parent_stage(stage) != stage:
                break  # else the next of each chain can be made now


def refuse_paid(work: Workload, planned: Mapping[Member, Generation] | None = None) -> None:
    """StoreError: members would be paid for although the store has their tasks; names them, and
    counts the calls, with those for what would be made from them. `planned` as in `plan_run`."""
    members = [one for one, why in work.waiting.items() if why.label == "paid under another id"]
    problems = []
    for member in members[:_LISTED]:
        existing = ", ".join(work.decider.plan.task_of(member).elsewhere[:3])
        message = f"the store has this task as {existing}"
        where = f"{member.stage} {member.gen_id}"
        problems.append(Problem(where=where, message=message, remedy=REMEDY, ways=REMEDY_WAYS))
    if problems:
        decider = evolve(work.decider, asked=evolve(work.decider.asked, pay_again=True))
        calls = plan_work(decider, work.members, planned=planned).total_calls
        again, total = counted(len(members), "member"), counted(calls, "call")
        summary = f"{again} would be paid for a second time ({total} in all)"
        raise StoreError(summary, problems)


def _until_interrupted(
    root: DataRoot, work: Callable[[], None], stop: threading.Event, counting: Progress
) -> None:
    """Do the work in another thread, so that the main thread can take signals. The first interrupt,
    SIGTERM or SIGHUP sets `stop`, which lets the calls in flight finish; the second is raised."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            with guarded(root):
                work()
        except BaseException as error:
            raised.append(error)
        finally:
            ended.set()

    # Not `join`: after an interrupt, it takes a thread that is still running for one that ended.
    ended = threading.Event()
    thread = threading.Thread(
        target=copy_context().run, args=(target,), name="genid-run", daemon=True
    )
    with _ended_as_interrupted():
        thread.start()
        while not ended.is_set():
            try:
                ended.wait()
            except KeyboardInterrupt:
                if counting.interrupted:
                    raise
                stop.set()
                counting.interrupt()
    if raised:
        raise raised[0]


@contextmanager
def _ended_as_interrupted() -> Iterator[None]:
    """Treat SIGTERM (a service manager's stop) and SIGHUP (a closed terminal) as Ctrl-C. Only in
    the main thread; an ignored signal (nohup) stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
