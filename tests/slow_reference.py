"""The id format once more, from well-kept libraries and nothing of `src/`.

`rfc8785` serializes, `blake3` hashes, `uuid` marks the version, `typeid` writes the text. Fields
are taken to be sound; normalizing is done with regular expressions instead of string methods.
"""

import re
from collections.abc import Mapping
from uuid import UUID

import rfc8785
from blake3 import blake3
from typeid import TypeID

PREFIXES = {"draft": "d", "essay": "e", "evaluation": "v", "revision": "r"}
_BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def normalized(fields: Mapping[str, str | int | None]) -> dict[str, str | int]:
    """Trim and fold every string but references; leave out what is None."""
    return {
        name: _folded(value) if isinstance(value, str) and not name.endswith("_gen_id") else value
        for name, value in fields.items()
        if value is not None
    }


def _folded(text: str) -> str:
    inner = re.fullmatch(r"[ \t\n\r\f\v]*(.*?)[ \t\n\r\f\v]*", text, re.DOTALL)
    assert inner is not None
    return re.sub("[A-Z]", lambda letter: chr(ord(letter[0]) + 32), inner[1])


def canonical(stage: str, fields: Mapping[str, str | int | None]) -> bytes:
    """The canonical bytes, by an RFC 8785 serializer."""
    return rfc8785.dumps({**normalized(fields), "genid": 1, "stage": stage})


def marked(digest: bytes) -> UUID:
    """A UUID of version 8 around 16 bytes, bit by bit."""
    bits = list("".join(f"{byte:08b}" for byte in digest))
    bits[48:52] = "1000"
    bits[64:66] = "10"
    return UUID(int=int("".join(bits), 2))


def gen_id(stage: str, fields: Mapping[str, str | int | None]) -> str:
    """The v1 id, by a TypeID encoder."""
    uuid = marked(blake3(canonical(stage, fields)).digest()[:16])
    return typeid(uuid, PREFIXES[stage])


def typeid(uuid: UUID, prefix: str) -> str:
    """The text of a UUID, by a TypeID encoder."""
    return str(TypeID.from_uuid(uuid, prefix))  # type: ignore[arg-type,unused-ignore]


def phase_1(stage: str, fields: Mapping[str, str | int | None]) -> str:
    """The phase-1 id: joined parts, BLAKE2b, base 36 from the low digit up."""
    from hashlib import blake2b

    order = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")
    parts = [str(fields[name]).strip().lower() for name in order if fields.get(name) is not None]
    number = int(blake2b("|".join(parts).encode(), digest_size=10).hexdigest(), 16)
    digits = []
    while number:
        digits.append(_BASE_36[number % 36])
        number //= 36
    return f"{PREFIXES[stage]}_{''.join(reversed(digits))}"
