"""Convert generations and their expected ids to rows of the index, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from attrs import frozen

from genid import SchemeName
from genid_store.catalog.expected import ExpectedIds, Facts, ParentIds, StoreFamily, as_parent
from genid_store.catalog.findings import FIELD_UNFIT, finding
from genid_store.catalog.metadata import Generation
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.layout import METADATA

#: "parsed": parsed.txt exists; "raw": only raw.txt exists, so the text is paid for but not parsed.
Content = Literal["parsed", "raw"]

#: The columns of a generation's own fields, in the table's order.
FIELDS: Final = Facts._fields
#: The columns derived from them; `unusual` has, as JSON, the values that few generations have.
EXPECTED: Final = ("family", "recomputes", "v1", "phase_1", "unusual")
SELECT: Final = f"SELECT {', '.join((*FIELDS, *EXPECTED))} FROM generation"  # noqa: S608
_UNUSUAL: Final = ("adopted_from", "coerced", "previous_gen_ids")
_SHOWN: Final = 200  # characters that the index keeps of a wrong value


@frozen(kw_only=True)
class Indexed(Generation):
    """A generation with its expected ids, its family and the state of its content.

    `expected` has, for each scheme, the id of the same task in a new deterministic cohort, or None
    if it cannot be derived. `raw` is empty: the index does not keep whole documents. `problems`
    are those of the metadata and of the id. `content` was read when the record was created; if
    `looked` is False, an OS error prevented that, and it is unknown.
    """

    family: StoreFamily
    recomputes: bool
    expected: Mapping[SchemeName, str | None]
    content: Content | None = None
    looked: bool = True

    @property
    def has_content(self) -> bool:
        """Whether a parsed text was found."""
        return self.content == "parsed"

    @property
    def has_no_v1_id(self) -> bool:
        """Whether a field has a value that no v1 id can express: the task is known then."""
        return any(problem.code == FIELD_UNFIT for problem in self.problems)

    def as_parent(self) -> ParentIds:
        """Return what the ids of its children depend on."""
        return as_parent(self, self.expected["v1"], self.expected["phase-1"])

    @property
    def known_content(self) -> bool | None:
        """Whether a parsed text exists, None if that is unknown."""
        return self.has_content if self.looked else None


def unusual_of(generation: Generation) -> dict[str, Any]:
    """Return the values for the column `unusual`, empty for nearly all generations."""
    found = {name: value for name in _UNUSUAL if (value := getattr(generation, name))}
    if generation.declared_gen_id != generation.gen_id:
        found["declared_gen_id"] = generation.declared_gen_id
    if generation.others:
        found["others"] = dict(generation.others)
    if generation.problems:
        found["problems"] = [*map(_problem_row, generation.problems)]
    return found


def expected_values(expected: ExpectedIds, unusual: dict[str, Any]) -> tuple[Any, ...]:
    """Return the values of the columns `EXPECTED`."""
    if expected.problems:
        unusual = {**unusual, "id_problems": [*map(_problem_row, expected.problems)]}
    return (*expected[:-1], json.dumps(unusual, default=repr) if unusual else None)


def unusual_in(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return what `unusual_of` returned for the generation of a row."""
    found = {} if row[-1] is None else json.loads(row[-1])
    return {name: found[name] for name in found if name != "id_problems"}


def indexed_of(
    row: tuple[Any, ...],
    content: Content | None = None,
    looked: bool = True,
) -> Indexed:
    """Return the record of a row, with the state of its content on disk."""
    family, recomputes, v1, phase_1, unusual = row[len(FIELDS) :]
    fields: dict[str, Any] = {"declared_gen_id": row[1], **dict(zip(FIELDS, row, strict=False))}
    problems: list[Any] = []
    if unusual is not None:
        fields |= json.loads(unusual)
        problems = [*fields.pop("problems", ()), *fields.pop("id_problems", ())]
        for name in ("coerced", "previous_gen_ids"):
            fields[name] = tuple(fields.get(name, ()))
    return Indexed(
        **fields,
        problems=_problems(row, problems) if problems else (),
        family=family,
        recomputes=bool(recomputes),
        expected=MappingProxyType({"v1": v1, "phase-1": phase_1}),
        content=content,
        looked=looked,
    )


def _problem_row(found: Problem) -> list[Any]:
    if found.value is NO_VALUE:
        return [found.code, found.field, found.message]
    value = found.value
    if not isinstance(value, int | float | None) and len(repr(value)) > _SHOWN:
        value = repr(value)[:_SHOWN]
    return [found.code, found.field, found.message, value]


def _problems(row: tuple[Any, ...], problems: Iterable[Any]) -> tuple[Problem, ...]:
    where = f"gens/{row[0]}/{row[1]}/{METADATA}"
    return tuple(
        finding(code, where, field=field, message=message, value=value[0] if value else NO_VALUE)
        for code, field, message, *value in problems
    )
