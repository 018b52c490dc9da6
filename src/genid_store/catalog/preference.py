"""The order of preference among generations of one task, for everything that has to choose."""

from __future__ import annotations

from typing import Protocol

from genid import is_gen_id

#: A sort key; the preferred generation has the smallest.
Preference = tuple[bool, bool, bool, bool, int, str, str]


class Candidate(Protocol):
    """What the order needs to know of a generation."""

    @property
    def gen_id(self) -> str: ...
    @property
    def origin_cohort_id(self) -> str | None: ...
    @property
    def has_content(self) -> bool: ...


def preference(
    generation: Candidate, parent: Candidate | None, *, is_right: bool, below: int = 0
) -> Preference:
    """Return the sort key of one of several generations of a task.

    A generation with a text comes first. Among equals, the one with the expected id (`is_right`)
    does, then one with another v1 id, because its id may be in use. Then comes a generation from
    the same cohort as its `parent`, which keeps the chain of a cohort together, then the one that
    most texts were made from (`below`). Cohort and id decide the rest.
    """
    cohort = generation.origin_cohort_id
    return (
        not generation.has_content,
        not is_right,
        not is_gen_id(generation.gen_id),
        parent is None or cohort is None or parent.origin_cohort_id != cohort,
        -below,
        cohort or "",
        generation.gen_id,
    )
