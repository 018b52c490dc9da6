"""Decide every generation's new id, ancestors first; duplicates become further replicates. Pure.

Where several generations ask for one replicate number of a task, the first by `catalog.preference`
keeps it, a usable text before any other. An empty slot among the others is the same request once
more: it is merged with the first, and its members and children follow. The others take the task's
lowest free numbers; the members and children of one without a text follow the text nevertheless.
Where `replicate` is absent, a v1 id may still tell it. Else a text takes the lowest number that no
text has, as in a run (`catalog.lookup.same_task`), and a slot asks for 1. Of generations with the
same text, the first stands for all; the others stay beside it, and their children follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen

from genid import GenIdError, Signature, gen_id, is_gen_id
from genid_store.catalog import findings
from genid_store.catalog.copies import one_text
from genid_store.catalog.expected import signature
from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation
from genid_store.catalog.preference import preference
from genid_store.stages import parent_stage

PARENT_STAYS: Final = "parent-stays"
ADOPTED: Final = "adopted"
EMPTY_SLOT: Final = "empty-slot"
_TRIED: Final = 64  # numbers, of the many that a v1 id may have been made with


@frozen(kw_only=True, slots=False)  # slots make a frozen record twice as slow to make
class Source(Generation):
    """A generation as planning read it; `reason` is why it cannot move, empty where it can.

    `has_content`: it has a text of more than 0 bytes. `texts_below` counts those that were made
    from it. Where it has none, `is_unparsed`: there is an answer; `is_failed`: a failure shows that
    it was requested; `is_empty`: nothing was ever made for it. `adopted_from` is set only while the
    text is still that generation's.
    """

    has_content: bool = False
    texts_below: int = 0
    is_unparsed: bool = False
    is_failed: bool = False
    is_empty: bool = False
    reason: str = ""
    detail: str = ""


@frozen(kw_only=True)
class Planned:
    """What a migration does with a generation, or with another entry of a stage's folder (`kind` is
    then `stray`).

    `new` is its present id if it stays (for a `reason`) or has the right id already. `replicate`
    and `parent`, its parent's id, are those after the migration. `same_as` is the old id of the
    generation that stands for this one, whose children follow that one: both have the same text,
    this is an empty slot (`new` is then the other's), or it has nothing of its own and takes a
    further number (`named` is then the other's new id, for members). `detail` explains the reason,
    or which generation keeps the number that a renumbered one asked for.

    `files` maps each of its files to its fingerprint; `rewrite` lists those with references that
    change.
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
    named: str | None = None
    files: Mapping[str, str] = MappingProxyType({})
    rewrite: Sequence[str] = ()

    @property
    def moves(self) -> bool:
        """Whether its id changes."""
        return self.new != self.old

    @property
    def merged(self) -> bool:
        """Whether it is an empty slot that is merged with another generation."""
        return self.reason == EMPTY_SLOT

    @property
    def what(self) -> str:
        """`moves`, `keeps` (its id is right), `stays` (for its reason), or `merged`."""
        if self.reason:
            return "merged" if self.merged else "stays"
        return "moves" if self.moves else "keeps"


@frozen(kw_only=True)
class Decision(Planned):
    """A plan for one generation, with what planning read about it and the decision `above` it,
    about its parent.

    Until the numbers of its task are settled, `replicate` and `new` are what it asks for: None and
    the id of replicate 1 if it takes any number that no text has.
    """

    source: Source
    above: Decision | None = None

    @property
    def is_written(self) -> bool:
        """Whether its metadata is rewritten, because its id, number or parent changes."""
        said = self.source.effective_replicate, self.parent and self.source.parent_gen_id
        return not self.reason and (self.moves or (self.replicate, self.parent) != said)

    def id_with(self, replicate: int) -> str:
        """Return the id of another replicate of its task."""
        if replicate == (self.replicate or ABSENT_REPLICATE):
            return self.new
        new: str = gen_id(_signed(evolve(self.source, replicate=replicate), self.above))
        return new


def number_stage(
    sources: Iterable[Source],
    parents: Mapping[str, Decision],
    strays: Iterable[str] = (),
    is_usable: Callable[[Source], bool] = attrgetter("has_content"),
) -> dict[str, Decision]:
    """Return what becomes of all generations of one stage, given in any order, by sorted old id.

    `parents` are the decisions of the parent stage. No generation gets one of the names `strays`.
    `is_usable` tells whether a generation's text can be built upon, where several want one number.
    """

    def rank(decision: Decision) -> tuple[Any, ...]:
        source, takes_any = decision.source, decision.replicate is None
        return not source.has_content, takes_any, not is_usable(source), *_rank(decision)

    decisions: dict[str, Decision] = {}
    tasks: dict[str, list[Decision]] = {}
    for source in sources:
        decision, task = _asked(source, parents)
        decisions[decision.old] = decision
        if task:
            tasks.setdefault(task, []).append(decision)
    decisions.update(_same_texts(decisions))
    blocked = {*strays, *(old for old, decision in decisions.items() if decision.reason)}
    for asking in tasks.values():
        wanting = [one for one in asking if one.old not in blocked]
        if len(wanting) > 1:
            wanting.sort(key=rank)
        for settled in _settle(wanting, blocked, is_usable):
            decisions[settled.old] = settled
    return dict(sorted(decisions.items()))


def _asked(source: Source, parents: Mapping[str, Decision]) -> tuple[Decision, str]:
    """Return what a generation asks for under its parent's new id, and the id of its task's first
    replicate, which identifies the task; or, if it has no v1 id, that it stays, and ""."""
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
        new = str(gen_id(_signed(source, parent)))
    except GenIdError as error:
        return _stay(source, findings.FIELD_UNFIT, str(error)), ""
    number = source.replicate if source.has_content else source.effective_replicate
    decision = _decided(source, new, number, parent=parent and parent.new, above=parent)
    task = decision.id_with(ABSENT_REPLICATE)
    if source.replicate is None and decision.moves and is_gen_id(source.gen_id):
        told = (at for at in range(2, _TRIED) if decision.id_with(at) == source.gen_id)
        decision = next((evolve(decision, new=decision.old, replicate=at) for at in told), decision)
    return decision, task


def _settle(
    asking: Sequence[Decision], blocked: Container[str], is_usable: Callable[[Source], bool]
) -> Iterator[Decision]:
    """Give each generation of one task a number of its own, and none an id in `blocked`. They are
    in the order of preference."""
    holders: dict[int, Decision] = {}
    waiting: list[Decision] = []
    free = (at for at in count(1) if at not in holders and asking[0].id_with(at) not in blocked)

    def renumbered(decision: Decision) -> Decision:
        wanted, number = decision.replicate or ABSENT_REPLICATE, next(free)
        keeper, source = holders.get(wanted), decision.source
        kept = "a folder that stays" if keeper is None else keeper.old
        detail = f"{kept} keeps replicate {wanted}" if number != wanted else ""
        found = evolve(decision, new=decision.id_with(number), replicate=number, detail=detail)
        # An answer of its own, parsed or not, is only left for a text that can be built upon.
        left = keeper is not None and (not source.is_unparsed or is_usable(keeper.source))
        if keeper is not None and left and not source.has_content:
            found = evolve(found, same_as=keeper.old, named=keeper.new)
        holders[number] = found
        return found

    for decision in asking:
        number = decision.replicate
        if number in holders and decision.source.is_empty:
            kept = holders[number].old
            detail = f"nothing was made for it, and {kept} is the same task"
            yield evolve(decision, reason=EMPTY_SLOT, detail=detail, same_as=kept)
        elif number is None:
            yield renumbered(decision)
        elif number in holders or decision.new in blocked:
            waiting.append(decision)
        else:
            holders[number] = decision
            yield decision
    # Stable: those that ask for the same number stay in the order of preference.
    yield from map(renumbered, sorted(waiting, key=attrgetter("replicate")))


def _decided(source: Source, new: str, replicate: int | None, **more: Any) -> Decision:
    return Decision(
        stage=source.stage, old=source.gen_id, new=new, replicate=replicate, source=source, **more
    )


def _stay(source: Source, reason: str, detail: str, same_as: str | None = None) -> Decision:
    more = {"reason": reason, "detail": detail, "same_as": same_as}
    return _decided(source, source.gen_id, source.replicate, **more)


def _same_texts(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """Group the generations that have the same text by reuse, and return that all but the first of
    each group stay."""
    asking = {old: decision for old, decision in decisions.items() if not decision.reason}
    copies = (
        (old, origin)
        for old, decision in asking.items()
        if (origin := decision.source.adopted_from) in asking and origin is not None
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
    """Return the signature under the parent's new id. SignatureError: a field does not fit."""
    return signature(
        source,
        parent_gen_id=None if parent is None else parent.new,
        parent_model=None if parent is None else parent.source.llm_model_id,
    )


def _rank(decision: Decision) -> tuple[Any, ...]:
    """Return the sort key of those who ask for a number. A text comes first, then an answer without
    one, then a recorded failure (possibly paid for, and the record moves along), then whatever else
    lies in a slot, and an empty slot last."""
    source = decision.source
    parent = None if decision.above is None else decision.above.source
    preferred = preference(source, parent, is_right=not decision.moves, below=source.texts_below)
    claims = source.has_content, source.is_unparsed, source.is_failed, not source.is_empty
    return *(not claim for claim in claims), preferred
