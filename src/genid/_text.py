"""From canonical bytes to a digest, from a digest to a UUID and its text (SPEC 3 to 5)."""

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from uuid import UUID

DIGEST_BYTES = 16  # SPEC 3.1: 128 bits, of which 4.1 keeps 122

_VERSION_SHIFT = 128 - 4 * 13  # byte 6's high nibble is the 13th hex digit
_VARIANT_SHIFT = 128 - 8 * 8 - 2  # byte 8's two high bits
DIGEST_MASK = 2**128 - 1 - (0b1111 << _VERSION_SHIFT | 0b11 << _VARIANT_SHIFT)
UUID_MARKS = 0b1000 << _VERSION_SHIFT | 0b10 << _VARIANT_SHIFT

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # SPEC 5.2: without i, l, o and u
SUFFIX_LENGTH = 26  # ceil(128 / 5)

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_CHARACTERS = bytes.maketrans(bytes(range(32)), ALPHABET.encode())
_from_bytes = int.from_bytes  # looking the method up takes as long as calling it


def _spreading(groups: int) -> tuple[int, int]:
    """Return the mask and the factor that move the upper half of each 2 * `groups` groups of bits.

    A group is 5 bits that end up in a byte of 8. The mask selects the upper halves; adding them
    multiplied by the factor moves each up by 3 bits for every group below it.
    """
    half = 2 ** (5 * groups) - 1
    blocks = range(0, 8 * 32, 8 * 2 * groups)
    return sum(half << block + 5 * groups for block in blocks), 2 ** (3 * groups) - 1


(_HALF_16, _BY_16), (_HALF_8, _BY_8), (_HALF_4, _BY_4), (_HALF_2, _BY_2), (_HALF_1, _BY_1) = (
    _spreading(groups) for groups in (16, 8, 4, 2, 1)
)


def id_text(prefix: str, digest: bytes) -> str:
    """Return the id of a digest of 16 bytes: SPEC 4.1, 5.1 and 5.2 in one step, for speed.

    Five halvings spread the 26 groups of 5 bits to a byte each, so that one `translate` writes all
    characters.
    """
    bits = _from_bytes(digest) & DIGEST_MASK | UUID_MARKS
    bits += (bits & _HALF_16) * _BY_16
    bits += (bits & _HALF_8) * _BY_8
    bits += (bits & _HALF_4) * _BY_4
    bits += (bits & _HALF_2) * _BY_2
    bits += (bits & _HALF_1) * _BY_1
    return f"{prefix}_{bits.to_bytes(SUFFIX_LENGTH).translate(_CHARACTERS).decode()}"


def suffix_bits(suffix: str) -> int:
    """Return the 128 bits of a suffix, the inverse of SPEC 5.2.

    Raises:
        KeyError: a character is not in the alphabet, which the caller checks first.
    """
    bits = 0
    for character in suffix:
        bits = bits << 5 | _VALUE[character]
    return bits


def digest(data: bytes) -> bytes:
    """Return the first 16 bytes of the plain BLAKE3 of `data` (SPEC 3)."""
    return blake3(data).digest(DIGEST_BYTES)


def uuid_bits(digest: bytes) -> int:
    """Return a digest of 16 bytes as the 128 bits of a UUID of version 8 (SPEC 4.1)."""
    return int.from_bytes(digest, "big") & DIGEST_MASK | UUID_MARKS


def is_version_8(bits: int) -> bool:
    """Return whether 128 bits have the version and variant of SPEC 4.1."""
    return bits & ~DIGEST_MASK == UUID_MARKS


def as_uuid(bits: int) -> "UUID":
    """Return 128 bits as a `uuid.UUID` (SPEC 4)."""
    from uuid import UUID  # noqa: PLC0415 - a sixth of the time of `import genid`; ids do not need it

    return UUID(int=bits)
