"""128 bits to 26 characters of Crockford base32 and back (SPEC 5)."""

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # no i l o u
SUFFIX_LENGTH = 26  # ceil(128 / 5)

_VALUE = {character: value for value, character in enumerate(ALPHABET)}
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]
_TRIPLES: list[str] = []  # every three characters; filled at first use, for `import genid` is timed
_LOW_15 = 2**15 - 1


def suffix_text(bits: int) -> str:
    """Return 128 bits as 26 characters, most significant first, two zero bits ahead (SPEC 5.2).

    128 bits are 8 for the first two characters and 15 for each three of the other 24.
    """
    if not _TRIPLES:
        _TRIPLES[:] = [pair + last for pair in _PAIRS for last in ALPHABET]
    triples = _TRIPLES
    return (
        f"{_PAIRS[bits >> 120]}{triples[bits >> 105 & _LOW_15]}{triples[bits >> 90 & _LOW_15]}"
        f"{triples[bits >> 75 & _LOW_15]}{triples[bits >> 60 & _LOW_15]}"
        f"{triples[bits >> 45 & _LOW_15]}{triples[bits >> 30 & _LOW_15]}"
        f"{triples[bits >> 15 & _LOW_15]}{triples[bits & _LOW_15]}"
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
