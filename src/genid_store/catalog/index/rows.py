"""Generations and their expected ids as rows of the index, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, Literal

from attrs import frozen

from genid import SchemeName
from genid_store.catalog.expected import ExpectedIds, Facts, ParentIds, StoreFamily, as_parent
from genid_store.catalog.findings import finding
from genid_store.catalog.metadata import Generation
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.layout import METADATA

#: "parsed": parsed.txt is there; "raw": only raw.txt is, so it is paid for and not parsed.
Content = Literal["parsed", "raw"]

#: The columns that hold a generation's own fields, in the table's order.
FIELDS: Final = (
    "stage", "gen_id", "declared_gen_id", "parent_gen_id", "combo_id", "template_id",
    "llm_model_id", "replicate", "origin_cohort_id", "mode", "adopted_from", "others", "coerced",
    "metadata_problems", "previous",
)  # fmt: skip
#: The columns that hold what follows from them.
EXPECTED: Final = ("family", "recomputes", "v1", "phase_1", "id_problems")
SELECT: Final = f"SELECT {', '.join((*FIELDS, *EXPECTED))} FROM generation"  # noqa: S608
_PLAIN: Final = FIELDS[:11]
_plain_values: Final = attrgetter(*_PLAIN)
_SHOWN: Final = 200  # characters of a wrong value that the index keeps


@frozen(kw_only=True)
class Indexed(Generation):
    """A generation with what follows from its metadata and whether its content is there.

    `expected` gives, for each scheme, the id of the same task in a fresh deterministic cohort, None
    where none can be derived. `raw` is empty: the index does not keep whole documents. `problems`
    are those of the metadata and those of the id. `content_ns` is when the content file last
    changed, in nanoseconds since 1970, at the moment the record was made. `looked` is False where
    the system did not let us look, so that no `content` says nothing.
    """

    family: StoreFamily
    recomputes: bool
    expected: Mapping[SchemeName, str | None]
    content: Content | None = None
    content_ns: int | None = None
    looked: bool = True

    @property
    def has_content(self) -> bool:
        """Whether there is a parsed text that can be seen."""
        return self.content == "parsed"

    def as_parent(self) -> ParentIds:
        """Return what its children need to know of it."""
        return as_parent(self, self.expected["v1"], self.expected["phase-1"])

    @property
    def known_content(self) -> bool | None:
        """Whether there is a parsed text; None: that is not known."""
        return self.has_content if self.looked else None


def row_of(
    generation: Generation, expected: ExpectedIds, stamp: tuple[int, int, int]
) -> tuple[Any, ...]:
    """Return the row of the table `generation` for a generation, its expected ids, and the stamp
    of its file (time of change in ns, size in bytes, inode)."""
    return (
        *_plain_values(generation),
        json.dumps(dict(generation.others)) if generation.others else None,
        _packed(generation.coerced),
        _packed(generation.problems and [_problem_row(one) for one in generation.problems]),
        _packed(generation.previous_gen_ids),
        *expected_values(expected),
        *stamp,
    )


def plain_row(
    facts: Facts,
    mode: str | None,
    previous: tuple[str, ...],
    expected: ExpectedIds,
    stamp: tuple[int, int, int],
) -> tuple[Any, ...]:
    """Return the row of a generation that has nothing else in its metadata, and nothing wrong."""
    stage, gen_id, *others = facts
    rare = (None, None, None, None, _packed(previous))
    return (stage, gen_id, gen_id, *others, mode, *rare, *expected_values(expected), *stamp)


def expected_values(expected: ExpectedIds) -> tuple[Any, ...]:
    """Return the values of the columns `EXPECTED`."""
    *plain, problems = expected
    return (*plain, _packed(problems and [_problem_row(one) for one in problems]))


def indexed_of(
    row: tuple[Any, ...],
    content: Content | None = None,
    content_ns: int | None = None,
    looked: bool = True,
) -> Indexed:
    """Return the whole record of a row, with the state of the content that was found on disk."""
    others, coerced, problems, previous = row[len(_PLAIN) : len(FIELDS)]
    family, recomputes, v1, phase_1, id_problems = row[len(FIELDS) :]
    fields: dict[str, Any] = dict(zip(_PLAIN, row, strict=False))
    if others is not None:
        fields["others"] = json.loads(others)
    return Indexed(
        **fields,
        coerced=tuple(_unpacked(coerced)),
        problems=(*_problems(row, problems), *_problems(row, id_problems)),
        previous_gen_ids=tuple(_unpacked(previous)),
        family=family,
        recomputes=bool(recomputes),
        expected=MappingProxyType({"v1": v1, "phase-1": phase_1}),
        content=content,
        content_ns=content_ns,
        looked=looked,
    )


def _packed(values: Any) -> str | None:
    """Return a list as JSON, None for an empty one, which nearly all of them are."""
    return json.dumps(list(values), default=repr) if values else None


def _unpacked(text: str | None) -> list[Any]:
    return [] if text is None else list(json.loads(text))


def _problem_row(found: Problem) -> list[Any]:
    if found.value is NO_VALUE:
        return [found.code, found.field, found.message]
    value = found.value
    if not isinstance(value, int | float | None) and len(repr(value)) > _SHOWN:
        value = repr(value)[:_SHOWN]
    return [found.code, found.field, found.message, value]


def _problems(row: tuple[Any, ...], text: str | None) -> tuple[Problem, ...]:
    if text is None:
        return ()
    where = f"gens/{row[0]}/{row[1]}/{METADATA}"
    return tuple(
        finding(code, where, field=field, message=message, value=value[0] if value else NO_VALUE)
        for code, field, message, *value in _unpacked(text)
    )
