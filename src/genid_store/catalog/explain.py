"""Explain why a stored generation has its id, and why two generations have different ids."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from genid import Difference, Explanation, GenIdError, explain
from genid_store.catalog.expected import is_complete, signature
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import chain, children, duplicates, resolve
from genid_store.catalog.metadata import stage_fields
from genid_store.errors import StoreError
from genid_store.ids.components import folded
from genid_store.stages import parent_stage, stage_names

#: The attributes besides the task on which an id of some family depends.
_MINTING: Final = ("family", "origin_cohort_id", "recomputes")


@frozen(kw_only=True)
class StoreExplanation:
    """A stored generation, its ancestors and its children.

    `written` derives the v1 id over the parent's id that the metadata gives, `fresh` over the
    parent's expected id. Each is None if the metadata does not suffice. `ancestors` are ordered
    from the parent up to the draft.
    """

    generation: Indexed
    written: Explanation | None
    fresh: Explanation | None
    ancestors: tuple[Indexed, ...]
    children: tuple[Indexed, ...]
    duplicates: tuple[Indexed, ...]


@frozen(kw_only=True)
class Level:
    """The generations of one stage on both sides, and the fields in which they differ.

    The parent is not among the fields, since it is the level above.
    """

    stage: str
    a: Indexed
    b: Indexed
    differences: tuple[Difference, ...]


@frozen(kw_only=True)
class StoreDifference:
    """Why two generations have different ids.

    `levels` are the stages that both chains of ancestors have, the draft first. `minting` is what
    differs in how the two ids were made: family, cohort of origin, whether they recompute.
    """

    a: Indexed
    b: Indexed
    levels: tuple[Level, ...]
    minting: tuple[Difference, ...]

    @property
    def cause(self) -> Level | None:
        """The first level, from the draft down, whose own fields differ; None if none do."""
        return next((level for level in self.levels if level.differences), None)

    @property
    def same_task(self) -> bool:
        """Whether both have the same task and replicate, and so do all their ancestors."""
        root = self.levels[0].stage if self.levels else ""
        return parent_stage(root) is None and self.a.stage == self.b.stage and self.cause is None

    @property
    def inherited(self) -> bool:
        """Whether the two differ only because an ancestor does."""
        if self.a.stage != self.b.stage or self.cause is None:
            return False
        return self.levels[-1].stage == self.a.stage and not self.levels[-1].differences


def explain_stored(index: StoreIndex, generation: Indexed) -> StoreExplanation:
    """Return the derivation of a stored generation's id, its ancestors, children and duplicates."""
    ancestors = chain(index, generation)[1:]
    parent = ancestors[0] if ancestors else None
    return StoreExplanation(
        generation=generation,
        written=_derivation(generation, parent, generation.parent_gen_id),
        fresh=_derivation(generation, parent, parent.expected["v1"] if parent else None),
        ancestors=ancestors,
        children=tuple(children(index, generation)),
        duplicates=tuple(duplicates(index, generation)),
    )


def named(index: StoreIndex, text: str, other: str) -> Indexed:
    """Return the one generation that a text names.

    If it names several, prefer those of the stages that `other`, the text of the second
    generation, names. StoreError: as `lookup.resolve`, or the text is still ambiguous.
    """
    candidates = [match.generation for match in resolve(index, text)]
    if len(candidates) > 1:
        stages = {match.generation.stage for match in resolve(index, other)}
        candidates = [one for one in candidates if one.stage in stages] or candidates
    if len(candidates) == 1:
        return candidates[0]
    message = f"names several: {', '.join(f'{one.stage} {one.gen_id}' for one in candidates)}"
    summary, remedy = "two generations are compared, not more", "give one of these ids"
    raise StoreError.of(summary, "id", message, remedy, value=text)


def diff_stored(index: StoreIndex, a: Indexed, b: Indexed) -> StoreDifference:
    """Return at which level two stored generations begin to differ, and in which fields.

    Generations of different stages differ in `stage`; their common levels compare the ancestors.
    """
    left = {ancestor.stage: ancestor for ancestor in chain(index, a)}
    right = {ancestor.stage: ancestor for ancestor in chain(index, b)}
    levels = tuple(
        Level(stage=stage, a=x, b=y, differences=_own_differences(x, y))
        for stage in stage_names()
        if (x := left.get(stage)) is not None and (y := right.get(stage)) is not None
    )
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in _MINTING]
    minting = tuple(Difference(field=name, a=x, b=y) for name, x, y in pairs if x != y)
    return StoreDifference(a=a, b=b, levels=levels, minting=minting)


def _derivation(
    generation: Indexed, parent: Indexed | None, parent_gen_id: str | None
) -> Explanation | None:
    """Return the derivation of a v1 id over this parent id; None if none can be derived."""
    if not is_complete(generation):
        return None
    # A parent that is named but not known is not the same as none, which some stages allow.
    if parent_stage(generation.stage) and generation.parent_gen_id and parent_gen_id is None:
        return None
    try:
        model = None if parent is None else parent.llm_model_id
        return explain(signature(generation, parent_gen_id=parent_gen_id, parent_model=model))
    except GenIdError:
        return None


def _own_differences(a: Indexed, b: Indexed) -> tuple[Difference, ...]:
    """Return the fields that differ, except the parent."""
    fields, left, right = stage_fields(a.stage), a.signature_fields(), b.signature_fields()
    pairs = ((name, folded(left.get(name)), folded(right.get(name))) for name in fields.every)
    return tuple(
        Difference(field=name, a=x, b=y) for name, x, y in pairs if x != y and name != fields.parent
    )
