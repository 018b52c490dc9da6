"""What a signature class may declare, checked when the class is defined (SPEC 1.1, 1.7 to 1.11)."""

import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import attrs

from genid._registry import STAGES
from genid._rules import COMPONENT, REPLICATE, Rule
from genid.errors import NO_VALUE, DeclarationError, Problem, refusal

if TYPE_CHECKING:
    from genid._signature import Signature

    Stage = type[Signature[Any]]

_is_stage_name = re.compile(r"[a-z]+(_[a-z]+)*").fullmatch
_is_field_name = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*").fullmatch
_TAKEN = frozenset({"genid", "stage", "prefix", "fields", "reference"})


def declare(cls: "Stage") -> None:
    """Check a stage's attrs class, and set its id types and its fields' rules on it (SPEC 1.7).

    Raises:
        DeclarationError: with every fault: a stage or prefix that is malformed or taken, no id
            type of its own, a field with an invalid name, type or default, no `replicate`, or
            fields that differ from those of an earlier definition of the same class.
    """
    # Running a notebook cell twice and `importlib.reload` define a class again (SPEC 1.11).
    earlier = _earlier_definition(cls)
    others = [other for other in STAGES.values() if other is not earlier]
    id_type = _id_type(cls)
    # They also make the id type again, while classes of children may still refer to the earlier
    # one. Both stand for the same stage.
    cls.__genid_id_types__ = (id_type, *(earlier.__genid_id_types__ if earlier else ()))
    cls.__genid_rules__ = rules = {}
    problems = [*_name_problems(cls, others), *_id_type_problems(cls, id_type, others)]
    for field in _fields(cls):
        rule = _rule(field.name, field.type, [cls, *others])
        problems += _field_problems(cls, field, rule)
        if rule is not None:
            rules[field.name] = rule
    names = {field.name for field in _fields(cls)}
    if "replicate" not in names:
        problems.append(_problem(cls, "replicate", NO_VALUE, "is missing", "add `replicate: int`"))
    if not names - {"replicate"}:
        reason = "has no field beside its replicate"
        problems.append(refusal(cls.__qualname__, NO_VALUE, reason, "add a component"))
    if earlier is not None:
        problems += _changes(cls, earlier)
    if problems:
        raise DeclarationError(*problems)


def _problem(cls: "Stage", name: str, value: object, reason: str, remedy: str) -> Problem:
    return refusal(f"{cls.__qualname__}.{name}", value, reason, remedy)


def _earlier_definition(cls: "Stage") -> "Stage | None":
    """Return the class of the same stage, module and name that `cls` defines again (SPEC 1.11)."""
    other = STAGES.get(str(cls.stage))
    names = (cls.__module__, cls.__qualname__)
    return other if other and (other.__module__, other.__qualname__) == names else None


def _changes(cls: "Stage", earlier: "Stage") -> Iterator[Problem]:
    """Yield a problem if the same class was defined before and gave other ids (SPEC 1.11)."""
    before, after = earlier.__genid_rules__, cls.__genid_rules__
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    changed += ["prefix"] if earlier.prefix != cls.prefix else []
    if changed:
        reason = f"was defined before with another {', another '.join(changed)}"
        remedy = "restore what made ids; if it made none, restart Python"
        yield _problem(cls, "stage", cls.stage, reason, remedy)


def _name_problems(cls: "Stage", others: "Sequence[Stage]") -> Iterator[Problem]:
    """Yield what is wrong with a stage's name and prefix, both part of its ids (SPEC 1.7)."""
    stage, prefix = cls.stage, cls.prefix
    if type(stage) is not str or not _is_stage_name(stage):
        reason = "is not a name in lower case"
        yield _problem(cls, "stage", stage, reason, "use letters a to z and _")
    if type(prefix) is not str or len(prefix) != 1 or not "a" <= prefix <= "z":
        yield _problem(cls, "prefix", prefix, "is not one letter", "use one letter, a to z")
    for other in others:
        if stage == other.stage:
            reason = f"is defined already, by {other.__module__}.{other.__qualname__}"
            yield _problem(cls, "stage", stage, reason, "import that class instead")
        elif prefix == other.prefix:
            reason = f"is the prefix of {other.stage} already"
            yield _problem(cls, "prefix", prefix, reason, "use another letter for a new stage")


def _id_type(cls: type) -> Any:
    """Return the `X` of a class that derives from `Signature[X]` alone, else None."""
    bases = vars(cls).get("__orig_bases__", ())
    arguments = get_args(bases[0]) if len(bases) == 1 else ()
    return arguments[0] if arguments else None


def _id_type_problems(cls: "Stage", id_type: Any, others: "Sequence[Stage]") -> Iterator[Problem]:
    """Yield a problem if the id type cannot tell this stage's ids from another's (SPEC 1.5)."""
    remedy = "derive from Signature[XId] alone, where XId = NewType('XId', str)"
    if id_type is None:
        yield _problem(cls, "id_type", NO_VALUE, "is missing", remedy)
    elif isinstance(id_type, TypeVar) or getattr(id_type, "__supertype__", None) is not str:
        yield _problem(cls, "id_type", id_type, "is not a NewType over str", remedy)
    owner = _stage_of(id_type, others)
    if owner is not None and owner.stage != cls.stage:
        yield _problem(cls, "id_type", id_type, f"is {owner.stage}'s already", remedy)


def _stage_of(id_type: Any, stages: "Sequence[Stage]") -> "Stage | None":
    """Return the stage whose ids are of this type, or None."""
    for stage in stages:
        if any(id_type is known for known in stage.__genid_id_types__):
            return stage
    return None


def _fields(cls: "Stage") -> "tuple[attrs.Attribute[Any], ...]":
    """Return the fields of an attrs class, with string annotations evaluated."""
    if any(isinstance(field.type, str) for field in attrs.fields(cls)):
        try:
            attrs.resolve_types(cls)
        except NameError as error:
            remedy = "define the types of fields at the top of the module, before the class"
            raise DeclarationError.of(cls.__qualname__, error.name, "is unknown", remedy) from error
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return fields


def _rule(name: str, hint: Any, stages: "Sequence[Stage]") -> Rule | None:
    """Return the rule of one field by its type, or None if no field has that type (SPEC 1.7)."""
    members = get_args(hint) if get_origin(hint) in {UnionType, Union} else (hint,)
    optional = len(members) == 2 and type(None) in members
    required = next(member for member in members if member is not type(None)) if optional else hint
    if name == "replicate":
        return REPLICATE if required is int and not optional else None
    if required is str:
        return COMPONENT._replace(optional=optional)
    parent = _stage_of(required, stages)
    if parent is None:
        return None
    return Rule(parent_stage=parent.stage, parent_prefix=parent.prefix, optional=optional)


def _field_problems(
    cls: "Stage", field: "attrs.Attribute[Any]", rule: Rule | None
) -> Iterator[Problem]:
    """Yield what is wrong with a field's name, type and default (SPEC 1.7, 1.10)."""
    if field.name in _TAKEN or not _is_field_name(field.name):
        yield _problem(cls, field.name, field.name, "is not a field name", "use another_lower_name")
    if rule is not None and rule.optional:
        if field.default is not None:
            yield _problem(cls, field.name, field.type, "is optional", "give it the default None")
        return
    if rule is None:
        remedy = "use str, an id type defined before, either with `| None`, or `replicate: int`"
        yield _problem(cls, field.name, field.type, "is not the type of a field", remedy)
    elif rule.parent_stage == cls.stage:
        reason = "is required, but the first of a chain has no parent"
        yield _problem(cls, field.name, field.type, reason, "add `| None = None`")
    if field.default is not attrs.NOTHING:
        reason = "is the default of a required field"
        yield _problem(cls, field.name, field.default, reason, "leave the default out")
