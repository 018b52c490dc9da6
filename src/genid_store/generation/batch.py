"""Obtain generations through a provider's batch endpoint: cheaper, but it takes hours.

The members of a batch are decided under their tasks' leases, by the rule of every other run, and
recorded before anything is submitted. The record's key follows from the tasks and serves as the
idempotency key: after a kill, the next run first asks the provider for a batch with that key. One
process at a time prepares, submits or collects.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias, TypeGuard

from attrs import evolve, field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import StoreError
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import RAW, DataRoot
from genid_store.fs.leases import lease
from genid_store.generation import batches, failures
from genid_store.generation.batches import LEASE, Batch
from genid_store.generation.calling import answer, host_reason, reason_of
from genid_store.generation.content import digest, parent_version
from genid_store.generation.once import Executor, InBatch
from genid_store.generation.pool import CONCURRENCY, obtain_all, try_each
from genid_store.generation.records import (
    AnswerError,
    Generated,
    Outcome,
    Request,
    WrongAnswer,
    as_generated,
)
from genid_store.generation.reuse import Task
from genid_store.generation.status import has_content, state_of
from genid_store.stages import Member

_METHODS: Final = ("find", "submit", "collect")
_FIRST, _LONGEST = 0.1, 60.0  # seconds between two polls of a batch; each pause is longer
#: How many polls in a row may fail before a run gives up waiting.
PATIENCE: Final = 8
#: What to do if an answer cannot be published.
_HELD: Final = "; fix that (build the cohort again if its metadata is gone), and run again"
_LOG: Final = logging.getLogger(__name__)
#: A custom_id and its answer.
_Row: TypeAlias = tuple[str, str | Generated | Exception]


@frozen(kw_only=True)
class Collected:
    """The answers of a batch so far.

    `answers` are (custom_id, answer) of all finished rows, or only of those not returned before. An
    answer is a text, a `Generated`, or an exception that says why there is none. `ended`: no more
    answers will come, and `reason` is why, for the rows without one. `done` is the number of
    finished rows, for progress.
    """

    answers: Iterable[_Row]
    ended: bool
    done: int | None = None
    reason: str = "no answer came for it"


class BatchHost(Protocol):
    """A host's object for a batch endpoint, in place of a callable; methods may be `async def`.

    Optional: `finish(request, answer)` returns the answer with its parsed form; `cancel(batch)`;
    `max_requests` and, with `size(request)`, `max_bytes` are limits to split larger batches by.
    """

    def find(self, key: str) -> Any:
        """Return the provider's name of the batch submitted under a key, or None."""

    def submit(self, key: str, requests: Iterable[Request]) -> Any:
        """Submit one row for each request, under its `custom_id`; return the batch's name."""

    def collect(self, batch: str) -> Any:
        """Return a `Collected` with the answers so far."""


def is_batch(host: object) -> TypeGuard[BatchHost]:
    """Return whether a host's object is a `BatchHost` rather than a callable."""
    return not isinstance(host, type) and all(
        callable(getattr(host, name, None)) for name in _METHODS
    )


@frozen(kw_only=True)
class Batching:
    """Obtains generations with a host's batch object, at most `concurrency` at a time.

    `report` is called as for `obtain_all`, `looked` with the number of rows without an answer.
    """

    executor: Executor
    host: Any
    report: Callable[[Outcome], None]
    concurrency: int = CONCURRENCY
    looked: Callable[[int], None] = field(default=lambda rows: None)
    _settled: set[tuple[str, str, str]] = field(factory=set)  # key, custom_id, digest
    _out: dict[str, int] = field(factory=dict)  # rows without an answer, by key
    #: Answers that could not be published because of an error here, by key and custom_id.
    _held: dict[str, dict[str, Any]] = field(factory=dict)
    _ended: set[str] = field(factory=set)  # keys of batches with only such answers left
    _given_up: set[str] = field(factory=set)  # keys

    @property
    def root(self) -> DataRoot:
        return self.executor.root

    def obtain(self, stage: str, gen_ids: Sequence[str], *, wait: bool = True) -> None:
        """Obtain generations of one stage; with `wait`, return once none is in a batch.

        StoreError: a provider does not answer, or a record cannot be read.
        """
        todo = gen_ids
        while todo and not self.executor.stop.is_set():
            waiting = self._prepare(stage, todo)
            names = {name for outcome in waiting for name in (outcome.gen_id, self._task(outcome))}
            self._await(stage, names, wait=wait)
            missing = [
                one for one in waiting if state_of(self.root, stage, one.gen_id) == "missing"
            ]
            over = not wait or self.executor.stop.is_set()
            left = [outcome for outcome in missing if over or self._is_held(outcome)]
            for outcome in left:
                self.report(outcome)
            # The batch was of another id of the same task: its text can now be reused.
            todo = [outcome.gen_id for outcome in missing if outcome not in left]

    def take_up(self, *, wait: bool = True) -> None:
        """Submit the batches that were only intended, and collect every open one."""
        errors = self._advance_all(batches.open_batches(self.root))
        if errors and not wait:
            raise errors[0]

    def cancel(self, key: str) -> bool:
        """Cancel a batch and collect its finished rows; return whether it is over.

        StoreError: there is no such batch, or the host cannot cancel one.
        """
        with lease(self.root, *LEASE, self.executor.stop) as has_lease:
            if not has_lease:
                return False
            batch = batches.read(self.root, key)
            if batch is None or batch.state == "preparing":
                raise _refused(key, "there is no such batch", "list the open batches")
            handle = batch.handle or self._handle(key, answer(self.host.find, key))
            if handle is None:
                for gen_id in batch.members.values():
                    self._report(self._fail(batch, gen_id, "cancelled before it was submitted"))
                batches.close(self.root, batch)
                return True
            if not hasattr(self.host, "cancel"):
                raise _refused(key, "the batch object has no `cancel`", "cancel it at the provider")
            answer(self.host.cancel, handle)
            self._given_up.add(key)
            return self._collect(evolve(batch, handle=handle))

    # -- preparing ---------------------------------------------------------------------------------
    def _prepare(self, stage: str, gen_ids: Sequence[str]) -> list[Outcome]:
        """Reuse and copy what costs nothing, record the batches of what is to be paid for, and
        return the outcomes of the members that are in a batch."""
        wanted: dict[str, tuple[str, int]] = {}  # id and size of the row, by task
        parents: dict[str, str] = {}
        noting = threading.Lock()

        def note(request: Request) -> str:
            size = self.host.size(request) if hasattr(self.host, "max_bytes") else 0
            with noting:
                twice = request.custom_id in wanted
                wanted.setdefault(request.custom_id, (request.gen_id, size))
                if request.parent_text is not None:
                    parents[request.custom_id] = digest(request.parent_text.encode())
            raise InBatch("its task is in a batch under another id" if twice else "in a batch")

        outcomes: list[Outcome] = []
        executor = evolve(
            self.executor, generator=note, preparing=True, on_call=lambda change: None
        )
        with lease(self.root, *LEASE, self.executor.stop) as has_lease:
            if not has_lease:
                return []
            tasks = {executor.plan.task_of(Member(stage, one)).name: one for one in gen_ids}
            # The draft holds every task before the first lease is taken, so that no other run
            # begins one; taking each lease then waits for the runs that had begun before.
            draft = self._batch(stage, tasks, batches.DRAFT)
            batches.write(self.root, draft)
            try:
                obtain_all(executor, stage, gen_ids, outcomes.append, concurrency=self.concurrency)
                for chunk in [] if self.executor.stop.is_set() else self._split(wanted):
                    members = {name: wanted[name][0] for name in chunk}
                    digests = {name: parents[name] for name in chunk if name in parents}
                    key = batches.batch_key(self.root, stage, members, digests)
                    batches.write(self.root, self._batch(stage, members, key, parents=digests))
            finally:
                batches.discard(self.root, draft)
        for outcome in outcomes:
            reported = any(self._task(outcome) in held for held in self._held.values())
            if outcome.kind != "waiting" and not reported:
                self.report(outcome)
        return [outcome for outcome in outcomes if outcome.kind == "waiting"]

    def _batch(self, stage: str, members: Mapping[str, str], key: str, **more: Any) -> Batch:
        state: batches.State = "preparing" if key == batches.DRAFT else "intended"
        return Batch(
            key=key, stage=stage, state=state, since=batches.now(), members=members, **more
        )

    def _split(self, wanted: Mapping[str, tuple[str, int]]) -> Iterator[list[str]]:
        """Yield the rows of each batch. They are split in the order of their ids, so that the same
        work gives the same batches."""
        max_requests = getattr(self.host, "max_requests", None)
        max_bytes = getattr(self.host, "max_bytes", None)
        chunk: list[str] = []
        total = 0
        for name in sorted(wanted):
            size = wanted[name][1]
            too_large = max_bytes is not None and total + size > max_bytes
            if chunk and (len(chunk) == max_requests or too_large):
                yield chunk
                chunk, total = [], 0
            chunk.append(name)
            total += size
        if chunk:
            yield chunk

    def _task(self, outcome: Outcome) -> str:
        return self.executor.plan.task_of(Member(outcome.stage, outcome.gen_id)).name

    # -- submitting and collecting -----------------------------------------------------------------
    def _await(self, stage: str, names: set[str], *, wait: bool) -> None:
        """Submit and collect the batches with any of these ids until there are none left."""
        pause, failed = _FIRST, 0
        while not self.executor.stop.is_set():
            mine = [
                batch
                for batch in batches.open_batches(self.root)
                if batch.holds(stage, names) and batch.key not in self._ended
            ]
            due = [batch for batch in mine if wait or batch.state == "intended"]
            errors = self._advance_all(due)
            failed = failed + 1 if errors else 0
            if errors and (not wait or failed > PATIENCE):
                raise errors[0]
            if not wait or not mine:
                return
            if any(batches.read(self.root, batch.key) for batch in mine):
                self.executor.stop.wait(_FIRST * 2**failed if failed else pause)
                pause = min(pause * 1.5, _LONGEST)

    def _advance_all(self, due: Iterable[Batch]) -> list[StoreError]:
        errors = []
        for batch in due:
            try:
                self._advance(batch.key)
            except Exception as error:  # the host may raise anything; the record stays
                _LOG.warning("batch %s: %s", batch.key, host_reason(error))
                remedy = "run again to continue the batch, or cancel it"
                errors.append(_refused(batch.key, host_reason(error), remedy))
        return errors

    def _advance(self, key: str) -> None:
        """Submit or collect a batch, whichever is next; another process may have done so."""
        with lease(self.root, *LEASE, self.executor.stop) as has_lease:
            batch = batches.read(self.root, key) if has_lease else None
            if batch is None:
                return
            if batch.state == "unreadable":
                batches.refuse_unreadable(self.root)
            elif batch.state == "intended":
                self._submit(batch)
            elif batch.state == "submitted":
                self._collect(batch)

    def _submit(self, batch: Batch) -> None:
        """Submit a batch unless the provider has it: a kill may have hidden its answer.

        If the store has changed since the batch was recorded (a member has its text, or its parent
        another one), the batch is discarded; what is still missing goes into another one.
        """
        handle = self._handle(batch.key, answer(self.host.find, batch.key))
        if handle is None:
            for name, gen_id in batch.members.items():
                made = has_content(self.root, batch.stage, gen_id)
                generation = read_generation(self.root, batch.stage, gen_id)
                if made or self._has_other_parent(batch, name, generation):
                    batches.discard(self.root, batch)
                    return
            tasks = {Member(batch.stage, one): Task(name) for name, one in batch.members.items()}
            executor = evolve(self.executor, plan=evolve(self.executor.plan, tasks=tasks))
            requests = (executor.request(*member) for member in tasks)
            try:
                handle = self._handle(batch.key, answer(self.host.submit, batch.key, requests))
            except Exception as error:  # the host may raise anything
                # The provider may have it all the same, so that its key must stay.
                batches.write(self.root, evolve(batch, error=reason_of(error)))
                raise
        if handle is None:
            raise _refused(batch.key, "`submit` returned no name of a batch", "correct the host")
        batches.write(self.root, evolve(batch, state="submitted", handle=handle, error=None))
        self._say_out(batch.key, len(batch.members))

    def _handle(self, key: str, returned: object) -> str | None:
        if returned is None or (isinstance(returned, str) and returned):
            return returned
        message = f"the batch object returned {returned!r}, not the name of a batch"
        raise _refused(key, message, "return a text")

    def _collect(self, batch: Batch) -> bool:
        """Bring the answers so far to the store; return whether the batch is over."""
        collected = answer(self.host.collect, batch.handle)
        if not isinstance(collected, Collected):
            raise _refused(batch.key, "`collect` did not return Collected", "correct the host")
        if collected.done not in (None, batch.done) and batch.state == "submitted":
            batch = evolve(batch, done=collected.done)
            batches.write(self.root, batch)
        self._say_out(batch.key, len(batch.members) - batch.done)
        answered: set[str] = set()
        repeated: list[_Row] = []
        retried = self._held.pop(batch.key, {})

        def first_answers() -> Iterator[_Row]:
            for row in chain(collected.answers, retried.items()):
                if not _is_row(row):
                    self._keep_aside(batch, "", row, "it is not a pair (custom_id, answer)")
                elif row[0] in answered:
                    repeated.append(row)
                else:
                    answered.add(row[0])
                    yield row

        settle, stop = partial(self._settle, batch), self.executor.stop
        try_each(settle, first_answers(), self._report, concurrency=self.concurrency, stop=stop)
        # Two answers to one row must not race for its generation.
        try_each(settle, repeated, self._report, concurrency=1, stop=stop)
        if self.executor.stop.is_set():
            return False
        held = self._held.get(batch.key, {})
        if collected.ended:
            for name, gen_id in batch.members.items():
                if name not in answered and not self._is_settled(batch, gen_id):
                    self._report(self._fail(batch, gen_id, collected.reason))
            if held:
                self._ended.add(batch.key)
            else:
                batches.close(self.root, batch)
            self._say_out(batch.key, len(held))
        return collected.ended and not held

    def _say_out(self, key: str, rows: int) -> None:
        self._out[key] = rows
        self.looked(sum(self._out.values()))

    def _report(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.report(outcome)

    def _settle(self, batch: Batch, row: _Row) -> Outcome | None:
        """Bring one answer to the store, once, however often it is returned; return the outcome of
        its generation, None if that has not changed."""
        custom_id, returned = row
        checked = _checked(returned)
        text = checked.text if isinstance(checked, Generated) else reason_of(checked)
        mark = (batch.key, custom_id, digest(text.encode(errors="replace")))
        if mark in self._settled:
            return None
        gen_id, outcome = batch.members.get(custom_id), None
        if isinstance(checked, Exception):
            if gen_id is not None:
                outcome = self._fail(batch, gen_id, text)
        elif gen_id is None:
            self._keep_aside(batch, custom_id, text, "the batch has no such custom_id")
        elif not self._has(batch.stage, gen_id, text):
            generation = read_generation(self.root, batch.stage, gen_id)
            if generation.raw and self._has_other_parent(batch, custom_id, generation):
                reason = "its parent's text has changed since"
                outcome = self._keep_aside(batch, custom_id, text, reason)
            else:
                outcome = self._publish(batch, custom_id, gen_id, returned, checked)
        if custom_id not in self._held.get(batch.key, {}):
            self._settled.add(mark)
        return outcome

    def _publish(
        self, batch: Batch, custom_id: str, gen_id: str, returned: object, checked: Generated
    ) -> Outcome | None:
        member = Member(batch.stage, gen_id)
        executor = evolve(
            self.executor,
            plan=evolve(self.executor.plan, tasks={member: Task(custom_id)}),
            generator=lambda request: self._finished(request, returned, checked),
            paid=True,
        )
        outcome = executor.obtain(*member)
        if outcome.kind in ("made", "unparsed", "failed"):
            return outcome
        if outcome.kind == "stopped":
            raise _refused(batch.key, outcome.reason, "run again")
        if outcome.kind == "refused" and batch.key not in self._given_up:
            self._held.setdefault(batch.key, {})[custom_id] = returned
            reason = f"its answer stays in the batch {batch.key}: {outcome.reason}{_HELD}"
            return evolve(outcome, reason=reason)
        reason = "the generation has another text" if outcome.complete else outcome.reason
        return self._keep_aside(batch, custom_id, checked.text, reason)

    def _is_held(self, outcome: Outcome) -> bool:
        """Return whether a generation's task is in a batch with only held answers left."""
        ended = (batches.read(self.root, key) for key in self._ended)
        names = (outcome.gen_id, self._task(outcome))
        return any(batch is not None and batch.holds(outcome.stage, names) for batch in ended)

    def _has_other_parent(self, batch: Batch, custom_id: str, generation: Generation) -> bool:
        """Return whether the parent's text has changed, or is gone, since the batch was made."""
        planned = batch.parents.get(custom_id)
        return planned is not None and parent_version(self.root, generation) != planned

    def _finished(self, request: Request, returned: object, checked: Generated) -> Generated:
        """Return the answer with its parsed form; its text is kept whatever `finish` does."""
        if not hasattr(self.host, "finish") or not isinstance(returned, str | Generated):
            return checked
        try:
            finished = as_generated(answer(self.host.finish, request, returned))
        except Exception as error:  # the host may raise anything, or return an empty text
            return evolve(checked, unparsed=f"`finish`: {host_reason(error)}")
        if isinstance(finished, WrongAnswer):
            return evolve(checked, unparsed=f"`finish`: {finished.unparsed}")
        return evolve(finished, text=checked.text, parsed=finished.handed_on)

    def _has(self, stage: str, gen_id: str, text: str) -> bool:
        """Return whether a generation has exactly this text."""
        try:
            data = read_bytes(self.root.generation(stage, gen_id) / RAW)
        except OSError:
            return False
        return data.decode("utf-8", "surrogatepass") == text

    def _keep_aside(
        self, batch: Batch, custom_id: object, text: object, why: str
    ) -> Outcome | None:
        """Keep an answer that cannot be published; the member it is for, if any, has failed."""
        name = str(custom_id)
        path = batches.keep_aside(self.root, batch.key, name, str(text), why)
        _LOG.warning("batch %s: the answer for %s is kept in %s: %s", batch.key, name, path, why)
        reason = f"its answer is kept in {self.root.relative(path)}: {why}"
        gen_id = batch.members.get(name)
        return None if gen_id is None else self._fail(batch, gen_id, reason)

    def _is_settled(self, batch: Batch, gen_id: str) -> bool:
        failure = failures.read(self.root, batch.stage, gen_id)
        failed_here = failure is not None and failure.reason.startswith(f"batch {batch.key}: ")
        return failed_here or state_of(self.root, batch.stage, gen_id) in {"made", "unparsed"}

    def _fail(self, batch: Batch, gen_id: str, reason: str) -> Outcome | None:
        """Record that a row has no answer; None if that is on record, or there is content."""
        reason = f"batch {batch.key}: {reason}"
        before = failures.read(self.root, batch.stage, gen_id)
        recorded = before is not None and before.reason == reason
        if recorded or has_content(self.root, batch.stage, gen_id):
            return None
        failures.record(self.root, batch.stage, gen_id, reason)
        return Outcome(stage=batch.stage, gen_id=gen_id, kind="failed", reason=reason)


def _refused(key: str, message: str, remedy: str) -> StoreError:
    return StoreError.of("the batch cannot be continued", f"batch {key}", message, remedy)


def _is_row(row: object) -> bool:
    return isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str)


def _checked(returned: object) -> Generated | Exception:
    """Return an answer as a record, or the exception that says why there is none."""
    if isinstance(returned, Exception):
        return returned
    try:
        return as_generated(returned)
    except AnswerError as error:
        return error
