"""Decide what becomes of a task now: one rule for a plan, for a run under the task's lease, and for
what is said of the members that a run left. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import Factory, evolve, field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.fs.files import problem_of
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.batches import Batch
from genid_store.generation.content import fault_of, parent_version, usable_text
from genid_store.generation.ledger import Ledger
from genid_store.generation.records import WAYS, Asked, Kind
from genid_store.generation.reuse import REMEDY, REMEDY_WAYS, Plan, is_legacy
from genid_store.generation.status import State, state_of, why_left
from genid_store.stages import Member


@frozen
class Decision:
    """What becomes of one generation, why, and the options by which another run would go on.
    `label` is its kind, or says more than that; `source` is the id whose text it is given."""

    kind: Kind
    reason: str = ""
    ways: tuple[str, ...] = field(
        default=Factory(lambda one: tuple(filter(None, [WAYS.get(one.kind)])), takes_self=True)
    )
    label: str = field(default=Factory(lambda one: one.kind, takes_self=True))
    source: str | None = None


@frozen(kw_only=True)
class Decider:
    """Decides by what the store has of each task (`plan`, see `reuse.plan_reuse`) and by what is
    `asked` beyond the missing.

    `failed_before` are the failures on record when it was made: what fails later is not tried again
    by it, whoever tried. `paid`: there is an answer, so that nothing is paid for any more.
    """

    root: DataRoot
    plan: Plan = field(default=Factory(lambda one: Plan(ledger=Ledger(one.root)), takes_self=True))
    asked: Asked = field(factory=Asked)
    paid: bool = False
    failed_before: Mapping[tuple[str, str], failures.Failure] = field()

    @failed_before.default
    def _look_for_failures(self) -> Mapping[tuple[str, str], failures.Failure]:
        asked = self.asked
        again = asked.retry_failed or asked.retry_unparsed or asked.pay_again
        return failures.read_all(self.root) if again else {}

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
        """Return what becomes of a generation over a parent's text of the digest `text`.

        `source` is the id whose text it can be given, `others` are those under which its task was
        perhaps asked for (None: the plan's), `fault` says why nothing can be made over the parent.
        What keeps it from being paid for is named together. Where something cannot be read now that
        it follows from, it is left alone.
        """
        own = self._without_paying(generation, source, batches, fault)
        try:
            return next(own, None) or self._paying(generation, text, others)
        except OSError as error:
            return Decision("refused", str(problem_of(self.root, error)), label="unreadable")

    def _without_paying(
        self,
        generation: Generation,
        source: str | None,
        batches: Iterable[Batch],
        fault: str | None,
    ) -> Iterator[Decision]:
        """Yield what becomes of a generation by its own state, its batch, its parent and the texts
        that are there; what comes first counts."""
        member = Member(generation.stage, generation.gen_id)
        task, state = self.plan.task_of(member), state_of(self.root, *member)
        if state == "made":
            yield Decision("reused")
        if state == "unreachable":
            yield Decision("refused", why_left(self.root, member, state), label=state)
        if self.paid:
            yield Decision("missing")
        if fault is None and source is not None and (self.asked.reuse or not task.refused):
            yield Decision("adopted", source, source=source)
        for batch in batches:
            if batch.holds(member.stage, (task.name, member.gen_id)):
                kind: Kind = "refused" if batch.state == "unreadable" else "waiting"
                yield Decision(kind, str(batch), label="in a batch")
        if state in WAYS and not self._is_asked_again(member, state):
            yield Decision(state, why_left(self.root, member, state))
        if fault is not None:
            yield Decision("blocked", fault)
        if generation.mode == "copy" and generation.parent is not None:
            yield Decision("copied")

    def _paying(
        self, generation: Generation, text: str | None, others: Iterable[Member] | None
    ) -> Decision:
        """Return whether a generation is to be paid for, or all that keeps it from that."""
        task = self.plan.task_of(Member(generation.stage, generation.gen_id))
        if others is None:
            others = [Member(generation.stage, one) for one in (*task.elsewhere, *task.others)]
        found: list[Decision] = []
        if task.refused and not self.asked.pay_again:
            reason = f"the same task is there as {', '.join(task.elsewhere)}; {REMEDY}"
            label = "paid under another id"
            found.append(Decision("blocked", reason, REMEDY_WAYS, label=label))
        for other in others:
            found += self._held_up(generation, other, text)
        if task.hidden is not None:
            found.append(Decision("blocked", task.hidden, label="perhaps paid for"))
        if found:
            reason = "; ".join(one.reason for one in found)
            ways = tuple(sorted({way for one in found for way in one.ways}))
            return evolve(found[0], reason=reason, ways=ways)
        if self.asked.reuse_only:
            reason = "the store has no text of this task that it can be given"
            return Decision("refused", reason, label="over the limit")
        return Decision("missing")

    def _is_asked_again(self, member: Member, state: State) -> bool:
        """Say whether what has come of a generation is to be tried again, which this run has not
        done yet."""
        unparsed = state == "unparsed"
        asked = self.asked.retry_unparsed if unparsed else self.asked.retry_failed
        return asked and self._is_as_before(member)

    def _is_as_before(self, member: Member) -> bool:
        return failures.read(self.root, *member) == self.failed_before.get(member)

    def _held_up(
        self, generation: Generation, other: Member, text: str | None
    ) -> Iterator[Decision]:
        """Yield the decision where the task was asked for under another id, over the same text, has
        no usable text there, and is not to be asked for again.

        `pay_again` is about legacy ids and what is out of reach: what failed or was not parsed is
        asked for again in its own way under a deterministic id.
        """
        state = state_of(self.root, *other)
        reason: str | None = why_left(self.root, other, state)
        if state == "made":
            state, reason = "unreachable", fault_of(usable_text, self.root, other)
        elif state == "missing":
            return
        lost = state == "unreachable"
        again = self.asked.pay_again and (lost or is_legacy(generation.gen_id))
        again = again and self._is_as_before(other)
        if reason is None or again or (not lost and self._is_asked_again(other, state)):
            return
        above = parent_version(self.root, read_generation(self.root, *other))
        if above == text and (text is not None or generation.parent is None):
            reason = f"the same task is {state} as {other.gen_id}: {reason}"
            yield Decision("blocked", reason, (WAYS[state],), label=state)
