"""`gen_id`, and the rules that it can apply, each an object with a name (SPEC 6)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from genid._digest import digest
from genid._signature import IdT, Signature, canonical_bytes
from genid._text import id_text
from genid.errors import Problem, SchemeError

SchemeName = Literal["v1", "phase-1"]

_BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _BASE_36 for second in _BASE_36]
_PHASE_1_FIELDS = {  # frozen: what was released under this name, SPEC 8.1
    "draft": ("combo_id", "template_id", "llm_model_id", "replicate"),
    "essay": ("parent_gen_id", "template_id", "replicate"),
    "evaluation": ("parent_gen_id", "template_id", "llm_model_id", "replicate"),
}


class Scheme:
    """A way to derive an id; `name` selects it. (No ABC: `isinstance` on those is slow.)"""

    __slots__ = ()
    name: ClassVar[SchemeName]

    def gen_id(self, signature: Signature[IdT]) -> IdT:
        """Return the signature's id under this scheme.

        Raises:
            SignatureError: `signature` is not one.
            SchemeError: the scheme cannot express the signature.
        """
        raise NotImplementedError


class _V1(Scheme):
    """Format 1 (SPEC 2 to 5)."""

    __slots__ = ()
    name: ClassVar[SchemeName] = "v1"

    def gen_id(self, signature: Signature[IdT]) -> IdT:
        """Return the signature's id.

        Raises:
            SignatureError: `signature` is not one.
        """
        data = digest(canonical_bytes(signature))
        text: Any = id_text(signature.prefix, data)
        gen_id: IdT = text
        return gen_id


class _Phase1(Scheme):
    """The first deterministic ids: BLAKE2b over joined parts, 80 bits in base36 (SPEC 8)."""

    __slots__ = ()
    name: ClassVar[SchemeName] = "phase-1"

    def gen_id(self, signature: Signature[IdT]) -> IdT:
        """Return the signature's id.

        Raises:
            SignatureError: `signature` is not one.
            SchemeError: the signature's stage or one of its fields is unknown to this scheme, or
                a field contains `|`.
        """
        joined = _phase_1_text(signature).encode()
        number = int.from_bytes(_blake2b()(joined, digest_size=10).digest(), "big")
        text: Any = f"{signature.prefix}_{base_36(number)}"
        gen_id: IdT = text
        return gen_id


@cache
def _blake2b() -> Any:
    from hashlib import blake2b  # noqa: PLC0415 - loads OpenSSL, a quarter of `import genid`

    return blake2b


def _phase_1_text(signature: Signature[Any]) -> str:
    """Return the joined parts in their order, folded, the replicate in decimal (SPEC 8.1, 8.2)."""
    canonical_bytes(signature)  # refuses what is not a signature
    values = signature.__dict__
    names = _PHASE_1_FIELDS.get(signature.stage, ())
    parts = [str(values[name]) for name in names]
    joined = "|".join(parts).lower()  # a parent is not folded yet
    if len(signature.fields()) > len(parts) or joined.count("|") >= max(1, len(parts)):
        raise SchemeError(*_phase_1_problems(signature, names))
    return joined


def _phase_1_problems(signature: Signature[Any], names: Sequence[str]) -> Iterator[Problem]:
    """Yield what this scheme cannot express: its fields are frozen, and joined by `|`."""
    for name, value in signature.fields().items():
        if name not in names:
            reason = "has no place in the scheme phase-1"
        elif "|" in str(value):
            reason = "contains |, which joins the parts of the scheme phase-1"
        else:
            continue
        place = f"{signature.stage}.{name}"
        yield Problem(place=place, value=value, reason=reason, remedy="use the scheme v1")


def base_36(number: int) -> str:
    """Return a number in base 36, digits then a-z, without padding (SPEC 8.3)."""
    digits = ""
    while number:
        number, pair = divmod(number, 36 * 36)
        digits = _PAIRS[pair] + digits
    return digits.lstrip("0") or "0"


V1: Scheme = _V1()
PHASE_1: Scheme = _Phase1()
SCHEMES: Mapping[SchemeName, Scheme] = MappingProxyType({s.name: s for s in (V1, PHASE_1)})
"""The schemes by name, the current one first."""


def scheme_named(name: str) -> Scheme:
    """Return the scheme of that name.

    Raises:
        SchemeError: there is none.
    """
    for known, found in SCHEMES.items():
        if name == known:
            return found
    raise SchemeError.of("scheme", name, "is not a scheme", f"use one of {', '.join(SCHEMES)}")


def gen_id(signature: Signature[IdT], scheme: Scheme | SchemeName = V1) -> IdT:
    """Return the id of a signature, of the type that the signature's class names.

    `scheme` is one of `SCHEMES` or its name.

    Raises:
        SignatureError: `signature` is not one.
        SchemeError: `scheme` is unknown, or cannot express the signature (v1 expresses every one).
    """
    rule = scheme if isinstance(scheme, Scheme) else scheme_named(scheme)
    return rule.gen_id(signature)
