"""Obtain one generation: the one function through which anything is paid for.

The unit of payment is the task. Under the task's lease, `Executor` looks for content under this
id, a text that a killed run left in staging, the same task's text under another id, a batch that
holds the task, and a failure on record, in this order. Only when it finds none of them does it call
the host's callable. The request is built from the data root alone: the metadata, the template's
text and the parent's `parsed.txt`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from attrs import Factory, evolve, field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import decode_text, read_data
from genid_store.fs.files import check_inside, is_file, is_there, listed, problem_of, read_bytes
from genid_store.fs.layout import PARSED, RAW, DataRoot
from genid_store.fs.leases import NO_WAIT, lease
from genid_store.fs.locks import blocked
from genid_store.fs.slots import folder_lease
from genid_store.generation import failures
from genid_store.generation.batches import now, open_batches
from genid_store.generation.calling import answer, host_reason, is_unpaid, reason_of
from genid_store.generation.content import (
    ParentMissing,
    check_metadata,
    content_version,
    digest,
    model_of,
    parent_version,
    usable_text,
    was_none,
)
from genid_store.generation.decision import Decider, Decision
from genid_store.generation.giving import give_text
from genid_store.generation.publish import (
    files_of,
    give_up_spares,
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
    Generated,
    Generator,
    Kind,
    NotPaid,
    Outcome,
    Request,
    WrongAnswer,
    as_generated,
)
from genid_store.generation.reuse import Task
from genid_store.generation.status import has_content, paid_for
from genid_store.stages import PIPELINE, Member

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
#: What is said of a data root in whose place another folder is, such as a mount point without the
#: mount. Everything would be missing there, and be paid for again.
REPLACED: Final = "another folder is in the place of the data root"
REMOUNT: Final = "mount it or move it back, or start again where it is the same one"
_REPLACED: Final = Decision("refused", f"{REPLACED}; {REMOUNT}")


@frozen(kw_only=True)
class _Inputs:
    """What one generation is made from.

    `parent_text` and its digest are None for a root. `others` are the other ids under which the
    task may have a text, the preferred one first.
    """

    generation: Generation
    member: Member
    parent_text: str | None
    parent_digest: str | None
    others: list[Member]


class Stop(threading.Event):
    """Once it is set, no other call begins. `why` says so, with the reason, unless that was an
    interrupt."""

    why = ""

    def because(self, reason: str) -> None:
        """Set it; the first reason counts."""
        self.why = self.why or f"it was not begun, because {reason}"
        self.set()


@frozen(kw_only=True)
class Executor(Decider):
    """Obtains generations of one data root with one callable; safe to use from several threads.

    `seeds` has the metadata of generations that do not exist yet. `provider_models` maps model ids
    to the provider's names. With `templates`, every template of the pipeline's stages must have a
    text. With `preparing`, the callable only notes what goes into the next batch, whose draft
    record does not block it. `on_call` is called with 1 and -1 around each call. `home` is the
    status of the data root's folder; nothing is made in another one.
    """

    generator: Generator
    seeds: Mapping[Member, bytes] = field(factory=dict)
    provider_models: Mapping[str, str] = field(factory=dict)
    templates: bool = True
    preparing: bool = False
    stop: Stop = field(factory=Stop)
    on_call: Callable[[int], None] = field(default=lambda change: None)
    home: os.stat_result = field(
        default=Factory(lambda new: os.stat(new.root.path), takes_self=True), repr=False
    )

    def obtain(self, stage: str, gen_id: str) -> Outcome:
        """Return the outcome for one generation; every failure is an outcome, never an exception.

        A failure is recorded if the call was, or may have been, paid for. The next run retries any
        other failure without being asked.
        """
        started = time.monotonic()
        try:
            decision = self._obtain(Member(stage, gen_id))
        except Exception as error:
            decision = self._of_internal_error(error)
        complete = decision.kind in COMPLETE
        return Outcome(
            stage=stage,
            gen_id=gen_id,
            kind=decision.kind,
            reason=decision.reason,
            ways=decision.ways,
            version=content_version(self.root, stage, gen_id) if complete else None,
            seconds=time.monotonic() - started,
        )

    def request(self, stage: str, gen_id: str) -> Request:
        """Return the request for a generation without calling anyone.

        StoreError: the metadata, the parent's text or the template cannot be used.
        """
        inputs = self._read(Member(stage, gen_id))
        return self._request(inputs, self._template(inputs.generation))

    def _read(self, member: Member) -> _Inputs:
        """Read and check what a generation is made from. StoreError: the metadata or the parent's
        text cannot be used."""
        generation = read_generation(self.root, *member)
        check_metadata(self.root, generation)
        parent = generation.parent
        text = None if parent is None else usable_text(self.root, *parent).decode()
        task = self.plan.task_of(member)
        # The plan's ids come too: a call for one of them may have been in flight at planning time.
        made = self.plan.ledger.made(member.stage, task.name)
        ids = dict.fromkeys((task.source, *task.elsewhere, *task.others, *made))
        return _Inputs(
            generation=generation,
            member=member,
            parent_text=text,
            parent_digest=None if text is None else digest(text.encode()),
            others=[Member(member.stage, one) for one in ids if one not in (None, member.gen_id)],
        )

    def _of_internal_error(self, error: Exception) -> Decision:
        """Return the decision for an error of genid's own, before or without a call."""
        if isinstance(error, OSError):
            return Decision("refused", str(problem_of(self.root, error)))
        kind: Kind = "refused" if is_unpaid(error) else "failed"
        if isinstance(error, InBatch | ParentMissing):
            kind = "waiting" if isinstance(error, InBatch) else "blocked"
        return Decision(kind, reason_of(error))

    def _obtain(self, member: Member) -> Decision:
        stage, gen_id = member
        task = self.plan.task_of(member)
        if not os.path.samestat(os.stat(self.root.path), self.home):
            return _REPLACED
        state_folders = (self.root.own / name / stage for name in ("leases", "staging"))
        check_inside(self.root, self.root.generation(stage, gen_id), *state_folders)
        if has_content(self.root, stage, gen_id):
            return Decision("reused")
        # The task's lease keeps another id of the task from being paid for at the same time, the
        # folder's lease keeps recovery and a cohort's build out of the folder.
        with (
            lease(self.root, stage, task.name, self.stop) as has_task,
            lease(self.root, stage, folder_lease(gen_id), self.stop) as has_folder,
        ):
            if not (has_task and has_folder):
                return Decision("stopped", "another run holds it")
            if not os.path.samestat(os.stat(self.root.path), self.home):
                return _REPLACED
            # Checked under the lease: a migration first closes the store, then waits for leases.
            block = blocked(self.root)
            if block is not None:
                return Decision("stopped", str(block.problem(self.root)))
            if member in self.seeds:
                seed(self.root, *member, self.seeds[member])
            take_up(self.root, *member)
            exists = has_content(self.root, *member)
            decision = Decision("reused") if exists else self._complete(member, task)
            if decision.kind in COMPLETE:
                failures.forget(self.root, *member)
            return decision

    def _complete(self, member: Member, task: Task) -> Decision:
        """Decide about a generation without content, and carry the decision out."""
        inputs = self._read(member)
        decision = self.decide(
            inputs.generation,
            text=inputs.parent_digest,
            source=None if self.paid else self._source(task, inputs),
            others=inputs.others,
            batches=[
                batch
                for batch in open_batches(self.root)
                if not (self.preparing and batch.state == "preparing")
            ],
        )
        if decision.kind not in ("adopted", "copied", "missing"):
            return decision
        counted = self.asked.max_calls is None or self.asked.pay_again
        gone = task.source if decision.kind == "missing" else None
        if gone is not None and not counted:  # the limit was kept by a plan without this call
            return Decision("refused", f"the text of {gone}, planned for it, is gone; run again")
        # Written before anything is made: after a kill, a run that has already planned still learns
        # that this id may have a text.
        self.plan.ledger.add(member.stage, task.name, member.gen_id)
        if decision.kind == "missing":
            return self._pay_and_record(inputs)
        if decision.source is not None:
            give_text(self.root, member, decision.source, task.name)
        else:
            with prepared(self.root, *member) as folder:
                files = files_of(Generated(text=inputs.parent_text or ""), mode="copy")
                publish(folder, files, inputs.parent_text)
        return decision

    def _source(self, task: Task, inputs: _Inputs) -> str | None:
        """Return the id whose text can be reused: the plan's, or one that another run has made
        since planning, over the same parent's text."""
        if task.refused and not self.asked.reuse:
            return None
        for other in inputs.others:
            # Nothing else can be writing there, since this thread holds the task's lease.
            if not has_content(self.root, *other):
                _publish_waiting(self.root, *other, self.stop)
            if self._can_give(other, inputs.parent_digest):
                return other.gen_id
        return None

    def _can_give(self, other: Member, parent_digest: str | None) -> bool:
        try:
            usable_text(self.root, *other)
            return parent_version(self.root, read_generation(self.root, *other)) == parent_digest
        except ParentMissing:
            return False
        except OSError:
            if self.asked.pay_again:  # the option covers a text that is out of reach, too
                return False
            raise

    def _pay_and_record(self, inputs: _Inputs) -> Decision:
        """Pay, and record a call that gave no usable text. The record is written before the lease
        is released, because the next holder looks for it."""
        try:
            decision = self._pay(inputs)
        except Exception as error:
            decision = self._of_internal_error(error)
        has_no_text = decision.kind in {"failed", "unparsed"}
        if has_no_text and not is_complete(self.root, *inputs.member):
            give_up_spares()  # the next call takes new ones
            # If the disk refuses the record as well, the outcome still gives the reason.
            with contextlib.suppress(OSError, StoreError):
                if os.path.samestat(os.stat(self.root.path), self.home):
                    failures.record(self.root, *inputs.member, decision.reason)
        if decision.kind == "unparsed":  # not on record: a migration changes the path
            reason = f"{decision.reason}; {paid_for(self.root, inputs.member)}"
            decision = evolve(decision, reason=reason)
        return decision

    def _pay(self, inputs: _Inputs) -> Decision:
        template = self._template(inputs.generation)
        request = self._request(inputs, template)
        if self.preparing:
            self.generator(request)
        with prepared(self.root, *inputs.member, room=not self.paid) as folder:
            if self.stop.is_set():
                return Decision("stopped", self.stop.why or "interrupted before it began")
            name = getattr(self.generator, "__name__", "the callable")
            self.on_call(1)
            try:
                generated = as_generated(answer(self.generator, request), name)
            except Exception as error:  # the host may raise anything
                return _of_host_error(error)
            finally:
                self.on_call(-1)
            files = files_of(
                generated,
                template_digest=None if template is None else digest(template),
                provider_model=request.provider_model,
                generated_at=now(),
                was_none=(isinstance(generated, WrongAnswer) and generated.is_none) or None,
            )
            try:
                publish(folder, files, inputs.parent_text)
            except OSError as error:
                if error.errno in _FULL:
                    self.stop.because("there would be no room for its answer")
                # A batch keeps its answer, so that publishing it can be tried again.
                return Decision(
                    "refused" if self.paid else "failed", str(problem_of(self.root, error))
                )
        if PARSED in files:
            return Decision("made")
        if isinstance(generated, WrongAnswer) and not self.paid:  # every answer would be
            self.stop.because("an earlier answer of the callable was not a text")
        return Decision("unparsed", why_unparsed(generated) or "")

    def _request(self, inputs: _Inputs, template: bytes | None) -> Request:
        generation, member = inputs.generation, inputs.member
        model = model_of(self.root, generation)
        values = {"combo_id": generation.combo_id, "template_id": generation.template_id}
        values |= {**generation.signature_fields(), "llm_model_id": model}
        unparsed = (
            self.root.generation(*one) / RAW
            for one in (member, *inputs.others)
            if is_file(self.root.generation(*one) / RAW)
            and not was_none(self.root, *one)
            and parent_version(self.root, read_generation(self.root, *one)) == inputs.parent_digest
        )
        raw = next((read_bytes(path) for path in unparsed), None)
        return Request(
            stage=member.stage,
            gen_id=member.gen_id,
            fields={name: value for name, value in values.items() if value is not None},
            template_text=None if template is None else template.decode("utf-8-sig"),
            parent_text=inputs.parent_text,
            metadata=generation.raw,
            provider_model=self.provider_models.get(model or ""),
            unparsed_text=None if raw is None else raw.decode("utf-8", "surrogatepass"),
            custom_id=self.plan.task_of(member).name,
            data_root=self.root.path,
        )

    def _template(self, generation: Generation) -> bytes | None:
        """Return the template's bytes; None if it does not exist and is not required.

        A run requires it in the pipeline's stages, and in others where templates/<stage>/ has any.
        Elsewhere the callable may bring its own prompts; it gets an error if it asks for this one.

        StoreError: its file cannot be read, or is not UTF-8.
        """
        stage, template_id = generation.stage, generation.template_id
        kept = template_id is not None and listed(self.root.path / "templates" / stage, ".txt")
        required = self.templates and (stage in PIPELINE or bool(kept))
        try:
            path = self.root.template(stage, template_id or "")
        except StoreError:  # no file can have that name
            if required:
                raise
            return None
        if not required and not is_there(path):
            return None
        problems: list[Problem] = []
        data = read_data(self.root, path, problems)
        if data is None or decode_text(self.root.relative(path), data, problems) is None:
            raise StoreError("the template's text cannot be read", problems)
        return data


class InBatch(StoreError):  # noqa: N818 - it says where the task is
    """The task is in a batch, or goes into the next one."""


def recover(root: DataRoot) -> int:
    """Publish every generation that an earlier run completed but did not publish; return how many.
    Removes what an earlier run only began, and skips generations that another run holds."""
    published = 0
    for member in unpublished(root):
        with contextlib.suppress(OSError):  # making that generation raises it again
            published += _publish_waiting(root, *member, NO_WAIT)
    return published


def declare(root: DataRoot, member: Member, metadata: bytes) -> None:
    """Create a generation's folder with its metadata; existing metadata stays as it is."""
    with lease(root, member.stage, folder_lease(member.gen_id), threading.Event()):
        seed(root, *member, metadata)


def _publish_waiting(root: DataRoot, stage: str, gen_id: str, stop: threading.Event) -> bool:
    """Publish a text that a killed run left; return whether there was one, False also if `stop` is
    set before the generation's folder is free."""
    with lease(root, stage, folder_lease(gen_id), stop) as has_folder:
        if not has_folder or blocked(root) is not None:
            return False
        check_inside(root, root.generation(stage, gen_id), root.own / "staging" / stage)
        published = take_up(root, stage, gen_id)
        if published and has_content(root, stage, gen_id):
            failures.forget(root, stage, gen_id)
        return published


def _of_host_error(error: Exception) -> Decision:
    """Return the decision for an exception of the host's callable. The call may have been paid for.
    That holds for a StoreError, too: the callable may use a store of its own after it has paid."""
    unpaid = isinstance(error, NotPaid) or (not isinstance(error, StoreError) and is_unpaid(error))
    return Decision("refused" if unpaid else "failed", host_reason(error))
