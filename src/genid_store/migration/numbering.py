"""Decide every generation's new id, ancestors first; duplicates become further replicates.

Pure. Claimants of one number of a task are ordered: the id that is right already and the other v1
ids, then those with content, then by `origin_cohort_id`, then by id. The first keeps the number,
the others take the task's lowest free ones. An evaluation without `replicate` claims none and takes
the lowest that is left. Of generations that have one text by adoption the first claims for all; the
others stay beside it, and their children follow it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Final

import attrs
from attrs import field, frozen

from genid import (
    STAGES,
    GenIdError,
    Signature,
    canonical_bytes,
    gen_id,
    is_gen_id,
)
from genid_store.catalog import findings
from genid_store.catalog.copies import one_text
from genid_store.catalog.metadata import ABSENT_REPLICATE
from genid_store.ids.components import model_override
from genid_store.migration.records import Decision, Duplicate, Source
from genid_store.stages import parent_stage

PARENT_STAYS: Final = "parent-stays"
ADOPTED: Final = "adopted"
#: The fields by which a duplicate group is told to people.
_TASK: Final = ("parent_gen_id", "combo_id", "template_id", "llm_model_id")


@frozen
class Numbered:
    """The decisions of one stage, by old id in sorted order, and its duplicate groups."""

    decisions: Mapping[str, Decision]
    duplicates: tuple[Duplicate, ...]


@frozen
class _Claim:
    """One generation's claim: `number` is the one it asks for, None for whichever is left, and
    `new_id` the id of its signature, which for None has the replicate 1; `parent` is the new id of
    its parent."""

    source: Source
    signature: Signature[Any]
    number: int | None
    new_id: str
    parent: str | None

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

    def settle(self, claims: list[_Claim]) -> None:
        """Give every claimant of one task its number."""
        if len(claims) == 1 and self._alone(claims[0]):
            return
        holders, waiting = self._holders(claims)
        taken = dict(holders)
        renumbered: dict[int, list[tuple[str, int]]] = {}
        free = self._free(claims[0], taken)
        for asked, claim in waiting:
            number = next(free)
            taken[number] = claim
            if number != asked:
                renumbered.setdefault(asked, []).append((claim.source.gen_id, number))
        for number, claim in taken.items():
            self._give(claim, number)
        for number, others in sorted(renumbered.items()):
            self._report(number, holders.get(number), others)

    def _alone(self, claim: _Claim) -> bool:
        if claim.new_id in self.blocked:
            return False
        self._give(claim, claim.number or ABSENT_REPLICATE)
        return True

    def _holders(self, claims: list[_Claim]) -> tuple[dict[int, _Claim], list[tuple[int, _Claim]]]:
        """Return who keeps each number, and the others in the order in which they are served."""
        by_number: dict[int | None, list[_Claim]] = {}
        for claim in claims:
            by_number.setdefault(claim.number, []).append(claim)
        unnumbered = by_number.pop(None, [])
        holders: dict[int, _Claim] = {}
        waiting: list[tuple[int, _Claim]] = []
        for number in sorted(n for n in by_number if n is not None):
            target = by_number[number][0].new_id
            ordered = by_number[number]
            if len(ordered) > 1:
                ordered.sort(key=lambda claim: _rank(claim.source, target))
            if target not in self.blocked:
                holders[number] = ordered.pop(0)
            waiting += [(number, claim) for claim in ordered]
        unnumbered.sort(key=lambda claim: _rank(claim.source, ""))
        return holders, waiting + [(ABSENT_REPLICATE, claim) for claim in unnumbered]

    def _free(self, claim: _Claim, taken: Container[int]) -> Iterator[int]:
        """Yield the numbers of the claimed task that nobody has, from 1 up, without end."""
        for number in count(1):
            if number not in taken and claim.id_with(number) not in self.blocked:
                yield number

    def _give(self, claim: _Claim, number: int) -> None:
        source = claim.source
        self.decisions[source.gen_id] = Decision(
            source, claim.id_with(number), number, parent=claim.parent
        )

    def _report(self, number: int, holder: _Claim | None, others: list[tuple[str, int]]) -> None:
        one = self.decisions[others[0][0]].source
        fields = (f"{name}={value}" for name, value in attrs.asdict(one).items() if name in _TASK)
        self.duplicates.append(
            Duplicate(
                stage=one.stage,
                task=" ".join(text for text in fields if not text.endswith("=None")),
                replicate=number,
                kept="" if holder is None else holder.source.gen_id,
                renumbered=tuple(others),
            )
        )


def number_stage(
    sources: Iterable[Source], parents: Mapping[str, Decision], strays: Iterable[str] = ()
) -> Numbered:
    """Decide about all generations of one stage.

    `parents` are the decisions of the parent's stage; `strays` are names in the stage's folder that
    are no generation's. The order of `sources` does not matter.
    """
    claims: dict[str, _Claim] = {}
    stays: dict[str, Decision] = {}
    for source in sources:
        try:
            claims[source.gen_id] = _claim(source, parents)
        except _StaysError as reason:
            stays[source.gen_id] = _stay(source, reason.code, reason.detail)
    stays.update(_same_texts(claims))
    tasks: dict[bytes, list[_Claim]] = {}
    for old, claim in claims.items():
        if old not in stays:
            tasks.setdefault(_task(claim), []).append(claim)
    stage = _Stage({*stays, *strays}, dict(stays))
    for task in sorted(tasks):
        stage.settle(tasks[task])
    return Numbered(dict(sorted(stage.decisions.items())), tuple(stage.duplicates))


def _stay(source: Source, code: str, detail: str, same_as: str | None = None) -> Decision:
    return Decision(source, source.gen_id, source.replicate, code, detail, same_as=same_as)


def _same_texts(claims: Mapping[str, _Claim]) -> dict[str, Decision]:
    """Return the decisions about generations whose text another one has, which stands for them:
    of each such group all but the first claimant."""
    copies = (
        (old, adopted_from)
        for old, claim in claims.items()
        if (adopted_from := claim.source.adopted_from) in claims and adopted_from is not None
    )
    groups: dict[str, list[_Claim]] = {}
    for old, text in one_text(copies).items():
        groups.setdefault(text, []).append(claims[old])
    stays = {}
    for group in groups.values():
        kept, *others = sorted(group, key=lambda claim: _rank(claim.source, claim.new_id))
        for other in others:
            detail = f"{kept.source.gen_id} has the same text, by adoption, and stands for it"
            source = other.source
            stays[source.gen_id] = _stay(source, ADOPTED, detail, same_as=kept.source.gen_id)
    return stays


class _StaysError(Exception):
    """A generation has no deterministic id: the code and detail of why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code, self.detail = code, detail


def _claim(source: Source, parents: Mapping[str, Decision]) -> _Claim:
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
    above = None if parent is None else parent.new_id
    return _Claim(source, signature, number, str(gen_id(signature)), above)


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
    cls: Any = STAGES[source.stage]
    given: dict[str, Any] = {
        "combo_id": source.combo_id,
        "template_id": source.template_id,
        "llm_model_id": source.llm_model_id,
        "replicate": ABSENT_REPLICATE if source.replicate is None else source.replicate,
    }
    if parent is not None:
        given["parent_gen_id"] = parent.new_id
    if source.stage == "essay" and parent is not None:
        given["llm_model_id"] = model_override(source.llm_model_id, parent.source.llm_model_id)
    signature: Signature[Any] = cls(**{name: given[name] for name in _FIELDS[source.stage]})
    return signature


_FIELDS: Final = {
    stage: tuple(attribute.name for attribute in attrs.fields(cls)) for stage, cls in STAGES.items()
}


def _task(claim: _Claim) -> bytes:
    """Return what names the task: the canonical bytes without the replicate (SPEC 2; no component
    can hold a quotation mark, so its place is unmistakable)."""
    number = claim.number or ABSENT_REPLICATE
    return canonical_bytes(claim.signature).replace(b'"replicate":%d' % number, b"", 1)


def _rank(source: Source, target: str) -> tuple[bool, bool, bool, str, str]:
    """Return the key by which claimants are ordered, the first first."""
    return (
        source.gen_id != target,
        not is_gen_id(source.gen_id),
        not source.has_content,
        source.origin_cohort_id or "",
        source.gen_id,
    )
