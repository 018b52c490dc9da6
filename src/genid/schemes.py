"""`gen_id`, and the rules that it can apply, each an object with a name (SPEC 6)."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from genid._signature import IdT, Signature, canonical_bytes
from genid._text import digest, id_text
from genid.errors import Problem, SchemeError, refusal

SchemeName = Literal["v1", "phase-1"]

_BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + second for first in _BASE_36 for second in _BASE_36]
_PHASE_1_PARTS = {  # frozen: what was released under this name, SPEC 8.1
    "draft": "%(combo_id)s|%(template_id)s|%(llm_model_id)s|%(replicate)s",
    "essay": "%(parent_gen_id)s|%(template_id)s|%(replicate)s",
    "evaluation": "%(parent_gen_id)s|%(template_id)s|%(llm_model_id)s|%(replicate)s",
}


class Scheme:
    """A way to derive an id; `name` selects it."""

    __slots__ = ("derive", "name")

    def __init__(self, name: SchemeName, derive: Callable[[Signature[Any]], str]) -> None:
        self.name, self.derive = name, derive

    def gen_id(self, signature: Signature[IdT]) -> IdT:
        """Return the signature's id under this scheme.

        Raises:
            SignatureError: `signature` is not one.
            SchemeError: the scheme cannot express the signature.
        """
        return self.derive(signature)  # type: ignore[return-value]  # a NewType over str


def _v1(signature: Signature[Any]) -> str:
    """Return an id of format 1 (SPEC 2 to 5)."""
    data = canonical_bytes(signature)  # refuses what is not a signature
    return id_text(signature.prefix, digest(data))


def phase_1_id(signature: Signature[Any], parent: str | None = None) -> str:
    """Return an id as the first deterministic ones were: BLAKE2b over joined parts, 80 bits in
    base36 (SPEC 8). With `parent` it is that of the same task over this parent.

    Raises:
        SignatureError: `signature` is not one.
        SchemeError: it is of a user's stage, or has a user's field, or a value with `|`.
    """
    canonical_bytes(signature)  # refuses what is not a signature
    values: Mapping[str, Any] = signature.__dict__
    parts, bars, others = _phase_1_parts(type(signature))  # type: ignore[arg-type]  # is hashable
    if parent is not None:
        values = {**values, "parent_gen_id": parent}
    joined = parts % values
    if joined.count("|") != bars or (others and any(map(values.get, others))):
        raise SchemeError(*_phase_1_problems(signature))
    digest = _blake2b()(joined.lower().encode(), digest_size=10).digest()  # a parent is not folded
    return f"{signature.prefix}_{base_36(int.from_bytes(digest, 'big'))}"


@cache
def _phase_1_parts(cls: type[Signature[Any]]) -> tuple[str, int, tuple[str, ...]]:
    """Return the parts of a stage that are joined (SPEC 8.1), how many bars join them (which no
    text has of a user's stage), and the names of its other fields."""
    parts = _PHASE_1_PARTS.get(cls.stage, "")
    others = tuple(name for name in cls.__genid_rules__ if f"%({name})s" not in parts)
    return parts, parts.count("|") or -1, others


@cache
def _blake2b() -> Any:
    from hashlib import blake2b  # noqa: PLC0415 - loads OpenSSL, a quarter of `import genid`

    return blake2b


def _phase_1_problems(signature: Signature[Any]) -> Iterator[Problem]:
    """Yield what this scheme cannot express: its fields are frozen, and joined by `|`."""
    *_, others = _phase_1_parts(type(signature))  # type: ignore[arg-type]  # is hashable
    for name, value in signature.fields().items():
        if name in others:
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
        number, four = divmod(number, 36**4)  # small numbers are divided at once
        digits = f"{_PAIRS[four // 1296]}{_PAIRS[four % 1296]}{digits}"
    return digits.lstrip("0") or "0"


V1 = Scheme("v1", _v1)
PHASE_1 = Scheme("phase-1", phase_1_id)
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
    return rule.derive(signature)  # type: ignore[return-value]  # a NewType over str
