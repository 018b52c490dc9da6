"""Why a stored generation has the id it has, and why two generations have different ones."""

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

#: What decides an id besides the task, in one family or another.
_MINTING: Final = ("family", "origin_cohort_id", "recomputes")


@frozen(kw_only=True)
class StoreExplanation:
    """A stored generation, its ancestors and its children.

    `written` derives the v1 id over the parent's id as the metadata has it, `fresh` over the id
    that the parent should have; None where the metadata does not suffice. `ancestors` run from the
    parent up to the draft.
    """

    generation: Indexed
    written: Explanation | None
    fresh: Explanation | None
    ancestors: tuple[Indexed, ...]
    children: tuple[Indexed, ...]
    duplicates: tuple[Indexed, ...]


@frozen(kw_only=True)
class Level:
    """One generation of each side at the same stage, and their own fields that differ
    (the parent is the level above)."""

    stage: str
    a: Indexed
    b: Indexed
    differences: tuple[Difference, ...]


@frozen(kw_only=True)
class StoreDifference:
    """Why two generations have different ids.

    `levels` are those that both have, the draft first. `cause` is the deepest ancestor (or the
    generation itself) whose own fields differ; None where no field does. `minting` is what differs
    in how the two ids were made: family, cohort of origin, whether they recompute.
    """

    a: Indexed
    b: Indexed
    levels: tuple[Level, ...]
    minting: tuple[Difference, ...]

    @property
    def cause(self) -> Level | None:
        """The first level, from the draft down, that differs in fields of its own."""
        return next((level for level in self.levels if level.differences), None)

    @property
    def same_task(self) -> bool:
        """Whether both are the same task and replicate, down from the draft."""
        root = self.levels[0].stage if self.levels else ""
        return parent_stage(root) is None and self.a.stage == self.b.stage and self.cause is None

    @property
    def inherited(self) -> bool:
        """Whether the two differ only because an ancestor does."""
        if self.a.stage != self.b.stage or self.cause is None:
            return False
        return self.levels[-1].stage == self.a.stage and not self.levels[-1].differences


def explain_stored(index: StoreIndex, generation: Indexed) -> StoreExplanation:
    """Return how a stored generation's id comes about, its ancestors, children and duplicates."""
    above = chain(index, generation)[1:]
    parent = above[0] if above else None
    return StoreExplanation(
        generation=generation,
        written=_derivation(generation, parent, generation.parent_gen_id),
        fresh=_derivation(generation, parent, parent.expected["v1"] if parent else None),
        ancestors=above,
        children=tuple(children(index, generation)),
        duplicates=tuple(duplicates(index, generation)),
    )


def named(index: StoreIndex, text: str, other: str) -> Indexed:
    """Return the one generation that a text names; where it names several, the only one of the
    stage of what `other` names. StoreError: as `lookup.resolve`, or several are left."""
    found = [match.generation for match in resolve(index, text)]
    if len(found) > 1:
        stages = {match.generation.stage for match in resolve(index, other)}
        found = [one for one in found if one.stage in stages] or found
    if len(found) == 1:
        return found[0]
    message = f"names several: {', '.join(f'{one.stage} {one.gen_id}' for one in found)}"
    summary, remedy = "two generations are compared, not more", "give one of these ids"
    raise StoreError.of(summary, "id", message, remedy, value=text)


def diff_stored(index: StoreIndex, a: Indexed, b: Indexed) -> StoreDifference:
    """Return at which ancestor two stored generations part, and in which fields.

    Generations of two stages part in `stage`: their common levels tell how their ancestors compare.
    """
    left = {one.stage: one for one in chain(index, a)}
    right = {one.stage: one for one in chain(index, b)}
    levels = tuple(
        Level(
            stage=stage, a=left[stage], b=right[stage], differences=_own(left[stage], right[stage])
        )
        for stage in stage_names()
        if stage in left and stage in right
    )
    pairs = [(name, getattr(a, name), getattr(b, name)) for name in _MINTING]
    minting = tuple(Difference(field=name, a=x, b=y) for name, x, y in pairs if x != y)
    return StoreDifference(a=a, b=b, levels=levels, minting=minting)


def _derivation(
    generation: Indexed, parent: Indexed | None, parent_gen_id: str | None
) -> Explanation | None:
    """Return the derivation of a v1 id over this parent's id; None where there is none."""
    if not is_complete(generation):
        return None
    if parent_stage(generation.stage) and generation.parent_gen_id and parent_gen_id is None:
        return None
    try:
        model = None if parent is None else parent.llm_model_id
        return explain(signature(generation, parent_gen_id=parent_gen_id, parent_model=model))
    except GenIdError:
        return None


def _own(a: Indexed, b: Indexed) -> tuple[Difference, ...]:
    """Return the fields that differ, but for the parent: that is the level above."""
    fields, left, right = stage_fields(a.stage), a.signature_fields(), b.signature_fields()
    pairs = ((name, _folded(left.get(name)), _folded(right.get(name))) for name in fields.every)
    return tuple(
        Difference(field=name, a=x, b=y) for name, x, y in pairs if x != y and name != fields.parent
    )


def _folded(value: str | int | None) -> str | int | None:
    return folded(value) if isinstance(value, str) else value
