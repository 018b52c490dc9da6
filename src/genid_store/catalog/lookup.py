"""Look generations up by any id: full ids of every family, prefixes, planned ids.

Everything is answered from an open `StoreIndex`. A look-up by a full id takes the same time in a
store of any size. An ambiguous prefix is refused with its candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

from attrs import evolve, frozen

from genid_store.catalog.expected import ExpectedIds, ParentIds, as_parent, derive_expected
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.catalog.preference import Preference, preference
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import is_segment
from genid_store.stages import parent_key, parent_stage, stage_names

#: How a text matched a generation: as its id, its expected id under a scheme, an id from before a
#: migration, or the prefix of one of these.
How = Literal["id", "v1", "phase-1", "previous", "prefix"]

SHORTEST_PREFIX: Final = 6  # characters
_SHOWN: Final = 10  # candidates in an error
_OF_TASK: Final = "SELECT stage, gen_id FROM generation WHERE v1 = ?"
#: The generations whose task is there more than once; reads `by_v1` alone if there are none.
_SHARED: Final = """
    SELECT stage, gen_id FROM generation WHERE v1 IN (
        SELECT v1 FROM generation WHERE v1 NOT NULL GROUP BY v1 HAVING count(*) > 1
    )
"""


@frozen(kw_only=True)
class Match:
    """A generation that a text matches, and how."""

    generation: Indexed
    by: How


def resolve(index: StoreIndex, text: str) -> tuple[Match, ...]:
    """Return the generations that match a full id or a prefix of at least 6 characters.

    A full id matches the generation with that id, else those that had it before a migration, else
    those with that expected id; several are duplicates of one task. StoreError: nothing matches, a
    prefix matches several generations (which are listed), or `text` cannot be an id.
    """
    if not is_segment(text):
        raise _unresolved(text, "cannot be an id of any family", "use A-Z a-z 0-9 . _ -")
    found = _by_full_id(index, text)
    if found:
        return found
    if len(text) < SHORTEST_PREFIX:
        remedy = f"give the full id or at least {SHORTEST_PREFIX} characters of it"
        raise _unresolved(text, "names no generation and is too short for a prefix", remedy)
    candidates = index.with_prefix(text, _SHOWN + 1)
    if not candidates:
        raise _unresolved(text, "names no generation of this store", "check the id and the root")
    if len(candidates) > 1:
        shown = ", ".join(f"{one.stage} {one.gen_id}" for one in candidates[:_SHOWN])
        more = ", and more" if len(candidates) > _SHOWN else ""
        raise _unresolved(text, f"is the beginning of several: {shown}{more}", "give more of it")
    return (Match(generation=candidates[0], by="prefix"),)


def resolver(index: StoreIndex) -> Callable[[str, str], str | None]:
    """Return a function from a stage and an id of any family to the id in the store, or None.

    Of several duplicates, it returns the first by `catalog.preference`.
    """

    def find(stage: str, gen_id: str) -> str | None:
        matches = [match.generation for match in _by_full_id(index, gen_id)]
        mine = by_preference(index, (one for one in matches if one.stage == stage))
        return mine[0].gen_id if mine else None

    return find


def by_preference(index: StoreIndex, generations: Iterable[Indexed]) -> list[Indexed]:
    """Return the generations of one task in the order of `catalog.preference`."""

    def key(generation: Indexed) -> Preference:
        member = generation.parent
        parent = None if member is None else index.get(*member)
        is_right = generation.gen_id == generation.expected["v1"]
        return preference(generation, parent, is_right=is_right)

    unsorted = list(generations)
    return sorted(unsorted, key=key) if len(unsorted) > 1 else unsorted


def duplicates(index: StoreIndex, generation: Indexed) -> list[Indexed]:
    """Return the other generations of the same task and replicate, the preferred one first."""
    expected = generation.expected["v1"]
    if expected is None:
        return []
    same = index.by_expected("v1", expected)
    return by_preference(index, (other for other in same if other.gen_id != generation.gen_id))


def same_task(index: StoreIndex, generation: Indexed) -> list[Indexed]:
    """Return the other generations of a generation's task, the preferred one first.

    Texts without `replicate` take, in that order, the lowest numbers that have no text in the
    store. A migration numbers them in the same way, unless their v1 ids still tell the number.
    """
    expected, number = generation.expected["v1"], generation.effective_replicate
    if expected is None or number is None:
        return []
    same = [
        other
        for other in index.by_expected("v1", expected)
        if other.replicate is not None and not is_contradicted(other)
    ]
    unnumbered = index.sql("SELECT 1 FROM generation WHERE replicate IS NULL LIMIT 1")
    if unnumbered and not any(other.has_content for other in same):
        same += _unnumbered(index, generation, number)
    return by_preference(index, (other for other in same if other.gen_id != generation.gen_id))


def held_elsewhere(index: StoreIndex, generation: Indexed) -> tuple[str, ...]:
    """Return the other ids under which the store has a text of a generation's task, sorted."""
    same, expected = same_task(index, generation), generation.expected["v1"]
    if not same and expected is not None:  # the parent of a planned one is not in the index yet
        same = index.by_expected("v1", expected)
    held = {one.gen_id for one in same if one.has_content and one.gen_id != generation.gen_id}
    return tuple(sorted(held))


def is_contradicted(generation: Indexed) -> bool:
    """Return whether the id is a v1 id of another task than the metadata's; the id counts then."""
    return generation.family == "v1" and not generation.recomputes


def perhaps_same_task(index: StoreIndex) -> set[tuple[str, str]]:
    """Return a superset of the generations for which `same_task` finds others, fast."""
    found: set[tuple[Any, ...]] = set(index.sql(_SHARED))
    unnumbered = index.sql("SELECT stage, gen_id FROM generation WHERE replicate IS NULL")
    numbers = replicates(index) if unnumbered else []
    for key in unnumbered:
        generation = index.get(*key)
        if generation is not None and generation.has_content:
            for task in tasks_of(index, generation, numbers):
                found.update(index.sql(_OF_TASK, task))
    return found


def replicates(index: StoreIndex) -> list[int]:
    """Return the numbers that replicates in the store have."""
    query = "SELECT DISTINCT replicate FROM generation WHERE replicate NOT NULL"
    return [number for (number,) in index.sql(query)]


def tasks_of(index: StoreIndex, text: Indexed, numbers: Iterable[int]) -> set[str]:
    """Return every task for which `same_task` may find a text: its own, and with any of the
    `numbers` if it has none."""
    tasks = {text.expected["v1"]}
    if text.replicate is None:
        tasks.update(_expected(index, text, number) for number in numbers)
    return {task for task in tasks if task is not None}


def _unnumbered(index: StoreIndex, generation: Indexed, number: int) -> list[Indexed]:
    """Return the text without `replicate` that takes this number, if any."""
    firsts = _with_number(index, generation, 1)
    texts = [
        other
        for other in firsts
        if other.replicate is None and other.has_content and not is_contradicted(other)
    ]
    unnumbered = _samples(index, texts)
    for below in range(1, number):
        same = _with_number(index, generation, below)
        if any(other.has_content and other.replicate is not None for other in same):
            continue
        unnumbered = by_preference(index, unnumbered)[1:]
    return by_preference(index, unnumbered)[:1]


def _samples(index: StoreIndex, unnumbered: list[Indexed]) -> list[Indexed]:
    """Remove generations that share a text with a numbered one or with an earlier one."""
    samples: list[Indexed] = []
    seen: set[str] = set()
    for generation in by_preference(index, unnumbered):
        same = index.same_texts.get((generation.stage, generation.gen_id), frozenset())
        copies = (index.get(generation.stage, other) for other in same)
        numbered = any(copy and copy.replicate is not None and copy.has_content for copy in copies)
        if not numbered and seen.isdisjoint(same):
            samples.append(generation)
        seen |= same
    return samples


def _with_number(index: StoreIndex, generation: Indexed, number: int) -> list[Indexed]:
    """Return the generations whose task differs in its number only."""
    expected = _expected(index, generation, number)
    return [] if expected is None else index.by_expected("v1", expected)


def _expected(index: StoreIndex, generation: Indexed, number: int) -> str | None:
    """Return the expected id of a generation's task with another number."""
    numbered = evolve(generation, replicate=number)
    return derive_expected(numbered, _parent(index, generation, {})).v1


def chain(index: StoreIndex, generation: Indexed) -> tuple[Indexed, ...]:
    """Return a generation and its ancestors, nearest first, up to a root, a missing parent or the
    first one of a cycle."""
    found, seen = [generation], {(generation.stage, generation.gen_id)}
    while (parent := found[-1].parent) is not None and parent not in seen:
        above = index.get(*parent)
        if above is None:
            break
        found.append(above)
        seen.add(parent)
    return tuple(found)


def children(index: StoreIndex, generation: Generation) -> list[Indexed]:
    """Return the generations whose parent is this one."""
    return [
        child
        for stage in stage_names()
        if parent_stage(stage) == generation.stage
        for child in index.children(stage, generation.gen_id)
    ]


def _by_full_id(index: StoreIndex, text: str) -> tuple[Match, ...]:
    ways: tuple[tuple[How, Callable[[], list[Indexed]]], ...] = (
        ("id", lambda: index.find(text)),
        ("previous", lambda: index.by_previous(text)),
        ("v1", lambda: index.by_expected("v1", text)),
        ("phase-1", lambda: index.by_expected("phase-1", text)),
    )
    for how, look in ways:
        found = look()
        if found:
            return tuple(Match(generation=one, by=how) for one in found)
    return ()


def with_expected(
    index: StoreIndex, generations: Iterable[Generation]
) -> dict[tuple[str, str], Indexed]:
    """Return, by (stage, id), the records that planned generations will have.

    Parents are looked up among the preceding generations, then in the index, then on disk.
    `index.by_expected("v1", …)` returns the stored generations of the same task.
    """
    found = {}
    known: dict[tuple[str, str], ParentIds | None] = {}
    for generation in generations:
        key = (generation.stage, generation.gen_id)
        expected = derive_expected(generation, _parent(index, generation, known))
        known[key] = as_parent(generation, expected.v1, expected.phase_1)
        found[key] = _indexed(generation, expected)
    return found


def _indexed(generation: Generation, expected: ExpectedIds) -> Indexed:
    return Indexed(
        **vars(generation),
        family=expected.family,
        recomputes=expected.recomputes,
        expected={"v1": expected.v1, "phase-1": expected.phase_1},
    )


def read_indexed(index: StoreIndex, stage: str, gen_id: str) -> Indexed | None:
    """Read the record of a generation that is newer than the index, with its new ancestors.

    Return None if its metadata cannot be used. OSError: a file cannot be read now.
    """
    chain: dict[tuple[str, str], Generation] = {}
    key: tuple[str, str] | None = (stage, gen_id)
    found: Indexed | None = None
    while key is not None and found is None and key not in chain and is_segment(key[1]):
        chain[key] = read_generation(index.root, *key)
        key = parent_key(key[0], chain[key].parent_gen_id)
        found = None if key is None else index.get(*key)
    parent = None if found is None else found.as_parent()
    for generation in reversed(chain.values()):
        expected = derive_expected(generation, parent)
        parent = as_parent(generation, expected.v1, expected.phase_1)
        found = _indexed(generation, expected)
    return found if found is not None and found.raw else None


def _parent(
    index: StoreIndex, generation: Generation, known: dict[tuple[str, str], ParentIds | None]
) -> ParentIds | None:
    key = generation.parent
    if key is None:
        return None
    if key not in known:
        found = index.get(*key) or read_indexed(index, *key)
        known[key] = None if found is None else found.as_parent()
    return known[key]


def _unresolved(text: str, message: str, remedy: str) -> StoreError:
    problem = Problem(where="id", value=text, message=message, remedy=remedy)
    return StoreError("an id cannot be resolved", [problem])
