"""Which of several generations of one task comes first: one rule for all who have to choose."""

from __future__ import annotations

from typing import Protocol

from genid import is_gen_id

#: What generations are ordered by; the smallest comes first.
Preference = tuple[bool, bool, bool, bool, str, str]


class Candidate(Protocol):
    """What the order asks of a generation."""

    @property
    def gen_id(self) -> str: ...
    @property
    def origin_cohort_id(self) -> str | None: ...
    @property
    def has_content(self) -> bool: ...


def preference(one: Candidate, parent: Candidate | None, *, is_right: bool) -> Preference:
    """Return the key by which generations of one task are ordered.

    A text comes before everything else; then the one whose id is right (`is_right`), then other v1
    ids, because ids may be in use; then the one that its `parent` shares a cohort with, so that a
    cohort's own chain stays together; then cohort and id.
    """
    cohort = one.origin_cohort_id
    return (
        not one.has_content,
        not is_right,
        not is_gen_id(one.gen_id),
        parent is None or cohort is None or parent.origin_cohort_id != cohort,
        cohort or "",
        one.gen_id,
    )
