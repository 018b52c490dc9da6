"""Decide every generation's new id, ancestors first; duplicates become further replicates.

Pure. Where several generations ask for one number of a task, the first by `catalog.preference`
keeps it. An empty slot among the others is the same request once more: it holds nothing, so it
becomes one with the first, and its members and children follow. The rest take the task's lowest
free numbers.
An evaluation without `replicate` asks for none and takes the lowest that is left. Of generations
that share one text the first stands for all; the others stay beside it, and their children follow.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from genid import GenIdError, Signature, gen_id
from genid_store.catalog import findings
from genid_store.catalog.copies import one_text
from genid_store.catalog.expected import signature
from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation
from genid_store.catalog.preference import Preference, preference
from genid_store.stages import parent_stage

PARENT_STAYS: Final = "parent-stays"
ADOPTED: Final = "adopted"
EMPTY_SLOT: Final = "empty-slot"


@frozen(kw_only=True, slots=False)  # slots make a frozen record twice as slow to make
class Source(Generation):
    """One generation as planning found it; `reason` is why it cannot move, empty where it can.

    `has_content`: it has a text, of more than 0 bytes. `is_empty`: nothing was ever made for it.
    `is_failed`: it is empty, and on record is that it was asked for.
    `adopted_from` is set where that generation's text is still the same: the two are one.
    """

    has_content: bool = False
    is_empty: bool = False
    is_failed: bool = False
    reason: str = ""
    detail: str = ""


@frozen(kw_only=True)
class Planned:
    """What becomes of one generation, or of another entry of a stage's folder (`kind` is `stray`).

    `new` is the id it has already where it stays (for a `reason`) or is right as it is. `replicate`
    and `parent`, its parent's id, are those afterwards. `same_as` is the generation, by its old id,
    that stands for this one too, so that its children follow that one: they share a text, or this
    is an empty slot, whose `new` is then the other one's. `detail` says more of the reason, or who
    keeps the number that a renumbered one asked for.

    `files` has the fingerprint of each of its files; `rewrite` names those whose references change.
    """

    kind: str = "generation"
    stage: str
    old: str
    new: str
    replicate: int | None = None
    parent: str | None = None
    reason: str = ""
    detail: str = ""
    same_as: str | None = None
    files: Mapping[str, str] = MappingProxyType({})
    rewrite: Sequence[str] = ()

    @property
    def moves(self) -> bool:
        """Whether it is found under another id afterwards."""
        return self.new != self.old

    @property
    def merged(self) -> bool:
        """Whether it is an empty slot that becomes one with another generation."""
        return self.reason == EMPTY_SLOT

    @property
    def what(self) -> str:
        """What becomes of it: it moves, keeps its id, stays, or is merged."""
        if self.reason:
            return "merged" if self.merged else "stays"
        return "moves" if self.moves else "keeps"


@frozen(kw_only=True)
class Decision(Planned):
    """What was decided about a generation that planning found, and about its parent.

    Until its task's numbers are given, `replicate` and `new` are what it asks for: None, with the
    id of the replicate 1, for whichever number is left.
    """

    source: Source
    above: Decision | None = None

    def id_with(self, replicate: int) -> str:
        """Return its task's id of another number."""
        if replicate == (self.replicate or ABSENT_REPLICATE):
            return self.new
        new: str = gen_id(_signed(evolve(self.source, replicate=replicate), self.above))
        return new


@frozen
class Numbered:
    """The decisions of one stage, by old id in sorted order, and the names in its folder that are
    not a generation's."""

    decisions: Mapping[str, Decision]
    strays: tuple[str, ...]


def number_stage(
    sources: Iterable[Source], parents: Mapping[str, Decision], strays: Sequence[str] = ()
) -> Numbered:
    """Decide about all generations of one stage, whatever their order. `parents` are the decisions
    of the parent's stage; no generation gets one of the names `strays`."""
    decisions: dict[str, Decision] = {}
    tasks: dict[str, list[Decision]] = {}
    for source in sources:
        one, task = _asked(source, parents)
        decisions[one.old] = one
        if task:
            tasks.setdefault(task, []).append(one)
    decisions.update(_same_texts(decisions))
    blocked = {*strays, *(one.old for one in decisions.values() if one.reason)}
    for asking in tasks.values():
        for one in _settle([one for one in asking if one.old not in blocked], blocked):
            decisions[one.old] = one
    return Numbered(dict(sorted(decisions.items())), tuple(strays))


def _asked(source: Source, parents: Mapping[str, Decision]) -> tuple[Decision, str]:
    """Return what a generation asks for under its parent's new id, and its task's first id, which
    names the task; or the decision that it stays, as it has no v1 id, and nothing."""
    if source.reason:
        return _stay(source, source.reason, source.detail), ""
    parent: Decision | None = None
    above = parent_stage(source.stage)
    if above is not None:
        named = source.parent_gen_id
        parent = parents.get(named or "")
        if parent is None:
            detail = f"no {above} has the id {named!r} that parent_gen_id names"
            return _stay(source, findings.ORPHAN, detail), ""
        if parent.same_as is not None:
            parent = parents[parent.same_as]
        elif parent.reason:
            detail = f"its {above} {named} stays: {parent.reason}"
            return _stay(source, PARENT_STAYS, detail), ""
    try:
        signed = _signed(source, parent)
    except GenIdError as error:
        return _stay(source, findings.FIELD_UNFIT, str(error)), ""
    number = source.replicate
    if number is None and source.stage != "evaluation":
        number = ABSENT_REPLICATE
    above_id = None if parent is None else parent.new
    one = _decided(source, str(gen_id(signed)), number, parent=above_id, above=parent)
    return one, one.id_with(ABSENT_REPLICATE)


def _settle(asking: Sequence[Decision], blocked: Container[str]) -> Iterator[Decision]:
    """Give everyone who asks for a number of one task its own; nobody can have an id `blocked`."""
    holders: dict[int, Decision] = {}
    waiting: list[Decision] = []
    for one in sorted(asking, key=_rank) if len(asking) > 1 else asking:
        number = one.replicate
        if number in holders and one.source.is_empty:
            kept = holders[number].old
            detail = f"nothing was made for it, and {kept} is the same task"
            yield evolve(one, reason=EMPTY_SLOT, detail=detail, same_as=kept)
        elif number is None or number in holders or one.new in blocked:
            waiting.append(one)
        else:
            holders[number] = one
            yield one
    waiting.sort(key=lambda one: (one.replicate is None, one.replicate))  # keeps their order
    free = (at for at in count(1) if at not in holders and asking[0].id_with(at) not in blocked)
    for one in waiting:
        wanted, number = one.replicate or ABSENT_REPLICATE, next(free)
        kept = holders[wanted].old if wanted in holders else "a folder that stays"
        detail = f"{kept} keeps replicate {wanted}" if number != wanted else ""
        holders[number] = evolve(one, new=one.id_with(number), replicate=number, detail=detail)
        yield holders[number]


def _decided(source: Source, new: str, replicate: int | None, **more: Any) -> Decision:
    return Decision(
        stage=source.stage, old=source.gen_id, new=new, replicate=replicate, source=source, **more
    )


def _stay(source: Source, reason: str, detail: str, same_as: str | None = None) -> Decision:
    more = {"reason": reason, "detail": detail, "same_as": same_as}
    return _decided(source, source.gen_id, source.replicate, **more)


def _same_texts(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """Return the decisions about generations whose text another one has, which stands for them:
    of each such group all but the first."""
    asking = {old: one for old, one in decisions.items() if not one.reason}
    copies = (
        (old, origin)
        for old, one in asking.items()
        if (origin := one.source.adopted_from) in asking and origin is not None
    )
    groups: dict[str, list[Source]] = {}
    for old, text in sorted(one_text(copies).items(), key=lambda pair: _rank(asking[pair[0]])):
        groups.setdefault(text, []).append(asking[old].source)
    detail = "{} has the same text and stands for it"
    return {
        source.gen_id: _stay(source, ADOPTED, detail.format(kept.gen_id), same_as=kept.gen_id)
        for kept, *others in groups.values()
        for source in others
    }


def _signed(source: Source, parent: Decision | None) -> Signature[Any]:
    """Return the signature over its parent's new id. SignatureError: a field cannot be part of
    one."""
    return signature(
        source,
        parent_gen_id=None if parent is None else parent.new,
        parent_model=None if parent is None else parent.source.llm_model_id,
    )


def _rank(one: Decision) -> tuple[bool, bool, Preference]:
    """Return the key by which those who ask are served: what was made, whose failure is on record
    (it was perhaps paid for, and its record moves with it), empty slots."""
    source, parent = one.source, None if one.above is None else one.above.source
    is_right = one.replicate is not None and not one.moves
    ranked = preference(source, parent, is_right=is_right)
    return source.is_empty, source.is_empty and not source.is_failed, ranked
