"""Whose text a member can have instead of being paid for.

A task is its v1 id over the expected ids of its ancestors; generations of every family that come to
the same one are the same task. A child's text is reused only over the text that it was made from.
Of several texts of one task the one is taken under which most members below can be reused; among
equals the one from which the store has most, then the cohort's own, then the one that
`catalog.preference` puts first.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Final

from attrs import field, frozen

from genid import SCHEMES, parse_id
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
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import Generation, stage_fields
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import open_batches
from genid_store.generation.content import usable_version
from genid_store.generation.ledger import Ledger
from genid_store.ids.components import folded
from genid_store.stages import Member, stage_names

#: What can be done about a member whose task is there under another id.
REMEDY: Final = "cover its stage by DD_DETERMINISTIC_GEN_IDS, give it that text, or pay for another"
REMEDY_WAYS: Final = ("reuse", "pay_again")
_NO_METADATA: Final = {
    findings.METADATA_MISSING,
    findings.METADATA_EMPTY,
    findings.METADATA_MALFORMED,
}


@frozen
class Task:
    """One member's task: its lease's name, the id whose text it is to be given (None: nobody's),
    the ids under which the store has the task's text over the same parent's, and the `others` that
    it has, whose text may be under way.

    `above` is the digest of the text that its parent has, or will be given. `refused`: the member
    is legacy, and its task is there already. `hidden` says why its text may be there under an id of
    which no metadata tells the task.
    """

    name: str
    source: str | None = None
    elsewhere: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    above: str | None = None
    refused: bool = False
    hidden: str | None = None


@frozen(kw_only=True)
class Plan:
    """The tasks of a run's members; `ledger` tells what was made since."""

    ledger: Ledger
    tasks: Mapping[Member, Task] = field(factory=dict)

    def task_of(self, member: Member) -> Task:
        """Return the member's task; one that nothing is known of is its own."""
        return self.tasks.get(member) or Task(member.gen_id)


def plan_reuse(
    index: StoreIndex,
    members: Iterable[Member],
    *,
    cohort_id: str | None = None,
    planned: Mapping[Member, Generation] | None = None,
    ledger: Ledger | None = None,
) -> Plan:
    """Return the task of each member and whose text it can have; the index is up to date, or the
    ledger tells what it lacks. `planned` has what is not written yet, parents first; `ledger` was
    created before the index was refreshed.
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
    """Return the plan of some members, as `plan_reuse`, by an index that is brought up to date.

    StoreError: the index cannot be used.
    """
    ledger = Ledger(root)
    with StoreIndex.fresh(root, persist=planned is None) as index:
        return plan_reuse(index, members, cohort_id=cohort_id, planned=planned, ledger=ledger)


def undecided(root: DataRoot, stage: str, gen_ids: Iterable[str]) -> set[str]:
    """Return the generations whose id is not their task's, and whose task is in a batch, or there
    under another id: a run refuses these until somebody says whether to give them that text or to
    pay again.

    StoreError: the index cannot be used.
    """
    older = {one for one in gen_ids if parse_id(one).family != "v1"}
    if not older:
        return set()
    batches, query = open_batches(root), "SELECT gen_id, v1 FROM generation WHERE stage = ?"
    with StoreIndex.fresh(root) as index:
        tasks = dict(index.sql(query, stage)) if batches else {}
        doubtful = older & perhaps_same_task(index, stage)
        plan = plan_reuse(index, [Member(stage, one) for one in doubtful])
    waiting = {
        one
        for one in older
        if any(batch.holds(stage, [tasks.get(one) or one]) for batch in batches)
    }
    return waiting | {one.gen_id for one, task in plan.tasks.items() if task.refused}


class _Planning:
    """One plan: members by their parents, texts by their digests, each looked at once."""

    def __init__(
        self,
        index: StoreIndex,
        cohort_id: str | None,
        planned: Mapping[tuple[str, str], Indexed],
    ) -> None:
        self.index, self.cohort_id, self.planned = index, cohort_id, planned
        self.known: dict[Member, Indexed | None] = {}
        self.children: dict[Member | None, list[Member]] = defaultdict(list)
        self.candidates: dict[Member, list[Indexed]] = {}
        self.same: dict[Member, list[Indexed]] = {}
        self.digest = cache(partial(usable_version, index.root))  # a run looks again
        self.best, self.lacks_task = cache(self._best), cache(self._lacks_task)
        self.unknown = _Unknown(index)

    def add(self, member: Member) -> None:
        found = self.index.get(*member) or self.planned.get(member)
        found = self.known[member] = found or read_indexed(self.index, *member)
        self.children[None if found is None else found.parent].append(member)
        missing = found is not None and not found.has_content
        same = same_task(self.index, found) if missing and found is not None else []
        self.candidates[member] = [one for one in same if self.digest(one.stage, one.gen_id)]
        self.same[member] = same

    def decide(self) -> dict[Member, Task]:
        """Go from the roots down, each child over the text that its parent has or will have."""
        tasks: dict[Member, Task] = {}
        texts: dict[Member, str | None] = {}
        for member in sorted(self.known, key=lambda one: stage_names().index(one.stage)):
            found = self.known[member]
            expected = None if found is None else found.expected["v1"]
            parent = None if found is None else found.parent
            above = None if parent is None else texts.get(parent) or self.digest(*parent)
            there = {one.gen_id: None for one in self.candidates[member] if self.fits(one, above)}
            source = self.best(member, above)[1]
            if source is not None:
                texts[member] = self.digest(source.stage, source.gen_id)
            else:
                texts[member] = above if self.is_copy(member) else self.digest(*member)
            # over a deterministic parent the flag is on, and the text is given
            older = is_legacy(member.gen_id) and (not parent or is_legacy(parent.gen_id))
            missing = found is not None and found.content is None and source is None
            tasks[member] = Task(
                name=expected or member.gen_id,
                source=None if source is None else source.gen_id,
                elsewhere=tuple(there),
                others=tuple(one.gen_id for one in self.same[member] if one.gen_id not in there),
                above=above,
                refused=bool(there) and older,
                hidden=next(self.hiding(found, above), None) if found and missing else None,
            )
        return tasks

    def hiding(self, found: Indexed, text: str | None) -> Iterator[str]:
        """Yield why it is open whether a member's task is paid for: by its parent and itself, where
        its task is unknown (a read error of a moment is enough), and by the ids under which its
        text may be."""
        for member in (found.parent, Member(found.stage, found.gen_id)):
            if member is not None and self.lacks_task(member):
                yield _why_hidden(self.known.get(member) or self.index.get(*member), member.gen_id)
        for one in self.unknown.like(found):
            named = one.gen_id in found.expected.values()
            if named or one.parent_gen_id is None or self.fits(one, text):
                yield _why_hidden(one, one.gen_id)

    def _lacks_task(self, member: Member) -> bool:
        found = self.known.get(member) or self.index.get(*member)
        return not (found is None or found.expected["v1"] is not None or _is_unfit(found))

    def _best(self, member: Member, above: str | None) -> tuple[int, Indexed | None]:
        """Return how many members from this one down can have a text where the parent's is
        `above`, and whose text this one takes for that."""
        fitting = [one for one in self.candidates[member] if self.fits(one, above)]
        return max(
            ((self.below(member, self.digest(one.stage, one.gen_id)), one) for one in fitting),
            key=lambda choice: (
                choice[0],
                self.reach(choice[1]) if len(fitting) > 1 else 0,
                choice[1].origin_cohort_id == self.cohort_id,
            ),
            default=(self.below(member, above) if self.is_copy(member) else 0, None),
        )

    def reach(self, one: Indexed) -> int:
        """Return how many tasks the store has texts of that were made from this one."""
        below = (child for child in children(self.index, one) if child.has_content)
        tasks = {child.expected["v1"] or child.gen_id: child for child in below}
        return len(tasks) + sum(self.reach(child) for child in tasks.values())

    def is_copy(self, member: Member) -> bool:
        """Say whether a member is still to be copied from its parent."""
        found = self.known[member]
        return found is not None and found.content is None and found.mode == "copy"

    def below(self, member: Member, text: str | None) -> int:
        return 1 + sum(self.best(child, text)[0] for child in self.children[member])

    def fits(self, candidate: Indexed, above: str | None) -> bool:
        parent = candidate.parent
        return parent is None or (above is not None and self.digest(*parent) == above)


class _Unknown:
    """The texts of which no metadata tells the task, by what is known of them."""

    def __init__(self, index: StoreIndex) -> None:
        self._named: dict[tuple[str, str | None], Indexed] = {}
        self._others: dict[tuple[str, str | None, str | None], list[Indexed]] = defaultdict(list)
        rows = [one for one in index.without_task() if _is_perhaps_paid(one)]
        members: Collection[tuple[str, str]] = ()
        if any(_says_nothing(one) for one in rows):
            cohorts = read_memberships(index.root)
            # where a membership cannot be read any of them may be a member
            every = {(one.stage, one.gen_id) for one in rows}
            members = every if cohorts.problems else cohorts.cohorts_of()
        for one in rows:
            self._named[one.stage, one.gen_id] = one
            counts = not _says_nothing(one) or (one.stage, one.gen_id) in members
            if counts and one.family != "v1":
                key = one.stage, _folded(one.combo_id), _folded(one.template_id)
                self._others[key].append(one)

    def like(self, found: Indexed) -> Iterator[Indexed]:
        """Yield those that may be of a generation's task: those whose id is the task's, and those
        of which every field that is known is the same."""
        names = [(found.stage, expected) for expected in found.expected.values()]
        yield from (self._named[name] for name in names if name in self._named)
        combos, templates = ({_folded(text), None} for text in (found.combo_id, found.template_id))
        for key in itertools.product((found.stage,), combos, templates):
            yield from (one for one in self._others.get(key, ()) if _may_be(one, found))


def _is_perhaps_paid(one: Indexed) -> bool:
    return (one.content is not None or not one.looked) and not _is_unfit(one)


def _is_unfit(one: Indexed) -> bool:
    """Say whether a field is one that no v1 id can have: the task is known, and has no such id."""
    return any(problem.code == findings.FIELD_UNFIT for problem in one.problems)


def _why_hidden(one: Indexed | None, gen_id: str) -> str:
    flaw = f" ({one.problems[0].text})" if one is not None and one.problems else ""
    return (
        f"it may be paid for already: the metadata of {gen_id}{flaw} does not say which task that "
        "is; put it right (building its cohort again writes what is gone), or move its folder out "
        "of gens/"
    )


def _says_nothing(one: Indexed) -> bool:
    """Say whether the metadata is there for nobody: gone, empty or damaged."""
    return any(problem.code in _NO_METADATA for problem in one.problems)


def _may_be(one: Indexed, found: Indexed) -> bool:
    names = {*stage_fields(one.stage).every} - {stage_fields(one.stage).parent}
    theirs, mine = one.signature_fields() | {"replicate": one.replicate}, found.signature_fields()
    both = ((_folded(theirs.get(name)), _folded(mine.get(name))) for name in names)
    return one.gen_id != found.gen_id and all(None in pair or len({*pair}) == 1 for pair in both)


def _folded(value: Any) -> Any:
    return folded(value) if isinstance(value, str) else value


def is_legacy(gen_id: str) -> bool:
    """Say whether an id is of no deterministic family."""
    return parse_id(gen_id).family not in SCHEMES
