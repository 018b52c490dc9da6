"""128 bits to 26 characters of Crockford base32 and back (SPEC 5)."""

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i l o u
SUFFIX_LENGTH = 26  # ceil(128 / 5)

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]  # by 10 bits; stays in the cache
_10 = 2**10 - 1
_30 = 2**30 - 1  # one digit of CPython's integers: shifting what fits in it is fast
_VERSION, _VARIANT = 76 - 60, 62 - 60  # where the marks of SPEC 4.1 begin, from bit 60 on
_KEPT = _30 & ~(0b1111 << _VERSION | 0b11 << _VARIANT)
_MARKS = 0b1000 << _VERSION | 0b10 << _VARIANT


def suffix_text(bits: int) -> str:
    """Return 128 bits as 26 characters, most significant first, two zero bits ahead (SPEC 5.2)."""
    return "".join(ALPHABET[bits >> shift & 0b11111] for shift in range(125, -1, -5))


def id_text(prefix: str, digest: bytes) -> str:
    """Return the id of 16 digest bytes: SPEC 4.1 and 5.1 in one go, for speed.

    It is `suffix_text(uuid_bits(digest))` behind the prefix. The bits that say version and
    variant all fall into the second group of 30.
    """
    bits = int.from_bytes(digest, "big")
    a, b, c, d = bits >> 90, bits >> 60 & _KEPT | _MARKS, bits >> 30 & _30, bits & _30
    pairs = _PAIRS
    return (
        f"{prefix}_{pairs[a >> 30]}{pairs[a >> 20 & _10]}{pairs[a >> 10 & _10]}{pairs[a & _10]}"
        f"{pairs[b >> 20]}{pairs[b >> 10 & _10]}{pairs[b & _10]}"
        f"{pairs[c >> 20]}{pairs[c >> 10 & _10]}{pairs[c & _10]}"
        f"{pairs[d >> 20]}{pairs[d >> 10 & _10]}{pairs[d & _10]}"
    )


def suffix_bits(suffix: str) -> int:
    """Return the bits of 26 characters of the alphabet, the first of them `0` to `7` (SPEC 5.3).

    Raises:
        KeyError: a character is not in the alphabet; the caller has looked before.
    """
    bits = 0
    for character in suffix:
        bits = bits << 5 | _VALUE[character]
    return bits
