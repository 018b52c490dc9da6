"""What a run of a cohort has to do, as the disk says: which members, in which order, at what cost.

Pure reading: nothing is claimed, written or called. Dagster is not asked, so that `status` and
`--dry-run` work without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.batches import open_batches
from genid_store.generation.content import (
    ParentMissing,
    content_version,
    model_of,
    text_to_build_upon,
)
from genid_store.generation.records import WAYS, Asked, Kind, Outcome
from genid_store.generation.reuse import Plan, Task, held_up, may_pay_again, say_held_up
from genid_store.generation.status import State, state_of
from genid_store.stages import Member, parent_stage, stage_names

#: Why a member is not made by this run: its state, or what else keeps it.
Waiting: TypeAlias = (
    State
    | Literal[
        "blocked", "in a batch", "over the limit", "paid under another id", "perhaps paid for"
    ]
)
#: Where a former run left a member, which is tried again only when asked.
_LEFT: Final[Mapping[State, Kind]] = {
    "failed": "failed",
    "unparsed": "unparsed",
    "unreachable": "unreachable",
}
#: What is left to the next run.
_LATER: Final[frozenset[Waiting]] = frozenset({"over the limit", "in a batch"})
_REASONS: Final[Mapping[State, str]] = {
    "unparsed": "raw.txt is there and parsed.txt is not",
    "unreachable": "its text is there and cannot be reached (a link whose target is not there)",
}


@frozen(kw_only=True)
class Workload:
    """What one run would do with the `members`: `made` needs nothing, `todo` is made in this order
    (parents first).

    `calls` counts calls of the generator by (stage, model); copies and members that are given a
    text of their task are in `todo` and in no count. `adopted` maps the latter to whose text it is.
    `waiting` says of every other member why it is left alone. `reuse` is the plan that it follows.
    """

    members: Sequence[Member] = field(repr=False)
    reuse: Plan = field(repr=False)
    made: list[Member] = field(factory=list, repr=False)
    todo: dict[Member, None] = field(factory=dict, repr=False)
    adopted: dict[Member, str] = field(factory=dict, repr=False)
    calls: Counter[tuple[str, str]] = field(factory=Counter)
    waiting: dict[Member, Waiting] = field(factory=dict, repr=False)

    def in_batches(self, stage: str) -> list[str]:
        """Return the ids of one stage whose task is in a batch."""
        return [
            one.gen_id
            for one, why in self.waiting.items()
            if (one.stage, why) == (stage, "in a batch")
        ]

    @property
    def total_calls(self) -> int:
        """How often the generator would be called, if every call succeeds."""
        return sum(self.calls.values())


def count_states(states: Mapping[Member, State]) -> dict[str, dict[str, int]]:
    """Return how many members there are, and how many are made, missing, failed and unparsed of
    their `states` (see `status.states_of`), by stage."""
    counts: dict[str, Counter[State]] = {stage: Counter() for stage in stage_names()}
    for member, state in states.items():
        counts[member.stage][state] += 1
    return {
        stage: {
            "members": found.total(),
            "made": found["made"],
            "missing": found["missing"],
            "failed": found["failed"] + found["unreachable"],
            "unparsed": found["unparsed"],
        }
        for stage, found in counts.items()
    }


def failed_members(root: DataRoot, states: Mapping[Member, State]) -> list[Outcome]:
    """Return the members that failed or could not be parsed, with the reason on record."""
    found = []
    for (stage, gen_id), state in states.items():
        if state in _LEFT:
            record = failures.read(root, stage, gen_id)
            reason = record.reason if record else _REASONS.get(state, "")
            kind, ways = _LEFT[state], (WAYS[state],)
            found.append(Outcome(stage=stage, gen_id=gen_id, kind=kind, reason=reason, ways=ways))
    return found


def blocked_members(
    root: DataRoot, work: Workload, in_batches: Iterable[Member] = ()
) -> list[Outcome]:
    """Return the members that are still missing after a run that set out to do `work`, parents
    first. What the run's limit left or is in a batch is none of them, and neither is what hangs on
    that."""
    left = {one for one, why in work.waiting.items() if why in _LATER}
    left.update(in_batches)
    found = []
    for member in sorted(work.members, key=lambda one: stage_names().index(one.stage)):
        if member in left or state_of(root, *member) != "missing":
            continue
        generation = read_generation(root, *member)
        if generation.parent in left:
            left.add(member)
        else:
            found.append(_blocked(root, generation, work))
    return found


def unfinished(
    root: DataRoot, states: Mapping[Member, State], work: Workload, reported: Iterable[Outcome]
) -> list[Outcome]:
    """Return the members that failed before a run that set out to do `work`, or that it could not
    begin; without those `reported`, and without what is left to the next run."""
    known = {(one.stage, one.gen_id) for one in reported}
    known |= {one for one, why in work.waiting.items() if why in _LATER}
    found = [*failed_members(root, states), *blocked_members(root, work)]
    return [one for one in found if (one.stage, one.gen_id) not in known]


def plan_work(
    root: DataRoot,
    members: Sequence[Member],
    asked: Asked,
    *,
    reuse: Plan,
    planned: Mapping[Member, Generation] | None = None,
    awaited: bool = False,
) -> Workload:
    """Return what a run would do with the members, stage by stage in membership order.

    A child whose parent is made in the same run counts as possible; with `awaited` also one whose
    parent is in a batch. `reuse` is whose text members can have; `planned` gives the
    members that have no metadata yet.
    """
    work = Workload(members=members, reuse=reuse)
    working = _Working(root, asked, work, planned or {}, awaited)
    for member in sorted(members, key=lambda one: stage_names().index(one.stage)):
        working.add(member)
    return work


class _Working:
    """Plans one workload."""

    def __init__(
        self,
        root: DataRoot,
        asked: Asked,
        work: Workload,
        planned: Mapping[Member, Generation],
        awaited: bool,
    ) -> None:
        self.root, self.asked, self.work = root, asked, work
        self.planned, self.awaited = planned, awaited
        self.batches = open_batches(root)
        self.faults: dict[Member, str | None] = {}
        self.payers: dict[tuple[str, str, str | None], Member] = {}

    def add(self, member: Member) -> None:
        work, task = self.work, self.work.reuse.task_of(member)
        state = self.state(member, task)
        refused = member in work.reuse.refused
        again = {"failed": self.asked.retry_failed, "unparsed": self.asked.retry_unparsed}
        if state == "made":
            work.made.append(member)
        elif state != "unreachable" and task.source and (self.asked.reuse or not refused):
            work.todo[member] = None
            work.adopted[member] = task.source
        elif state != "missing" and not again.get(state):
            work.waiting[member] = state
        elif any(one.holds(member.stage, (member.gen_id, task.name)) for one in self.batches):
            work.waiting[member] = "in a batch"
        else:
            self.add_missing(member, task)

    def state(self, member: Member, task: Task) -> State:
        """Return where a member stands, or its task under another id where that was asked for."""
        state = state_of(self.root, *member)
        for other in task.held_up if state == "missing" else ():
            found = held_up(self.root, member.stage, other)
            again = self.asked.pay_again and found and may_pay_again(member.gen_id, found[0])
            if found and not again:
                return found[0]
        return state

    def add_missing(self, member: Member, task: Task) -> None:
        work, limit = self.work, self.asked.max_calls
        generation = self.planned.get(member) or read_generation(self.root, *member)
        parent = generation.parent
        if parent_stage(member.stage) and not (parent and self.will_have_text(parent)):
            work.waiting[member] = "blocked"
        elif generation.mode == "copy":
            work.todo[member] = None
        elif member in work.reuse.refused and not self.asked.pay_again:
            work.waiting[member] = "paid under another id"
        elif work.reuse.why_hidden(member) is not None:
            work.waiting[member] = "perhaps paid for"
        elif self.asked.reuse_only or (limit is not None and work.total_calls >= limit):
            work.waiting[member] = "over the limit"
        else:
            work.todo[member] = None
            # the first member of the same task, over the same text, pays
            key = (member.stage, task.name, parent and self.text_of(parent))
            payer = self.payers.setdefault(key, member)
            if payer != member:
                work.adopted[member] = payer.gen_id
            else:
                model = model_of(self.root, generation) or "unknown"
                work.calls[member.stage, model] += 1

    def will_have_text(self, parent: Member) -> bool:
        if parent in self.work.todo or (
            self.awaited and self.work.waiting.get(parent) == "in a batch"
        ):
            return True
        if parent not in self.faults:
            self.faults[parent] = _fault_of(self.root, parent)
        return self.faults[parent] is None

    def text_of(self, member: Member) -> str:
        """Return what tells a text from others: its digest, or the id it will be made under."""
        source = self.work.adopted.get(member, member.gen_id)
        return content_version(self.root, member.stage, source) or source


def _fault_of(root: DataRoot, parent: Member) -> str | None:
    """Return why nothing can be made from a text; None: it can."""
    try:
        text_to_build_upon(root, *parent)
    except (ParentMissing, OSError) as error:
        return str(error)
    return None


def _blocked(root: DataRoot, generation: Generation, work: Workload) -> Outcome:
    """Return why a run could not begin a generation, and what would move it on."""
    member = Member(generation.stage, generation.gen_id)
    reasons, ways = [str(problem) for problem in generation.problems], set()
    why, task = work.waiting.get(member), work.reuse.task_of(member)
    if why == "perhaps paid for":
        reasons.append(work.reuse.why_hidden(member) or "")
    others = {*task.held_up, *task.elsewhere, *task.others} - {generation.gen_id}
    for other in sorted(others) if why in _LEFT or not reasons else ():
        found = held_up(root, generation.stage, other)
        if found is not None:
            reasons.append(say_held_up(*found, other))
            ways.add(WAYS[found[0]])
    parent = generation.parent
    if parent is not None and (fault := _fault_of(root, parent)) is not None:
        reasons.append(fault)
    return Outcome(
        stage=member.stage,
        gen_id=member.gen_id,
        kind="blocked",
        reason="; ".join(reasons) or "it was not begun; run again",
        ways=tuple(sorted(ways)),
    )
