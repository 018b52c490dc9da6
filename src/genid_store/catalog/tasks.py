"""The generations of one task, of every family of ids: where its work is there under another id."""

from __future__ import annotations

from attrs import evolve

from genid_store.catalog.expected import derive_expected
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import by_preference, parent_ids


def same_task(index: StoreIndex, generation: Indexed) -> list[Indexed]:
    """Return the other generations of a generation's task, the one to be preferred first.

    Those without `replicate` take, in that order, the lowest numbers under which the store has no
    text, as a migration numbers them.
    """
    expected, number = generation.expected["v1"], generation.effective_replicate
    if expected is None or number is None:
        return []
    same = [one for one in index.by_expected("v1", expected) if one.replicate is not None]
    if _has_unnumbered(index) and not any(one.has_content for one in same):
        same += _unnumbered(index, generation, number)
    return by_preference(index, (one for one in same if one.gen_id != generation.gen_id))


def _unnumbered(index: StoreIndex, generation: Indexed, number: int) -> list[Indexed]:
    """Return the generation without `replicate` that takes this number, if there is one."""
    first = _with_number(index, generation, 1)
    loose = [one for one in first if one.replicate is None and one.has_content]
    for below in range(1, number):
        texts = _with_number(index, generation, below)
        if any(one.has_content and one.replicate is not None for one in texts):
            continue
        loose = by_preference(index, loose)[1:]
    return by_preference(index, loose)[:1]


def _with_number(index: StoreIndex, generation: Indexed, number: int) -> list[Indexed]:
    """Return the generations whose task differs in its number alone."""
    expected = derive_expected(
        evolve(generation, replicate=number), parent_ids(index, generation)
    ).v1
    return [] if expected is None else index.by_expected("v1", expected)


def _has_unnumbered(index: StoreIndex) -> bool:
    return bool(index.sql("SELECT 1 FROM generation WHERE replicate IS NULL LIMIT 1"))
