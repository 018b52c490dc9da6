"""Which members of a cohort would pay again for work that the store holds under another id.

The same task is recognized by the deterministic id that it should have, ancestors included: a
legacy, phase-1 or v1 generation of one task all come to the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from genid import SCHEMES, parse_id
from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import with_expected
from genid_store.cohort.compare import Comparison
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem, StoreError
from genid_store.stages import Member

_LISTED: Final = 100  # members that a refusal names
#: The generations whose task the store has under more than one id.
_SHARED: Final = """
    SELECT stage, gen_id FROM generation WHERE v1 IN
    (SELECT v1 FROM generation WHERE v1 IS NOT NULL GROUP BY v1 HAVING count(*) > 1)
"""


@frozen(kw_only=True)
class Repeat:
    """A member without content whose task has content under the ids in `held` (in their order)."""

    stage: str
    gen_id: str
    held: tuple[str, ...]
    is_copy: bool = False  # it would cost nothing


def find_repeats(
    index: StoreIndex, rows: Iterable[Row], unknown: Iterable[Row]
) -> tuple[Repeat, ...]:
    """Return the members that repeat work, in membership order.

    Members that have content are not among them. `index` is up to date with the store; the
    `unknown` rows are those that it does not describe.
    """
    if not index.sql("SELECT 1 FROM generation LIMIT 1"):
        return ()  # a first build: an empty store holds no work
    # what is in the store alone repeats nothing: a rebuild derives no id that the index has
    keys = {(stage, gen_id) for stage, gen_id in index.sql(_SHARED)}
    keys.update((row.stage, row.gen_id) for row in unknown)
    planned = [row for row in rows if (row.stage, row.gen_id) in keys] if keys else []
    return repeats_among(index, with_expected(index, map(Row.as_generation, planned)).values())


def repeats_among(index: StoreIndex, generations: Iterable[Indexed]) -> tuple[Repeat, ...]:
    """Return which generations, planned or stored ones, repeat work, in their order."""
    found = (
        _repeat(index, one, expected)
        for one in generations
        if (expected := one.expected["v1"]) is not None
    )
    return tuple(repeat for repeat in found if repeat is not None)


#: What becomes of a deterministic member that repeats work.
_GIVEN: Final = "a run gives it that text; build without forbidding regeneration"


def refuse_repeats(repeats: Iterable[Repeat]) -> None:
    """StoreError: there are members that repeat paid work; names them."""
    found = [one for one in repeats if not one.is_copy]
    if not found:
        return
    problems = []
    for repeat in found[:_LISTED]:
        older = parse_id(repeat.gen_id).family not in SCHEMES
        remedy = "build it under a deterministic id, or run it so" if older else _GIVEN
        problems.append(
            Problem(
                where=f"{repeat.stage} {repeat.gen_id}",
                message=f"the store has this work as {', '.join(repeat.held)}",
                remedy=remedy,
                ways=("reuse", "pay_again") if older else (),
            )
        )
    raise StoreError(f"{len(found)} member(s) would be paid for a second time", problems)


def find_leaving(
    index: StoreIndex, dropped: Iterable[Member], rows: Iterable[Row], changes: Comparison | None
) -> tuple[Member, ...]:
    """Return the dropped members whose text would leave the cohort: those that are made, and whose
    task none of the rows has under another id. `changes` pairs the members of two rollout
    states, where the state changed.
    """
    made = [
        member
        for member in dropped
        if content_of(f"{index.root.gens}/{member.stage}/{member.gen_id}")[0] is not None
    ]
    if not made:
        return ()
    planned = with_expected(index, map(Row.as_generation, rows)).values()
    tasks = {one.expected["v1"] for one in planned} - {None}
    paired = {
        (one.stage, one.old.gen_id)
        for one in (changes.changes if changes is not None else ())
        if one.old is not None and one.new is not None
    }
    found = ((member, index.get(*member)) for member in made if member not in paired)
    return tuple(
        member for member, known in found if known is None or known.expected["v1"] not in tasks
    )


def refuse_leaving(leaving: Sequence[Member], added: int, dropped: int) -> None:
    """StoreError: there are texts that would leave the cohort; names them."""
    if not leaving:
        return
    problems = [
        Problem(
            where=f"{member.stage} {member.gen_id}",
            message="is made, and today's tables and selection do not plan it any more",
            remedy="put back what named it, or let it leave; its text stays in the store",
            ways=("drop",),
        )
        for member in leaving[:_LISTED]
    ]
    count = f"{len(leaving)} text(s) would leave the cohort"
    raise StoreError(f"{count} (adds {added} members, drops {dropped})", problems)


def _repeat(index: StoreIndex, member: Indexed, expected: str) -> Repeat | None:
    same = index.by_expected("v1", expected)
    held = tuple(one.gen_id for one in same if one.has_content and one.gen_id != member.gen_id)
    if not held or content_of(f"{index.root.gens}/{member.stage}/{member.gen_id}")[0] is not None:
        return None
    is_copy = member.mode == "copy"
    return Repeat(stage=member.stage, gen_id=member.gen_id, held=held, is_copy=is_copy)
