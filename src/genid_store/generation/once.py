"""Obtain one generation: the one function through which anything is paid for.

The unit of payment is the task. Under its lease the store is asked, in this order: content under
this id; a text that a killed run wrote aside; the same task's text under another id; a batch that
the task is in; a failure on record. Only when all say no is the host's callable called, and what it
is asked for follows from the data root alone: metadata, the template's text, the parent's
`parsed.txt`.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from attrs import field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import decode_text, read_data
from genid_store.fs.files import check_inside, is_file, is_there, problem_of, read_bytes
from genid_store.fs.layout import PARSED, RAW, DataRoot
from genid_store.fs.leases import lease
from genid_store.fs.locks import blocked
from genid_store.fs.slots import folder_lease
from genid_store.generation import failures
from genid_store.generation.batches import now, open_batches
from genid_store.generation.calling import NotPaid, answer, is_unpaid, reason_of
from genid_store.generation.content import (
    ParentMissing,
    check_metadata,
    content_version,
    digest,
    model_of,
    parent_version,
    text_to_build_upon,
    usable_text,
)
from genid_store.generation.decision import Decider, Decision
from genid_store.generation.giving import give_text
from genid_store.generation.publish import (
    files_of,
    is_complete,
    prepared,
    publish,
    seed,
    take_up,
    unpublished,
    why_unparsed,
)
from genid_store.generation.records import (
    COMPLETE,
    WRONG_TYPE,
    Generated,
    Generator,
    Kind,
    Outcome,
    Request,
    as_generated,
)
from genid_store.generation.reuse import Task
from genid_store.generation.status import UNPARSED, has_content
from genid_store.stages import PIPELINE, Member

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@frozen(kw_only=True)
class Executor(Decider):
    """Obtains generations of one data root with one callable; used from several threads at once.

    `preparing`: the callable only takes note of what is to go into a batch, whose record is there
    and says so. `seeds` is the metadata of those that have none yet. `provider_models` maps model
    ids to the provider's names. `templates` requires the text of every template of the pipeline's
    stages.
    """

    generator: Generator
    seeds: Mapping[Member, bytes] = field(factory=dict)
    provider_models: Mapping[str, str] = field(factory=dict)
    templates: bool = True
    preparing: bool = False
    stop: threading.Event = field(factory=threading.Event)
    on_call: Callable[[int], None] = field(default=lambda change: None)

    def obtain(self, stage: str, gen_id: str) -> Outcome:
        """Return what became of one generation; every failure is an outcome.

        On record is what was, or may have been, paid for; what failed before that is tried again
        by the next run.
        """
        started = time.monotonic()
        try:
            end = self._obtain(Member(stage, gen_id))
        except Exception as error:
            end = self._of_ours(error)
        return Outcome(
            stage=stage,
            gen_id=gen_id,
            kind=end.kind,
            reason=end.reason,
            ways=end.ways,
            version=content_version(self.root, stage, gen_id) if end.kind in COMPLETE else None,
            seconds=time.monotonic() - started,
        )

    def request(self, stage: str, gen_id: str) -> Request:
        """Return what the callable would be asked. StoreError: it cannot be asked for this."""
        generation, parent_text = self._read(Member(stage, gen_id))
        others = self._others(generation)
        return self._request(generation, parent_text, self._template(generation), others)

    def _read(self, member: Member) -> tuple[Generation, str | None]:
        """Return what is to be made, and its parent's text, None for a root. StoreError: nothing
        can be made of that."""
        generation = read_generation(self.root, *member)
        check_metadata(self.root, generation)
        parent = generation.parent
        return generation, None if parent is None else text_to_build_upon(self.root, *parent)

    def _of_ours(self, error: Exception) -> Decision:
        """Sort an error of our own: nothing was paid for."""
        if isinstance(error, OSError):
            return self._of_system(error)
        kind: Kind = "refused" if is_unpaid(error) else "failed"
        if isinstance(error, InBatch | ParentMissing):
            kind = "waiting" if isinstance(error, InBatch) else "blocked"
        return Decision(kind, reason_of(error))

    def _of_system(self, error: OSError, *, paid: bool = False) -> Decision:
        """Sort what the system refuses to us."""
        return Decision("failed" if paid else "refused", str(problem_of(self.root, error)))

    def _obtain(self, member: Member) -> Decision:
        stage, gen_id = member
        task = self.plan.task_of(member)
        ours = (self.root.own / name / stage for name in ("leases", "staging"))
        check_inside(self.root, self.root.generation(stage, gen_id), *ours)
        if has_content(self.root, stage, gen_id):
            return Decision("reused")
        with (
            lease(self.root, stage, task.name, self.stop) as held,
            lease(self.root, stage, folder_lease(gen_id), self.stop) as alone,
        ):
            if not (held and alone):
                return Decision("stopped", "another run holds it")
            barred = blocked(self.root)  # under the lease: a migration waits for leases
            if barred is not None:
                return Decision("stopped", f"{barred.reason}; {barred.remedy}")
            if member in self.seeds:
                seed(self.root, *member, self.seeds[member])
            take_up(self.root, *member)
            there = has_content(self.root, *member)
            decision = Decision("reused") if there else self._go_on(member, task)
            if decision.kind in COMPLETE:
                failures.forget(self.root, *member)
            return decision

    def _go_on(self, member: Member, task: Task) -> Decision:
        """Go on where this id has no content. What is about to be done goes into the ledger first:
        a kill after that hides nothing from a run that has planned already."""
        generation, parent_text = self._read(member)
        text = None if parent_text is None else digest(parent_text.encode())
        others = self._others(generation)
        decision = self.decide(
            generation,
            text=text,
            source=None if self.paid else self._source(task, others, text),
            others=others,
            batches=[
                one
                for one in open_batches(self.root)
                if not (self.preparing and one.state == "preparing")
            ],
        )
        if decision.kind not in ("adopted", "copied", "missing"):
            return decision
        self.plan.ledger.add(member.stage, task.name, member.gen_id)
        if decision.kind == "missing":
            return self._pay_on_record(generation, parent_text, others)
        if decision.source is not None:
            give_text(self.root, member, decision.source, task.name)
        else:
            with prepared(self.root, *member) as folder:
                files = files_of(Generated(text=parent_text or ""), mode="copy")
                publish(folder, files, parent_text)
        return decision

    def _others(self, generation: Generation) -> list[Member]:
        """Return every other id under which the task may have a text by now, the one whose text is
        to be given first: those of the plan, since a call for one of them was perhaps in flight
        then, and those that are younger."""
        stage = generation.stage
        task = self.plan.task_of(Member(stage, generation.gen_id))
        made = self.plan.ledger.made(stage, task.name)
        ids = dict.fromkeys((task.source, *task.elsewhere, *task.others, *made))
        return [Member(stage, one) for one in ids if one not in (None, generation.gen_id)]

    def _source(self, task: Task, others: list[Member], text: str | None) -> str | None:
        """Return the id whose text is to be given: the plan's, or one that another run has made of
        this task meanwhile over the same parent's text."""
        for other in others if self.asked.reuse or not task.refused else ():
            if not has_content(self.root, *other):  # the task is leased
                _publish_waiting(self.root, *other, self.stop)
            if self._can_give(other, text):
                return other.gen_id
        return None

    def _can_give(self, other: Member, text: str | None) -> bool:
        try:
            usable_text(self.root, *other)
        except ParentMissing:
            return False
        except OSError:
            if self.asked.pay_again:  # also for a text that is out of reach
                return False
            raise
        return parent_version(self.root, read_generation(self.root, *other)) == text

    def _pay_on_record(
        self, generation: Generation, parent_text: str | None, others: list[Member]
    ) -> Decision:
        """Pay; where no text has come of it that is on record before the lease is given up: whoever
        gets that next looks."""
        try:
            end = self._pay(generation, parent_text, others)
        except Exception as error:  # the host may raise anything: it is an outcome
            end = self._of_ours(error)
        member = generation.stage, generation.gen_id
        if end.kind in {"failed", "unparsed"} and not is_complete(self.root, *member):
            with contextlib.suppress(OSError, StoreError):  # the outcome says what the disk lacks
                failures.record(self.root, *member, end.reason)
        return end

    def _pay(
        self, generation: Generation, parent_text: str | None, others: list[Member]
    ) -> Decision:
        stage, gen_id = generation.stage, generation.gen_id
        template = self._template(generation)
        request = self._request(generation, parent_text, template, others)
        if self.preparing:
            self.generator(request)
        with prepared(self.root, stage, gen_id, room=not self.paid) as folder:
            if self.stop.is_set():
                return Decision("stopped", "interrupted before it began")
            name = getattr(self.generator, "__name__", "the callable")
            self.on_call(1)
            try:
                generated = as_generated(answer(self.generator, request), name)
            except Exception as error:  # the host may raise anything: it is an outcome
                return _of_call(error)
            finally:
                self.on_call(-1)
            files = files_of(
                generated,
                template_digest=None if template is None else digest(template),
                provider_model=request.provider_model,
                generated_at=now(),
            )
            try:
                publish(folder, files, parent_text)
            except OSError as error:
                if error.errno in _FULL:  # what is paid for next would have no place either
                    self.stop.set()
                return self._of_system(error, paid=not self.paid)  # a batch has its answer still
        if PARSED in files:
            return Decision("made")
        reason = why_unparsed(generated) or ""
        if WRONG_TYPE in reason and not self.paid:  # so would every further answer be
            self.stop.set()
        return Decision("unparsed", f"{reason}; {UNPARSED}")

    def _request(
        self,
        generation: Generation,
        parent_text: str | None,
        template: bytes | None,
        others: list[Member],
    ) -> Request:
        member, model = Member(generation.stage, generation.gen_id), model_of(self.root, generation)
        values = {"combo_id": generation.combo_id, "template_id": generation.template_id}
        values |= {**generation.signature_fields(), "llm_model_id": model}
        above = None if parent_text is None else digest(parent_text.encode())
        unparsed = (
            self.root.generation(*one) / RAW
            for one in (member, *others)
            if is_file(self.root.generation(*one) / RAW)
            and above == parent_version(self.root, read_generation(self.root, *one))
        )
        raw = next((read_bytes(path) for path in unparsed), None)
        return Request(
            stage=generation.stage,
            gen_id=generation.gen_id,
            fields={name: value for name, value in values.items() if value is not None},
            template_text=(template or b"").decode("utf-8-sig"),
            parent_text=parent_text,
            metadata=generation.raw,
            provider_model=self.provider_models.get(model or ""),
            unparsed_text=None if raw is None else raw.decode("utf-8", "surrogatepass"),
            custom_id=self.plan.task_of(member).name,
            data_root=self.root.path,
        )

    def _template(self, generation: Generation) -> bytes | None:
        """Return the template's bytes; None where it is not needed and not there.

        StoreError: its file cannot be read, or is not UTF-8.
        """
        needed = self.templates and generation.stage in PIPELINE
        try:
            path = self.root.template(generation.stage, generation.template_id or "")
        except StoreError:  # no file can have that name
            if needed:
                raise
            return None
        if not needed and not is_there(path):
            return None
        problems: list[Problem] = []
        data = read_data(self.root, path, problems)
        if data is None or decode_text(self.root.relative(path), data, problems) is None:
            raise StoreError("the template's text cannot be read", problems)
        return data


class InBatch(StoreError):  # noqa: N818 - it says where it is
    """The task goes into a batch, or is in one."""


def recover(root: DataRoot) -> int:
    """Publish every generation that an earlier run completed and could not publish any more, and
    return how many; what it only began goes. One that another run holds is left to it."""
    at_once = threading.Event()
    at_once.set()
    return sum(_publish_waiting(root, *found, at_once) for found in unpublished(root))


def declare(root: DataRoot, member: Member, metadata: bytes) -> None:
    """Make a generation's folder with its metadata, which is left alone where it is there."""
    with lease(root, member.stage, folder_lease(member.gen_id), threading.Event()):
        seed(root, *member, metadata)


def _publish_waiting(root: DataRoot, stage: str, gen_id: str, stop: threading.Event) -> bool:
    """Publish a text that a killed run left; return whether there was one. False where `stop` is
    set before the generation's folder is free."""
    with lease(root, stage, folder_lease(gen_id), stop) as held:
        if not held or blocked(root) is not None:
            return False
        check_inside(root, root.generation(stage, gen_id), root.own / "staging" / stage)
        found = take_up(root, stage, gen_id)
        if found and has_content(root, stage, gen_id):
            failures.forget(root, stage, gen_id)
        return found


def _of_call(error: Exception) -> Decision:
    """Sort what the host's callable raised: it may have been paid for, and a StoreError of its own
    dealings with a store too."""
    unpaid = isinstance(error, NotPaid) or (not isinstance(error, StoreError) and is_unpaid(error))
    return Decision("refused" if unpaid else "failed", reason_of(error))
