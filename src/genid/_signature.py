"""The base of all signatures: a class is checked once, when it is defined (SPEC 1)."""

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

import attrs

from genid._canonical import canonical_text, quick_look
from genid._declaration import declared_rules
from genid._rules import ABSENT, Rule, reference_rule
from genid.errors import DeclarationError, Problem, SignatureError

IdT = TypeVar("IdT", bound=str)

_registered: dict[str, "type[Signature[Any]]"] = {}
STAGES: "Mapping[str, type[Signature[Any]]]" = MappingProxyType(_registered)
"""Every stage's class by the stage's name, in the order of their definition."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Signature(Generic[IdT]):
    """What decides a generation's identity, and nothing else (SPEC 1).

    A stage is a subclass that names its id's type, its stage and its prefix and annotates its
    fields::

        class Draft(Signature[DraftId], stage="draft", prefix="d"):
            combo_id: str
            replicate: int

    It becomes a frozen, keyword-only attrs class. A field is a component (`str`), an optional
    component (`str | None` with the default `None`), the replicate (`int`, always there, no
    default) or the parent's id (annotated with another stage's id type).

    Constructing one trims and folds its components and raises `SignatureError` with every field
    that breaks a rule of SPEC 1. Equal signatures are equal and hash equal.
    """

    stage: ClassVar[str]
    prefix: ClassVar[str]
    id_type: ClassVar[Any]
    _rules: ClassVar[dict[str, Rule]]
    __attrs_attrs__: ClassVar[tuple[Any, ...]]

    def __init_subclass__(cls, *, stage: str, prefix: str) -> None:
        """Check the declaration, lay out the canonical text, and register the stage.

        Raises:
            DeclarationError: the stage or prefix is malformed or taken, a field has a name, type
                or default that SPEC 1 does not know, or `replicate` is missing.
        """
        super().__init_subclass__()
        try:  # without slots, which would cost a fifth of a construction
            attrs.frozen(kw_only=True, slots=False)(cls)
        except SyntaxError as error:  # `self`, or a word of Python's own
            names, reason = (
                list(cls.__annotations__),
                "have a name among them that no field can have",
            )
            raise DeclarationError.of(cls.__qualname__, names, reason, "use another") from error
        cls.stage, cls.prefix = stage, prefix
        known = list(_registered.values())
        cls.id_type, cls._rules = declared_rules(cls, stage, prefix, known, _known_prefixes)
        if cls.__attrs_post_init__ is Signature.__attrs_post_init__:  # a stage may have its own
            look = quick_look(stage, _variants(cls), Signature.__attrs_post_init__)
            setattr(cls, "__attrs_post_init__", look)  # noqa: B010 - not an assignment to a method
        _registered[stage] = cls

    def __init__(self) -> None:
        """Refuse: a stage gets an `__init__` with its fields in place of this one."""
        raise TypeError("Signature is a base; construct a Draft, an Essay, an Evaluation")

    def __attrs_post_init__(self) -> None:
        """Check and normalize field by field, gather every problem before raising, and keep the
        canonical bytes. A stage has a method before this one that spares a look at each field,
        unless it defines one of its own (which calls this one).
        """
        fields = self.__dict__
        problems: list[Problem] = []
        for name, rule in self._rules.items():
            if fields[name] is None and name in optional_of(type(self)):
                continue
            try:
                fields[name] = rule.normalize(f"{self.stage}.{name}", fields[name])
            except SignatureError as error:
                problems.extend(error.problems)
        if problems:
            raise SignatureError(*problems)
        fields["_canonical"] = canonical_text(self.stage, self.fields()).encode()

    def fields(self) -> dict[str, str | int]:
        """Return the fields that are present, normalized, in the order of their declaration."""
        values = self.__dict__
        return {name: values[name] for name in self._rules if values[name] is not None}

    @classmethod
    def reference(cls, text: str) -> IdT:
        """Take the id of an existing generation of this stage, of any family, as it stands.

        This is how an id that was read from a file or a table gets the type that a child's
        `parent_gen_id` asks for. Nothing is dropped or folded (SPEC 1.5).

        Raises:
            SignatureError: `text` is no possible reference, or shows another stage's prefix.
        """
        rule = reference_rule(stage=cls.stage, prefix=cls.prefix, known=_known_prefixes)
        checked: Any = rule.normalize(f"{cls.stage} id", text)
        reference: IdT = checked
        return reference


def canonical_bytes(signature: Signature[Any]) -> bytes:
    """Return the canonical bytes of a signature, the input of its digest (SPEC 2)."""
    data: bytes = signature.__dict__["_canonical"]
    return data


def _known_prefixes() -> str:
    return "".join(cls.prefix for cls in _registered.values())


def rules_of(cls: type[Signature[Any]]) -> Mapping[str, Rule]:
    """Return the rule of each field of a stage, in the order of declaration.

    Raises:
        SignatureError: `cls` is no stage's class.
    """
    _check_stage(cls)
    return cls._rules


def optional_of(cls: type[Signature[Any]]) -> list[str]:
    """Return the names of the fields that may be absent.

    Raises:
        SignatureError: `cls` is no stage's class.
    """
    _check_stage(cls)
    return [field.name for field in attrs.fields(cls) if field.default is None]


def parent_field(cls: type[Signature[Any]]) -> str | None:
    """Return the name of the field that holds the parent's id, None for a stage without one.

    Of several references the one declared first is the parent (SPEC 1.5).

    Raises:
        SignatureError: `cls` is not a stage's class.
    """
    rules = rules_of(cls).items()
    return next((name for name, rule in rules if rule.parent_stage is not None), None)


def parent_stage(cls: type[Signature[Any]]) -> str | None:
    """Return the name of the stage that the parent is of, None for a stage without a parent.

    Raises:
        SignatureError: `cls` is not a stage's class.
    """
    field = parent_field(cls)
    return None if field is None else cls._rules[field].parent_stage


def _check_stage(cls: Any) -> None:
    if not isinstance(cls, type) or not issubclass(cls, Signature) or cls is Signature:
        remedy = "pass the class: Draft, Essay, Evaluation"
        raise SignatureError.of("stage", cls, "is no stage's class", remedy)


def _variants(cls: type[Signature[Any]]) -> list[dict[str, Rule]]:
    """Return a stage's rules for each set of fields that can be present, the smallest first."""
    optional = optional_of(cls)
    return [
        cls._rules | dict.fromkeys(absent, ABSENT)
        for count in range(len(optional), -1, -1)
        for absent in combinations(optional, count)
    ]
