"""128 bits to 26 characters of Crockford base32 and back (SPEC 5)."""

from genid._digest import DIGEST_MASK, UUID_MARKS

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


def suffix_text(bits: int) -> str:
    """Return 128 bits as 26 characters, most significant first, two zero bits ahead (SPEC 5.2)."""
    return "".join(ALPHABET[bits >> shift & 0b11111] for shift in reversed(range(0, 130, 5)))


def id_text(prefix: str, digest: bytes) -> str:
    """Return the id of 16 digest bytes: SPEC 4.1 and 5.1 in one step, for speed.

    It is `suffix_text(uuid_bits(digest))` behind the prefix. The groups of 5 bits are spread to a
    byte each, in five halvings, so that one `translate` writes all the characters.
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
