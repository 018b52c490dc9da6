"""Worked cases: the project's own, the reference ones, and those of the standards beneath."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from blake3 import blake3

import slow_reference
from genid import (
    PHASE_1,
    STAGES,
    Draft,
    DraftId,
    Essay,
    ParseError,
    SignatureError,
    canonical_bytes,
    explain,
    gen_id,
    parse_v1,
)
from genid._text import ALPHABET, digest, id_text, is_version_8, suffix_bits
from signature_kit import add_revision

OWN = Path(__file__).with_name("vectors.json")
RELEASED = 13  # entries of the first release; a later release appends and adds a line here
RELEASED_SHA256 = "bebebf0351676fafd8074af1160d90237ba63e664f328f7fe390ed5f76461bcc"


@pytest.fixture(autouse=True)
def a_further_stage() -> None:
    """Some vectors are of a stage that a user adds (SPEC 1.7)."""
    add_revision()


def check(case: dict[str, Any]) -> None:
    """Compare every step of one case."""
    signature = STAGES[case["stage"]](**case["fields"])
    explanation = explain(signature)
    assert case["canonical"] == explanation.canonical
    assert case["canonical"].encode() == canonical_bytes(signature)
    assert case["blake3"] == explanation.blake3
    assert case["uuid"] == str(explanation.uuid)
    assert case["gen_id"] == explanation.gen_id == gen_id(signature)
    if case.get("phase_1"):
        assert case["phase_1"] == gen_id(signature, PHASE_1)


@pytest.mark.parametrize("case", json.loads(OWN.read_text("ascii")), ids=lambda c: c["name"])
def test_own_vector(case: dict[str, Any]) -> None:
    """Each of the project's own cases comes out step by step."""
    check(case)


def test_released_vectors_never_change() -> None:
    """SPEC 6.2: the entries of a release stay byte for byte what they were."""
    cases = json.loads(OWN.read_text("ascii"))
    text = json.dumps(cases[:RELEASED], sort_keys=True)
    assert RELEASED_SHA256 == sha256(text.encode()).hexdigest()


def test_reference_vectors(shared: Path) -> None:
    """Every case of the binding reference comes out step by step."""
    cases = json.loads((shared / "spec" / "vectors.json").read_text())
    assert cases
    for case in cases:
        check(case)


def test_reference_refusals(shared: Path) -> None:
    """What the reference refuses is refused, signatures by the field that is wrong."""
    refusals = json.loads((shared / "spec" / "refusals.json").read_text())
    for case in refusals["signatures"]:
        with pytest.raises(SignatureError) as caught:
            STAGES[case["stage"]](**case["fields"])
        places = [problem.place for problem in caught.value.problems]
        assert [f"{case['stage']}.{case['field']}"] == places, case["why"]
    for case in refusals["v1_texts"]:
        with pytest.raises(ParseError):
            parse_v1(case["text"])


@pytest.mark.parametrize(
    ("combo", "draft", "essay"),
    [
        ("combo_v1_85128e4e5ef3", "d_5ezrffv9uf3lr37d", "e_sq5klak2lljyyom"),
        ("combo_v1_f74195c24ea7", "d_3cxfemmhegfzaguo", "e_1cx6440bb5zj9466"),
    ],
)
def test_published_phase_1_ids(combo: str, draft: str, essay: str) -> None:
    """The ids that an experiment published come back."""
    template = "creative-synthesis-v10"
    task = Draft(combo_id=combo, template_id=template, llm_model_id="gemini_25_pro", replicate=1)
    child = Essay(parent_gen_id=DraftId(draft), template_id=template, replicate=1)
    assert draft == gen_id(task, PHASE_1)
    assert essay == gen_id(child, "phase-1")


def test_official_blake3_vectors(shared: Path) -> None:
    """The digest is plain BLAKE3, cut to 16 bytes (SPEC 3.1)."""
    cases = json.loads((shared / "vectors/blake3/test_vectors.json").read_text())["cases"]
    assert len(cases) == 35
    for case in cases:
        data = bytes(at % 251 for at in range(case["input_len"]))
        assert case["hash"][:32] == digest(data).hex()
        assert case["hash"][:64] == blake3(data).hexdigest()


def test_official_typeid_vectors(shared: Path) -> None:
    """The suffix is TypeID's (SPEC 5.2); what is a TypeID but no generation id is refused."""
    valid = json.loads((shared / "vectors/typeid/valid.json").read_text())
    for case in valid:
        suffix = case["typeid"].rpartition("_")[2]
        uuid = UUID(case["uuid"])
        assert f"d_{suffix}" == slow_reference.typeid(uuid, "d")
        assert uuid.int == suffix_bits(suffix)
        marked = slow_reference.typeid(slow_reference.marked(uuid.bytes), "d")
        assert marked == id_text("d", uuid.bytes)
        for text in (case["typeid"], f"d_{suffix}"):
            with pytest.raises(ParseError):
                parse_v1(text)  # an unknown prefix, or no UUID of version 8
    invalid = json.loads((shared / "vectors/typeid/invalid.json").read_text())
    for text in [case["typeid"] for case in invalid]:
        for spelled in (text, text + "\n", text + "\0"):
            with pytest.raises(ParseError):
                parse_v1(spelled)


def test_official_jcs_vectors(shared: Path) -> None:
    """The serializer that the tests compare with is itself RFC 8785 (SPEC 2.1)."""
    names = sorted(path.name for path in (shared / "vectors/jcs/input").iterdir())
    assert len(names) == 6
    for name in names:
        value = json.loads((shared / "vectors/jcs/input" / name).read_text("utf-8"))
        assert (shared / "vectors/jcs/output" / name).read_bytes() == rfc8785.dumps(value)


def test_official_uuid_vectors(shared: Path) -> None:
    """Only RFC 9562's version 8 values pass for ids (SPEC 4.1)."""
    values = json.loads((shared / "vectors/uuid/rfc9562_appendix.json").read_text())
    for name, value in values.items():
        if isinstance(value, dict) and "uuid" in value:
            uuid = UUID(value["uuid"])
            assert name.startswith("v8") is is_version_8(uuid.int)
            if name.startswith("v8"):
                assert uuid == parse_v1(slow_reference.typeid(uuid, "d")).uuid


def test_the_alphabet_is_crockfords() -> None:
    """32 characters without i, l, o and u."""
    assert "0123456789abcdefghjkmnpqrstvwxyz" == ALPHABET
