"""Parsing ids: strictly for v1, by shape for the older families (SPEC 5, 7)."""

import re
from typing import TYPE_CHECKING, Literal, TypeGuard

import attrs

from genid._registry import known_prefixes
from genid._text import ALPHABET, SUFFIX_LENGTH, as_uuid, is_version_8, suffix_bits
from genid.errors import ParseError

if TYPE_CHECKING:
    from uuid import UUID

Family = Literal["v1", "phase-1", "legacy", "foreign"]

# Character 10 of the suffix holds the four bits of version 8 and one more; character 13 holds one
# bit, the two of variant 10 and two more (SPEC 4.1). `_v1_fault` reads the same clause bit by bit.
_V1 = re.compile(f"[a-z]_[0-7][{ALPHABET}]{{9}}[gh][{ALPHABET}]{{2}}[89abrstv][{ALPHABET}]{{12}}")
_V1_LENGTH = 2 + SUFFIX_LENGTH  # a letter, an underscore, the suffix
_not_in_alphabet = re.compile(f"[^{ALPHABET}]").search
_PHASE_1 = re.compile(r"[dev]_[0-9a-z]{1,16}")  # SPEC 7.3
_PHASE_1_STAGES = {"d": "draft", "e": "essay", "v": "evaluation"}
_LEGACY = re.compile(r"[0-9a-z]{16}")  # SPEC 7.4
_FOREIGN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")  # SPEC 7.5


@attrs.frozen(kw_only=True)
class ParsedId:
    """The family of an id, and its stage, which is None if the family's shape does not show it."""

    text: str
    family: Family
    stage: str | None

    @property
    def uuid(self) -> "UUID | None":
        """The UUID of a v1 id (SPEC 4), or None for another family."""
        return as_uuid(suffix_bits(self.text[2:])) if self.family == "v1" else None


def parse_v1(text: str) -> ParsedId:
    """Parse a v1 id (SPEC 5.3).

    Raises:
        ParseError: `text` is not a v1 id, with the first reason found.
    """
    fault = _v1_fault(text)
    if fault is not None:
        remedy = "pass an id of 28 characters as gen_id returns it"
        raise ParseError.of("id", text, f"is not a v1 id: {fault}", remedy)
    return _parsed_v1(text)


def parse_id(text: str) -> ParsedId:
    """Parse an id of any family by its shape (SPEC 7).

    Some legacy ids have the shape of phase-1 (SPEC 7.6). An id of a stage that is not defined yet
    is `foreign`, so import the module that defines the stage first.

    Raises:
        ParseError: `text` has the shape of no family.
    """
    family = family_of(text)
    if family == "v1":
        return _parsed_v1(text)
    if family is not None:
        stage = _PHASE_1_STAGES[text[0]] if family == "phase-1" else None
        return ParsedId(text=text, family=family, stage=stage)
    remedy = "use 1 to 255 of A-Z a-z 0-9 . _ -, not beginning with . or -"
    raise ParseError.of("id", text, "is not a generation id of any family", remedy)


def family_of(text: object) -> Family | None:
    """Return the first family whose shape `text` has (SPEC 7.1), or None if it has none's."""
    if type(text) is not str:
        return None
    if text[1:2] == "_":
        if is_gen_id(text):
            return "v1"
        if _PHASE_1.fullmatch(text):
            return "phase-1"
    elif _LEGACY.fullmatch(text):
        return "legacy"
    return "foreign" if _FOREIGN.fullmatch(text) else None


def is_gen_id(text: object) -> TypeGuard[str]:
    """Return whether `text` is a v1 id (SPEC 5.3); never raises."""
    return type(text) is str and bool(_V1.fullmatch(text)) and text[0] in known_prefixes()


def _parsed_v1(text: str) -> ParsedId:
    return ParsedId(text=text, family="v1", stage=known_prefixes()[text[0]])


def _v1_fault(text: object) -> str | None:
    """Return how `text` breaks SPEC 5.3, by the first clause it breaks, or None for a v1 id."""
    fault = None
    if type(text) is not str:
        fault = f"it is of type {type(text).__name__}"
    elif text[1:2] != "_":
        fault = "it does not begin with a letter and an underscore"
    elif text[0] not in known_prefixes():
        fault = f"no stage has the prefix {text[0]!r}"
    elif len(text) != _V1_LENGTH:
        fault = f"it has {len(text)} characters, not {_V1_LENGTH}"
    elif (bad := _not_in_alphabet(text, 2)) is not None:
        fault = f"character {bad.start() + 1}, {bad[0]!r}, is not in the alphabet"
    elif text[2] > "7":
        fault = f"the suffix begins with {text[2]!r}, more than 128 bits"
    elif not is_version_8(suffix_bits(text[2:])):
        fault = "its bits are not those of a UUID of version 8"
    return fault
