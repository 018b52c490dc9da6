"""Which of several generations of one task comes first, wherever one has to be chosen."""

from __future__ import annotations

import random
from pathlib import Path

from attrs import frozen

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import duplicates, stored_id
from genid_store.catalog.preference import preference
from genid_store.fs.layout import DataRoot
from migrationkit import Builder
from storekit import v1_id

TASK = {"combo_id": "combo-a", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
V1 = v1_id("draft", TASK)


@frozen(kw_only=True)
class One:
    gen_id: str = "0legacy"
    origin_cohort_id: str | None = "k"
    has_content: bool = True
    parent: One | None = None
    is_right: bool = False


def test_the_order_is_the_documented_one() -> None:
    """Text, the right id, other v1 ids, the cohort's own chain, cohort, id."""
    parent = One(origin_cohort_id="z")
    expected = [
        One(gen_id=V1, is_right=True, origin_cohort_id="z"),
        One(gen_id=V1, origin_cohort_id="z"),
        One(parent=parent, origin_cohort_id="z"),
        One(parent=parent, origin_cohort_id="a"),
        One(origin_cohort_id="b", gen_id="0a"),
        One(origin_cohort_id="b", gen_id="0b"),
        One(gen_id=V1, is_right=True, has_content=False, origin_cohort_id="a"),
        One(has_content=False),
    ]
    shuffled = random.Random(1).sample(expected, len(expected))
    assert expected == sorted(shuffled, key=lambda o: preference(o, o.parent, is_right=o.is_right))


def test_a_text_is_found_before_a_slot_of_the_right_id(tmp_path: Path) -> None:
    """Looking up prefers what a migration would."""
    made = Builder(tmp_path)
    made.draft(V1, content=False)
    made.draft("0other", "zz")
    root = DataRoot.open(tmp_path)
    with StoreIndex.fresh(root) as index:
        slot, text = index.get("draft", V1), index.get("draft", "0other")
        assert slot is not None
        assert text is not None
        assert [text] == duplicates(index, slot)
        assert stored_id(index, "draft", V1) == V1, "a full id names its own folder first"
