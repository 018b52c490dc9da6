"""The base class of signatures, whose subclasses are checked when they are defined (SPEC 1)."""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar, dataclass_transform

import attrs

from genid._canonical import canonical_text
from genid._declaration import declare
from genid._fast_path import fast_init, is_plain
from genid._registry import registered
from genid._rules import Rule
from genid.errors import DeclarationError, Problem, SignatureError

IdT = TypeVar("IdT", bound=str)


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Signature(Generic[IdT]):
    """What decides a generation's identity, and nothing else (SPEC 1).

    A stage is a subclass that names its id's type, its stage and its prefix and annotates its
    fields::

        class Draft(Signature[DraftId], stage="draft", prefix="d"):
            combo_id: str
            replicate: int

    It becomes a frozen, keyword-only attrs class. A field is a component (`str`), a parent's id
    (another stage's id type), either of them optional (`| None`, with the default `None`), or the
    replicate (`int`, required, without a default). An optional field may refer to the stage's own
    ids (SPEC 1.10).

    Constructing a signature trims and folds its components and raises `SignatureError` with every
    field that breaks a rule. Signatures are equal, and hash equal, if their ids are.
    """

    stage: ClassVar[str]
    prefix: ClassVar[str]
    __attrs_attrs__: ClassVar[tuple[Any, ...]]
    __genid_init__: ClassVar[Any]  # as attrs made it
    __genid_rules__: ClassVar[dict[str, Rule]]
    __genid_id_types__: ClassVar[tuple[Any, ...]]  # the latest definition's first

    def __init_subclass__(cls, *, stage: str, prefix: str) -> None:
        """Check the declaration and register the stage (SPEC 1.7).

        The same class defined again with the same fields replaces the earlier one (SPEC 1.11).

        Raises:
            DeclarationError: the stage or prefix is malformed or taken, a field has a name, type
                or default that SPEC 1 does not allow, or `replicate` is missing.
        """
        super().__init_subclass__()
        try:  # slots would make construction slower by a fifth
            attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)(cls)
        except SyntaxError as error:  # a field named `self` or like a keyword of Python
            names = list(cls.__annotations__)
            reason = "include a name that no field can have"
            raise DeclarationError.of(cls.__qualname__, names, reason, "use another") from error
        cls.stage, cls.prefix, cls.__genid_init__ = stage, prefix, cls.__init__
        declare(cls)
        registered[stage] = cls

    def __init__(self) -> None:
        """Refuse to construct the base; attrs gives each stage an `__init__` of its own."""
        raise TypeError("Signature is a base; construct a Draft, an Essay, an Evaluation")

    def __attrs_post_init__(self) -> None:
        """Check and normalize the fields and keep the canonical bytes (SPEC 1, 2).

        A plain stage's first signature replaces the `__init__` of attrs, which calls this, by the
        fast path. A stage with checks of its own overrides this method and calls this one.
        """
        cls = type(self)
        # Whoever wrapped or replaced the `__init__` keeps it.
        if vars(cls).get("__init__") is cls.__genid_init__ and is_plain(cls):
            init = fast_init(cls, cls.__genid_rules__, _normalize)
            cls.__init__ = init  # type: ignore[method-assign]
        _normalize(self)

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same canonical bytes, hence the same id (SPEC 2.5)."""
        return isinstance(other, Signature) and canonical_bytes(self) == canonical_bytes(other)

    def __hash__(self) -> int:
        return hash(canonical_bytes(self))

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.__genid_rules__)
        return f"{type(self).__qualname__}({', '.join(values)})"

    def fields(self) -> dict[str, str | int]:
        """Return the fields that are present (SPEC 2.4), normalized, in order of declaration."""
        values = self.__dict__
        return {name: values[name] for name in self.__genid_rules__ if values[name] is not None}

    @classmethod
    def reference(cls, text: str) -> IdT:
        """Return the id of an existing generation of this stage, of any family (SPEC 1.5).

        An id read from a file or a table gets the type that a child's `parent_gen_id` requires.
        Nothing is dropped or folded.

        Raises:
            SignatureError: `text` breaks SPEC 1.4 or begins with another stage's prefix.
        """
        rule = Rule(parent_stage=cls.stage, parent_prefix=cls.prefix)
        reference: Any = rule.normalize(f"{cls.stage} id", text)
        return reference  # type: ignore[no-any-return]  # a NewType over str


def _normalize(signature: Signature[Any]) -> None:
    """Check and normalize field by field, and raise all problems in one error (SPEC 1, 2)."""
    values = signature.__dict__
    problems: list[Problem] = []
    for name, rule in signature.__genid_rules__.items():
        try:
            values[name] = rule.normalize(f"{signature.stage}.{name}", values[name])
        except SignatureError as error:
            problems.extend(error.problems)
    if problems:
        raise SignatureError(*problems)
    values["_canonical"] = canonical_text(signature.stage, signature.fields()).encode()


def canonical_bytes(signature: Signature[Any]) -> bytes:
    """Return the canonical bytes of a signature, the input of its digest (SPEC 2).

    Raises:
        SignatureError: `signature` is not one.
    """
    if not isinstance(signature, Signature):
        remedy = "pass a Draft, an Essay, an Evaluation"
        raise SignatureError.of("signature", signature, "is not a signature", remedy)
    data: bytes = signature.__dict__["_canonical"]
    return data


def rules_of(cls: type[Signature[Any]]) -> Mapping[str, Rule]:
    """Return the rule of each field of a stage, in order of declaration (SPEC 1.1).

    Raises:
        SignatureError: `cls` is not a stage's class.
    """
    stage: Any = cls  # a caller without a type checker may pass anything
    if not isinstance(stage, type) or not issubclass(stage, Signature) or stage is Signature:
        remedy = "pass the class: Draft, Essay, Evaluation"
        raise SignatureError.of("stage", cls, "is not a stage's class", remedy)
    return cls.__genid_rules__


def parent_field(cls: type[Signature[Any]]) -> str | None:
    """Return the name of the field that holds the parent's id, or None if there is no parent.

    Of several references, the first one declared is the parent (SPEC 1.10).

    Raises:
        SignatureError: `cls` is not a stage's class.
    """
    rules = rules_of(cls).items()
    return next((name for name, rule in rules if rule.parent_stage is not None), None)


def parent_stage(cls: type[Signature[Any]]) -> str | None:
    """Return the name of the parent's stage, or None if there is no parent (SPEC 1.10).

    Raises:
        SignatureError: `cls` is not a stage's class.
    """
    field = parent_field(cls)
    return None if field is None else cls.__genid_rules__[field].parent_stage
