"""What each further state of the flag would cost a cohort: members paid for, in a batch, reused or
copied.

If today's tables plan exactly the members of a cohort, every state is planned. Otherwise the cohort
was built from other tables, and each of its recorded members is taken under the id that the index
expects of it in that state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import chain
from typing import Final, Literal

from attrs import evolve, field, frozen

from genid import SchemeName
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import held_elsewhere, stored_id, with_expected
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.inputs.tables import RawTables
from genid_store.cohort.manifest import make_manifest
from genid_store.cohort.prepare import Options, prepare
from genid_store.cohort.regeneration import Repeat
from genid_store.errors import Problem, StoreError
from genid_store.fs.jsonfile import read_json
from genid_store.generation.batches import Batch
from genid_store.ids import legacy
from genid_store.ids.rollout import Rollout
from genid_store.report.listed import ROWS, Listed
from genid_store.stages import PIPELINE, Member, by_stage, parent_key

Kind = Literal["to_pay", "in_batch", "reused", "copied", "there"]
COPY: Final = "copy"  # the mode of a generation that takes its parent's text and costs nothing


@frozen
class Slot:
    """A member in one state, and its generation under its id in that state, if it is known."""

    member: Member
    generation: Indexed | None = None
    derivable: bool = True  # whether its id in this state can be derived

    @property
    def task(self) -> str | None:
        """The v1 id of its task, if it can be derived."""
        return None if self.generation is None else self.generation.expected["v1"]


@frozen(kw_only=True)
class Now:
    """What a run would do today, with these open batches, about what has no text.

    Of the members of all cohorts, `kinds` has each one that is given a text which the store has,
    and otherwise each task once: one member pays for it, and those over the same parent's text are
    given its text.
    """

    batches: Sequence[Batch]
    kinds: dict[tuple[str, str], Kind] = field(factory=dict)

    def add(self, slot: Slot, kind: Kind) -> None:
        stage, gen_id = slot.member
        if kind != "there":
            self.kinds[stage, gen_id if kind == "reused" else slot.task or gen_id] = kind


@frozen(kw_only=True)
class Step:
    """A cohort in one state of the flag, each member as (stage, id).

    Every member is in one of `to_pay`, `in_batch`, `reused`, `copied` and `there`. `changed` are
    the members whose id differs from the state before. `unknown` are those for which no id can be
    derived, so that they keep theirs.
    """

    label: str
    to_pay: Listed = field(factory=Listed)
    in_batch: Listed = field(factory=Listed)
    reused: Listed = field(factory=Listed)
    copied: Listed = field(factory=Listed)
    there: Listed = field(factory=Listed)
    changed: Listed = field(factory=Listed)
    unknown: Listed = field(factory=Listed)
    reuses: Listed = field(factory=Listed)  # of `Repeat`

    @property
    def members(self) -> int:
        parts = (self.to_pay, self.in_batch, self.reused, self.copied, self.there)
        return sum(map(len, parts))


@frozen(kw_only=True)
class CohortSteps:
    """The states of one cohort, the first of which is its present one.

    `recorded` is the label of the present state, None if the cohort is not built. `basis` is
    "tables" if today's tables plan exactly these members: then the steps are what a rebuild does.
    `problems` is why they could not be planned, although the tables are those of the cohort.
    """

    cohort_id: str
    recorded: str | None
    basis: Literal["tables", "membership"]
    steps: tuple[Step, ...]
    problems: tuple[Problem, ...] = ()

    @property
    def built(self) -> bool:
        return self.recorded is not None


def walk_cohorts(
    index: StoreIndex,
    tables: RawTables | None,
    scheme: SchemeName,
    now: Now,
    advance: Progress,
) -> list[CohortSteps]:
    """Return the steps of every cohort, and add to `now` what a run would do about its members.

    If no cohort is built, the steps are those of the cohort that the tables would make.

    StoreError: no cohort is built, and the tables do not make one.
    """
    target = Rollout(scheme=scheme)
    memberships = read_memberships(index.root).members
    if not memberships:
        states = states_from(Rollout.OFF, target)
        cohort_id, first = _planned(index, None, states[0])
        steps = _planned_steps(index, None, states, first, now)
        return [CohortSteps(cohort_id=cohort_id, recorded=None, basis="tables", steps=steps)]
    cohorts = []
    for done, (cohort_id, members) in enumerate(sorted(memberships.items())):
        advance(done, len(memberships))
        ordered = by_stage(members)
        cohorts.append(_built(index, tables, cohort_id, ordered, target=target, now=now))
    return cohorts


def states_from(recorded: Rollout, target: Rollout) -> tuple[Rollout, ...]:
    """Return a cohort's state and every later one, in its own scheme if it covers a stage."""
    scheme = recorded.scheme if recorded.stages else target.scheme
    first = len(recorded.stages)
    return tuple(
        Rollout(stages=PIPELINE[:count], scheme=scheme) for count in range(first, len(PIPELINE) + 1)
    )


def _built(
    index: StoreIndex,
    tables: RawTables | None,
    cohort_id: str,
    members: Sequence[Member],
    *,
    target: Rollout,
    now: Now,
) -> CohortSteps:
    """Return the steps of a cohort that exists; its `members` are ordered, parents first."""
    recorded = read_recorded(index.root, cohort_id)
    rollout = None if recorded is None else recorded.rollout
    states = states_from(rollout or Rollout.OFF, target)
    label = states[0].label if rollout is not None else f"{states[0].label} (no manifest)"
    problems: tuple[Problem, ...] = ()
    try:
        if _has_tables_of(index, tables, cohort_id):
            _, first = _planned(index, cohort_id, states[0])
            if {slot.member for slot in first} == set(members):
                steps = _planned_steps(index, cohort_id, states, first, now)
                return CohortSteps(cohort_id=cohort_id, recorded=label, basis="tables", steps=steps)
    except StoreError as error:
        problems = error.problems
    # The members have the ids of the first state already, so that none are derived for it.
    derived = (_in_state(index, members, state, cohort_id) for state in (Rollout.OFF, *states[1:]))
    steps = _steps(index, states, derived, now)
    return CohortSteps(
        cohort_id=cohort_id, recorded=label, basis="membership", steps=steps, problems=problems
    )


def _planned_steps(
    index: StoreIndex,
    cohort_id: str | None,
    states: Sequence[Rollout],
    first: list[Slot],
    now: Now,
) -> tuple[Step, ...]:
    """Return the steps of a cohort as the tables plan it in every state, `first` in the first."""
    later = (_planned(index, cohort_id, state)[1] for state in states[1:])
    return _steps(index, states, chain([first], later), now)


def _steps(
    index: StoreIndex, states: Iterable[Rollout], slots: Iterable[Iterable[Slot]], now: Now
) -> tuple[Step, ...]:
    """Return the steps of one cohort; what a run would do in the first state is added to `now`."""
    steps: list[Step] = []
    before: Set[Member] = frozenset()
    for state, planned in zip(states, slots, strict=True):
        members = {slot.member: slot for slot in planned}
        step = Step(label=state.label)
        for member, slot in members.items():
            kind, holders = _kind(index, slot, now.batches)
            getattr(step, kind).add(member)
            if not steps:
                now.add(slot, kind)
            if holders:
                step.reuses.add(Repeat(**member._asdict(), held=holders), ROWS)
            if steps and member not in before:
                step.changed.add(member)
            if not slot.derivable:
                step.unknown.add(member)
        steps.append(step)
        before = members.keys()
    return tuple(steps)


def _kind(index: StoreIndex, slot: Slot, batches: Sequence[Batch]) -> tuple[Kind, tuple[str, ...]]:
    """Return what a run would do about a member, and the other ids of its task that have a text."""
    stage, gen_id = slot.member
    if content_of(f"{index.root.gens}/{stage}/{gen_id}")[0] is not None:
        return "there", ()
    generation = slot.generation
    if generation is None:
        return "to_pay", ()
    if holders := held_elsewhere(index, generation):
        return "reused", holders
    if any(batch.holds(stage, (slot.task, gen_id)) for batch in batches):
        return "in_batch", ()
    return ("copied" if generation.mode == COPY else "to_pay"), ()


def _has_tables_of(index: StoreIndex, tables: RawTables | None, cohort_id: str) -> bool:
    """Return whether the manifest of a cohort has the templates and models of today's tables."""
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
    plan = prepare(index.root, options, resolve=partial(stored_id, index)).plan
    planned = with_expected(index, (row.as_generation() for row in plan.rows)).values()
    return plan.cohort_id, [Slot(Member(row.stage, row.gen_id), row) for row in planned]


def _in_state(
    index: StoreIndex, members: Iterable[Member], rollout: Rollout, cohort_id: str
) -> Iterator[Slot]:
    """Yield recorded members, parents first, under their ids in a state."""
    renamed: dict[Member | None, str] = {}
    for member in members:
        generation = index.get(*member)
        if generation is None:
            yield Slot(member, derivable=False)
            continue
        gen_id = _id_in(generation, rollout, cohort_id, renamed)
        renamed[member] = now = gen_id or generation.gen_id
        slot = Member(generation.stage, now)
        yield Slot(slot, evolve(generation, gen_id=now), gen_id is not None)


def _id_in(
    generation: Indexed, rollout: Rollout, cohort_id: str, renamed: Mapping[Member | None, str]
) -> str | None:
    """Return a generation's id in a state, None if it cannot be derived; `renamed` has the ids of
    its ancestors there."""
    stage, parent_gen_id = generation.stage, generation.parent_gen_id
    if rollout.covers(stage):
        return generation.expected[rollout.scheme]
    parent = renamed.get(parent_key(stage, parent_gen_id), parent_gen_id)
    # Of the stages that are still legacy, only an evaluation's id is made from its parent's id.
    if stage != "evaluation" or parent == parent_gen_id:
        return generation.gen_id
    template, model = generation.template_id, generation.llm_model_id
    number = generation.effective_replicate
    if parent is None or number is None or template is None or model is None:
        return None
    task_id = legacy.evaluation_task(parent, template, model)
    return legacy.reserve_gen_id(stage, task_id, cohort_id, legacy.evaluation_salt(number))
