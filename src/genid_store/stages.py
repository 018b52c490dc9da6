"""The stages of a store: their order and their parents, derived from the signature classes.

A stage that a user's module defines (a subclass of `genid.Signature`) is a stage of the store from
then on. It comes after the stages that it refers to, because they must be defined before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

import genid

#: The stages of the pipeline whose tables, cohorts and legacy ids this package knows. Only modules
#: about that pipeline use it; all others use `stage_names()`.
PIPELINE: Final = ("draft", "essay", "evaluation")


class Member(NamedTuple):
    """The name of a generation, such as a line of a membership.csv or a parent."""

    stage: str
    gen_id: str


def stage_names() -> tuple[str, ...]:
    """Return every defined stage, parents before their children."""
    return tuple(genid.STAGES)


def by_stage(members: Iterable[Member]) -> list[Member]:
    """Return members by stage, parents before their children, in the order given within a stage."""
    order = stage_names()
    return sorted(members, key=lambda member: order.index(member.stage))


def parent_stage(stage: str) -> str | None:
    """Return the stage of a stage's parent, or None for a stage without one or an unknown stage."""
    cls = genid.STAGES.get(stage)
    return None if cls is None else _parent_of(cls)  # type: ignore[arg-type]  # is hashable


_parent_of = cache(genid.parent_stage)  # called for every generation; a class never changes


def parent_key(stage: str, parent_gen_id: str | None) -> Member | None:
    """Return a generation's parent, or None if its stage has no parent or none is given."""
    parent = parent_stage(stage)
    return None if parent is None or parent_gen_id is None else Member(parent, parent_gen_id)
