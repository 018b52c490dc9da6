"""What each next step of the flag would change in one cohort; pure.

A cohort's members in each rollout state in, counts out: which ids change from one state to the
next, which of the new ids have their text already, which would be made, and which of those the
store holds under another id, so that they would be paid for twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from attrs import frozen

from genid_store.ids.rollout import Rollout
from genid_store.report.drawing import Segment, bar
from genid_store.report.faults import ShownProblem
from genid_store.report.holdings import Holdings
from genid_store.stages import PIPELINE

#: "tables": the raw tables plan exactly this membership, so the steps are those of a rebuild.
#: "membership": they do not; the steps are those of the recorded members, asked for again.
Basis = Literal["tables", "membership"]
COPY: Final = "copy"  # the mode that takes its parent's text and costs nothing


@frozen
class Member:
    """One member in one state: its id there, its task (None: not known), how it is made."""

    stage: str
    gen_id: str
    task: str | None
    mode: str | None = None


@frozen
class State:
    """A cohort in one rollout state; a member that no id can be derived for is counted apart."""

    rollout: Rollout
    members: tuple[Member, ...]
    unknown: int = 0


@frozen
class Repeat:
    """A member that would be made although the store holds its task's text under other ids."""

    stage: str
    gen_id: str
    held_as: tuple[str, ...]


@frozen(kw_only=True)
class Counts:
    """One stage's members (or all): how many there are, change, exist, and would be made.

    `existing` and `to_make` are parts of `changed`; `pending` are members that keep their id and
    have no text yet; `repeated` are those of `to_make` and `pending` that would be paid twice.
    """

    stage: str
    rows: int = 0
    changed: int = 0
    existing: int = 0
    to_make: int = 0
    pending: int = 0
    repeated: int = 0

    @property
    def kept(self) -> int:
        return self.rows - self.changed

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The bar of all members: those with content, under the id they keep or under the new one,
        and those that a run would make, once or again."""
        shares = [
            ("kept", self.kept - self.pending),
            ("existing", self.existing),
            ("make", self.to_make + self.pending - self.repeated),
            ("repeated", self.repeated),
        ]
        return bar(shares, 200)


@frozen(kw_only=True)
class Step:
    """One rollout state of one cohort, against the state before it."""

    label: str
    total: Counts
    stages: tuple[Counts, ...]
    repeats: tuple[Repeat, ...]
    unknown: int = 0


@frozen(kw_only=True)
class CohortSteps:
    """One cohort's way through the rollout: its first step is the state it is in.

    `recorded` is the state that its manifest gives, None where there is no manifest to tell;
    `problems` says why the steps rest on the membership although the tables are the same.
    """

    cohort_id: str
    recorded: str | None
    built: bool
    basis: Basis
    steps: tuple[Step, ...] = ()
    problems: tuple[ShownProblem, ...] = ()


def states_from(recorded: Rollout, scheme: Rollout) -> tuple[Rollout, ...]:
    """Return a cohort's state and every later one, under the scheme that the rollout has.

    A cohort that is covered already keeps the scheme it was built in.
    """
    name = recorded.scheme if recorded.stages else scheme.scheme
    first = len(recorded.stages)
    return tuple(
        Rollout(stages=PIPELINE[:count], scheme=name) for count in range(first, len(PIPELINE) + 1)
    )


def walk(states: Iterable[State], store: Holdings) -> tuple[Step, ...]:
    """Return the steps of one cohort; its first state is compared with itself."""
    return tuple(_walk(states, store))


def _walk(states: Iterable[State], store: Holdings) -> Iterator[Step]:
    before: frozenset[tuple[str, str]] | None = None
    for state in states:
        members = {(member.stage, member.gen_id): member for member in state.members}
        yield _step(state, members, members.keys() if before is None else before, store)
        before = frozenset(members)


def _step(
    state: State,
    members: dict[tuple[str, str], Member],
    before: Iterable[tuple[str, str]],
    store: Holdings,
) -> Step:
    earlier = frozenset(before)
    repeats = _repeats(members.values(), store)
    stages = tuple(
        _counts(stage, [m for m in members.values() if m.stage == stage], earlier, store, repeats)
        for stage in PIPELINE
    )
    return Step(
        label=state.rollout.label,
        total=_sum(stages),
        stages=stages,
        repeats=repeats,
        unknown=state.unknown,
    )


def _repeats(members: Iterable[Member], store: Holdings) -> tuple[Repeat, ...]:
    found = []
    for member in members:
        if member.mode == COPY or store.is_paid(member.stage, member.gen_id):
            continue
        others = store.elsewhere(member.task, member.gen_id)
        if others:
            found.append(Repeat(member.stage, member.gen_id, others))
    return tuple(found)


def _counts(
    stage: str,
    members: Sequence[Member],
    before: frozenset[tuple[str, str]],
    store: Holdings,
    repeats: Sequence[Repeat],
) -> Counts:
    changed = [member for member in members if (stage, member.gen_id) not in before]
    existing = sum(store.is_paid(stage, member.gen_id) for member in changed)
    made = sum(store.is_paid(stage, member.gen_id) for member in members)
    return Counts(
        stage=stage,
        rows=len(members),
        changed=len(changed),
        existing=existing,
        to_make=len(changed) - existing,
        pending=(len(members) - made) - (len(changed) - existing),
        repeated=sum(repeat.stage == stage for repeat in repeats),
    )


def _sum(stages: Sequence[Counts]) -> Counts:
    return Counts(
        stage="all",
        rows=sum(one.rows for one in stages),
        changed=sum(one.changed for one in stages),
        existing=sum(one.existing for one in stages),
        to_make=sum(one.to_make for one in stages),
        pending=sum(one.pending for one in stages),
        repeated=sum(one.repeated for one in stages),
    )
