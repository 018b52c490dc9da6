"""Decide every generation's new id, ancestors first; duplicates become further replicates.

Pure. Where several generations ask for one number of a task, the first by `catalog.preference`
keeps it. An empty slot among the others is the same request once more: it holds nothing, so it
becomes one with the first, and its members and children follow. The rest take the task's lowest
free numbers.
An evaluation without `replicate` asks for none and takes the lowest that is left. Of generations
that share one text the first stands for all; the others stay beside it, and their children follow.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve, frozen
from blake3 import blake3

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
_TASK_BYTES: Final = 16  # of the digest that names a task
#: The fields that describe a group of duplicates to people.
_TASK: Final = ("parent_gen_id", "combo_id", "template_id", "llm_model_id")


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
    is an empty slot, whose `new` is then the other one's.

    `files` has the fingerprint of each of its files; `rewrite` names those whose references change,
    `copies` those that share an inode with another generation's.
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
    copies: Sequence[str] = ()

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
    """What was decided about a generation that planning found."""

    source: Source


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
    """The decisions of one stage, by old id in sorted order, its duplicate groups, and the names in
    its folder that are not a generation's."""

    decisions: Mapping[str, Decision]
    duplicates: tuple[Duplicate, ...]
    strays: tuple[str, ...]


@frozen
class _Candidate:
    """One generation that asks for a number: `number`, None for whichever is left.

    `task` is what names its task. `new_id` is the id of its signature, which for None has the
    replicate 1; `parent` is what becomes of its parent.
    """

    source: Source
    task: bytes
    number: int | None
    new_id: str
    parent: Decision | None

    def id_with(self, replicate: int) -> str:
        if replicate == (self.number or ABSENT_REPLICATE):
            return self.new_id
        new_id: str = gen_id(_signed(evolve(self.source, replicate=replicate), self.parent))
        return new_id


def number_stage(
    sources: Iterable[Source], parents: Mapping[str, Decision], strays: Sequence[str] = ()
) -> Numbered:
    """Decide about all generations of one stage, whatever their order. `parents` are the decisions
    of the parent's stage; no generation gets one of the names `strays`."""
    found = {source.gen_id: _candidate(source, parents) for source in sources}
    candidates = {old: one for old, one in found.items() if isinstance(one, _Candidate)}
    decisions = {old: one for old, one in found.items() if isinstance(one, Decision)}
    decisions.update(_same_texts(candidates))
    blocked = {*decisions, *strays}
    tasks: dict[bytes, list[_Candidate]] = {}
    for old, candidate in candidates.items():
        if old not in blocked:
            tasks.setdefault(candidate.task, []).append(candidate)
    duplicates: list[Duplicate] = []
    for asking in tasks.values():
        given, groups = _settle(asking, blocked)
        decisions.update({one.source.gen_id: one for one in given})
        duplicates += groups
    duplicates.sort(key=lambda group: (group.task, group.replicate))
    return Numbered(dict(sorted(decisions.items())), tuple(duplicates), tuple(strays))


def _settle(
    candidates: list[_Candidate], blocked: Container[str]
) -> tuple[list[Decision], list[Duplicate]]:
    """Give every candidate of one task its number; `blocked` are the ids that none can have."""
    holders: dict[int, _Candidate] = {}
    waiting: list[_Candidate] = []
    decisions: list[Decision] = []
    for one in sorted(candidates, key=_rank) if len(candidates) > 1 else candidates:
        number = one.number
        if number in holders and one.source.is_empty:
            kept, new = holders[number].source.gen_id, holders[number].new_id
            detail = f"nothing was made for it, and {kept} is the same task"
            more = {"reason": EMPTY_SLOT, "detail": detail, "same_as": kept}
            decisions.append(_decided(one.source, new, number, **more))
        elif number is None or number in holders or one.new_id in blocked:
            waiting.append(one)
        else:
            holders[number] = one
    waiting.sort(key=lambda one: (one.number is None, one.number))  # keeps their order
    first, taken = candidates[0], dict(holders)
    free = (at for at in count(1) if at not in taken and first.id_with(at) not in blocked)
    renumbered: dict[int, list[tuple[str, int]]] = {}
    for one in waiting:
        asked, number = one.number or ABSENT_REPLICATE, next(free)
        taken[number] = one
        if number != asked:
            renumbered.setdefault(asked, []).append((one.source.gen_id, number))
    for number, one in taken.items():
        parent = None if one.parent is None else one.parent.new
        decisions.append(_decided(one.source, one.id_with(number), number, parent=parent))
    fields = ((name, getattr(first.source, name)) for name in _TASK)
    task = " ".join(f"{name}={value}" for name, value in fields if value is not None)
    return decisions, [
        Duplicate(
            stage=first.source.stage,
            task=task,
            replicate=number,
            kept=holders[number].source.gen_id if number in holders else "",
            renumbered=tuple(others),
        )
        for number, others in sorted(renumbered.items())
    ]


def _decided(source: Source, new: str, replicate: int | None, **more: Any) -> Decision:
    return Decision(
        stage=source.stage, old=source.gen_id, new=new, replicate=replicate, source=source, **more
    )


def _stay(source: Source, reason: str, detail: str, same_as: str | None = None) -> Decision:
    more = {"reason": reason, "detail": detail, "same_as": same_as}
    return _decided(source, source.gen_id, source.replicate, **more)


def _same_texts(candidates: Mapping[str, _Candidate]) -> dict[str, Decision]:
    """Return the decisions about generations whose text another one has, which stands for them:
    of each such group all but the first candidate."""
    copies = (
        (old, origin)
        for old, candidate in candidates.items()
        if (origin := candidate.source.adopted_from) in candidates and origin is not None
    )
    groups: dict[str, list[Source]] = {}
    for old, text in sorted(one_text(copies).items(), key=lambda pair: _rank(candidates[pair[0]])):
        groups.setdefault(text, []).append(candidates[old].source)
    detail = "{} has the same text and stands for it"
    return {
        source.gen_id: _stay(source, ADOPTED, detail.format(kept.gen_id), same_as=kept.gen_id)
        for kept, *others in groups.values()
        for source in others
    }


def _candidate(source: Source, parents: Mapping[str, Decision]) -> _Candidate | Decision:
    """Return what a generation asks for, the id of its task under its parent's new id (SPEC 1), or
    the decision that it stays: it has no v1 id."""
    if source.reason:
        return _stay(source, source.reason, source.detail)
    parent: Decision | None = None
    above = parent_stage(source.stage)
    if above is not None:
        named = source.parent_gen_id
        parent = parents.get(named or "")
        if parent is None:
            detail = f"no {above} has the id {named!r} that parent_gen_id names"
            return _stay(source, findings.ORPHAN, detail)
        if parent.same_as is not None:
            parent = parents[parent.same_as]
        elif parent.reason:
            return _stay(source, PARENT_STAYS, f"its {above} {named} stays: {parent.reason}")
    try:
        signed = _signed(source, parent)
    except GenIdError as error:
        return _stay(source, findings.FIELD_UNFIT, str(error))
    number = source.replicate
    if number is None and source.stage != "evaluation":
        number = ABSENT_REPLICATE
    # What names the task are the canonical bytes without the replicate (SPEC 2; no component can
    # hold a quotation mark, so its place is unmistakable). Their digest takes a fifth of the room.
    asked = b'"replicate":%d' % (number or ABSENT_REPLICATE)
    task = blake3(canonical_bytes(signed).replace(asked, b"", 1)).digest(_TASK_BYTES)
    return _Candidate(source, task, number, str(gen_id(signed)), parent)


def _signed(source: Source, parent: Decision | None) -> Signature[Any]:
    """Return the signature over its parent's new id. SignatureError: a field cannot be part of
    one."""
    return signature(
        source,
        parent_gen_id=None if parent is None else parent.new,
        parent_model=None if parent is None else parent.source.llm_model_id,
    )


def _rank(candidate: _Candidate) -> tuple[bool, bool, Preference]:
    """Return the key by which candidates are served: what was made, whose failure is on record (it
    was perhaps paid for, and its record moves with it), empty slots."""
    source, parent = candidate.source, candidate.parent
    ranked = preference(
        source,
        None if parent is None else parent.source,
        is_right=candidate.number is not None and source.gen_id == candidate.new_id,
    )
    return source.is_empty, source.is_empty and not source.is_failed, ranked
