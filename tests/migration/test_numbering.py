"""Which new id each generation gets: pure decisions over records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from genid_store.migration import number as numbering
from genid_store.migration.number import (
    EMPTY_SLOT,
    PARENT_STAYS,
    Decision,
    Source,
    number_stage,
)
from genid_store.migration.planfile import Work
from storekit import v1_id

TASK = {"combo_id": "c", "template_id": "t", "llm_model_id": "m"}


def draft(gen_id: str, replicate: int | None = 1, **given: Any) -> Source:
    fields: dict[str, Any] = {"has_content": True, "origin_cohort_id": "k", **TASK, **given}
    return Source(stage="draft", gen_id=gen_id, replicate=replicate, **fields)


def evaluation(gen_id: str, replicate: int | None, **given: Any) -> Source:
    fields = {"parent_gen_id": "parent", "template_id": "t", "llm_model_id": "m", **given}
    return Source(stage="evaluation", gen_id=gen_id, replicate=replicate, **fields)


def target(replicate: int, stage: str = "draft", **given: Any) -> str:
    return v1_id(stage, {**TASK, "replicate": replicate, **given})


def numbers(found: Mapping[str, Decision]) -> dict[str, int | None]:
    return {old: decision.replicate for old, decision in found.items()}


def test_a_generation_gets_the_v1_id_of_its_fields() -> None:
    """However its fields are spelled."""
    found = number_stage([draft("a", 3, template_id=" T\n")], {})
    assert target(3) == found["a"].new


def test_a_usable_text_comes_before_a_broken_one_and_more_texts_below_before_the_cohort() -> None:
    """Whatever id or cohort the others have."""
    broken, bare = draft(target(1)), draft("a", origin_cohort_id="a")
    chain = draft("z", origin_cohort_id="z", texts_below=2)
    found = number_stage([broken, bare, chain], {}, is_usable=lambda one: one is not broken)
    assert {"z": 1, "a": 2, target(1): 3} == numbers(found)


@pytest.mark.parametrize("replicate", [1, None])
def test_what_names_a_slot_without_a_text_follows_the_text(replicate: int | None) -> None:
    """Something lies in it, so that it gets a number of its own; an absent one is 1."""
    made, slot = evaluation("made", 1, has_content=True), evaluation("slot", replicate)
    parents = number_stage([draft("d")], {})
    essay = Source(stage="essay", gen_id="parent", parent_gen_id="d", template_id="t", replicate=1)
    parents = number_stage([essay], parents)
    found = number_stage([slot, made], parents)
    named = found["made"].old, found["made"].new
    assert (2, *named) == (found["slot"].replicate, found["slot"].same_as, found["slot"].named)
    work, new = Work.of(found.values()), found["slot"].new
    assert found["slot"].named == work.mapping_in("membership")["evaluation"]["slot"]
    assert new == work.mapping_in("table")["evaluation"]["slot"]
    assert "slot" == work.back["evaluation"][new]


def test_an_answer_that_was_not_parsed_is_not_left_for_a_broken_text() -> None:
    """It is the only one of the two that something may still be made of."""
    broken, raw = draft("a"), draft("b", has_content=False, is_unparsed=True)
    found = number_stage([broken, raw], {}, is_usable=lambda one: False)
    assert (2, None) == (found["b"].replicate, found["b"].named)


def test_a_text_comes_first_then_the_right_id_then_cohort_then_id() -> None:
    """The first candidate keeps the number, the others follow in that order."""
    candidates = [
        draft("z-unparsed", has_content=False, origin_cohort_id="a"),
        draft("y", origin_cohort_id="b"),
        draft("x", origin_cohort_id="c"),
        draft("b", origin_cohort_id="b"),
        draft(target(1), origin_cohort_id="z"),
        draft(target(9), origin_cohort_id="y"),
    ]
    expected = {target(1): 1, target(9): 2, "b": 3, "y": 4, "x": 5, "z-unparsed": 6}
    for order in (candidates, candidates[::-1]):
        assert expected == numbers(number_stage(order, {}))


def test_a_text_beats_an_empty_slot_that_has_the_right_id() -> None:
    """The slot is the same request once more, so it becomes one with the text, and
    members and children that name it find the text."""
    slot = draft(target(1), has_content=False, is_empty=True, origin_cohort_id="a")
    for order in ([slot, draft("paid")], [draft("paid"), slot]):
        found = number_stage(order, {})
        assert (target(1), "") == (found["paid"].new, found["paid"].reason)
        merged = found[target(1)]
        assert (target(1), EMPTY_SLOT, "paid") == (merged.new, merged.reason, merged.same_as)
        essay = Source(stage="essay", gen_id="e", parent_gen_id=target(1), template_id="t")
        (child,) = number_stage([essay], found).values()
        assert target(1) == child.parent


def test_a_text_that_waits_to_be_parsed_beats_an_empty_slot() -> None:
    """It is paid for."""
    slot = draft(target(1), has_content=False, is_empty=True)
    merged = number_stage([slot, draft("raw", has_content=False)], {})[target(1)]
    assert ("raw", EMPTY_SLOT) == (merged.same_as, merged.reason)


def test_empty_slots_of_one_task_become_one() -> None:
    """The right one stays, and nothing of them is paid for twice; other numbers are other slots."""
    slots = [draft(name, has_content=False, is_empty=True) for name in ("a", target(1), "b")]
    second = draft("c", 2, has_content=False, is_empty=True)
    found = number_stage([*slots, second], {})
    assert {target(1): "", "a": EMPTY_SLOT, "b": EMPTY_SLOT, "c": ""} == {
        old: one.reason for old, one in found.items()
    }
    assert {target(1), target(2)} == {one.new for one in found.values()}


def test_a_failure_on_record_beats_an_empty_slot_that_has_the_right_id() -> None:
    """It was perhaps paid for, and is not asked for again unasked; what was made beats it."""
    slot = draft(target(1), has_content=False, is_empty=True)
    failed = draft("failed", has_content=False, is_empty=True, is_failed=True)
    merged = number_stage([slot, failed], {})[target(1)]
    assert ("failed", EMPTY_SLOT) == (merged.same_as, merged.reason)
    raw = draft("raw", has_content=False, is_unparsed=True)
    merged = number_stage([failed, raw], {})["failed"]
    assert ("raw", EMPTY_SLOT) == (merged.same_as, merged.reason)


def test_a_slot_keeps_to_itself_where_its_number_is_blocked() -> None:
    """By a folder that stays: then it takes the next number like any other."""
    slot = draft("slot", has_content=False, is_empty=True)
    assert target(2) == number_stage([slot], {}, [target(1)])["slot"].new


def test_of_equal_texts_the_one_of_its_parents_cohort_keeps_the_number() -> None:
    """The cohort's own chain stays together."""
    parents = number_stage([draft("parent", origin_cohort_id="z")], {})
    sources = [evaluation(name, 1, origin_cohort_id=name, has_content=True) for name in ("a", "z")]
    essays = [attrs.evolve(one, stage="essay", llm_model_id=None) for one in sources]
    assert {"a": 2, "z": 1} == numbers(number_stage(essays, parents))


def test_the_others_take_the_lowest_free_numbers() -> None:
    """Gaps are filled and numbers that somebody claims are not free."""
    sources = [draft("a", 1), draft("b", 1), draft("c", 2), draft("d", 5), draft("e", 5)]
    assert {"a": 1, "b": 3, "c": 2, "d": 5, "e": 4} == numbers(number_stage(sources, {}))


def test_who_is_renumbered_is_told_who_keeps_the_number() -> None:
    """And the others keep theirs without a word."""
    found = number_stage([draft("a"), draft("b"), draft("c", 2)], {})
    assert {"a": "", "b": "a keeps replicate 1", "c": ""} == {
        old: one.detail for old, one in found.items()
    }
    (alone,) = number_stage([draft("b")], {}, [target(1)]).values()
    assert "a folder that stays keeps replicate 1" == alone.detail


def test_a_name_that_stays_is_no_ones_new_id() -> None:
    """Where a folder that stays bears the id, its number counts as taken."""
    stays = Source(stage="draft", gen_id=target(1), reason="metadata-missing")
    found = number_stage([stays, draft("a", 1)], {})
    assert target(2) == found["a"].new
    assert {target(2)} == {number_stage([draft("a")], {}, [target(1)])["a"].new}


def _parents(**ids: Source) -> dict[str, Any]:
    return dict(number_stage(ids.values(), {}))


def test_children_follow_their_parents_new_ids_and_numbers() -> None:
    """Two duplicates' essays are two tasks, each of replicate 1."""
    parents = number_stage([draft("a"), draft("b")], {})
    essays = [
        Source(stage="essay", gen_id=f"e-{p}", parent_gen_id=p, template_id="et", replicate=1)
        for p in ("a", "b")
    ]
    found = number_stage(essays, parents)
    for number, parent in ((1, "a"), (2, "b")):
        task = {"parent_gen_id": target(number), "template_id": "et", "replicate": 1}
        assert v1_id("essay", task) == found[f"e-{parent}"].new
    assert not any(one.detail for one in found.values())


@pytest.mark.parametrize(
    ("model", "own"), [(None, None), ("m", None), (" M ", None), ("other", "other")]
)
def test_an_essays_model_counts_where_it_is_not_its_drafts(
    model: str | None, own: str | None
) -> None:
    """Compared after normalization; absent means the draft's."""
    parents = number_stage([draft("a")], {})
    essay = Source(
        stage="essay", gen_id="e", parent_gen_id="a", template_id="et", llm_model_id=model
    )
    task = {"parent_gen_id": target(1), "template_id": "et", "replicate": 1, "llm_model_id": own}
    assert v1_id("essay", task) == number_stage([essay], parents)["e"].new


def test_an_evaluation_without_a_number_takes_the_lowest_that_is_left() -> None:
    """It claims none, so it never pushes another one away."""
    essay = Source(stage="essay", gen_id="parent")
    parents = {"parent": Decision(stage="essay", old="parent", new="e_0000000000000", source=essay)}
    first, second = (evaluation(name, None, has_content=True) for name in "ab")
    texts = [evaluation(str(number), number, has_content=True) for number in (1, 3)]
    assert {"a": 2, "1": 1, "3": 3} == numbers(number_stage([first, *texts], parents))
    assert {"a": 1} == numbers(number_stage([first], parents))
    both = number_stage([first, second], parents)
    assert {"a": "", "b": "a keeps replicate 1"} == {old: one.detail for old, one in both.items()}


def test_a_text_without_a_number_fills_the_first_slot_without_a_text() -> None:
    """An empty slot is merged with it; one in which something lies, or whose text is broken, is not
    in its way either."""
    unnumbered = [draft("u", None), draft("v", None)]
    broken, empty = draft("broken"), draft("empty", 2, has_content=False, is_empty=True)
    noted = draft("noted", 3, has_content=False)
    sources = [broken, empty, noted, *unnumbered]
    found = number_stage(sources, {}, is_usable=lambda one: one is not broken)
    assert {"broken": 1, "u": 2, "empty": 2, "v": 3, "noted": 4} == numbers(found)
    assert {"empty": "u", "noted": "v"} == {
        old: one.same_as for old, one in found.items() if one.same_as
    }
    asking = draft("asking", None, has_content=False, is_empty=True)
    merged = number_stage([*sources, asking], {})["asking"]
    assert (EMPTY_SLOT, "broken") == (merged.reason, merged.same_as)


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"has_content": False, "is_unparsed": True},
        {"has_content": False, "is_empty": True},
    ],
    ids=["text", "answer", "slot"],
)
def test_a_v1_id_tells_the_number_that_its_metadata_lacks(made: dict[str, bool]) -> None:
    """So that no two texts exchange their ids, and no request is lost; the metadata is written
    anew."""
    sources = [draft(target(number), None, **made) for number in (2, 3)]
    found = number_stage(sources, {})
    assert {target(2): 2, target(3): 3} == numbers(found)
    assert [(False, True)] * 2 == [(one.moves, one.is_written) for one in found.values()]
    right = number_stage([draft(target(1), None)], {})[target(1)]
    assert (1, False) == (right.replicate, right.is_written)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source(stage="draft", gen_id="a", reason="metadata-empty"), "metadata-empty"),
        (draft("a", template_id="größe"), "field-unfit"),
        (evaluation("a", 1, parent_gen_id="nobody"), "orphan"),
        (evaluation("a", 1, parent_gen_id="bad"), PARENT_STAYS),
    ],
)
def test_what_has_no_deterministic_id_stays_with_its_reason(source: Source, reason: str) -> None:
    """Under the id it has; its descendants stay too."""
    parents = _parents(bad=Source(stage="draft", gen_id="bad", reason="metadata-empty"))
    decision = number_stage([source], parents)["a"]
    assert (reason, "a", False) == (decision.reason, decision.new, decision.moves)


def test_generations_with_one_text_make_one_claim() -> None:
    """Whoever adopted from whom, and through whomever: the first claimant stands for all."""
    copies = [
        draft("old"),
        draft("older", adopted_from="old"),
        draft(target(1), adopted_from="old"),
        draft("d_1phase", adopted_from=target(1)),
        draft("another"),
    ]
    for order in (copies, copies[::-1]):
        found = number_stage(order, {})
        assert {target(1): 1, "another": 2} == {
            old: one.replicate for old, one in found.items() if not one.reason
        }
        assert {"old", "older", "d_1phase"} == {
            old for old, one in found.items() if one.same_as == target(1)
        }
        essay = Source(stage="essay", gen_id="e", parent_gen_id="old", template_id="t", replicate=1)
        (child,) = number_stage([essay], found).values()
        assert (target(1), True) == (child.parent, child.moves)


def test_who_adopted_from_each_other_is_one() -> None:
    """A circle, written by hand, loses nobody."""
    found = number_stage([draft("a", adopted_from="b"), draft("b", adopted_from="a")], {})
    assert {"a": "", "b": "adopted"} == {old: one.reason for old, one in found.items()}


def test_a_copy_that_stays_stands_for_nobody() -> None:
    """What it was adopted from claims for itself."""
    stays = draft("copy", adopted_from="old", reason="symlink")
    found = number_stage([stays, draft("old")], {})
    assert ("", "symlink") == (found["old"].reason, found["copy"].reason)


def test_many_claimants_of_one_number_are_served_in_turn() -> None:
    """Each looks on from where the one before found its number, past what is taken."""
    asked: list[int] = []

    class Names(set[str]):
        def __contains__(self, name: object) -> bool:
            asked.append(1)
            return super().__contains__(name)

    asking = [numbering._asked(draft(f"d{at}"), {})[0] for at in range(300)]
    decisions = numbering._settle(asking, Names(), lambda one: one.has_content)
    assert set(range(1, 301)) == {one.replicate for one in decisions}
    assert len(asked) < 1_000
