"""Obtain generations through a provider's batch endpoint: cheaper, with hours of waiting.

The id is the idempotency key. What is to go into a batch is written down, and looked at under each
task's lease as every run looks, before anything is submitted; whoever runs next asks the provider
for a batch of that key first. One process at a time prepares, submits or collects.
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
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import RAW, DataRoot
from genid_store.fs.leases import lease
from genid_store.generation import batches, failures
from genid_store.generation.batches import LEASE, Batch
from genid_store.generation.calling import answer, reason_of
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
from genid_store.generation.reuse import Plan, Task
from genid_store.generation.status import has_content, state_of
from genid_store.stages import Member

_METHODS: Final = ("find", "submit", "collect")
_FIRST, _LONGEST = 0.1, 60.0  # seconds between two looks at a batch; each pause is longer
#: How often in a row a provider may fail to answer before a run gives up waiting.
PATIENCE: Final = 8
#: What is to be done where an answer cannot be published.
_HELD: Final = "; put that right (build the cohort again where its metadata is gone), and run again"
_LOG: Final = logging.getLogger(__name__)
#: A custom_id and its answer.
_Row: TypeAlias = tuple[str, str | Generated | Exception]


@frozen(kw_only=True)
class Collected:
    """What a provider has of a batch: (custom_id, answer) of all rows that are done, or of those
    that this object has not given before. An answer is text, `Generated`, or an exception that
    says why there is none. `ended`: no more will come; `reason` is why, for the rows without an
    answer. `done` is how many rows are done, for progress."""

    answers: Iterable[_Row]
    ended: bool
    done: int | None = None
    reason: str = "no answer came for it"


class BatchHost(Protocol):
    """What a host gives for a batch endpoint in place of a callable; plain or `async def` methods.

    And where it likes: `finish(request, answer)`, the answer with its parsed form; `cancel(batch)`;
    `max_requests` and, with `size(request)`, `max_bytes`: larger batches are split.
    """

    def find(self, key: str) -> Any:
        """Return the provider's name of the batch that was submitted under a key, or None."""

    def submit(self, key: str, requests: Iterable[Request]) -> Any:
        """Submit one row for each request, under its `custom_id`; return the batch's name."""

    def collect(self, batch: str) -> Any:
        """Return `Collected`."""


def is_batch(found: object) -> TypeGuard[BatchHost]:
    """Say whether a host's object is a `BatchHost` rather than a callable."""
    return not isinstance(found, type) and all(
        callable(getattr(found, one, None)) for one in _METHODS
    )


@frozen(kw_only=True)
class Batching:
    """Obtains generations with a host's batch object, at most `concurrency` at a time; `report` is
    called as for `obtain_all`, `looked` with the number of rows that are still out."""

    executor: Executor
    host: Any
    report: Callable[[Outcome], None]
    concurrency: int = CONCURRENCY
    looked: Callable[[int], None] = field(default=lambda rows: None)
    _settled: set[tuple[str, str, str]] = field(factory=set)  # key, custom_id, digest
    _out: dict[str, int] = field(factory=dict)  # rows that are out, by key
    #: Answers that could not be published, by key and custom_id: they wait for what is wrong here.
    _held: dict[str, dict[str, Any]] = field(factory=dict)
    _ended: set[str] = field(factory=set)  # batches of which nothing but those is left
    _given_up: set[str] = field(factory=set)  # by key

    @property
    def root(self) -> DataRoot:
        return self.executor.root

    def obtain(self, stage: str, gen_ids: Sequence[str], *, wait: bool = True) -> None:
        """Obtain generations of one stage; with `wait` return when none is in a batch any more.

        StoreError: a provider does not answer, or a record cannot be read.
        """
        todo = gen_ids
        while todo and not self.executor.stop.is_set():
            waiting = self._prepare(stage, todo)
            names = {name for one in waiting for name in (one.gen_id, self._task(one))}
            self._await(stage, names, wait=wait)
            left = [one for one in waiting if state_of(self.root, stage, one.gen_id) == "missing"]
            over = not wait or self.executor.stop.is_set()
            held = [one for one in left if over or self._is_held(one)]
            for one in held:
                self.report(one)
            # the task of the others was asked for under another id
            todo = [one.gen_id for one in left if one not in held]

    def take_up(self, *, wait: bool = True) -> None:
        """Submit what was only intended, and collect what has come of every open batch."""
        errors = self._advance_all(batches.open_batches(self.root))
        if errors and not wait:
            raise errors[0]

    def cancel(self, key: str) -> bool:
        """Give up a batch: what it had done is collected; return whether it is over.

        StoreError: there is no such batch, or the host cannot cancel one.
        """
        with lease(self.root, *LEASE, self.executor.stop) as held:
            if not held:
                return False
            batch = batches.read(self.root, key)
            if batch is None or batch.state == "preparing":
                raise _refused(key, "there is no such batch", "list the batches that are out")
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
        """Give what is to be given, and write down the batches of what is to be paid for; return
        the outcomes of those that are, or will be, in one.

        The first record holds all of them, so that from then on nobody else begins one; then each
        lease is taken once, so that whoever had begun before is waited for.
        """
        wanted: dict[str, tuple[str, int]] = {}
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
        with lease(self.root, *LEASE, self.executor.stop) as held:
            if not held:
                return []
            tasks = {executor.plan.task_of(Member(stage, one)).name: one for one in gen_ids}
            draft = self._batch(stage, tasks, batches.DRAFT)
            batches.write(self.root, draft)  # in place of what a killed process left
            try:
                obtain_all(executor, stage, gen_ids, outcomes.append, concurrency=self.concurrency)
                for chunk in [] if self.executor.stop.is_set() else self._split(wanted):
                    members = {name: wanted[name][0] for name in chunk}
                    key = batches.batch_key(self.root, stage, members)
                    above = {name: parents[name] for name in chunk if name in parents}
                    batches.write(self.root, self._batch(stage, members, key, parents=above))
            finally:
                batches.discard(self.root, draft)
        for outcome in outcomes:
            names = self._held.values()
            held = any(self._task(outcome) in one for one in names)  # it is reported already
            if outcome.kind != "waiting" and not held:
                self.report(outcome)
        return [outcome for outcome in outcomes if outcome.kind == "waiting"]

    def _batch(self, stage: str, members: Mapping[str, str], key: str, **more: Any) -> Batch:
        state: batches.State = "preparing" if key == batches.DRAFT else "intended"
        return Batch(
            key=key, stage=stage, state=state, since=batches.now(), members=members, **more
        )

    def _split(self, wanted: Mapping[str, tuple[str, int]]) -> Iterator[list[str]]:
        """Yield the rows of each batch, in the order of their ids: the same work is split alike."""
        most = getattr(self.host, "max_requests", None)
        room = getattr(self.host, "max_bytes", None)
        chunk: list[str] = []
        size = 0
        for name in sorted(wanted):
            more = wanted[name][1]
            if chunk and (len(chunk) == most or (room is not None and size + more > room)):
                yield chunk
                chunk, size = [], 0
            chunk.append(name)
            size += more
        if chunk:
            yield chunk

    def _task(self, outcome: Outcome) -> str:
        return self.executor.plan.task_of(Member(outcome.stage, outcome.gen_id)).name

    # -- submitting and collecting -----------------------------------------------------------------
    def _await(self, stage: str, names: set[str], *, wait: bool) -> None:
        """Submit and collect the batches that have some of these ids, until none has."""
        pause, failed = _FIRST, 0
        while not self.executor.stop.is_set():
            mine = [one for one in batches.open_batches(self.root) if one.holds(stage, names)]
            mine = [one for one in mine if one.key not in self._ended]
            due = [one for one in mine if wait or one.state == "intended"]
            errors = self._advance_all(due)
            failed = failed + 1 if errors else 0
            if errors and (not wait or failed > PATIENCE):
                raise errors[0]
            if not wait or not mine:
                return
            if any(batches.read(self.root, one.key) for one in mine):
                self.executor.stop.wait(_FIRST * 2**failed if failed else pause)
                pause = min(pause * 1.5, _LONGEST)

    def _advance_all(self, found: Iterable[Batch]) -> list[StoreError]:
        errors = []
        for one in found:
            try:
                self._advance(one.key)
            except Exception as error:  # the host may raise anything; the record stays
                _LOG.warning("batch %s: %s", one.key, reason_of(error))
                remedy = "run again: it is taken up as it stands; or cancel the batch"
                errors.append(_refused(one.key, reason_of(error), remedy))
        return errors

    def _advance(self, key: str) -> None:
        """Submit a batch, or collect what has come of it; somebody else may have done so."""
        with lease(self.root, *LEASE, self.executor.stop) as held:
            batch = batches.read(self.root, key) if held else None
            if batch is None:
                return
            if batch.state == "unreadable":
                batches.refuse_unreadable(self.root)
            elif batch.state == "intended":
                self._submit(batch)
            elif batch.state == "submitted":
                self._collect(batch)

    def _submit(self, batch: Batch) -> None:
        """Submit a batch, unless it was: a kill may have hidden the provider's answer. Where it was
        not, and a member has its text by now or its parent another one, it is given up: what is
        still to be made goes into another."""
        handle = self._handle(batch.key, answer(self.host.find, batch.key))
        if handle is None:
            for name, gen_id in batch.members.items():
                made = has_content(self.root, batch.stage, gen_id)
                generation = read_generation(self.root, batch.stage, gen_id)
                if made or self._has_other_parent(batch, name, generation):
                    batches.discard(self.root, batch)
                    return
            tasks = {Member(batch.stage, one): Task(name) for name, one in batch.members.items()}
            executor = evolve(self.executor, plan=self._plan(tasks))
            requests = (executor.request(*member) for member in tasks)
            handle = self._handle(batch.key, answer(self.host.submit, batch.key, requests))
        if handle is None:
            raise _refused(batch.key, "`submit` returned no name of a batch", "correct the host")
        batches.write(self.root, evolve(batch, state="submitted", handle=handle))
        self._say_out(batch.key, len(batch.members))

    def _plan(self, tasks: Mapping[Member, Task]) -> Plan:
        """Return a plan that knows of some tasks what a batch says of them, and no more."""
        return Plan(ledger=self.executor.plan.ledger, tasks=tasks)

    def _handle(self, key: str, found: object) -> str | None:
        if found is None or (isinstance(found, str) and found):
            return found
        message = f"the batch object returned {found!r}, not the name of a batch"
        raise _refused(key, message, "return a text")

    def _collect(self, batch: Batch) -> bool:
        """Bring to the store what has come; return whether the batch is over."""
        collected = answer(self.host.collect, batch.handle)
        if not isinstance(collected, Collected):
            raise _refused(batch.key, "`collect` did not return Collected", "correct the host")
        if collected.done not in (None, batch.done) and batch.state == "submitted":
            batch = evolve(batch, done=collected.done)
            batches.write(self.root, batch)
        self._say_out(batch.key, len(batch.members) - batch.done)
        answered: set[str] = set()
        repeated: list[_Row] = []

        held = self._held.pop(batch.key, {})

        def first() -> Iterator[_Row]:
            for row in chain(collected.answers, held.items()):
                if not _is_row(row):
                    self._keep_aside(batch, "", row, "it is not a pair (custom_id, answer)")
                elif row[0] in answered:
                    repeated.append(row)
                else:
                    answered.add(row[0])
                    yield row

        settle, stop = partial(self._settle, batch), self.executor.stop
        try_each(settle, first(), self._report, concurrency=self.concurrency, stop=stop)
        try_each(settle, repeated, self._report, concurrency=1, stop=stop)
        if self.executor.stop.is_set():
            return False
        left = self._held.get(batch.key, {})
        if collected.ended:
            for name, gen_id in batch.members.items():
                if name not in answered and not self._is_settled(batch, gen_id):
                    self._report(self._fail(batch, gen_id, collected.reason))
            if left:
                self._ended.add(batch.key)
            else:
                batches.close(self.root, batch)
            self._say_out(batch.key, len(left))
        return collected.ended and not left

    def _say_out(self, key: str, rows: int) -> None:
        self._out[key] = rows
        self.looked(sum(self._out.values()))

    def _report(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.report(outcome)

    def _settle(self, batch: Batch, row: _Row) -> Outcome | None:
        """Bring one answer to the store, once, however often it is given; return what became of
        its generation, None where that has not changed."""
        custom_id, given = row
        kept = _checked(given)
        text = kept.text if isinstance(kept, Generated) else reason_of(kept)
        mark = (batch.key, custom_id, digest(text.encode(errors="replace")))
        if mark in self._settled:
            return None
        gen_id, outcome = batch.members.get(custom_id), None
        if isinstance(kept, Exception):
            if gen_id is not None:
                outcome = self._fail(batch, gen_id, text)
        elif gen_id is None:
            self._keep_aside(batch, custom_id, text, "the batch has no such custom_id")
        elif not self._has(batch.stage, gen_id, text):
            generation = read_generation(self.root, batch.stage, gen_id)
            if generation.raw and self._has_other_parent(batch, custom_id, generation):
                why = "its parent has another text by now"
                outcome = self._keep_aside(batch, custom_id, text, why)
            else:
                outcome = self._publish(batch, custom_id, gen_id, given, kept)
        if custom_id not in self._held.get(batch.key, {}):
            self._settled.add(mark)
        return outcome

    def _publish(
        self, batch: Batch, custom_id: str, gen_id: str, given: object, kept: Generated
    ) -> Outcome | None:
        member = Member(batch.stage, gen_id)
        executor = evolve(
            self.executor,
            plan=self._plan({member: Task(custom_id)}),
            generator=lambda request: self._finished(request, given, kept),
            paid=True,
        )
        outcome = executor.obtain(*member)
        if outcome.kind in ("made", "unparsed", "failed"):
            return outcome
        if outcome.kind == "stopped":
            raise _refused(batch.key, outcome.reason, "run again")
        if outcome.kind == "refused" and batch.key not in self._given_up:
            self._held.setdefault(batch.key, {})[custom_id] = given
            reason = f"batch {batch.key}: its answer waits there: {outcome.reason}{_HELD}"
            return evolve(outcome, reason=reason)
        why = "another text is there" if outcome.complete else outcome.reason
        return self._keep_aside(batch, custom_id, kept.text, why)

    def _is_held(self, outcome: Outcome) -> bool:
        """Say whether a generation's task is in a batch of which only what is held is left."""
        found = (batches.read(self.root, key) for key in self._ended)
        names = (outcome.gen_id, self._task(outcome))
        return any(one is not None and one.holds(outcome.stage, names) for one in found)

    def _has_other_parent(self, batch: Batch, custom_id: str, generation: Generation) -> bool:
        """Say whether the text that a member was to be made from is another one by now, or gone."""
        planned = batch.parents.get(custom_id)
        return planned is not None and parent_version(self.root, generation) != planned

    def _finished(self, request: Request, given: object, kept: Generated) -> Generated:
        """Return the answer with its parsed form; its text is kept whatever `finish` does."""
        if not hasattr(self.host, "finish") or not isinstance(given, str | Generated):
            return kept
        try:
            finished = as_generated(answer(self.host.finish, request, given))
        except Exception as error:  # the host may raise anything, or give an empty text
            return evolve(kept, unparsed=f"`finish`: {reason_of(error)}")
        if isinstance(finished, WrongAnswer):
            return evolve(kept, unparsed=f"`finish`: {finished.unparsed}")
        return evolve(finished, text=kept.text, parsed=finished.handed_on)

    def _has(self, stage: str, gen_id: str, text: str) -> bool:
        """Say whether a generation has this very text."""
        try:
            data = read_bytes(self.root.generation(stage, gen_id) / RAW)
        except OSError:
            return False
        return data.decode("utf-8", "surrogatepass") == text

    def _keep_aside(
        self, batch: Batch, custom_id: object, text: object, why: str
    ) -> Outcome | None:
        """Keep an answer that cannot be a generation's text; its member's has none then."""
        name = str(custom_id)
        path = batches.keep_aside(self.root, batch.key, name, str(text), why)
        _LOG.warning("batch %s: the answer for %s is kept in %s: %s", batch.key, name, path, why)
        reason = f"its answer is kept in {self.root.relative(path)}: {why}"
        gen_id = batch.members.get(name)
        return None if gen_id is None else self._fail(batch, gen_id, reason)

    def _is_settled(self, batch: Batch, gen_id: str) -> bool:
        found = failures.read(self.root, batch.stage, gen_id)
        ours = found is not None and found.reason.startswith(f"batch {batch.key}: ")
        return ours or state_of(self.root, batch.stage, gen_id) in {"made", "unparsed"}

    def _fail(self, batch: Batch, gen_id: str, reason: str) -> Outcome | None:
        """Record that a row has no answer, once (None: it was, or has content); it is asked again
        only when asked."""
        reason = f"batch {batch.key}: {reason}"
        before = failures.read(self.root, batch.stage, gen_id)
        recorded = before is not None and before.reason == reason
        if recorded or has_content(self.root, batch.stage, gen_id):
            return None
        failures.record(self.root, batch.stage, gen_id, reason)
        return Outcome(stage=batch.stage, gen_id=gen_id, kind="failed", reason=reason)


def _refused(key: str, message: str, remedy: str) -> StoreError:
    problem = Problem(where=f"batch {key}", message=message, remedy=remedy)
    return StoreError("the batch cannot be gone on with", [problem])


def _is_row(row: object) -> bool:
    return isinstance(row, tuple | list) and len(row) == 2 and isinstance(row[0], str)


def _checked(given: object) -> Generated | Exception:
    """Return an answer as a record, whatever its type is, or why there is none."""
    if isinstance(given, Exception):
        return given
    try:
        return as_generated(given)
    except AnswerError as error:
        return error
