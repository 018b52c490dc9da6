"""Decide what happens to a task now.

The same rule serves a plan, a run that holds the task's lease, and the report on the members that
a run left. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import Factory, evolve, field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.fs.files import problem_of
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.batches import Batch
from genid_store.generation.content import fault_of, text_version
from genid_store.generation.ledger import Ledger
from genid_store.generation.records import WAYS, Asked, Kind
from genid_store.generation.reuse import REMEDY, REMEDY_WAYS, Plan
from genid_store.generation.status import State, is_out_of_reach, state_of, why_left
from genid_store.ids.rollout import is_legacy
from genid_store.stages import Member


@frozen
class Decision:
    """What happens to one generation, why, and the options with which another run would continue.

    `label` is the kind, or a more precise name for it; `source` is the id whose text is reused.
    """

    kind: Kind
    reason: str = ""
    ways: tuple[str, ...] = field(
        default=Factory(lambda new: tuple(filter(None, [WAYS.get(new.kind)])), takes_self=True)
    )
    label: str = field(default=Factory(lambda new: new.kind, takes_self=True))
    source: str | None = None


@frozen(kw_only=True)
class Decider:
    """Decides by what the store has of each task (`plan`, see `reuse.plan_reuse`) and by what the
    run is `asked` for.

    `failed_before` are the failures on record when the decider was made. A later failure is not
    retried by it, whoever recorded it. `paid`: the answer exists already, so nothing will be paid.
    """

    root: DataRoot
    plan: Plan = field(default=Factory(lambda new: Plan(ledger=Ledger(new.root)), takes_self=True))
    asked: Asked = field(factory=Asked)
    paid: bool = False
    failed_before: Mapping[tuple[str, str], failures.Failure] = field()

    @failed_before.default
    def _look_for_failures(self) -> Mapping[tuple[str, str], failures.Failure]:
        asked = self.asked
        retries = asked.retry_failed or asked.retry_unparsed or asked.pay_again
        return failures.read_all(self.root) if retries else {}

    def decide(
        self,
        generation: Generation,
        *,
        text: str | None,
        source: str | None = None,
        others: Iterable[Member] | None = None,
        batches: Iterable[Batch] = (),
        fault: str | None = None,
    ) -> Decision:
        """Return the decision for a generation over a parent's text with the digest `text`.

        `source` is the id whose text it can reuse. `others` are the ids under which its task may
        have been requested (None: those of the plan). `fault` says why nothing can be made from the
        parent. If several things keep it from being paid for, the reason names them all. If a file
        that the decision depends on cannot be read now, the generation is left alone.
        """
        decisions = self._without_paying(generation, source, batches, fault)
        try:
            return next(decisions, None) or self._paying(generation, text, others)
        except OSError as error:
            return Decision("refused", str(problem_of(self.root, error)), label="unreadable")

    def _without_paying(
        self,
        generation: Generation,
        source: str | None,
        batches: Iterable[Batch],
        fault: str | None,
    ) -> Iterator[Decision]:
        """Yield every decision that costs nothing; the first one counts, so that their order is the
        rule."""
        member = Member(generation.stage, generation.gen_id)
        task, state = self.plan.task_of(member), state_of(self.root, *member)
        if state == "made":
            yield Decision("reused")
        if state == "unreachable":
            yield Decision("refused", why_left(self.root, member, state), label=state)
        if self.paid:  # the batch that holds the task, and its failures, are this answer's own
            yield Decision("missing")
        if fault is None and source is not None and (self.asked.reuse or not task.refused):
            yield Decision("adopted", source, source=source)
        for batch in batches:
            if batch.holds(member.stage, (task.name, member.gen_id)):
                kind: Kind = "refused" if batch.state == "unreadable" else "waiting"
                yield Decision(kind, str(batch), label="in a batch")
        if state in WAYS and not self._is_retried(member, state):
            reason = why_left(self.root, member, state)
            if reason:  # else the failure that was seen is not on record any more
                yield Decision(state, reason)
        if fault is not None:
            yield Decision("blocked", fault)
        if generation.mode == "copy" and generation.parent is not None:
            yield Decision("copied")

    def _paying(
        self, generation: Generation, text: str | None, others: Iterable[Member] | None
    ) -> Decision:
        """Return "missing" for a generation to pay for, or else everything that prevents it."""
        task = self.plan.task_of(Member(generation.stage, generation.gen_id))
        if others is None:
            others = [Member(generation.stage, one) for one in (*task.elsewhere, *task.others)]
        obstacles: list[Decision] = []
        if task.refused and not self.asked.pay_again:
            reason = f"the store has the same task as {', '.join(task.elsewhere)}; {REMEDY}"
            label = "paid under another id"
            obstacles.append(Decision("blocked", reason, REMEDY_WAYS, label=label))
        for other in others:
            obstacles += self._held_up(generation, other, text)
        if task.hidden is not None:
            obstacles.append(Decision("blocked", task.hidden, label="possibly paid for"))
        if obstacles:
            reason = "; ".join(obstacle.reason for obstacle in obstacles)
            ways = tuple(sorted({way for obstacle in obstacles for way in obstacle.ways}))
            return evolve(obstacles[0], reason=reason, ways=ways)
        if self.asked.reuse_only:
            reason = "the store has no text of this task to reuse"
            return Decision("refused", reason, label="over the limit")
        return Decision("missing")

    def _is_retried(self, member: Member, state: State) -> bool:
        """Return whether the options ask for another try and there has been none since."""
        unparsed = state == "unparsed"
        retried = self.asked.retry_unparsed if unparsed else self.asked.retry_failed
        return retried and self._is_as_before(member)

    def _is_as_before(self, member: Member) -> bool:
        return failures.read(self.root, *member) == self.failed_before.get(member)

    def _held_up(
        self, generation: Generation, other: Member, text: str | None
    ) -> Iterator[Decision]:
        """Yield a decision if the task was requested under another id, over the same text, has no
        usable text there, and is not to be retried.

        `pay_again` applies to legacy ids and to texts out of reach. Under a deterministic id, what
        failed or was not parsed has retry options of its own.
        """
        state = state_of(self.root, *other)
        reason: str | None = why_left(self.root, other, state)
        if state == "missing":
            return
        parent, unknown = read_generation(self.root, *other).parent, False
        if state == "made":
            state, reason = "unreachable", fault_of(self.root, other)
            if reason is None and parent is not None and is_out_of_reach(self.root, parent):
                unknown, reason = True, f"{parent.gen_id}, which it was made from, is out of reach"
        lost = state == "unreachable"
        paid_again = self.asked.pay_again and (lost or is_legacy(generation.gen_id))
        paid_again = paid_again and self._is_as_before(other)
        if reason is None or paid_again or (not lost and self._is_retried(other, state)):
            return
        other_text = None if parent is None else text_version(self.root, *parent)
        same = other_text == text and (text is not None or generation.parent is None)
        if same or unknown:
            reason = f"the same task is {state} under the id {other.gen_id}: {reason}"
            yield Decision("blocked", reason, (WAYS[state],), label=state)
