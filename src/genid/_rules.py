"""The rules that a field's value obeys, one function each (SPEC 1)."""

import re
from typing import NamedTuple

from genid._registry import known_prefixes
from genid.errors import SignatureError

COMPONENT_MAX = 255  # characters, SPEC 1.4
REPLICATE_MAX = 2**31 - 1  # SPEC 1.6: fits a signed 32-bit column
WHITE_SPACE = " \t\n\r\f\v"  # SPEC 1.3; not str.strip's own set, which Unicode versions extend

# Maps each byte that a normalized component may contain to itself and every other byte to `!`.
# CPython's `bytes.translate` returns its argument itself if no byte changes, so
# `data.translate(NORMALIZED) is data` checks all characters in one call. Where it returned a copy
# instead, every value would take the slower path, which gives the same result.
NORMALIZED = bytes(
    code
    if chr(code) in "!#$%&'()*+,-./0123456789:;<=>?@[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
    else ord("!")
    for code in range(256)
)

_forbidden_character = re.compile(r"[^!#-\[\]-~]").search  # printable ASCII less space, " and \
_REMEDY = 'use 1 to 255 printable ASCII characters without white space, " and \\'
_HASH_HINT = "; if it is a text, identify it by its hash: blake3(text.encode()).hexdigest()"


class Rule(NamedTuple):
    """What one field holds: a component, the replicate, or a parent's id (SPEC 1.2 to 1.6)."""

    is_replicate: bool = False
    parent_stage: str | None = None
    parent_prefix: str | None = None
    optional: bool = False

    def normalize(self, place: str, value: object) -> object:
        """Return a value as a signature holds it (SPEC 1.2 to 1.6); errors call it `place`.

        Raises:
            SignatureError: the value breaks this rule.
        """
        if value is None and self.optional:
            return None
        if self.is_replicate:
            return _replicate(place, value)
        if self.parent_stage is None or self.parent_prefix is None:
            return normalize_component(value, place=place)  # type: ignore[arg-type]  # checks it
        return _reference(place, value, self.parent_stage, self.parent_prefix)


COMPONENT = Rule()
REPLICATE = Rule(is_replicate=True)


def normalize_component(text: str, *, place: str = "component") -> str:
    """Return `text` trimmed and folded, as a signature would hold it (SPEC 1.2 to 1.4).

    Two ids of a table name the same thing if and only if this returns the same text for both. An
    error calls the value `place`.

    Raises:
        SignatureError: `text` is not exactly a `str`, is empty once trimmed, has more than 255
            characters, or contains one that is not allowed.
    """
    trimmed = _exact_text(place, text).strip(WHITE_SPACE)
    _check_characters(place, text, trimmed, hint=_HASH_HINT)
    return trimmed.lower()  # only ASCII is left, so this folds A-Z and nothing else


def _replicate(place: str, value: object) -> int:
    """Return a replicate unchanged if it is an `int`, not a `bool`, and in range (SPEC 1.6)."""
    if type(value) is not int:
        reason = f"is of type {type(value).__name__}, not int"
        raise SignatureError.of(place, value, reason, "pass a whole number, 1 or more")
    if not 1 <= value <= REPLICATE_MAX:
        remedy = f"replicates run from 1 to {REPLICATE_MAX}"
        raise SignatureError.of(place, value, "is out of range", remedy)
    return value


def _reference(place: str, value: object, stage: str, prefix: str) -> str:
    """Return the id of a parent of `stage` unchanged (SPEC 1.4, 1.5)."""
    text = _exact_text(place, value)
    _check_characters(place, text, text)
    # An id of an older family may begin with any letter and `_`. Only a defined stage's prefix
    # says which stage the id belongs to.
    if text[1:2] == "_" and text[0] != prefix and text[0] in known_prefixes():
        reason = f"begins with {text[:2]!r}, another stage's prefix"
        raise SignatureError.of(place, text, reason, f"pass the id of a generation of {stage}")
    return text


def _exact_text(place: str, value: object) -> str:
    """Return `value` if it is exactly a `str`, not a subclass or a look-alike (SPEC 1.2)."""
    if type(value) is not str:
        reason = f"is of type {type(value).__name__}, not str"
        raise SignatureError.of(place, value, reason, "pass a string")
    return value


def _check_characters(place: str, given: str, text: str, *, hint: str = "") -> None:
    """Refuse a text that breaks SPEC 1.4, naming the first character that is not allowed.

    The character's position counts from 1 in `given`, the text before it was trimmed. `hint` is
    added to the remedy if the text looks like prose; a stray quotation mark needs no such advice.
    """
    bad = _forbidden_character(text)
    if bad is not None:
        at = given.index(text) + bad.start() + 1
        reason = f"has U+{ord(bad[0]):04X} {bad[0]!r} as character {at}"
    elif not text:
        reason = "is empty"
    elif len(text) > COMPONENT_MAX:
        reason = f"has {len(text)} characters"
    else:
        return
    is_prose = len(text.split()) > 1 or len(text) > COMPONENT_MAX or not text.isascii()
    raise SignatureError.of(place, given, reason, _REMEDY + hint if is_prose else _REMEDY)
