"""The stages of a store: their order and their parents, read off the signature classes.

Nothing here is a second list. A stage that a user's module declares (a subclass of
`genid.Signature`) is a stage of the store from then on, after the stages it refers to.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import genid

#: The stages of the pipeline whose tables, cohorts and legacy ids this package knows. Only modules
#: about that pipeline use it; everything else asks `stage_names()`.
PIPELINE: Final = ("draft", "essay", "evaluation")


class Member(NamedTuple):
    """A generation by its name: a line of a membership.csv, a parent."""

    stage: str
    gen_id: str


def stage_names() -> tuple[str, ...]:
    """Return every declared stage, parents before their children."""
    return tuple(genid.STAGES)


def parent_stage(stage: str) -> str | None:
    """Return the stage that `stage` names as its parent; None for a root or an unknown stage."""
    cls = genid.STAGES.get(stage)
    return None if cls is None else _parent_of(cls)  # type: ignore[arg-type]  # is hashable


# asked of every generation; a class says the same for as long as it lives
_parent_of = cache(genid.parent_stage)


def parent_key(stage: str, parent_gen_id: str | None) -> Member | None:
    """Return a generation's parent; None for a root or where none is named."""
    above = parent_stage(stage)
    return None if above is None or parent_gen_id is None else Member(above, parent_gen_id)
