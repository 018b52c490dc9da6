"""Plan which existing text each member can reuse instead of being paid for.

A task is identified by its v1 id over the expected ids of its ancestors. Generations of any family
with the same one belong to the same task. A child's text is reused only over the parent's text that
it was made from. Of several texts of one task, the plan takes the one that lets most members below
be reused; then the one with most descendants in the store; then the cohort's own; then the first by
`catalog.preference`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Final

from attrs import field, frozen

from genid.parse import family_of
from genid_store.catalog import findings
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import (
    children,
    perhaps_same_task,
    read_indexed,
    same_task,
    with_expected,
)
from genid_store.catalog.memberships import read_former, read_memberships
from genid_store.catalog.metadata import Generation, stage_fields
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.batches import open_batches
from genid_store.generation.content import text_version, usable_version
from genid_store.generation.ledger import Ledger
from genid_store.generation.status import is_out_of_reach
from genid_store.ids.components import folded
from genid_store.ids.rollout import is_legacy
from genid_store.stages import Member, by_stage

#: What to do about a legacy member whose task the store has under another id.
REMEDY: Final = "cover its stage by DD_DETERMINISTIC_GEN_IDS, give it that text, or pay for another"
REMEDY_WAYS: Final = ("reuse", "pay_again")
_NO_METADATA: Final = {
    findings.METADATA_MISSING,
    findings.METADATA_EMPTY,
    findings.METADATA_MALFORMED,
}


@frozen
class Task:
    """What is known of one member's task.

    `name` is the task's id, and its lease's name. `source` is the id whose text the member reuses,
    None if there is none. `elsewhere` are the ids under which the store has the task's text over
    the same parent's text; `others` are its other ids, where a text may be under way.
    `parent_digest` is that of the parent's text, present or planned. `refused`: the member is
    legacy and the store has its task. `hidden` says why the text may exist under an id whose
    metadata does not tell the task.
    """

    name: str
    source: str | None = None
    elsewhere: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    parent_digest: str | None = None
    refused: bool = False
    hidden: str | None = None


@frozen(kw_only=True)
class Plan:
    """The tasks of a run's members; `ledger` tells what was made since planning."""

    ledger: Ledger
    tasks: Mapping[Member, Task] = field(factory=dict)

    def task_of(self, member: Member) -> Task:
        """Return the member's task; an unknown member is a task of its own."""
        return self.tasks.get(member) or Task(member.gen_id)


def plan_reuse(
    index: StoreIndex,
    members: Iterable[Member],
    *,
    cohort_id: str | None = None,
    planned: Mapping[Member, Generation] | None = None,
    ledger: Ledger | None = None,
) -> Plan:
    """Return the task of each member, and whose text it can reuse.

    The index is up to date, or `ledger`, made before the index was last refreshed, tells what it
    lacks. `planned` has the generations that are not written yet, parents first.
    """
    planning = _Planning(index, cohort_id, with_expected(index, (planned or {}).values()))
    for member in members:
        planning.add(member)
    return Plan(tasks=planning.decide(), ledger=ledger or Ledger(index.root))


def plan_reuse_of(
    root: DataRoot,
    members: Iterable[Member],
    *,
    cohort_id: str | None = None,
    planned: Mapping[Member, Generation] | None = None,
) -> Plan:
    """Refresh the index, then plan as `plan_reuse` does. StoreError: the index cannot be used."""
    ledger = Ledger(root)  # before the refresh, so that what is made during it is in one of the two
    with StoreIndex.fresh(root, persist=planned is None) as index:
        return plan_reuse(index, members, cohort_id=cohort_id, planned=planned, ledger=ledger)


def undecided(root: DataRoot, stage: str, gen_ids: Iterable[str]) -> set[str]:
    """Return the generations that no run makes by itself: those under ids other than v1 whose task
    is in a batch, and legacy ones whose task has a text under another id.

    A batch knows its tasks by v1 ids, so that a v1 id needs no look-up here. Whether to reuse the
    text or to pay again is the operator's decision.

    StoreError: the index cannot be used.
    """
    older = {gen_id for gen_id in gen_ids if family_of(gen_id) != "v1"}
    if not older:
        return set()
    batches, query = open_batches(root), "SELECT gen_id, v1 FROM generation WHERE stage = ?"
    with StoreIndex.fresh(root) as index:
        tasks = dict(index.sql(query, stage)) if batches else {}
        perhaps = {gen_id for of, gen_id in perhaps_same_task(index) if of == stage}
        plan = plan_reuse(index, [Member(stage, gen_id) for gen_id in older & perhaps])
    in_batches = {
        gen_id
        for gen_id in older
        if any(batch.holds(stage, [tasks.get(gen_id) or gen_id]) for batch in batches)
    }
    return in_batches | {member.gen_id for member, task in plan.tasks.items() if task.refused}


class _Planning:
    """One plan: the members by their parents, and the texts, each read once and known by its
    digest."""

    def __init__(
        self,
        index: StoreIndex,
        cohort_id: str | None,
        planned: Mapping[tuple[str, str], Indexed],
    ) -> None:
        self.index, self.cohort_id, self.planned = index, cohort_id, planned
        self.known: dict[Member, Indexed | None] = {}
        self.children: dict[Member | None, list[Member]] = defaultdict(list)
        self.same: dict[Member, list[Indexed]] = {}  # other generations of the task
        self.candidates: dict[Member, list[Indexed]] = {}  # those with a usable text
        self.digest = cache(partial(usable_version, index.root))  # a run reads it again
        self.version = cache(partial(_version, index.root))
        self.best, self.lacks_task = cache(self._best), cache(self._lacks_task)
        self.unknown = _TextsWithoutTask(index)

    def add(self, member: Member) -> None:
        known = self.index.get(*member) or self.planned.get(member)
        known = self.known[member] = known or read_indexed(self.index, *member)
        self.children[None if known is None else known.parent].append(member)
        missing = known is not None and not known.has_content
        same = same_task(self.index, known) if missing and known is not None else []
        self.candidates[member] = [one for one in same if self.digest(one.stage, one.gen_id)]
        self.same[member] = same

    def decide(self) -> dict[Member, Task]:
        """Return the tasks, from the roots down: each child over its parent's text, present or
        planned."""
        tasks: dict[Member, Task] = {}
        texts: dict[Member, str | None] = {}
        for member in by_stage(self.known):
            known = self.known[member]
            expected = None if known is None else known.expected["v1"]
            parent = None if known is None else known.parent
            parent_text = None if parent is None else texts.get(parent) or self.digest(*parent)
            fitting = [one for one in self.candidates[member] if self.fits(one, parent_text)]
            elsewhere = tuple(one.gen_id for one in fitting)
            source = self.best(member, parent_text)[1]
            if source is not None:
                texts[member] = self.digest(source.stage, source.gen_id)
            else:
                texts[member] = parent_text if self.is_copy(member) else self.digest(*member)
            # A deterministic parent shows that the flag is on: its legacy child gets the text.
            older = is_legacy(member.gen_id) and (not parent or is_legacy(parent.gen_id))
            missing = known is not None and known.content is None and source is None
            others = [one.gen_id for one in self.same[member] if one.gen_id not in elsewhere]
            tasks[member] = Task(
                name=expected or member.gen_id,
                source=None if source is None else source.gen_id,
                elsewhere=elsewhere,
                others=tuple(others),
                parent_digest=parent_text,
                refused=bool(elsewhere) and older,
                hidden=next(self.hiding(known, parent_text), None) if known and missing else None,
            )
        return tasks

    def hiding(self, known: Indexed, parent_text: str | None) -> Iterator[str]:
        """Yield the reasons why a member's task may already be paid for under an unknown id.

        Its own metadata, or its parent's, may not tell its task (a temporary read error is enough),
        or a text without a task may belong to it.
        """
        for member in (known.parent, Member(known.stage, known.gen_id)):
            if member is not None and self.lacks_task(member):
                yield _why_hidden(self.known.get(member) or self.index.get(*member), member.gen_id)
        for other in self.unknown.like(known):
            named = other.gen_id in known.expected.values()
            unknown = other.parent is None or is_out_of_reach(self.index.root, other.parent)
            if named or unknown or self.fits(other, parent_text):
                yield _why_hidden(other, other.gen_id)

    def _lacks_task(self, member: Member) -> bool:
        known = self.known.get(member) or self.index.get(*member)
        return not (known is None or known.expected["v1"] is not None or known.has_no_v1_id)

    def _best(self, member: Member, parent_text: str | None) -> tuple[int, Indexed | None]:
        """Return how many members from this one down can get a text over the parent's, and whose
        text this one has to take for that."""
        fitting = [one for one in self.candidates[member] if self.fits(one, parent_text)]
        return max(
            ((self.below(member, self.digest(one.stage, one.gen_id)), one) for one in fitting),
            key=lambda choice: (
                choice[0],
                self.reach(choice[1]) if len(fitting) > 1 else 0,
                choice[1].origin_cohort_id == self.cohort_id,
            ),
            default=(self.below(member, parent_text) if self.is_copy(member) else 0, None),
        )

    def reach(self, generation: Indexed) -> int:
        """Return how many tasks in the store have a text that was made from this one."""
        made = (child for child in children(self.index, generation) if child.has_content)
        tasks = {child.expected["v1"] or child.gen_id: child for child in made}
        return len(tasks) + sum(self.reach(child) for child in tasks.values())

    def is_copy(self, member: Member) -> bool:
        """Return whether a member has yet to be copied from its parent."""
        known = self.known[member]
        return known is not None and known.content is None and known.mode == "copy"

    def below(self, member: Member, text: str | None) -> int:
        return 1 + sum(self.best(child, text)[0] for child in self.children[member])

    def fits(self, candidate: Indexed, parent_text: str | None) -> bool:
        parent = candidate.parent
        return parent is None or (parent_text is not None and self.version(*parent) == parent_text)


class _TextsWithoutTask:
    """The texts whose metadata does not tell their task, by the fields that are known."""

    def __init__(self, index: StoreIndex) -> None:
        self._by_id: dict[tuple[str, str | None], Indexed] = {}
        self._by_fields: dict[tuple[str, str | None, str | None], list[Indexed]] = defaultdict(list)
        rows = [row for row in index.without_task() if _is_possibly_paid(index.root, row)]
        members: set[tuple[str, str]] = set()
        if any(_has_problem(row, _NO_METADATA) for row in rows):
            # A build with deterministic ids replaces the memberships that name legacy ones.
            cohorts = read_memberships(index.root), read_former(index.root)
            # An unreadable membership may have any of them as a member.
            members = {(row.stage, row.gen_id) for row in rows}
            if not any(each.problems for each in cohorts):
                members = {member for each in cohorts for member in each.every()}
        for row in rows:
            self._by_id[row.stage, row.gen_id] = row
            counts = not _has_problem(row, _NO_METADATA) or (row.stage, row.gen_id) in members
            if counts and row.family != "v1":  # a v1 id names its task by itself
                key = row.stage, folded(row.combo_id), folded(row.template_id)
                self._by_fields[key].append(row)

    def like(self, known: Indexed) -> Iterator[Indexed]:
        """Yield the texts that may belong to a generation's task: those named by one of its
        expected ids, and those whose known fields are all the same."""
        names = [(known.stage, expected) for expected in known.expected.values()]
        yield from (self._by_id[name] for name in names if name in self._by_id)
        combos, templates = ({folded(text), None} for text in (known.combo_id, known.template_id))
        for key in itertools.product((known.stage,), combos, templates):
            yield from (one for one in self._by_fields.get(key, ()) if _may_be(one, known))


def _version(root: DataRoot, stage: str, gen_id: str) -> str | None:
    try:
        return text_version(root, stage, gen_id)
    except OSError:
        return None


def _is_possibly_paid(root: DataRoot, one: Indexed) -> bool:
    """Return whether a text, or a failed call for one that cannot be read now, may be there."""
    unreadable = _has_problem(one, {findings.METADATA_UNREADABLE})
    if unreadable and failures.read(root, one.stage, one.gen_id) is not None:
        return True
    return (one.content is not None or not one.looked) and not one.has_no_v1_id


def _has_problem(one: Indexed, codes: Container[str | None]) -> bool:
    return any(problem.code in codes for problem in one.problems)


def _why_hidden(one: Indexed | None, gen_id: str) -> str:
    flaw = f" ({one.problems[0].text})" if one is not None and one.problems else ""
    return (
        f"it may be paid for already: the metadata of {gen_id}{flaw} does not say which task that "
        "is; restore it, or remove it and build its cohort again with the flag as it was then, or "
        "move the folder out of gens/"
    )


def _may_be(one: Indexed, known: Indexed) -> bool:
    names = {*stage_fields(one.stage).every} - {stage_fields(one.stage).parent}
    fields, wanted = one.signature_fields() | {"replicate": one.replicate}, known.signature_fields()
    pairs = ((folded(fields.get(name)), folded(wanted.get(name))) for name in names)
    return one.gen_id != known.gen_id and all(None in pair or len({*pair}) == 1 for pair in pairs)
