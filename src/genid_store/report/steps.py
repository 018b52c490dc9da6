"""What each next state of the flag would cost in one cohort: paid for, reused, copied, there.

A cohort whose membership today's tables plan exactly is planned in every state. Any other was made
from tables of another day: its recorded members are asked for again, each under the id that the
index expects of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Final, Literal

from attrs import define, field, frozen

from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import resolver, with_expected
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.inputs.tables import RawTables
from genid_store.cohort.manifest import make_manifest
from genid_store.cohort.prepare import Options, prepare
from genid_store.cohort.regeneration import Repeat
from genid_store.errors import Problem, StoreError
from genid_store.fs.jsonfile import read_json
from genid_store.ids import legacy
from genid_store.ids.rollout import Rollout
from genid_store.report.listed import ROWS, Listed
from genid_store.stages import PIPELINE, Member, parent_key

Kind = Literal["to_pay", "reused", "copied", "there"]
COPY: Final = "copy"  # the mode that takes its parent's text and costs nothing


@frozen
class Slot:
    """One member in one state: its id there, its task's v1 id (None: not known), and its mode."""

    member: Member
    task: str | None = None
    mode: str | None = None
    known: bool = True  # whether an id can be derived in this state


@frozen(kw_only=True)
class Step:
    """A cohort in one state of the flag, each member as (stage, id).

    Every member is in one of `to_pay`, `reused`, `copied` and `there`; `changed` are those whose
    id the state before does not have; of `unknown` no id can be derived, so they keep theirs.
    """

    label: str
    to_pay: Listed = field(factory=Listed)
    reused: Listed = field(factory=Listed)
    copied: Listed = field(factory=Listed)
    there: Listed = field(factory=Listed)
    changed: Listed = field(factory=Listed)
    unknown: Listed = field(factory=Listed)
    reuses: Listed = field(factory=Listed)  # of `Repeat`

    @property
    def members(self) -> int:
        return sum(map(len, (self.to_pay, self.reused, self.copied, self.there)))


@frozen(kw_only=True)
class CohortSteps:
    """One cohort's way through the rollout: its first step is the state it is in.

    `recorded` is that state's label, None for a cohort that is not built. `basis` is "tables" where
    today's tables plan exactly this membership, so that the steps are those of a rebuild.
    `problems` says why they rest on the membership although the tables are the same.
    """

    cohort_id: str
    recorded: str | None
    basis: Literal["tables", "membership"]
    steps: tuple[Step, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def built(self) -> bool:
        return self.recorded is not None


@define
class Walk:
    """Every cohort's steps, and what a run would do about the members of all as they are now, but
    for those that are there."""

    cohorts: list[CohortSteps] = field(factory=list)
    now: dict[Member, Kind] = field(factory=dict)


def walk_cohorts(
    index: StoreIndex,
    tables: RawTables | None,
    scheme: str,
    advance: Callable[[int, int], None],
) -> Walk:
    """Return every cohort's steps; where there is none, those of the one the tables would make.

    StoreError: there is none, and the tables do not make one.
    """
    walker = _Walker(index, tables, Rollout(scheme="phase-1" if scheme == "phase-1" else "v1"))
    recorded = read_memberships(index.root).members
    if not recorded:
        walker.unbuilt()
    for done, (cohort_id, members) in enumerate(sorted(recorded.items())):
        advance(done, len(recorded))
        unique = sorted(dict.fromkeys(members), key=lambda one: PIPELINE.index(one[0]))
        walker.recorded(cohort_id, unique)
    return walker.walk


def states_from(recorded: Rollout, target: Rollout) -> tuple[Rollout, ...]:
    """Return a cohort's state and every later one; one that is covered keeps its scheme."""
    scheme = recorded.scheme if recorded.stages else target.scheme
    first = len(recorded.stages)
    return tuple(
        Rollout(stages=PIPELINE[:count], scheme=scheme) for count in range(first, len(PIPELINE) + 1)
    )


@frozen
class _Walker:
    index: StoreIndex
    tables: RawTables | None
    target: Rollout
    walk: Walk = field(factory=Walk)

    def unbuilt(self) -> None:
        """Add the steps of the cohort that the tables would make."""
        states = states_from(Rollout.OFF, self.target)
        cohort_id, first = _planned(self.index, None, states[0])
        self._add(cohort_id, None, states, first)

    def recorded(self, cohort_id: str, members: Sequence[Member]) -> None:
        """Add the steps of a cohort that was built; `members` are unique, parents first."""
        recorded = read_recorded(self.index.root, cohort_id)
        rollout = None if recorded is None else recorded.rollout
        states = states_from(rollout or Rollout.OFF, self.target)
        label = states[0].label if rollout is not None else f"{states[0].label} (no manifest)"
        problems: tuple[Problem, ...] = ()
        try:
            if _same_tables(self.index, self.tables, cohort_id):
                first = _planned(self.index, cohort_id, states[0])[1]
                if {slot.member for slot in first} == set(members):
                    self._add(cohort_id, label, states, first)
                    return
        except StoreError as error:
            problems = error.problems
        # whatever the first state is, its ids are the recorded ones
        again = (
            _asked_again(self.index, members, state, cohort_id)
            for state in (Rollout.OFF, *states[1:])
        )
        steps = self._steps(states, again)
        found = CohortSteps(
            cohort_id=cohort_id, recorded=label, basis="membership", steps=steps, problems=problems
        )
        self.walk.cohorts.append(found)

    def _add(
        self, cohort_id: str, label: str | None, states: Sequence[Rollout], first: list[Slot]
    ) -> None:
        """Add a cohort as the tables plan it in every state, in the first as `first`."""
        named = None if label is None else cohort_id
        later = (_planned(self.index, named, state)[1] for state in states[1:])
        steps = self._steps(states, chain([first], later))
        found = CohortSteps(cohort_id=cohort_id, recorded=label, basis="tables", steps=steps)
        self.walk.cohorts.append(found)

    def _steps(
        self, states: Iterable[Rollout], slots: Iterable[Iterable[Slot]]
    ) -> tuple[Step, ...]:
        """Return the steps of one cohort; its first state is compared with itself, and counts."""
        found: list[Step] = []
        before: Set[Member] = frozenset()
        for state, planned in zip(states, slots, strict=True):
            members = {slot.member: slot for slot in planned}
            step = Step(label=state.label)
            for member, slot in members.items():
                kind, held = _kind(self.index, slot)
                getattr(step, kind).add(member)
                if not found and kind != "there":
                    self.walk.now[member] = kind
                if held:
                    step.reuses.add(Repeat(**member._asdict(), held=held), ROWS)
                if found and member not in before:
                    step.changed.add(member)
                if not slot.known:
                    step.unknown.add(member)
            found.append(step)
            before = members.keys()
        return tuple(found)


def _same_tables(index: StoreIndex, tables: RawTables | None, cohort_id: str) -> bool:
    """Say whether the cohort's manifest has the templates and models of today's tables."""
    if tables is None:
        return False
    today = make_manifest(tables, (), Rollout.OFF)
    try:
        recorded = read_json(index.root.manifest(cohort_id))
        return all(recorded[key] == today[key] for key in ("templates", "llms"))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _planned(index: StoreIndex, cohort_id: str | None, rollout: Rollout) -> tuple[str, list[Slot]]:
    """Return the cohort's id and its members as today's tables plan them."""
    options = Options(rollout=rollout, cohort_id=cohort_id)
    plan = prepare(index.root, options, resolve=resolver(index)).plan
    planned = with_expected(index, (row.as_generation() for row in plan.rows)).values()
    return plan.cohort_id, [
        Slot(Member(one.stage, one.gen_id), one.expected["v1"], str(one.mode)) for one in planned
    ]


def _asked_again(
    index: StoreIndex, members: Iterable[Member], rollout: Rollout, cohort_id: str
) -> list[Slot]:
    """Return recorded members, parents first, as they would be in a state."""
    new: dict[Member | None, str] = {}
    found = []
    for member in members:
        one = index.get(*member)
        if one is None:
            found.append(Slot(member, known=False))
            continue
        gen_id = _id_in(one, rollout, cohort_id, new)
        new[member] = gen_id or one.gen_id
        renamed = Member(one.stage, new[member])
        found.append(Slot(renamed, one.expected["v1"], one.mode, gen_id is not None))
    return found


def _id_in(
    one: Indexed, rollout: Rollout, cohort_id: str, new: Mapping[Member | None, str]
) -> str | None:
    """Return a member's id in a state, None where none can be derived. `new` has its parent's."""
    if rollout.covers(one.stage):
        return one.expected[rollout.scheme]
    parent = new.get(parent_key(one.stage, one.parent_gen_id), one.parent_gen_id)
    if one.stage != "evaluation" or parent == one.parent_gen_id:
        return one.gen_id  # of what stays legacy, evaluations alone are made from another id
    number = one.effective_replicate
    if parent is None or number is None or one.template_id is None or one.llm_model_id is None:
        return None
    task_id = legacy.evaluation_task(parent, one.template_id, one.llm_model_id)
    return legacy.reserve_gen_id(one.stage, task_id, cohort_id, legacy.evaluation_salt(number))


def _kind(index: StoreIndex, slot: Slot) -> tuple[Kind, tuple[str, ...]]:
    """Return what a run would do about a member, and the ids under which its task has a text."""
    stage, gen_id = slot.member
    if content_of(f"{index.root.gens}/{stage}/{gen_id}")[0] is not None:
        return "there", ()
    same = [] if slot.task is None else index.by_expected("v1", slot.task)
    held = tuple(one.gen_id for one in same if one.has_content and one.gen_id != gen_id)
    if held:
        return "reused", held
    return ("copied" if slot.mode == COPY else "to_pay"), ()
