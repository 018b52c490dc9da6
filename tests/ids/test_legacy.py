"""The legacy ids, pinned: what is on disk and paid for keeps its name."""

import hashlib
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.ids import legacy

DRAFT = "combo_v1_one__links-v1__writer_a"
ESSAY = f"{DRAFT}__story-v1"
EVALUATION = "e_abc__novelty-v1__judge_a"
VECTORS = [
    ("draft", DRAFT, "winter-2024", None, "33p34mt5wa9tqijh"),
    ("draft", DRAFT, "winter-2024", "rep2", "156ggnubhzz268hu"),
    ("draft", DRAFT, None, None, "5pjrfi88u3lruvjm"),
    ("draft", " Combo |A__é__MODEL x", "winter-2024", "rep12", "3llwjo0s8nkswvgo"),
    ("draft", "t563375", None, None, "0mx5kj0v5kq9smno"),
    ("essay", ESSAY, "winter-2024", None, "gjk14xcz8z58v9qf"),
    ("essay", ESSAY, "winter-2024", "rep1-2", "5op0g68rzzbzmapk"),
    ("essay", ESSAY, "winter-2024", "rep2", "5lomtaqusqcjqlcd"),
    ("evaluation", EVALUATION, "winter-2024", None, "660102yfvz246lb1"),
    ("evaluation", EVALUATION, "winter-2024", "rep3", "qm1uq75kqzoowjoj"),
    ("evaluation", EVALUATION, "winter-2024", "fill3", "2dudsl9qzsfju827"),
    ("evaluation", EVALUATION, "winter-2024", "fill3-1", "21o5adfuw0fyirwq"),
]


@pytest.mark.parametrize(("stage", "task", "cohort", "salt", "gen_id"), VECTORS)
def test_released_ids_never_change(
    stage: str, task: str, cohort: str | None, salt: str | None, gen_id: str
) -> None:
    """Vectors of each stage and salt, one of them padded to its length, one of odd characters."""
    assert gen_id == legacy.reserve_gen_id(stage, task, cohort, salt)


def test_task_ids_join_the_fields_with_two_underscores() -> None:
    """An essay's is made of its draft's, an evaluation's of its essay's id."""
    assert DRAFT == legacy.draft_task("combo_v1_one", "links-v1", "writer_a")
    assert ESSAY == legacy.essay_task(DRAFT, "story-v1")
    assert EVALUATION == legacy.evaluation_task("e_abc", "novelty-v1", "judge_a")


def test_the_first_of_its_kind_has_no_salt() -> None:
    """Every rule's first replicate, and the number in the others."""
    assert [None, "rep2", "rep10"] == [legacy.draft_salt(number) for number in (1, 2, 10)]
    assert [None, "rep2"] == [legacy.evaluation_salt(number) for number in (1, 2)]
    pairs = [(1, 1), (1, 2), (2, 1), (3, 4)]
    assert [None, "rep1-2", "rep2-1", "rep3-4"] == [legacy.essay_salt(*pair) for pair in pairs]
    assert [None, "rep1", "rep2"] == [
        legacy.curated_essay_salt(*pair) for pair in [(1, 1), (2, 1), (2, 2)]
    ]


def test_filling_up_tries_salts_in_the_known_order() -> None:
    """The plain salt, then fill, then fill with a counter."""
    assert [None, "fill1", "fill1-1"] == list(islice(legacy.fill_up_salts(1), 3))
    wanted = ["rep3", "fill3", "fill3-1", "fill3-2"]
    assert wanted == list(islice(legacy.fill_up_salts(3), 4))


@given(*[st.text(st.characters(exclude_categories=["Cs"]), max_size=30)] * 4)
def test_texts_are_used_as_they_are(stage: str, task: str, cohort: str, salt: str) -> None:
    """Agrees with the formula written down another way, for any text; empty parts are absent."""
    joined = stage + "|" + task + "|" + (cohort + "|" if cohort else "")
    joined += salt + "|" if salt else ""
    number = int(hashlib.sha256(joined.encode()).hexdigest()[:24], 16)
    digits = ""
    while number:
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36] + digits
        number //= 36
    expected = digits.zfill(16)[:16]
    assert expected == legacy.reserve_gen_id(stage, task, cohort or None, salt or None)
