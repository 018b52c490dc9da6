"""Law: different signatures have different canonical bytes and ids (SPEC 2.5)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from genid import Draft, Signature, canonical_bytes, gen_id
from signature_kit import PARTS_OF_JSON, Fields, signature, tasks

_tricky = st.text(PARTS_OF_JSON + "genid", min_size=1, max_size=4)


def same(a: Signature[Any], b: Signature[Any]) -> tuple[bool, bool, bool]:
    return a == b, canonical_bytes(a) == canonical_bytes(b), gen_id(a) == gen_id(b)


@given(tasks(), tasks())
def test_any_two_signatures_are_equal_exactly_where_their_bytes_and_ids_are(
    a: tuple[str, Fields], b: tuple[str, Fields]
) -> None:
    """Equality of signatures, of bytes and of ids is one and the same."""
    one, other = signature(a), signature(b)
    assert len(set(same(one, other))) == 1
    assert one != other or hash(one) == hash(other)


@given(tasks(_tricky), tasks(_tricky))
def test_components_made_of_separators_never_run_together(
    a: tuple[str, Fields], b: tuple[str, Fields]
) -> None:
    """Characters with a meaning in JSON or in joined parts have none here."""
    assert len(set(same(signature(a), signature(b)))) == 1


@given(st.text("|,:{}a", min_size=3, max_size=9), st.data())
def test_one_text_cut_at_two_places_gives_two_ids(text: str, data: st.DataObject) -> None:
    """Moving a boundary between neighbouring fields changes the id."""
    cuts = st.integers(1, len(text) - 1)
    here, there = data.draw(cuts), data.draw(cuts)
    a, b = (
        Draft(combo_id=text[:cut], template_id=text[cut:], llm_model_id="m", replicate=1)
        for cut in (here, there)
    )
    assert (here == there) is (gen_id(a) == gen_id(b))
