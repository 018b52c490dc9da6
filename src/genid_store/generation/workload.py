"""Plan a run of a cohort from the disk: which members, in which order, at what cost.

Only reads: takes no lease, writes nothing and calls no one. Dagster is not consulted, so that
`status` and `--dry-run` work without it.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Final

from attrs import field, frozen

from genid_store.catalog.findings import OF_METADATA
from genid_store.catalog.metadata import Generation, inspect_generation, stage_fields
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import open_batches
from genid_store.generation.content import content_version, fault_of, model_of
from genid_store.generation.decision import Decider, Decision
from genid_store.generation.records import WAYS, Kind, Outcome
from genid_store.generation.status import State, has_content, state_of, states_of, why_left
from genid_store.stages import Member, by_stage, parent_stage, stage_names

#: The labels of members that a run leaves to the next one.
_LATER: Final = {"over the limit", "in a batch"}


@frozen(kw_only=True)
class Workload:
    """What one run would do with the `members`.

    `made` have content. `todo` maps the members to make, in order, to their parents. `adopted` maps
    those of them that reuse a text to the id they take it from. `calls` counts the generator's
    calls by (stage, model); copies and reuse cost none. `waiting` has the decision for every other
    member, which is left alone. `planned` has the members without metadata.
    """

    members: Sequence[Member] = field(repr=False)
    decider: Decider = field(repr=False)
    made: list[Member] = field(factory=list, repr=False)
    todo: dict[Member, Member | None] = field(factory=dict, repr=False)
    adopted: dict[Member, str] = field(factory=dict, repr=False)
    calls: Counter[tuple[str, str]] = field(factory=Counter)
    waiting: dict[Member, Decision] = field(factory=dict, repr=False)
    planned: Mapping[Member, Generation] = field(factory=dict, repr=False)

    def ready(self, stage: str) -> list[str]:
        """Return the ids of one stage that can be made now, because the parent has content."""
        return [
            member.gen_id
            for member, parent in self.todo.items()
            if member.stage == stage and (parent is None or has_content(self.decider.root, *parent))
        ]

    def read(self, member: Member) -> Generation:
        """Return what the metadata of a member says, or will say."""
        return self.planned.get(member) or inspect_generation(self.decider.root, *member)

    def in_batches(self, stage: str) -> list[str]:
        """Return the ids of one stage whose task is in a batch."""
        return [
            member.gen_id
            for member, decision in self.waiting.items()
            if (member.stage, decision.label) == (stage, "in a batch")
        ]

    def text_of(self, member: Member) -> str:
        """Return what identifies a text: its digest, or the id under which it will be made."""
        source = self.adopted.get(member, member.gen_id)
        return content_version(self.decider.root, member.stage, source) or source

    @property
    def total_calls(self) -> int:
        """The number of calls if every one succeeds."""
        return sum(self.calls.values())


def count_states(states: Mapping[Member, State]) -> dict[str, dict[str, int]]:
    """Return the counts by stage of the members in each state (see `status.states_of`)."""
    counts: dict[str, Counter[State]] = {stage: Counter() for stage in stage_names()}
    for member, state in states.items():
        counts[member.stage][state] += 1
    return {
        stage: {
            "members": count.total(),
            "made": count["made"],
            "missing": count["missing"],
            "failed": count["failed"] + count["unreachable"],
            "unparsed": count["unparsed"],
        }
        for stage, count in counts.items()
    }


def failed_members(root: DataRoot, states: Mapping[Member, State]) -> list[Outcome]:
    """Return the members that failed or could not be parsed, with the reason on record."""
    return [
        _outcome(member, state, why_left(root, member, state), (WAYS[state],))
        for member, state in states.items()
        if state in WAYS
    ]


def blocked_members(
    work: Workload, in_batches: Iterable[Member] = (), stopped: str = ""
) -> list[Outcome]:
    """Return the members that a run of `work` left missing, parents first, and why. Omits what the
    run's limit left, what is in a batch, and the descendants of both. `stopped` is the
    `Stop.why` of the run."""
    later = {member for member, why in work.waiting.items() if why.label in _LATER}
    later.update(in_batches)
    blocked, root = [], work.decider.root
    for member in by_stage(work.members):
        if member in later or state_of(root, *member) != "missing":
            continue
        generation = inspect_generation(root, *member)
        parent = generation.parent
        if parent in later:
            later.add(member)
            continue
        fault = _fault(work.decider, generation)
        text = None if parent is None else content_version(root, *parent)
        decision = work.decider.decide(generation, text=text, fault=fault)
        blocked.append(_blocked(generation, decision, stopped))
    return blocked


def _fault(decider: Decider, generation: Generation) -> str | None:
    """Return why a generation cannot be made from its parent, or as a root; None if it can."""
    if generation.parent is not None:
        return fault_of(decider.root, generation.parent)
    fields = stage_fields(generation.stage)
    wrong = {problem.field for problem in generation.problems}
    if fields.parent in {*fields.required, *wrong}:  # the first of a chain has none
        return "its parent is unknown"
    task = decider.plan.task_of(Member(generation.stage, generation.gen_id))
    is_lost = any(problem.code in OF_METADATA for problem in generation.problems)
    return "its task is unknown" if is_lost and task.hidden is None else None


def left_members(work: Workload) -> list[Outcome]:
    """Return the members that a run of `work` would leave, and why, as `failed_members` and
    `blocked_members` say after the run."""
    root, blocked = work.decider.root, []
    later = {member for member, why in work.waiting.items() if why.label in _LATER}
    states = states_of(root, by_stage(work.waiting))
    for member, state in states.items():
        if member in later or state != "missing":
            continue
        generation = work.read(member)
        if generation.parent in later:
            later.add(member)
        else:
            blocked.append(_blocked(generation, work.waiting[member]))
    return [*failed_members(root, states), *blocked]


def _blocked(generation: Generation, decision: Decision, stopped: str = "") -> Outcome:
    reasons = filter(None, [*map(str, generation.problems), decision.reason])
    not_begun = f"{stopped}; fix that, and run again" if stopped else "it was not begun; run again"
    reason = "; ".join(reasons) or not_begun
    member = Member(generation.stage, generation.gen_id)
    return _outcome(member, "blocked", reason, decision.ways)


def left_by_limit(work: Workload) -> set[Member]:
    """Return the members that a run's limit of calls left, with their descendants."""
    left = {member for member, why in work.waiting.items() if why.label == "over the limit"}
    for member in by_stage(work.waiting) if left else ():
        if work.read(member).parent in left:
            left.add(member)
    return left


def _outcome(member: Member, kind: Kind, reason: str, ways: tuple[str, ...]) -> Outcome:
    return Outcome(stage=member.stage, gen_id=member.gen_id, kind=kind, reason=reason, ways=ways)


def unfinished(
    root: DataRoot,
    states: Mapping[Member, State],
    work: Workload,
    reported: Iterable[Outcome],
    stopped: str = "",
) -> list[Outcome]:
    """Return the members that failed before a run of `work`, or that it could not begin. Omits
    those `reported`, and what is left to the next run. `stopped` as in `blocked_members`."""
    omitted = {(one.stage, one.gen_id) for one in reported}
    omitted |= {member for member, why in work.waiting.items() if why.label in _LATER}
    outcomes = [*failed_members(root, states), *blocked_members(work, stopped=stopped)]
    return [one for one in outcomes if (one.stage, one.gen_id) not in omitted]


def plan_work(
    decider: Decider,
    members: Sequence[Member],
    *,
    planned: Mapping[Member, Generation] | None = None,
    awaited: bool = False,
) -> Workload:
    """Return what a run would do with the members, stage by stage in membership order.

    A child can be made if its parent is made in the same run or, with `awaited`, is in a batch.
    `planned` has the members without metadata.
    """
    root, limit = decider.root, decider.asked.max_calls
    work = Workload(members=members, decider=decider, planned=planned or {})
    batches = open_batches(root)
    parent_fault = cache(partial(fault_of, root))
    payers: dict[tuple[str, str, str | None], Member] = {}  # by stage, task and parent's text
    for member in by_stage(members):
        if has_content(root, *member):
            work.made.append(member)
            continue
        generation = work.read(member)
        task, parent = decider.plan.task_of(member), generation.parent
        fault = None
        if parent is not None:
            left = work.waiting.get(parent)
            in_batch = left is not None and left.label == "in a batch"
            coming = parent in work.todo or (awaited and in_batch)
            fault = None if coming else parent_fault(parent)
        elif generation.problems or parent_stage(member.stage) is not None:
            fault = _fault(decider, generation)
        decision = decider.decide(
            generation, text=task.parent_digest, source=task.source, batches=batches, fault=fault
        )
        if decision.kind == "missing":
            # The first of several members with one task pays, the others reuse its text. A legacy
            # member that must not reuse a text pays for its own.
            key = (member.stage, task.name, parent and work.text_of(parent))
            payer = payers.get(key)
            if payer is not None and (decider.asked.reuse or not task.refused):
                decision = Decision("adopted", source=payer.gen_id)
            elif limit is not None and work.total_calls >= limit:
                decision = Decision("refused", label="over the limit")
            else:
                payers[key] = member
                model = None
                with contextlib.suppress(OSError):  # the run will say so
                    model = model_of(root, generation)
                work.calls[member.stage, model or "unknown"] += 1
        if decision.kind not in ("adopted", "copied", "missing"):
            work.waiting[member] = decision
            continue
        work.todo[member] = parent
        if decision.source is not None:
            work.adopted[member] = decision.source
    return work
