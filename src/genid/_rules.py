"""The rules that a field's value obeys, one function each (SPEC 1)."""

import re
from collections.abc import Callable
from typing import NamedTuple

from genid.errors import SignatureError

COMPONENT_MAX = 255  # characters, SPEC 1.4
REPLICATE_MAX = 2**31 - 1  # SPEC 1.6: fits a signed 32-bit column
WHITE_SPACE = " \t\n\r\f\v"  # SPEC 1.3; not str.strip's own set, which Unicode versions extend

# Maps what a normalized component may hold to itself and everything else to `!`, for
# `bytes.translate`, which gives back the very object where it changes nothing.
SETTLED = bytes(
    code
    if chr(code) in "!#$%&'()*+,-./0123456789:;<=>?@[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
    else 0x21
    for code in range(256)
)

_foreign_character = re.compile(r"[^!#-\[\]-~]").search  # printable ASCII less space, " and \
_REMEDY = 'use 1 to 255 printable ASCII characters without white space, " and \\'


def component(place: str, value: object) -> str:
    """Return a component trimmed and folded (SPEC 1.2 to 1.4).

    Raises:
        SignatureError: `value` is not exactly a `str`, is empty once trimmed, has more than 255
            characters, or has one that is not allowed.
    """
    text = _exact_text(place, value).strip(WHITE_SPACE)
    _check_characters(place, value, text)
    return text.lower()  # ASCII alone is left, so this folds A-Z and nothing else


def replicate(place: str, value: object) -> int:
    """Return a replicate number unchanged (SPEC 1.6).

    Raises:
        SignatureError: `value` is not exactly an `int` (a `bool` is not), or not in 1..2^31-1.
    """
    if type(value) is not int:
        kind = type(value).__name__
        raise SignatureError.of(
            place, value, f"is of type {kind}, not int", "pass a whole number, 1 or more"
        )
    if not 1 <= value <= REPLICATE_MAX:
        raise SignatureError.of(
            place, value, "is out of range", f"replicates run from 1 to {REPLICATE_MAX}"
        )
    return value


def reference(place: str, value: object, *, stage: str, prefix: str, known: str) -> str:
    """Return the id of a parent of `stage` exactly as it is (SPEC 1.5).

    `known` holds the prefix letters of all stages; `x_` in front of an id is a claim only where
    `x` is one of them.

    Raises:
        SignatureError: `value` is not exactly a `str`, is empty, has more than 255 characters or
            one that is not allowed, or shows another stage's prefix.
    """
    text = _exact_text(place, value)
    _check_characters(place, value, text)
    if text[1:2] == "_" and text[0] in known and text[0] != prefix:
        raise SignatureError.of(
            place,
            value,
            f"begins with {text[:2]!r}, another stage's prefix",
            f"name one of stage {stage}",
        )
    return text


def _exact_text(place: str, value: object) -> str:
    """Refuse everything but a `str` (SPEC 1.2): `None`, numbers, paths, subclasses."""
    if type(value) is not str:
        kind = type(value).__name__
        raise SignatureError.of(place, value, f"is of type {kind}, not str", "pass a string")
    return value


def _check_characters(place: str, value: object, text: str) -> None:
    """Refuse a text that breaks SPEC 1.4, naming the first character that is not allowed."""
    bad = _foreign_character(text)
    if bad is not None:
        at = str(value).index(text) + bad.start() + 1
        raise SignatureError.of(
            place, value, f"has U+{ord(bad[0]):04X} {bad[0]!r} as character {at}", _REMEDY
        )
    if not text:
        raise SignatureError.of(place, value, "is empty", _REMEDY)
    if len(text) > COMPONENT_MAX:
        raise SignatureError.of(place, value, f"has {len(text)} characters", _REMEDY)


class Rule(NamedTuple):
    """How one kind of field is checked, and how it is written around its value `{0}`.

    `settled` is a Python expression over the value `{0}`: true only where nothing is left to
    check but the characters and the greatest length. It may be false for an unusual sound value,
    which `normalize` then judges.
    """

    written: str
    settled: str
    normalize: Callable[[str, object], object]
    parent_stage: str | None = None  # the stage that a reference is to, and its prefix
    parent_prefix: str | None = None


COMPONENT = Rule(written='"{0}"', settled="type({0}) is str and {0}", normalize=component)
REPLICATE = Rule(
    written="{0}",
    settled=f"type({{0}}) is int and 1 <= {{0}} <= {REPLICATE_MAX}",
    normalize=replicate,
)


ABSENT = Rule(written="", settled="{0} is None", normalize=lambda _place, value: value)


def reference_rule(*, stage: str, prefix: str, known: Callable[[], str]) -> Rule:
    """Return the rule of a field that names a parent of `stage` (SPEC 1.5)."""

    def normalize(place: str, value: object) -> str:
        return reference(place, value, stage=stage, prefix=prefix, known=known())

    return Rule(
        written='"{0}"',
        settled=f"{COMPONENT.settled} and ({{0}}[1:2] != '_' or {{0}}[0] == {prefix!r})",
        parent_stage=stage,
        parent_prefix=prefix,
        normalize=normalize,
    )


def normalize_component(text: str, *, place: str = "component") -> str:
    """Return `text` as a signature would hold it (SPEC 1.2 to 1.4).

    Two table ids name the same thing exactly where this gives the same text for both. `place`
    is what an error names.

    Raises:
        SignatureError: `text` breaks one of those rules.
    """
    return component(place, text)
