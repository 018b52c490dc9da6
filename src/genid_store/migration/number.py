"""Decide every generation's new id, ancestors first; duplicates become further replicates.

Pure. Where several generations ask for one number of a task, the first by `catalog.preference`
keeps it. An empty slot among the others is the same request once more: it holds nothing, so it
becomes one with the first, and its members and children follow. The rest take the task's lowest
free numbers.
An evaluation without `replicate` asks for none and takes the lowest that is left. Of generations
that share one text the first stands for all; the others stay beside it, and their children follow.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from attrs import field, frozen

from genid import GenIdError, Signature, canonical_bytes, gen_id
from genid_store.catalog import findings
from genid_store.catalog.copies import one_text
from genid_store.catalog.expected import signature
from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation
from genid_store.catalog.preference import Preference, preference
from genid_store.stages import parent_stage

PARENT_STAYS: Final = "parent-stays"
ADOPTED: Final = "adopted"
EMPTY_SLOT: Final = "empty-slot"
#: The fields that describe a group of duplicates to people.
_TASK: Final = ("parent_gen_id", "combo_id", "template_id", "llm_model_id")


@frozen(kw_only=True, slots=False)
class Source(Generation):
    """One generation as planning found it; `reason` is why it cannot move, empty where it can.

    `is_empty`: nothing was ever made for it, its folder holds metadata and at most a prompt.
    `adopted_from` is set where that generation's text is still the same: the two are one.
    """

    has_content: bool = False
    is_empty: bool = False
    reason: str = ""
    detail: str = ""


@frozen
class Decision:
    """What becomes of one generation: its new id and number, or why it stays.

    `new_id` is the id it has already where it stays or is right as it is. `parent` is its parent's
    id afterwards, None for a draft and where it stays. `same_as` is the generation, by its old id,
    that stands for this one too, so that its children follow that one: they share a text, or this
    is an empty slot, whose `new_id` is then the other one's.
    """

    source: Source
    new_id: str
    replicate: int | None
    reason: str = ""
    detail: str = ""
    parent: str | None = None
    same_as: str | None = None

    @property
    def moves(self) -> bool:
        """Whether the generation is found under another id afterwards."""
        return self.new_id != self.source.gen_id

    @property
    def what(self) -> str:
        """What becomes of it: it moves, keeps its id, stays, or is merged."""
        if self.reason:
            return "merged" if self.reason == EMPTY_SLOT else "stays"
        return "moves" if self.moves else "keeps"


@frozen(kw_only=True)
class Duplicate:
    """Several generations that ask for one number of one task: who keeps it, who gets which."""

    stage: str
    task: str
    replicate: int
    kept: str
    renumbered: tuple[tuple[str, int], ...]


@frozen
class Numbered:
    """The decisions of one stage, by old id in sorted order, and its duplicate groups."""

    decisions: Mapping[str, Decision]
    duplicates: tuple[Duplicate, ...]


@frozen
class _Candidate:
    """One generation that asks for a number: `number`, None for whichever is left.

    `new_id` is the id of its signature, which for None has the replicate 1; `parent` is what
    becomes of its parent.
    """

    source: Source
    signature: Signature[Any]
    number: int | None
    new_id: str
    parent: Decision | None

    def id_with(self, replicate: int) -> str:
        if replicate == (self.number or ABSENT_REPLICATE):
            return self.new_id
        fields: dict[str, Any] = {**self.signature.fields(), "replicate": replicate}
        new_id: str = gen_id(type(self.signature)(**fields))
        return new_id


@frozen
class _Stage:
    """One stage being numbered: `blocked` are the names that no generation can be given."""

    blocked: Container[str]
    decisions: dict[str, Decision] = field(factory=dict)
    duplicates: list[Duplicate] = field(factory=list)

    def settle(self, candidates: list[_Candidate]) -> None:
        """Give every candidate of one task its number."""
        holders: dict[int, _Candidate] = {}
        waiting: list[_Candidate] = []
        for candidate in sorted(candidates, key=_rank) if len(candidates) > 1 else candidates:
            number = candidate.number
            if number in holders and candidate.source.is_empty:
                self._merge(candidate, holders[number], number)
            elif number is None or number in holders or candidate.new_id in self.blocked:
                waiting.append(candidate)
            else:
                holders[number] = candidate
        waiting.sort(key=lambda one: (one.number is None, one.number))  # keeps their order
        taken = dict(holders)
        renumbered: dict[int, list[tuple[str, int]]] = {}
        free = self._free(candidates[0], taken)
        for candidate in waiting:
            asked, number = candidate.number or ABSENT_REPLICATE, next(free)
            taken[number] = candidate
            if number != asked:
                renumbered.setdefault(asked, []).append((candidate.source.gen_id, number))
        for number, candidate in taken.items():
            self._give(candidate, number)
        for number, others in sorted(renumbered.items()):
            self.duplicates.append(_duplicate(candidates[0].source, number, holders, others))

    def _free(self, candidate: _Candidate, taken: Container[int]) -> Iterator[int]:
        """Yield the numbers of the candidate's task that nobody has, from 1 up, without end."""
        for number in count(1):
            if number not in taken and candidate.id_with(number) not in self.blocked:
                yield number

    def _give(self, candidate: _Candidate, number: int) -> None:
        source, above = candidate.source, candidate.parent
        parent = None if above is None else above.new_id
        new_id = candidate.id_with(number)
        self.decisions[source.gen_id] = Decision(source, new_id, number, parent=parent)

    def _merge(self, slot: _Candidate, holder: _Candidate, number: int) -> None:
        """Let an empty slot become one with the generation that keeps the number it asks for."""
        kept = holder.source.gen_id
        detail = f"nothing was made for it, and {kept} is the same task"
        self.decisions[slot.source.gen_id] = Decision(
            slot.source, holder.new_id, number, EMPTY_SLOT, detail, same_as=kept
        )


def _duplicate(
    task: Source,
    number: int,
    holders: Mapping[int, _Candidate],
    renumbered: list[tuple[str, int]],
) -> Duplicate:
    fields = ((name, getattr(task, name)) for name in _TASK)
    return Duplicate(
        stage=task.stage,
        task=" ".join(f"{name}={value}" for name, value in fields if value is not None),
        replicate=number,
        kept=holders[number].source.gen_id if number in holders else "",
        renumbered=tuple(renumbered),
    )


def number_stage(
    sources: Iterable[Source], parents: Mapping[str, Decision], strays: Iterable[str] = ()
) -> Numbered:
    """Decide about all generations of one stage.

    `parents` are the decisions of the parent's stage; `strays` are names in the stage's folder that
    are not a generation's. The order of `sources` does not matter.
    """
    candidates: dict[str, _Candidate] = {}
    stays: dict[str, Decision] = {}
    for source in sources:
        try:
            candidates[source.gen_id] = _candidate(source, parents)
        except _StaysError as reason:
            stays[source.gen_id] = _stay(source, reason.code, reason.detail)
    stays.update(_same_texts(candidates))
    tasks: dict[bytes, list[_Candidate]] = {}
    for old, candidate in candidates.items():
        if old not in stays:
            tasks.setdefault(_task(candidate), []).append(candidate)
    stage = _Stage({*stays, *strays}, dict(stays))
    for task in sorted(tasks):
        stage.settle(tasks[task])
    return Numbered(dict(sorted(stage.decisions.items())), tuple(stage.duplicates))


def _stay(source: Source, code: str, detail: str, same_as: str | None = None) -> Decision:
    return Decision(source, source.gen_id, source.replicate, code, detail, same_as=same_as)


def _same_texts(candidates: Mapping[str, _Candidate]) -> dict[str, Decision]:
    """Return the decisions about generations whose text another one has, which stands for them:
    of each such group all but the first candidate."""
    copies = (
        (old, origin)
        for old, candidate in candidates.items()
        if (origin := candidate.source.adopted_from) in candidates and origin is not None
    )
    groups: dict[str, list[_Candidate]] = {}
    for old, text in one_text(copies).items():
        groups.setdefault(text, []).append(candidates[old])
    stays = {}
    for group in groups.values():
        kept, *others = sorted(group, key=_rank)
        for other in others:
            detail = f"{kept.source.gen_id} has the same text and stands for it"
            source = other.source
            stays[source.gen_id] = _stay(source, ADOPTED, detail, same_as=kept.source.gen_id)
    return stays


class _StaysError(Exception):
    """A generation has no deterministic id: the code and detail of why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def _candidate(source: Source, parents: Mapping[str, Decision]) -> _Candidate:
    if source.reason:
        raise _StaysError(source.reason, source.detail)
    parent = _parent(source, parents)
    try:
        signature = _signature(source, parent)
    except GenIdError as error:
        raise _StaysError(findings.FIELD_UNFIT, str(error)) from error
    number = source.replicate
    if number is None and source.stage != "evaluation":
        number = ABSENT_REPLICATE
    return _Candidate(source, signature, number, str(gen_id(signature)), parent)


def _parent(source: Source, parents: Mapping[str, Decision]) -> Decision | None:
    """Return what becomes of the parent; None for a draft."""
    if parent_stage(source.stage) is None:
        return None
    parent = parents.get(source.parent_gen_id or "")
    if parent is None:
        raise _StaysError(
            findings.ORPHAN,
            f"no {parent_stage(source.stage)} has the id "
            f"{source.parent_gen_id!r} that parent_gen_id names",
        )
    if parent.same_as is not None:
        return parents[parent.same_as]
    if parent.reason:
        detail = f"its {parent.source.stage} {parent.source.gen_id} stays: {parent.reason}"
        raise _StaysError(PARENT_STAYS, detail)
    return parent


def _signature(source: Source, parent: Decision | None) -> Signature[Any]:
    """Return the signature that the task has under its parent's new id (SPEC 1)."""
    if parent is None:
        return signature(source, parent_gen_id=None, parent_model=None)
    model = parent.source.llm_model_id
    return signature(source, parent_gen_id=parent.new_id, parent_model=model)


def _task(candidate: _Candidate) -> bytes:
    """Return what names the task: the canonical bytes without the replicate (SPEC 2; no component
    can hold a quotation mark, so its place is unmistakable)."""
    number = candidate.number or ABSENT_REPLICATE
    return canonical_bytes(candidate.signature).replace(b'"replicate":%d' % number, b"", 1)


def _rank(candidate: _Candidate) -> Preference:
    source, parent = candidate.source, candidate.parent
    return preference(
        source,
        None if parent is None else parent.source,
        is_right=candidate.number is not None and source.gen_id == candidate.new_id,
        is_empty=source.is_empty,
    )
