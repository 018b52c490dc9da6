"""The ids of every combination of an experiment's values, derived lazily (SPEC 1 to 5)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from math import prod
from operator import itemgetter
from typing import Any, Generic, TypeVar

from genid._canonical import json_value, layout
from genid._rules import Rule
from genid._signature import IdT, Signature, rules_of
from genid._text import digest, id_text
from genid.errors import NO_VALUE, Problem, SignatureError, refusal

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
    slowest, the last fastest. An optional field may be left out. Iterating yields the ids; `cells`
    yields the normalized values in the same order. Both are lazy, can be repeated, and need memory
    for the axes only. An axis is a list or another sequence; the first may be a grid of parents.

    Raises:
        SignatureError: with every value that breaks a rule of SPEC 1 or repeats another of its
            axis once normalized, and every axis that is missing, unknown or not a sequence.
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
            axis = axes.get(name, (None,) if rule.optional else None)
            place = f"{stage.stage}.{name}"
            if isinstance(axis, Grid) and not self._axes:
                # The first id shows the stage of all, so the grid is not derived for the check.
                _normalized(place, rule, islice(axis, 1), problems)
                self._axes.append(axis)
            else:
                self._axes.append(_axis(place, rule, axis, problems))
        if problems:
            raise SignatureError(*problems)

    def __len__(self) -> int:
        return prod(map(len, self._axes))

    def __iter__(self) -> Iterator[IdT]:
        """Yield the id of every cell (SPEC 2 to 5)."""
        names = tuple(rules_of(self._stage))
        members = {member.name: member for member in layout(self._stage.stage, names)}
        # Each value is written into its part of the canonical bytes once, not once for each cell.
        pieces = [
            _pieces(members[name].text, axis) for name, axis in zip(names, self._axes, strict=True)
        ]
        in_order = itemgetter(*(names.index(name) for name in members))
        prefix = self._stage.prefix
        for data in map(b"".join, map(in_order, _product(pieces))):
            text: Any = id_text(prefix, digest(data))
            yield text

    def cells(self) -> Iterator[tuple[Value, ...]]:
        """Yield the normalized values of every cell, in order of declaration."""
        return _product(self._axes)


def _product(axes: Sequence[Iterable[T]]) -> Iterator[tuple[T, ...]]:
    """Yield the cells of the axes, holding one value at a time of a lazy first axis."""
    first, *others = axes
    if isinstance(first, tuple):
        return product(first, *others)
    held = [tuple(axis) for axis in others]
    return (cell for value in first for cell in product((value,), *held))


def _pieces(text: Callable[[str], str], axis: Iterable[Value]) -> Iterable[bytes]:
    """Return each value of an axis within its part of the canonical bytes (SPEC 2)."""
    pieces = (text(json_value(value)).encode() for value in axis)
    return tuple(pieces) if isinstance(axis, tuple) else pieces


def _axis(
    place: str, rule: Rule, axis: "Sequence[Value] | Grid[Any] | None", problems: list[Problem]
) -> tuple[Value, ...]:
    """Return the normalized values of an axis (SPEC 1); add its problems to `problems`."""
    refused: object = axis
    if axis is None:
        refused, reason = NO_VALUE, "has no axis"
    elif isinstance(axis, str | bytes | bytearray) or not isinstance(axis, Iterable):
        reason = "is one value"
    # Only a sequence is accepted: a set's order changes from run to run, a generator can be read
    # once, and a mapping or a data frame can be read in more than one way.
    elif not isinstance(axis, Sequence | Grid):
        refused, reason = type(axis).__name__, "is the type of the axis, not a sequence"
    else:
        values = _normalized(place, rule, axis, problems)
        problems += [
            refusal(place, value, "comes twice once normalized", "name it once")
            for value, count in Counter(values).items()
            if count > 1
        ]
        return values
    problems.append(refusal(place, refused, reason, "give a list of values"))
    return ()


def _normalized(
    place: str, rule: Rule, values: Iterable[Value], problems: list[Problem]
) -> tuple[Any, ...]:
    """Return the values that a rule allows, normalized; add the problems of the others (SPEC 1)."""
    allowed = []
    for value in values:
        try:
            allowed.append(rule.normalize(place, value))
        except SignatureError as error:
            problems += error.problems
    return tuple(allowed)
