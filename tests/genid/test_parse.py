"""Texts back to what they are: strict for v1, by shape for the older families."""

import pickle
from typing import Any

import pytest

from genid import ParseError, explain, gen_id, is_gen_id, parse_id, parse_v1
from signature_kit import A_DRAFT, AN_ESSAY, AN_EVALUATION


@pytest.mark.parametrize("signature", [A_DRAFT, AN_ESSAY, AN_EVALUATION])
def test_a_v1_id_tells_stage_and_uuid(signature: Any) -> None:
    """Both parsers agree about it."""
    parsed = parse_v1(gen_id(signature))
    assert (signature.stage, "v1") == (parsed.stage, parsed.family)
    assert explain(signature).uuid == parsed.uuid
    assert parsed == parse_id(gen_id(signature))
    assert is_gen_id(gen_id(signature))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin"),
        ("d", "does not begin"),
        ("2pkyzevzpngrcb4vm9d9j2b1mk", "does not begin"),
        (" d_2pkyzevzpngrcb4vm9d9j2b1mk", "does not begin"),
        ("x_2pkyzevzpngrcb4vm9d9j2b1mk", "prefix 'x'"),
        ("D_2pkyzevzpngrcb4vm9d9j2b1mk", "prefix 'D'"),
        ("\u0501_2pkyzevzpngrcb4vm9d9j2b1mk", "prefix"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1m", "27 characters"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1mk\n", "29 characters"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1mk\0", "29 characters"),
        ("d_2PKyzevzpngrcb4vm9d9j2b1mk", "character 4, 'P'"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1ml", "character 28, 'l'"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1m\n", "character 28"),
        ("d_2pkyzevzpngrcb4vm9d9j2b1m\u0661", "character 28"),
        ("d_8pkyzevzpngrcb4vm9d9j2b1mk", "begins with '8'"),
        ("d_01h455vb4pex5vsknk084sn02q", "version 8"),
        ("d_00000000000000000000000000", "version 8"),
        ("e_sq5klak2lljyyom", "17 characters"),
        (b"d_2pkyzevzpngrcb4vm9d9j2b1mk", "type bytes"),
        (None, "type NoneType"),
    ],
)
def test_what_is_no_v1_id(text: Any, reason: str) -> None:
    """The reason is the first clause that is broken."""
    assert not is_gen_id(text)
    with pytest.raises(ParseError, match=reason) as caught:
        parse_v1(text)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize("character", "0123456789abcdefghijklmnopqrstuvwxyzGV_-\u0661\n")
def test_the_quick_answer_is_that_of_the_strict_parser(character: str) -> None:
    """Of an id with any one character replaced: its prefix, version, variant and alphabet count."""
    right = gen_id(A_DRAFT)
    for place in range(len(right)):
        text = right[:place] + character + right[place + 1 :]
        try:
            parse_v1(text)
        except ParseError:
            assert not is_gen_id(text), text
        else:
            assert is_gen_id(text), text


@pytest.mark.parametrize(
    ("text", "family", "stage"),
    [
        ("d_5ezrffv9uf3lr37d", "phase-1", "draft"),
        ("e_sq5klak2lljyyom", "phase-1", "essay"),
        ("v_0", "phase-1", "evaluation"),
        ("d_0123456789abcdef", "phase-1", "draft"),
        ("6mnl1prnb7hitkpc", "legacy", None),
        ("d_0123456789abcdefg", "foreign", None),
        ("6mnl1prnb7hitkpC", "foreign", None),
        ("6mnl1prnb7hitkp", "foreign", None),
        ("d_", "foreign", None),
        ("x_2pkyzevzpngrcb4vm9d9j2b1mk", "foreign", None),
        ("d_00000000000000000000000000", "foreign", None),
        ("_", "foreign", None),
        ("Essay-By-Hand.01", "foreign", None),
        ("a" * 255, "foreign", None),
    ],
)
def test_older_families_are_told_by_shape(text: str, family: str, stage: str | None) -> None:
    """Shape alone decides; only the v1 family has a UUID."""
    parsed = parse_id(text)
    assert (text, family, stage, None) == (parsed.text, parsed.family, parsed.stage, parsed.uuid)


@pytest.mark.parametrize(
    "text", ["", ".", "..", ".x", "-x", "a/b", "a b", "a\n", "a\0", "é", "a" * 256, None, 7, b"abc"]
)
def test_what_is_no_id_of_any_family(text: Any) -> None:
    """No safe path segment, no id."""
    with pytest.raises(ParseError, match="not a generation id of any family"):
        parse_id(text)
