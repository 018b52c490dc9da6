"""Which members of a cohort would pay again for work that the store holds under another id.

The same task is recognized by the deterministic id that it should have, ancestors included: a
legacy, phase-1 or v1 generation of one task all come to the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

from genid import SCHEMES, parse_id
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.lookup import expected_of_rows
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem, StoreError

_LISTED: Final = 100  # members that a refusal names


@frozen(kw_only=True)
class Repeat:
    """A member without content whose task has content under the ids in `held` (in their order)."""

    stage: str
    gen_id: str
    held: tuple[str, ...]


def find_repeats(index: StoreIndex, rows: Iterable[Row]) -> tuple[Repeat, ...]:
    """Return the members that repeat work, in membership order.

    Members that have content are paid for, and copies cost nothing: neither is among them. `index`
    is up to date with the store.
    """
    if not index.sql("SELECT 1 FROM generation LIMIT 1"):
        return ()  # a first build: an empty store holds no work
    planned = list(rows)
    verdicts = expected_of_rows(index, planned)
    found = (
        _repeat(index, row, expected)
        for row in planned
        if row.mode != "copy" and (expected := verdicts[row.stage, row.gen_id].v1) is not None
    )
    return tuple(repeat for repeat in found if repeat is not None)


def refuse_repeats(repeats: Iterable[Repeat]) -> None:
    """StoreError: there are members that repeat work; names them."""
    found = tuple(repeats)
    if not found:
        return
    problems = [
        Problem(
            where=f"{repeat.stage} {repeat.gen_id}",
            message=f"the store has this work as {', '.join(repeat.held)}",
            remedy=_remedy(repeat),
        )
        for repeat in found[:_LISTED]
    ]
    raise StoreError(f"{len(found)} member(s) would be paid for a second time", problems)


def _remedy(repeat: Repeat) -> str:
    """Adopting gives content to deterministic ids alone."""
    if parse_id(repeat.gen_id).family in SCHEMES:
        return "adopt it (`genid store adopt`), or allow to pay for it again"
    return "build it under a deterministic id and adopt it then, or allow to pay for it again"


def _repeat(index: StoreIndex, row: Row, expected: str) -> Repeat | None:
    same = index.by_expected("v1", expected)
    held = tuple(one.gen_id for one in same if one.has_content and one.gen_id != row.gen_id)
    if not held or content_of(f"{index.root.gens}/{row.stage}/{row.gen_id}")[0] is not None:
        return None
    return Repeat(stage=row.stage, gen_id=row.gen_id, held=held)
