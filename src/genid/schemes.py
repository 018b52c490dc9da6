"""`gen_id` and the schemes that it can derive an id by (SPEC 6, 8)."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from blake3 import blake3

from genid._signature import IdT, Signature, canonical_bytes
from genid._text import DIGEST_BYTES, id_text
from genid.errors import Problem, SchemeError, refusal

SchemeName = Literal["v1", "phase-1"]

_BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _BASE_36 for second in _BASE_36]
_PHASE_1_PARTS = {  # SPEC 8.1; frozen as it was released
    "draft": "%(combo_id)s|%(template_id)s|%(llm_model_id)s|%(replicate)s",
    "essay": "%(parent_gen_id)s|%(template_id)s|%(replicate)s",
    "evaluation": "%(parent_gen_id)s|%(template_id)s|%(llm_model_id)s|%(replicate)s",
}


class Scheme:
    """A named way to derive an id from a signature.

    `derive` raises a `SignatureError` for what is not a signature, and a `SchemeError` for one that
    the scheme cannot express.
    """

    __slots__ = ("derive", "name")

    def __init__(self, name: SchemeName, derive: Callable[[Signature[Any]], str]) -> None:
        self.name, self.derive = name, derive


def _v1(signature: Signature[Any]) -> str:
    """Return a v1 id (SPEC 2 to 5)."""
    data = blake3(canonical_bytes(signature))  # before `prefix`: it refuses what is no signature
    return id_text(signature.prefix, data.digest(DIGEST_BYTES))


def phase_1_id(signature: Signature[Any], parent: str | None = None) -> str:
    """Return a phase-1 id: 80 bits of BLAKE2b over the joined fields, in base 36 (SPEC 8).

    With `parent`, return the id of the same task over that parent instead.

    Raises:
        SignatureError: `signature` is not one.
        SchemeError: it has a stage, a field or a value that SPEC 8.2 refuses.
    """
    canonical_bytes(signature)  # refuses what is not a signature
    values: Mapping[str, Any] = signature.__dict__
    parts, bars, other_fields = _phase_1_parts(type(signature))  # type: ignore[arg-type]  # hashable
    if parent is not None:
        values = {**values, "parent_gen_id": parent}
    joined = parts % values
    if joined.count("|") != bars or (other_fields and any(map(values.get, other_fields))):
        raise SchemeError(*_phase_1_problems(signature))
    # SPEC 8.1 folds the parent's id too, which a signature keeps as it was given.
    digest = _blake2b()(joined.lower().encode(), digest_size=10).digest()
    return f"{signature.prefix}_{base_36(int.from_bytes(digest, 'big'))}"


@cache
def _phase_1_parts(cls: type[Signature[Any]]) -> tuple[str, int, tuple[str, ...]]:
    """Return a stage's template, the number of bars in it, and the fields it leaves out (SPEC 8.1).

    A stage that phase-1 does not know has no parts, and -1 bars, which no joined text has.
    """
    parts = _PHASE_1_PARTS.get(cls.stage, "")
    other_fields = tuple(name for name in cls.__genid_rules__ if f"%({name})s" not in parts)
    return parts, parts.count("|") or -1, other_fields


@cache
def _blake2b() -> Any:
    from hashlib import blake2b  # noqa: PLC0415 - it loads OpenSSL, a quarter of `import genid`

    return blake2b


def _phase_1_problems(signature: Signature[Any]) -> Iterator[Problem]:
    """Yield each field that the scheme phase-1 cannot express (SPEC 8.2)."""
    *_, other_fields = _phase_1_parts(type(signature))  # type: ignore[arg-type]  # hashable
    for name, value in signature.fields().items():
        if name in other_fields:
            reason = "has no place in the scheme phase-1"
        elif "|" in str(value):
            reason = "contains |, which joins the parts of the scheme phase-1"
        else:
            continue
        yield refusal(f"{signature.stage}.{name}", value, reason, "use the scheme v1")


def base_36(number: int) -> str:
    """Return a number in base 36, digits then a-z, without padding (SPEC 8.3)."""
    digits = ""
    while number:
        number, four = divmod(number, 36**4)  # dividing a large number is slow: do it once for four
        digits = f"{_PAIRS[four // 1296]}{_PAIRS[four % 1296]}{digits}"
    return digits.lstrip("0") or "0"


V1 = Scheme("v1", _v1)
PHASE_1 = Scheme("phase-1", phase_1_id)
SCHEMES: Mapping[SchemeName, Scheme] = MappingProxyType({s.name: s for s in (V1, PHASE_1)})
"""The schemes by name, the current one first."""


def scheme_named(name: str) -> Scheme:
    """Return the scheme with this name (SPEC 6.1).

    Raises:
        SchemeError: no scheme has it.
    """
    for scheme in SCHEMES.values():
        if scheme.name == name:
            return scheme
    raise SchemeError.of("scheme", name, "is not a scheme", f"use one of {', '.join(SCHEMES)}")


def gen_id(signature: Signature[IdT], scheme: Scheme | SchemeName = V1) -> IdT:
    """Return the id of a signature, with the id type of its stage (SPEC 2 to 5, or 8).

    `scheme` is one of `SCHEMES` or its name.

    Raises:
        SignatureError: `signature` is not one.
        SchemeError: `scheme` is unknown, or cannot express the signature (v1 expresses every one).
    """
    rule = scheme if isinstance(scheme, Scheme) else scheme_named(scheme)
    return rule.derive(signature)  # type: ignore[return-value]  # a NewType over str
