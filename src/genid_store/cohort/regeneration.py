"""Find members of a cohort that would pay again for a text that the store has under another id.

A task is recognized by its expected deterministic id, which includes its ancestors: the legacy,
phase-1 and v1 generations of one task all have the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from genid_store.catalog.index.query import StoreIndex, content_of
from genid_store.catalog.index.rows import Content, Indexed
from genid_store.catalog.lookup import held_elsewhere, perhaps_same_task, with_expected
from genid_store.cohort.compare import Comparison
from genid_store.cohort.planning.records import Row
from genid_store.errors import Problem, StoreError, counted
from genid_store.ids.rollout import is_legacy
from genid_store.stages import Member

_LISTED: Final = 100  # members that an error lists


@frozen(kw_only=True)
class Repeat:
    """A member without content whose task has content under the ids in `held`, sorted."""

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
        return ()  # nothing can be repeated in an empty store
    # A generation that is the only one of its task in the store repeats nothing, so a rebuild does
    # not have to derive its expected id again.
    keys = perhaps_same_task(index)
    keys.update((row.stage, row.gen_id) for row in unknown)
    planned = [row for row in rows if (row.stage, row.gen_id) in keys] if keys else []
    return repeats_among(index, with_expected(index, map(Row.as_generation, planned)).values())


def repeats_among(index: StoreIndex, generations: Iterable[Indexed]) -> tuple[Repeat, ...]:
    """Return which of these planned or stored generations repeat work, in their order."""
    return tuple(
        Repeat(stage=one.stage, gen_id=one.gen_id, held=held, is_copy=one.mode == "copy")
        for one in generations
        if (held := held_elsewhere(index, one)) and _content(index, one) is None
    )


def refuse_repeats(repeats: Iterable[Repeat]) -> None:
    """Refuse members that repeat paid work. StoreError: there are any; lists them."""
    paid = [repeat for repeat in repeats if not repeat.is_copy]
    if not paid:
        return
    problems = []
    for repeat in paid[:_LISTED]:
        where, ways = f"{repeat.stage} {repeat.gen_id}", tuple[str, ...]()
        message = f"the store has this work as {', '.join(repeat.held)}"
        remedy = "a run gives it that text; build without forbidding regeneration"
        if is_legacy(repeat.gen_id):
            remedy, ways = "build it under a deterministic id, or run it so", ("reuse", "pay_again")
        problems.append(Problem(where=where, message=message, remedy=remedy, ways=ways))
    raise StoreError(f"{counted(len(paid), 'member')} would be paid for a second time", problems)


def refuse_leaving(
    index: StoreIndex,
    rows: Iterable[Row],
    added: Sequence[Member],
    dropped: Sequence[Member],
    changes: Comparison | None,
) -> None:
    """Refuse to drop members with a text, unless one of the rows is of the same task.

    `changes` pairs the members of both rollout states if the state has changed.

    StoreError: there are such members; lists them.
    """
    made = [member for member in dropped if _content(index, member) is not None]
    if not made:
        return
    planned = with_expected(index, map(Row.as_generation, rows)).values()
    tasks = {generation.expected["v1"] for generation in planned} - {None}
    paired = {
        (change.stage, change.old.gen_id)
        for change in (changes.changes if changes is not None else ())
        if change.old is not None and change.new is not None
    }
    unpaired = ((member, index.get(*member)) for member in made if member not in paired)
    leaving = [
        member
        for member, stored in unpaired
        if stored is None or stored.expected["v1"] not in tasks
    ]
    if not leaving:
        return
    problems = [
        Problem(
            where=f"{member.stage} {member.gen_id}",
            message="has a text, and the current tables and selection no longer plan it",
            remedy="restore what named it, or let it leave; its text stays in the store",
            ways=("drop",),
        )
        for member in leaving[:_LISTED]
    ]
    leave, adds = counted(len(leaving), "text"), counted(len(added), "member")
    summary = f"{leave} would leave the cohort (adds {adds}, drops {len(dropped)})"
    raise StoreError(summary, problems)


def _content(index: StoreIndex, one: Member | Indexed) -> Content | None:
    return content_of(f"{index.root.gens}/{one.stage}/{one.gen_id}")[0]
