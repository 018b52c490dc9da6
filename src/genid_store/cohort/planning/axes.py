"""The axes of a cohort: the table ids that go into deterministic ids, checked before any is made.

Refuses ids that a signature cannot hold, and ids of one axis that differ only by what a signature
folds away: they would come to one id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from attrs import frozen

from genid import Draft, GenIdError, SchemeName, gen_id, normalize_component
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import LONGEST_NAME

_LONGEST: Final = LONGEST_NAME - len(".txt")


@frozen
class Axis:
    """One axis: the field that its ids go into, and the ids with their places, in table order."""

    field: str
    ids: tuple[tuple[str, str], ...]


def check_axes(axes: Iterable[Axis], scheme: SchemeName) -> None:
    """Check the ids of every axis whose stage the rollout covers.

    Raises:
        StoreError: lists every id that `scheme` cannot express and every one that folds to an
            earlier one of its axis.
    """
    problems = [problem for axis in axes for problem in _axis_problems(axis, scheme)]
    if problems:
        raise StoreError("these ids cannot be told apart or expressed", problems)


def _axis_problems(axis: Axis, scheme: SchemeName) -> Iterator[Problem]:
    first: dict[str, tuple[str, str]] = {}
    for text, where in axis.ids:
        if axis.field == "template" and ("/" in text or len(text.encode()) > _LONGEST):
            yield Problem(
                where=where,
                value=text,
                message="cannot be the name of the template's file, so nothing could be made of it",
                remedy=f"give it an id without / and of at most {_LONGEST} bytes",
            )
            continue
        try:
            gen_id(Draft(combo_id="c", template_id=text, llm_model_id="m", replicate=1), scheme)
        except GenIdError as error:
            found = error.problems[0]
            yield Problem(where=where, value=text, message=found.reason, remedy=found.remedy)
            continue
        earlier, place = first.setdefault(normalize_component(text), (text, where))
        if place != where:
            yield Problem(
                where=where,
                value=text,
                message=f"is the same {axis.field} as {earlier!r} at {place}: a deterministic id "
                "knows neither case nor white space at the ends",
                remedy="rename or deactivate one of them",
            )
