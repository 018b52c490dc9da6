"""Ids of all the cells of an experiment, lazily, each value of an axis checked once."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from math import prod
from operator import itemgetter
from typing import Any, Generic, TypeVar

from genid._canonical import layout, written
from genid._rules import Rule
from genid._signature import IdT, Signature, rules_of
from genid._text import digest, id_text
from genid.errors import Problem, SignatureError, refusal

Value = str | int | None
T = TypeVar("T")


class Grid(Generic[IdT]):
    """Every combination of the values of a stage's fields, with its v1 id.

    Each field has an axis of values, given under the field's name::

        drafts = Grid(
            Draft, combo_id=combos, template_id=templates, llm_model_id=models,
            replicate=range(1, 4),
        )
        essays = Grid(Essay, parent_gen_id=drafts, template_id=["essay-v2"], replicate=[1])

    The order is that of nested loops over the fields as the class declares them: the first varies
    slowest, the last fastest. An optional field may be left out. Iterating gives the ids; `cells`
    gives the normalized values in the same order. Both derive as they go, can be repeated, and
    need memory for the axes alone. An axis is a list or another sequence, which has an order; the
    first axis can itself be a grid, of the parents.

    Raises:
        SignatureError: with every value that breaks a rule of SPEC 1 or comes twice in its axis
            once normalized, and every axis that is missing, unknown or not a sequence.
    """

    def __init__(
        self, stage: type[Signature[IdT]], /, **axes: "Sequence[Value] | Grid[Any]"
    ) -> None:
        rules = rules_of(stage)
        problems = [
            refusal(f"{stage.stage}.{name}", axes[name], "is the axis of no field", "leave it out")
            for name in sorted(axes.keys() - rules.keys())
        ]
        self._stage = stage
        self._axes: list[tuple[Value, ...] | Grid[Any]] = []
        for name, rule in rules.items():
            given = axes.get(name, (None,) if rule.optional else None)
            place = f"{stage.stage}.{name}"
            if isinstance(given, Grid) and not self._axes:
                _normalized(place, rule, islice(given, 1), problems)  # of which stage they are
                self._axes.append(given)
            else:
                self._axes.append(_axis(place, rule, given, problems))
        if problems:
            raise SignatureError(*problems)

    def __len__(self) -> int:
        return prod(map(len, self._axes))

    def __iter__(self) -> Iterator[IdT]:
        """Yield the id of every cell (SPEC 2 to 5)."""
        names = tuple(rules_of(self._stage))
        members = {member.name: member for member in layout(self._stage.stage, names)}
        # Each value is written into its part of the canonical bytes once, not once a cell.
        pieces = [
            _pieces(members[name].text, axis) for name, axis in zip(names, self._axes, strict=True)
        ]
        in_order = itemgetter(*(names.index(name) for name in members))
        prefix = self._stage.prefix
        for data in map(b"".join, map(in_order, _product(pieces))):
            text: Any = id_text(prefix, digest(data))
            yield text

    def cells(self) -> Iterator[tuple[Value, ...]]:
        """Yield the normalized values of every cell, in the order of their declaration."""
        return _product(self._axes)


def _product(axes: Sequence[Iterable[T]]) -> Iterator[tuple[T, ...]]:
    """Yield nested loops over the axes, never holding what a lazy first axis gives."""
    first, *others = axes
    if isinstance(first, tuple):
        return product(first, *others)
    held = [tuple(axis) for axis in others]
    return (cell for value in first for cell in product((value,), *held))


def _pieces(text: Callable[[str], str], axis: Iterable[Value]) -> Iterable[bytes]:
    """Write each value of an axis into its part of the canonical bytes (SPEC 2)."""
    pieces = (text(written(value)).encode() for value in axis)
    return tuple(pieces) if isinstance(axis, tuple) else pieces


def _axis(
    place: str, rule: Rule, given: "Sequence[Value] | Grid[Any] | None", problems: list[Problem]
) -> tuple[Value, ...]:
    """Return an axis with its values normalized; what is wrong with it goes into `problems`."""
    value: object = given
    if given is None:
        reason = "has no axis"
    elif isinstance(given, str | bytes | bytearray) or not isinstance(given, Iterable):
        reason = "is one value"
    # A set has no order that lasts, a generator can be read once, a mapping or a frame has more
    # than one reading: only a sequence is taken.
    elif not isinstance(given, Sequence | Grid):
        value, reason = type(given).__name__, "is the type of the axis, not a sequence"
    else:
        values = _normalized(place, rule, given, problems)
        repeated = [one for one, count in Counter(values).items() if count > 1]
        reason, remedy = "comes twice once normalized", "name it once"
        problems += [refusal(place, one, reason, remedy) for one in repeated]
        return values
    problems.append(refusal(place, value, reason, "give a list of values"))
    return ()


def _normalized(
    place: str, rule: Rule, values: Iterable[Value], problems: list[Problem]
) -> tuple[Any, ...]:
    """Return the values that a rule allows, normalized, and add the problems of the others."""
    allowed = []
    for value in values:
        try:
            allowed.append(rule.normalize(place, value))
        except SignatureError as error:
            problems += error.problems
    return tuple(allowed)
