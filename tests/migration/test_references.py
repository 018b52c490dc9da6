"""Old ids are replaced where they are references, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.migration.number import Planned
from genid_store.migration.references import (
    References,
    restore_metadata,
    retarget,
    rewrite_json,
    rewrite_membership,
    rewrite_metadata,
    rewrite_prose,
    rewrite_selection,
)

OLD, NEW = "0123456789abcdef", "d_00000000000000000000000001"
MAPPING = {
    "draft": {OLD: NEW, "hand": "d_hand"},
    "essay": {"fedcba9876543210": "e_new", OLD: "e_same"},
    "evaluation": {},
}
DRAFT, ESSAY = References(MAPPING, "draft"), References(MAPPING, "essay")


@pytest.mark.parametrize(
    ("references", "before", "after"),
    [
        (DRAFT, {"gen_id": OLD}, {"gen_id": NEW}),
        (DRAFT, {"gen_id": "hand"}, {"gen_id": "d_hand"}),
        (ESSAY, {"gen_id": OLD, "parent_gen_id": OLD}, {"gen_id": "e_same", "parent_gen_id": NEW}),
        (ESSAY, {"draft_gen_id": OLD, "x": {"draft_gen_ids": [OLD, "y"]}},
         {"draft_gen_id": NEW, "x": {"draft_gen_ids": [NEW, "y"]}}),
        (DRAFT, {"path": f"/data/gens/draft/{OLD}/raw.txt"},
         {"path": f"/data/gens/draft/{NEW}/raw.txt"}),
        (DRAFT, {"path": f"gens/draft/{OLD}"}, {"path": f"gens/draft/{NEW}"}),
        (References(MAPPING, "evaluation"), {"parent_gen_id": "hand"}, {"parent_gen_id": "d_hand"}),
        (DRAFT, {"source": OLD}, {"source": NEW}),
        (DRAFT, {"adopted_from": OLD}, {"adopted_from": NEW}),
        (DRAFT, [{"gen_id": OLD}, OLD], [{"gen_id": NEW}, NEW]),
    ],
)  # fmt: skip
def test_references_are_replaced(references: References, before: Any, after: Any) -> None:
    """Under the keys that say so, in paths, and where the shape is unmistakable."""
    assert after == json.loads(rewrite_json(json.dumps(before).encode(), references))


@pytest.mark.parametrize(
    "document",
    [
        {"template_id": OLD, "llm_model_id": OLD, "combo_id": OLD, "previous_gen_id": OLD},
        {"task": OLD},  # the name of a lease
        {"word": "hand", "text": f"prose that mentions {OLD}"},
        {OLD: 1},
        {"path": f"othergens/draft/{OLD}"},
        {"prompt": f"line\ngens/draft/{OLD}"},
        {"parent_gen_id": "nobody"},
    ],
)
def test_what_is_no_reference_stays(document: Any) -> None:
    """Keys, prose, other fields, ids made by hand outside the keys that name generations."""
    data = json.dumps(document).encode()
    assert data == rewrite_json(data, DRAFT)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b'{"gen_id": "' + OLD.encode() + b'"'])
def test_what_is_no_json_stays(data: bytes) -> None:
    """Byte for byte."""
    assert data == rewrite_json(data, DRAFT)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from([OLD, "hand", f"gens/draft/{OLD}/x"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("gen_id"), inner),
)  # fmt: skip


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_every_byte_but_the_references_stays(
    document: Any, indent: int | None, escape: bool
) -> None:
    """Whatever the formatting: replacing back by hand gives the same bytes."""
    data = json.dumps(document, indent=indent, ensure_ascii=escape).encode()
    changed = rewrite_json(data, DRAFT)
    back = changed.replace(NEW.encode(), OLD.encode()).replace(b"d_hand", b"hand")
    assert data == back


def _metadata(document: dict[str, Any], **given: Any) -> dict[str, Any]:
    options = {"old": "fedcba9876543210", "replicate": 2, "parent": NEW, **given}
    entry = Planned(stage="essay", new="e_new", **options)
    data = json.dumps(document).encode()
    found: dict[str, Any] = json.loads(rewrite_metadata(data, ESSAY, entry, "p1"))
    return found


def test_metadata_gets_its_id_parent_number_and_where_it_came_from() -> None:
    """In the places where the keys are; what is new goes last."""
    before = {
        "gen_id": "x",
        "parent_gen_id": OLD,
        "kept": [1.5, {"a": "no"}],
        "replicate": "1",
    }
    assert [
        ("gen_id", "e_new"),
        ("parent_gen_id", NEW),
        ("kept", [1.5, {"a": "no"}]),
        ("replicate", 2),
        ("previous_gen_id", "fedcba9876543210"),
        ("migration_plan", "p1"),
    ] == list(_metadata(before).items())


def test_a_second_migration_keeps_the_first_ids() -> None:
    """The oldest first."""
    once = _metadata({"gen_id": "x", "parent_gen_id": OLD, "previous_gen_id": "a"}, old="b")
    assert ["a", "b"] == once["previous_gen_id"]
    assert ["a", "b", "c"] == _metadata(once, old="c")["previous_gen_id"]


def test_membership_keeps_its_line_ends_columns_and_order() -> None:
    """Only the ids change, each by its row's stage."""
    before = f"stage,gen_id,note\r\nessay,{OLD},{OLD}\r\ndraft,{OLD},\r\nessay,other,\r\n"
    after = f"stage,gen_id,note\r\nessay,e_same,{OLD}\r\ndraft,{NEW},\r\nessay,other,\r\n"
    assert after.encode() == rewrite_membership(before.encode(), MAPPING)


@pytest.mark.parametrize("data", [b"", b"stage\n", b"\xff", b'stage,gen_id\n"draft,x'])
def test_a_membership_of_another_form_is_refused(data: bytes) -> None:
    """ValueError, never a silent pass."""
    with pytest.raises(ValueError, match=r".+"):
        rewrite_membership(data, MAPPING)


def test_metadata_that_was_changed_since_is_led_back() -> None:
    """Under the ids and the number from before; what a host has changed meanwhile stays."""
    before = {"gen_id": OLD, "parent_gen_id": "p", "replicate": "1", "score": 1}
    after = {
        "gen_id": NEW,
        "parent_gen_id": "p",
        "score": 2,
        "previous_gen_id": OLD,
        "gen_ids": [NEW],
    }
    back = References({"draft": {NEW: OLD}, "essay": {}, "evaluation": {}}, "draft")
    found = restore_metadata(json.dumps(after).encode(), back, json.dumps(before).encode())
    expected = {"gen_id": OLD, "parent_gen_id": "p", "score": 2, "gen_ids": [OLD], "replicate": "1"}
    assert expected == json.loads(found)
    for damaged in (b"", b"[]", b"{"):
        assert damaged == restore_metadata(damaged, back, json.dumps(before).encode())


def test_prose_changes_where_an_id_is_unmistakable() -> None:
    """Words and paths; bytes that are not UTF-8 stay."""
    before = f"{OLD},7\n hand /gens/draft/hand x{OLD} \udcff".encode("utf-8", "surrogateescape")
    after = f"{NEW},7\n hand /gens/draft/d_hand x{OLD} \udcff".encode("utf-8", "surrogateescape")
    assert after == rewrite_prose(before, DRAFT)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_membership_keeps_its_byte_order_mark_and_rolls_back(start: bytes) -> None:
    """There and back are the same bytes, whatever the order of the columns."""
    before = start + f'note,gen_id,stage\r\n"a, b",{OLD},essay\r\n'.encode()
    there = rewrite_membership(before, MAPPING)
    assert start + b'note,gen_id,stage\r\n"a, b",e_same,essay\r\n' == there
    assert before == rewrite_membership(there, {"essay": {"e_same": OLD}})


def test_a_selection_keeps_comments_blanks_and_line_ends() -> None:
    """Lines that are ids change."""
    before = f"# {OLD}\n\n  {OLD}\t\r\nunknown\n{OLD}"
    after = f"# {OLD}\n\n  {NEW}\t\r\nunknown\n{NEW}"
    assert after.encode() == rewrite_selection(before.encode(), MAPPING["draft"])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"../../draft/{OLD}/parsed.txt", f"../../draft/{NEW}/parsed.txt"),
        (f"/data/gens/draft/{OLD}/parsed.txt", f"/data/gens/draft/{NEW}/parsed.txt"),
        (f"../{OLD}/parsed.txt", "../e_same/parsed.txt"),
        ("parsed.txt", None),
        (f"/elsewhere/gens/draft/{OLD}", None),
        (f"../../draft/other/{OLD}", None),
        (f"../../../../gens/draft/{OLD}", None),
    ],
)
def test_links_into_moving_folders_are_retargeted(target: str, expected: str | None) -> None:
    """Relative and absolute ones; others stay."""
    assert (expected or target) == retarget(target, "gens/essay/x", "/data", MAPPING)
