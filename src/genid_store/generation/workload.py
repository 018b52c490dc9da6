"""What a run of a cohort has to do, as the disk says: which members, in which order, at what cost.

Pure reading: nothing is claimed, written or called. Dagster is not asked, so that `status` and
`--dry-run` work without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Final

from attrs import field, frozen

from genid_store.catalog.metadata import Generation, read_generation
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import open_batches
from genid_store.generation.content import (
    content_version,
    fault_of,
    model_of,
    text_to_build_upon,
)
from genid_store.generation.decision import Decider, Decision
from genid_store.generation.records import WAYS, Kind, Outcome
from genid_store.generation.status import State, has_content, state_of, why_left
from genid_store.stages import Member, parent_stage, stage_names

#: What is left to the next run.
_LATER: Final = {"over the limit", "in a batch"}


@frozen(kw_only=True)
class Workload:
    """What one run would do with the `members`: `made` needs nothing, `todo` is made in this order,
    parents first, each with its parent.

    `calls` counts calls of the generator by (stage, model); copies and members that are given a
    text of their task are in `todo` and in no count. `adopted` maps the latter to whose text it is.
    `waiting` says of every other member why it is left alone, as `decider` has it.
    """

    members: Sequence[Member] = field(repr=False)
    decider: Decider = field(repr=False)
    made: list[Member] = field(factory=list, repr=False)
    todo: dict[Member, Member | None] = field(factory=dict, repr=False)
    adopted: dict[Member, str] = field(factory=dict, repr=False)
    calls: Counter[tuple[str, str]] = field(factory=Counter)
    waiting: dict[Member, Decision] = field(factory=dict, repr=False)

    def ready(self, stage: str) -> list[str]:
        """Return the ids of one stage that can be made by now."""
        return [
            one.gen_id
            for one, parent in self.todo.items()
            if one.stage == stage and (parent is None or has_content(self.decider.root, *parent))
        ]

    def in_batches(self, stage: str) -> list[str]:
        """Return the ids of one stage whose task is in a batch."""
        return [
            one.gen_id
            for one, why in self.waiting.items()
            if (one.stage, why.label) == (stage, "in a batch")
        ]

    def text_of(self, member: Member) -> str:
        """Return what tells a text from others: its digest, or the id it will be made under."""
        source = self.adopted.get(member, member.gen_id)
        return content_version(self.decider.root, member.stage, source) or source

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
        if state in WAYS:
            reason = why_left(root, Member(stage, gen_id), state)
            found.append(_outcome(Member(stage, gen_id), state, reason, (WAYS[state],)))
    return found


def blocked_members(work: Workload, in_batches: Iterable[Member] = ()) -> list[Outcome]:
    """Return the members that are still missing after a run that set out to do `work`, parents
    first, and why. What the run's limit left or is in a batch is none of them, and neither is what
    hangs on that."""
    left = {one for one, why in work.waiting.items() if why.label in _LATER}
    left.update(in_batches)
    found, root = [], work.decider.root
    for member in sorted(work.members, key=lambda one: stage_names().index(one.stage)):
        if member in left or state_of(root, *member) != "missing":
            continue
        generation = read_generation(root, *member)
        parent = generation.parent
        if parent in left:
            left.add(member)
            continue
        fault = None if parent is None else fault_of(text_to_build_upon, root, parent)
        text = None if parent is None else content_version(root, *parent)
        now = work.decider.decide(generation, text=text, fault=fault)
        why = [*map(str, generation.problems), now.reason]
        reason = "; ".join(filter(None, why)) or "it was not begun; run again"
        found.append(_outcome(member, "blocked", reason, now.ways))
    return found


def _outcome(member: Member, kind: Kind, reason: str, ways: tuple[str, ...]) -> Outcome:
    return Outcome(stage=member.stage, gen_id=member.gen_id, kind=kind, reason=reason, ways=ways)


def unfinished(
    root: DataRoot, states: Mapping[Member, State], work: Workload, reported: Iterable[Outcome]
) -> list[Outcome]:
    """Return the members that failed before a run that set out to do `work`, or that it could not
    begin; without those `reported`, and without what is left to the next run."""
    known = {(one.stage, one.gen_id) for one in reported}
    known |= {one for one, why in work.waiting.items() if why.label in _LATER}
    found = [*failed_members(root, states), *blocked_members(work)]
    return [one for one in found if (one.stage, one.gen_id) not in known]


def plan_work(
    decider: Decider,
    members: Sequence[Member],
    *,
    planned: Mapping[Member, Generation] | None = None,
    awaited: bool = False,
) -> Workload:
    """Return what a run would do with the members, stage by stage in membership order.

    A child whose parent is made in the same run counts as possible; with `awaited` also one whose
    parent is in a batch. `planned` gives the members that have no metadata yet.
    """
    root, limit = decider.root, decider.asked.max_calls
    work = Workload(members=members, decider=decider)
    batches, found = open_batches(root), planned or {}
    fault_above = cache(partial(fault_of, text_to_build_upon, root))
    payers: dict[tuple[str, str, str | None], Member] = {}
    for member in sorted(members, key=lambda one: stage_names().index(one.stage)):
        if has_content(root, *member):
            work.made.append(member)
            continue
        generation = found.get(member) or read_generation(root, *member)
        task, parent = decider.plan.task_of(member), generation.parent
        fault = None if parent_stage(member.stage) is None else "its parent is not known"
        if parent is not None:
            above = work.waiting.get(parent)
            coming = parent in work.todo or (awaited and above and above.label == "in a batch")
            fault = None if coming else fault_above(parent)
        decision = decider.decide(
            generation, text=task.above, source=task.source, batches=batches, fault=fault
        )
        if decision.kind == "missing":
            # the first member of the same task, over the same text, pays; one that may not have a
            # text of its task pays for itself
            key = (member.stage, task.name, parent and work.text_of(parent))
            payer = payers.get(key)
            if payer is not None and (decider.asked.reuse or not task.refused):
                decision = Decision("adopted", source=payer.gen_id)
            elif limit is not None and work.total_calls >= limit:
                decision = Decision("refused", label="over the limit")
            else:
                payers[key] = member
                work.calls[member.stage, model_of(root, generation) or "unknown"] += 1
        if decision.kind not in ("adopted", "copied", "missing"):
            work.waiting[member] = decision
            continue
        work.todo[member] = parent
        if decision.source is not None:
            work.adopted[member] = decision.source
    return work
