"""What a signature class may declare; checked once, when the class is defined (SPEC 1.1, 1.7)."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, get_args, get_type_hints

import attrs

from genid._rules import COMPONENT, REPLICATE, Rule, reference_rule
from genid.errors import DeclarationError, Problem

_STAGE = re.compile(r"[a-z]+(?:_[a-z]+)*")
_PREFIX = re.compile(r"[a-z]")
_FIELD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_TAKEN = frozenset({"genid", "stage", "prefix", "id_type", "fields", "reference"})


class Declared(Protocol):
    """A stage that is defined already: its class."""

    stage: str
    prefix: str
    id_type: Any


def declared_rules(
    cls: type, stage: str, prefix: str, known: Sequence[Declared], prefixes: Callable[[], str]
) -> tuple[Any, dict[str, Rule]]:
    """Return the id type of an attrs class and the rule of each field, as declared.

    `known` are the stages before this one; `prefixes` gives the letters of all stages whenever
    a reference is checked.

    Raises:
        DeclarationError: with every fault: a stage or prefix that is malformed or taken, no id
            type of its own, a field with an unknown name, type or default, no `replicate`.
    """
    problems = list(_stage_problems(cls, stage, prefix, known))
    id_type = _id_type(cls)
    problems += _id_type_problems(cls, id_type, known)
    rules: dict[str, Rule] = {}
    for field, hint in _fields(cls):
        rule = _rule(field.name, hint, known, prefixes)
        problems += _field_problems(cls, field, hint, rule)
        if rule is not None:
            rules[field.name] = rule
    if "replicate" not in rules:
        problems.append(_problem(cls, "replicate", None, "is missing", "add `replicate: int`"))
    if len(rules) < 2:
        problems.append(_problem(cls, "fields", list(rules), "say too little", "add a component"))
    if problems:
        raise DeclarationError(*problems)
    return id_type, rules


def _problem(cls: type, name: str, value: object, reason: str, remedy: str) -> Problem:
    return Problem(place=f"{cls.__qualname__}.{name}", value=value, reason=reason, remedy=remedy)


def _stage_problems(
    cls: type, stage: str, prefix: str, known: Sequence[Declared]
) -> Iterator[Problem]:
    """Yield what is wrong with the names of a stage (SPEC 1.1, 5.1)."""
    if type(stage) is not str or not _STAGE.fullmatch(stage):
        yield _problem(cls, "stage", stage, "is no name in lower case", "use letters a to z and _")
    if type(prefix) is not str or not _PREFIX.fullmatch(prefix):
        yield _problem(cls, "prefix", prefix, "is not one letter", "use one letter, a to z")
    for other in known:
        if stage == other.stage:
            yield _problem(cls, "stage", stage, "is defined already", "use another name")
        if prefix == other.prefix:
            reason = f"is the prefix of {other.stage} already"
            yield _problem(cls, "prefix", prefix, reason, "use another letter")


def _id_type(cls: type) -> Any:
    """Return the `X` of `Signature[X]`, or None where the class does not say."""
    bases = vars(cls).get("__orig_bases__", ())
    arguments = get_args(bases[0]) if len(bases) == 1 else ()
    return arguments[0] if arguments else None


def _id_type_problems(cls: type, id_type: Any, known: Sequence[Declared]) -> Iterator[Problem]:
    """Refuse an id type that could not tell this stage's ids from another's."""
    remedy = "derive from Signature[XId] alone, where XId = NewType('XId', str)"
    if isinstance(id_type, TypeVar) or getattr(id_type, "__supertype__", None) is not str:
        yield _problem(cls, "id_type", id_type, "is no NewType over str", remedy)
    for other in known:
        if id_type is other.id_type:
            yield _problem(cls, "id_type", id_type, f"is {other.stage}'s already", remedy)


def _fields(cls: type) -> list[tuple["attrs.Attribute[Any]", Any]]:
    """Return the fields of an attrs class with their types, string annotations evaluated."""
    fields = attrs.fields(cls)
    if not any(isinstance(field.type, str) for field in fields):
        return [(field, field.type) for field in fields]
    try:
        hints = get_type_hints(cls)
    except NameError as error:
        remedy = "define the types of fields at the top of the module, before the class"
        raise DeclarationError.of(cls.__qualname__, error.name, "is unknown", remedy) from error
    return [(field, hints[field.name]) for field in fields]


def _rule(
    name: str, hint: Any, known: Sequence[Declared], prefixes: Callable[[], str]
) -> Rule | None:
    """Return the rule of one field by its type, None for a type that no rule is for (SPEC 1.7)."""
    if hint is str or hint == (str | None):
        return COMPONENT
    if hint is int and name == "replicate":
        return REPLICATE
    for other in known:
        if hint is other.id_type:
            return reference_rule(stage=other.stage, prefix=other.prefix, known=prefixes)
    return None


def _field_problems(
    cls: type, field: "attrs.Attribute[Any]", hint: Any, rule: Rule | None
) -> Iterator[Problem]:
    """Yield what is wrong with one field: its name, its type, its default (SPEC 1.7)."""
    if field.name in _TAKEN or not _FIELD.fullmatch(field.name):
        yield _problem(cls, field.name, field.name, "is no field name", "use a free_lower_name")
    if rule is None:
        remedy = "use str, str | None, an id type defined before, or `replicate: int`"
        yield _problem(cls, field.name, hint, "is a type that no rule is for", remedy)
    if hint == (str | None):
        if field.default is not None:
            yield _problem(cls, field.name, hint, "is optional", "give it the default None")
    elif field.default is not attrs.NOTHING:
        yield _problem(cls, field.name, field.default, "is a default", "make the caller say it")
