"""What a run of a cohort has to do, as the disk says: which members, in which order, at what cost.

Pure reading: nothing is claimed, written or called. Dagster is not asked, so that `status` and
`--dry-run` work without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from attrs import field, frozen

from genid_store.catalog.memberships import Member
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.cohort.planning.records import Row
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.asked import Asked
from genid_store.generation.batches import Batch, open_batches
from genid_store.generation.content import ParentMissing, content_version, text_to_build_upon
from genid_store.generation.records import Outcome
from genid_store.generation.reuse import Plan, Task, held_up, may_pay_again, say_held_up
from genid_store.generation.status import State, state_of
from genid_store.stages import parent_key, parent_stage, stage_names

#: Why a member is not made by this run.
Waiting = Literal[
    "failed",
    "unparsed",
    "unreachable",
    "blocked",
    "in a batch",
    "over the limit",
    "paid under another id",
    "perhaps paid for",
]
_LEFT_ALONE: Final[Mapping[State, Waiting]] = {
    "failed": "failed",
    "unparsed": "unparsed",
    "unreachable": "unreachable",
}

_REASONS: Final[Mapping[State, str]] = {
    "unparsed": "raw.txt is there and parsed.txt is not",
    "unreachable": "its text is there and cannot be reached (a link whose target is not there)",
}


@frozen(kw_only=True)
class StageCounts:
    """How many members of one stage there are, and how many in each state."""

    members: int
    made: int
    missing: int
    failed: int
    unparsed: int


@frozen(kw_only=True)
class Failed:
    """A member that failed before, and why."""

    stage: str
    gen_id: str
    state: State
    reason: str


@frozen(kw_only=True)
class Blocked:
    """A member that a run could not begin, its parent as far as it is known, and what keeps it from
    being made."""

    stage: str
    gen_id: str
    parent_gen_id: str | None
    reason: str


@frozen(kw_only=True)
class Workload:
    """What one run would do: `made` needs nothing, `todo` is made in this order (parents first).

    `calls` counts calls of the generator by (stage, model); copies and members that are given a
    text of their task are in `todo` and in no count. `adopted` maps the latter to whose text it is.
    `waiting` says of every other member why it is left alone. `reuse` is the plan that it follows.
    """

    made: tuple[Member, ...] = field(repr=False)
    todo: tuple[Member, ...] = field(repr=False)
    adopted: Mapping[Member, str] = field(repr=False)
    calls: Mapping[tuple[str, str], int]
    waiting: Mapping[Member, Waiting] = field(repr=False)
    reuse: Plan = field(factory=Plan, repr=False)

    def in_batches(self, stage: str) -> list[str]:
        """Return the ids of one stage whose task is in a batch."""
        return [
            one.gen_id
            for one, why in self.waiting.items()
            if (one.stage, why) == (stage, "in a batch")
        ]

    def of(self, stage: str) -> list[str]:
        """Return the ids of one stage that the run would make."""
        return [member.gen_id for member in self.todo if member.stage == stage]

    @property
    def total_calls(self) -> int:
        """How often the generator would be called, if every call succeeds."""
        return sum(self.calls.values())


def count_states(states: Mapping[Member, State]) -> dict[str, StageCounts]:
    """Return how many members are in which of their `states` (see `status.states_of`), by stage."""
    counts: dict[str, Counter[State]] = {stage: Counter() for stage in stage_names()}
    for member, state in states.items():
        counts[member.stage][state] += 1
    return {
        stage: StageCounts(
            members=found.total(),
            made=found["made"],
            missing=found["missing"],
            failed=found["failed"] + found["unreachable"],
            unparsed=found["unparsed"],
        )
        for stage, found in counts.items()
    }


def failed_members(root: DataRoot, states: Mapping[Member, State]) -> list[Failed]:
    """Return the members that failed or could not be parsed, with the reason on record."""
    found = []
    for (stage, gen_id), state in states.items():
        if state in _LEFT_ALONE:
            record = failures.read(root, stage, gen_id)
            reason = record.reason if record else _REASONS.get(state, "")
            found.append(Failed(stage=stage, gen_id=gen_id, state=state, reason=reason))
    return found


def blocked_members(
    root: DataRoot,
    members: Iterable[Member],
    work: Workload,
    in_batches: Iterable[Member] = (),
) -> list[Blocked]:
    """Return the members that are still missing after a run that set out to do `work`, parents
    first. What the run's limit left or is in a batch is none of them, and neither is what hangs on
    that."""
    left = {one for one, why in work.waiting.items() if why in ("over the limit", "in a batch")}
    left.update(in_batches)
    found = []
    for member in sorted(members, key=lambda one: stage_names().index(one.stage)):
        if member in left or state_of(root, *member) != "missing":
            continue
        generation = read_generation(root, *member)
        if _parent(generation) in left:
            left.add(member)
        else:
            found.append(
                Blocked(
                    stage=member.stage,
                    gen_id=member.gen_id,
                    parent_gen_id=generation.parent_gen_id,
                    reason=_why_blocked(root, generation, work, work.waiting.get(member)),
                )
            )
    return found


def unfinished(
    root: DataRoot, states: Mapping[Member, State], work: Workload, reported: Iterable[Outcome]
) -> list[Outcome]:
    """Return the members that failed before a run that set out to do `work`, or that it could not
    begin, as outcomes; without those `reported`, and without what is left to the next run."""
    known = {Member(one.stage, one.gen_id) for one in reported}
    known |= {one for one, why in work.waiting.items() if why in ("over the limit", "in a batch")}
    found = [
        Outcome(
            stage=one.stage,
            gen_id=one.gen_id,
            kind="unparsed" if one.state == "unparsed" else "failed",
            reason=one.reason,
        )
        for one in failed_members(root, states)
    ]
    found += (
        Outcome(stage=one.stage, gen_id=one.gen_id, kind="blocked", reason=one.reason)
        for one in blocked_members(root, states, work)
    )
    return [one for one in found if (one.stage, one.gen_id) not in known]


def plan_work(
    root: DataRoot,
    members: Sequence[Member],
    asked: Asked,
    *,
    reuse: Plan | None = None,
    planned: Mapping[Member, Row] | None = None,
    awaited: bool = False,
) -> Workload:
    """Return what a run would do with the members, stage by stage in membership order.

    A child whose parent is made in the same run counts as possible; with `awaited` also one whose
    parent is in a batch. `reuse` is whose text members can have; `planned` gives the rows of
    members that have no metadata yet.
    """
    work = _Working(root, asked, reuse or Plan(), planned or {}, open_batches(root))
    work.awaited = awaited
    for member in sorted(members, key=lambda one: stage_names().index(one.stage)):
        work.add(member)
    return Workload(
        made=tuple(work.made),
        todo=tuple(work.todo),
        adopted=work.adopted,
        calls=dict(work.calls),
        waiting=work.waiting,
        reuse=work.reuse,
    )


class _Working:
    """One workload that is being planned."""

    awaited = False

    def __init__(
        self,
        root: DataRoot,
        asked: Asked,
        reuse: Plan,
        planned: Mapping[Member, Row],
        batches: Sequence[Batch],
    ) -> None:
        self.root, self.asked, self.reuse, self.planned = root, asked, reuse, planned
        self.batches = batches
        self.made: list[Member] = []
        self.todo: dict[Member, None] = {}
        self.adopted: dict[Member, str] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.waiting: dict[Member, Waiting] = {}
        self.faults: dict[Member, str | None] = {}
        self.payers: dict[tuple[str, str, str | None], Member] = {}

    def add(self, member: Member) -> None:
        state = self._state(member)
        source = self._source(member)
        if state == "made":
            self.made.append(member)
        elif state != "unreachable" and source is not None:
            self.todo[member] = None
            self.adopted[member] = source
        elif not self.asked.takes(state):
            self.waiting[member] = _LEFT_ALONE[state]
        elif self._is_in_batch(member):
            self.waiting[member] = "in a batch"
        else:
            self._add_missing(member)

    def _state(self, member: Member) -> State:
        """Return where a member stands, or its task under another id where that was asked for."""
        state, task = state_of(self.root, *member), self.reuse.tasks.get(member)
        if state != "missing" or task is None:
            return state
        found = (held_up(self.root, member.stage, one) for one in task.held_up)
        states = (one[0] for one in found if one is not None)
        paid_again = self.asked.pay_again
        return next(
            (s for s in states if not (paid_again and may_pay_again(member.gen_id, s))), state
        )

    def _source(self, member: Member) -> str | None:
        task = self.reuse.tasks.get(member)
        if task is None or (member in self.reuse.refused and not self.asked.reuse):
            return None
        return task.source

    def _is_in_batch(self, member: Member) -> bool:
        task = self.reuse.tasks.get(member)
        names = (member.gen_id, member.gen_id if task is None else task.name)
        return any(one.holds(member.stage, names) for one in self.batches)

    def _will_have_text(self, parent: Member) -> bool:
        awaited = self.awaited and self.waiting.get(parent) == "in a batch"
        return awaited or parent in self.todo or self._fault(parent) is None

    def _fault(self, parent: Member) -> str | None:
        if parent not in self.faults:
            self.faults[parent] = _fault_of(self.root, parent)
        return self.faults[parent]

    def _add_missing(self, member: Member) -> None:
        row = self.planned.get(member)
        generation: Generation | Row = read_generation(self.root, *member) if row is None else row
        parent = _parent(generation)
        if parent_stage(generation.stage) and not (parent and self._will_have_text(parent)):
            self.waiting[member] = "blocked"
        elif generation.mode == "copy":
            self.todo[member] = None
        elif member in self.reuse.refused and not self.asked.pay_again:
            self.waiting[member] = "paid under another id"
        elif self.reuse.why_hidden(member) is not None:
            self.waiting[member] = "perhaps paid for"
        elif self.asked.reuse_only or self._is_over_limit():
            self.waiting[member] = "over the limit"
        elif (payer := self._payer(member, parent)) != member:
            self.todo[member] = None
            self.adopted[member] = payer.gen_id
        else:
            self.todo[member] = None
            self.calls[member.stage, _model(self.root, generation)] += 1

    def _payer(self, member: Member, parent: Member | None) -> Member:
        """Return the first member of the same task, over the same text, that this run pays for."""
        task = self.reuse.tasks.get(member)
        name = member.gen_id if task is None else task.name
        above = None if parent is None else self._text_of(parent)
        return self.payers.setdefault((member.stage, name, above), member)

    def _text_of(self, member: Member) -> str:
        """Return what tells a text from others: its digest, or the id it will be made under."""
        source = Member(member.stage, self.adopted.get(member, member.gen_id))
        return content_version(self.root, *source) or source.gen_id

    def _is_over_limit(self) -> bool:
        limit = self.asked.max_calls
        return limit is not None and self.calls.total() >= limit


def _fault_of(root: DataRoot, parent: Member) -> str | None:
    """Return why nothing can be made from a text; None: it can."""
    try:
        text_to_build_upon(root, *parent)
    except (ParentMissing, OSError) as error:
        return str(error)
    return None


def _parent(generation: Generation | Row) -> Member | None:
    parent = parent_key(generation.stage, generation.parent_gen_id)
    return None if parent is None else Member(*parent)


def _why_blocked(
    root: DataRoot, generation: Generation, work: Workload, why: Waiting | None
) -> str:
    reasons = [str(problem) for problem in generation.problems]
    if why == "perhaps paid for":
        reasons.append(work.reuse.why_hidden(Member(generation.stage, generation.gen_id)) or "")
    task = work.reuse.tasks.get(Member(generation.stage, generation.gen_id), Task(""))
    others = {*task.held_up, *task.elsewhere, *task.others} - {generation.gen_id}
    for other in sorted(others) if why in _LEFT_ALONE or not reasons else ():
        found = held_up(root, generation.stage, other)
        reasons += [] if found is None else [say_held_up(*found, other)]
    parent = _parent(generation)
    if parent is not None and (fault := _fault_of(root, parent)) is not None:
        reasons.append(fault)
    return "; ".join(reasons) or "it was not begun; run again"


def _model(root: DataRoot, generation: Generation | Row) -> str:
    """Return the model that would be asked; an essay without one of its own has its draft's."""
    model = generation.llm_model_id
    if model is None and generation.stage == "essay" and generation.parent_gen_id is not None:
        model = read_generation(root, "draft", generation.parent_gen_id).llm_model_id
    return model or "unknown"
