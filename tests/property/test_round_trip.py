"""Law: writing and parsing undo each other (SPEC 5.4)."""

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

import slow_reference
from genid import ParseError, Signature, explain, gen_id, is_gen_id, parse_id, parse_v1
from genid._text import ALPHABET, id_text, suffix_bits, uuid_bits
from signature_kit import signatures


@given(signatures)
def test_a_parsed_id_is_the_explained_one(signature: Signature[Any]) -> None:
    """parse(format(x)) == x, stage and UUID alike."""
    parsed = parse_v1(gen_id(signature))
    assert (signature.stage, explain(signature).uuid) == (parsed.stage, parsed.uuid)
    assert parsed == parse_id(parsed.text)


@given(st.integers(0, 2**128 - 1))
def test_any_128_bits_come_back(bits: int) -> None:
    """The suffix is a bijection, the one that TypeID uses."""
    prefix, _, suffix = slow_reference.typeid(UUID(int=bits), "d").partition("_")
    assert ("d", bits) == (prefix, suffix_bits(suffix))


@given(st.text(ALPHABET + "il_D\n", min_size=20, max_size=30))
def test_an_accepted_text_is_what_its_parse_would_be_written_as(suffix: str) -> None:
    """format(parse(s)) == s for every accepted s; everything else raises ParseError alone."""
    text = f"d_{suffix}"
    try:
        parsed = parse_v1(text)
    except ParseError:
        assert not is_gen_id(text)
    else:
        assert parsed.uuid is not None
        assert text == slow_reference.typeid(parsed.uuid, "d")


@given(st.binary(min_size=16, max_size=16), st.sampled_from("devr"))
def test_every_marked_uuid_has_a_text_that_parses(digest: bytes, prefix: str) -> None:
    """All 2^122 ids of each stage are accepted."""
    uuid = slow_reference.marked(digest)
    assert (text := slow_reference.typeid(uuid, prefix)) == id_text(prefix, digest)
    assert uuid.int == uuid_bits(digest)
    assert uuid == parse_v1(text).uuid
