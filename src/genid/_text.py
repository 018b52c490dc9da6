"""Canonical bytes to 128 bits of BLAKE3, and those to a UUID and to text (SPEC 3 to 5)."""

from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from uuid import UUID

DIGEST_BYTES = 16  # 128 bits, of which SPEC 4.1 keeps 122

_VERSION_SHIFT = 128 - 4 * 13  # byte 6's high nibble is the 13th hex digit
_VARIANT_SHIFT = 128 - 8 * 8 - 2  # byte 8's two high bits
DIGEST_MASK = 2**128 - 1 - (0b1111 << _VERSION_SHIFT | 0b11 << _VARIANT_SHIFT)
UUID_MARKS = 0b1000 << _VERSION_SHIFT | 0b10 << _VARIANT_SHIFT

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i l o u
SUFFIX_LENGTH = 26  # ceil(128 / 5)

_VALUE = {character: value for value, character in enumerate(ALPHABET)}

_from_bytes = int.from_bytes  # big-endian; bound once: the look-up takes as long as the call
_CHARACTERS = bytes.maketrans(bytes(range(32)), ALPHABET.encode())


def _spreading(groups: int) -> tuple[int, int]:
    """Return the numbers that move the upper half of every 2 * `groups` groups of 5 bits.

    The first selects those halves in blocks of 8 bits a group. Multiplied by the second, and
    added, each moves up by 3 bits for every group below it.
    """
    half = 2 ** (5 * groups) - 1
    blocks = range(0, 8 * 32, 8 * 2 * groups)
    return sum(half << block + 5 * groups for block in blocks), 2 ** (3 * groups) - 1


(_HALF_16, _BY_16), (_HALF_8, _BY_8), (_HALF_4, _BY_4), (_HALF_2, _BY_2), (_HALF_1, _BY_1) = (
    _spreading(groups) for groups in (16, 8, 4, 2, 1)
)


def id_text(prefix: str, digest: bytes) -> str:
    """Return the id of 16 digest bytes: SPEC 4.1, 5.1 and 5.2 in one step, for speed.

    The groups of 5 bits, the most significant first and two zero bits ahead, are spread to a byte
    each, in five halvings, so that one `translate` writes all the characters.
    """
    bits = _from_bytes(digest) & DIGEST_MASK | UUID_MARKS
    bits += (bits & _HALF_16) * _BY_16
    bits += (bits & _HALF_8) * _BY_8
    bits += (bits & _HALF_4) * _BY_4
    bits += (bits & _HALF_2) * _BY_2
    bits += (bits & _HALF_1) * _BY_1
    return f"{prefix}_{bits.to_bytes(SUFFIX_LENGTH).translate(_CHARACTERS).decode()}"


def suffix_bits(suffix: str) -> int:
    """Return the bits of 26 characters of the alphabet, the first of them `0` to `7` (SPEC 5.3).

    Raises:
        KeyError: a character is not in the alphabet; the caller has checked that.
    """
    bits = 0
    for character in suffix:
        bits = bits << 5 | _VALUE[character]
    return bits


def digest(data: bytes) -> bytes:
    """Return the first 16 bytes of the plain BLAKE3 of `data` (SPEC 3)."""
    return blake3(data).digest(DIGEST_BYTES)


def uuid_bits(digest: bytes) -> int:
    """Return 16 digest bytes as the 128 bits of a UUID of version 8 (SPEC 4)."""
    return int.from_bytes(digest, "big") & DIGEST_MASK | UUID_MARKS


def is_version_8(bits: int) -> bool:
    """Return whether 128 bits have version 8 and variant 10 (SPEC 4)."""
    return bits & ~DIGEST_MASK == UUID_MARKS


def as_uuid(bits: int) -> "UUID":
    """Return 128 bits as a `uuid.UUID`."""
    from uuid import UUID  # noqa: PLC0415 - a sixth of `import genid`, and no id needs it

    return UUID(int=bits)
