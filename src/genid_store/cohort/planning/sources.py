"""The generations that a selection names, found in the store, and what planning needs of them.

Refuses, all at once: ids that the store does not hold, ids of another stage, metadata that cannot
be read or lacks a field that the plan is made of. What is wrong and does not matter becomes a
notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from genid import GenIdError, parse_id
from genid_store.catalog import findings
from genid_store.catalog.metadata import Generation
from genid_store.cohort.inputs.selection import Chosen, Selection
from genid_store.cohort.planning.records import Resolve, StoreView
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import METADATA, is_segment
from genid_store.stages import PIPELINE

_UNREAD: Final = {
    findings.METADATA_MISSING,
    findings.METADATA_EMPTY,
    findings.METADATA_MALFORMED,
    findings.METADATA_UNREADABLE,
}
_ARTICLES: Final = {"draft": "a draft", "essay": "an essay", "evaluation": "an evaluation"}


@frozen
class Source:
    """One generation that the cohort starts from, and the line that names it."""

    generation: Generation
    where: str

    @property
    def gen_id(self) -> str:
        """The id under which the store holds the generation."""
        return self.generation.gen_id

    @property
    def place(self) -> str:
        """The path of the generation's metadata.json, from the data root."""
        return metadata_path(self.generation.stage, self.gen_id)


def find_sources(
    selection: Selection, view: StoreView, resolve: Resolve | None, problems: list[Problem]
) -> tuple[Source, ...]:
    """Return the generations that a selection names, in its order, each once; those that are not
    found, are of another stage, or whose metadata cannot be read are appended to `problems`.

    An id that the store does not hold is given to `resolve`, which knows the same generation's
    other ids.
    """
    found: dict[str, Source] = {}
    for chosen in selection.chosen:
        source = _find(selection.stage, chosen, view, resolve)
        flaw = next(_unreadable(source), None) if isinstance(source, Source) else source
        if flaw is not None:
            problems.append(flaw)
        elif isinstance(source, Source):
            found.setdefault(source.gen_id, source)
    return tuple(found.values())


def find_parent(
    child: Source, stage: str, view: StoreView, resolve: Resolve | None = None
) -> Source | Problem:
    """Return the parent that a source's metadata names, or why there is none."""
    parent = str(child.generation.parent_gen_id)
    where = f"{child.place}:parent_gen_id"
    expected = metadata_path(stage, parent)
    problem = Problem(
        where=where,
        value=parent,
        message=f"names a {stage} that the store does not hold: expected at {expected} "
        f"(needed by {child.where})",
        remedy=f"restore the {stage}, or take {child.gen_id} out of the selection",
    )
    if not is_segment(parent):
        return problem
    found = _look_up(stage, parent, view, resolve)
    if found is None:
        return problem
    source = Source(found, child.where)
    return next(_unreadable(source), source)


class Refusals:
    """Collects what keeps sources from becoming rows, so that all of it is said at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def lacks(self, source: Source, fields: Sequence[str]) -> bool:
        """Note the `fields` that the source's metadata does not have; say whether there are any."""
        found = list(_missing(source, fields))
        self.problems.extend(found)
        return bool(found)

    @contextlib.contextmanager
    def of(self, source: Source) -> Iterator[None]:
        """Note what the core refuses about the source inside the block."""
        try:
            yield
        except GenIdError as error:
            self.problems.extend(
                Problem(
                    where=f"{source.place}:{_key(problem.place)}",
                    value=problem.value,
                    message=f"{problem.reason} (needed by {source.where})",
                    remedy=problem.remedy,
                )
                for problem in error.problems
            )

    def check(self) -> None:
        """Raise StoreError with everything that was noted, if anything was."""
        if self.problems:
            raise StoreError("the selected generations cannot be planned from", self.problems)


def _key(place: str) -> str:
    """Return the metadata's key that a place of the core is about, `gen_id` for a whole id."""
    return place.rpartition(".")[2] if "." in place else "gen_id"


def _missing(source: Source, fields: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem for each field that is not there; a replicate that is absent is 1."""
    for name in fields:
        attribute = "effective_replicate" if name == "replicate" else name
        if getattr(source.generation, attribute) is None:
            reason = next((flaw for flaw in source.generation.problems if flaw.field == name), None)
            yield Problem(
                where=f"{source.place}:{name}",
                message=f"{reason.message if reason else f'{name} is missing'}, "
                f"and {source.where} needs it",
                remedy=f"correct {name} in the file, or take {source.gen_id} out of the selection",
            )


def metadata_path(stage: str, gen_id: str) -> str:
    """Return the path of a generation's metadata.json, from the data root."""
    return f"gens/{stage}/{gen_id}/{METADATA}"


def _find(stage: str, chosen: Chosen, view: StoreView, resolve: Resolve | None) -> Source | Problem:
    generation = _look_up(stage, chosen.gen_id, view, resolve)
    if generation is not None:
        return Source(generation, chosen.where)
    return _not_found(stage, chosen, view)


def _look_up(
    stage: str, gen_id: str, view: StoreView, resolve: Resolve | None
) -> Generation | None:
    """Return a generation by its id, else by the other id that `resolve` knows it under."""
    found = view.get(stage, gen_id)
    if found is not None or resolve is None:
        return found
    other = resolve(stage, gen_id)
    return view.get(stage, other) if other is not None and is_segment(other) else None


def _not_found(stage: str, chosen: Chosen, view: StoreView) -> Problem:
    for other in PIPELINE:
        if other != stage and view.has(other, chosen.gen_id):
            return Problem(
                where=chosen.where,
                value=chosen.gen_id,
                message=f"is the id of {_ARTICLES[other]}, not of {_ARTICLES[stage]}",
                remedy=f"name {stage}s here",
            )
    shown = parse_id(chosen.gen_id).stage
    hint = "" if shown in (None, stage) else f"looks like the id of {_ARTICLES[str(shown)]} and "
    return Problem(
        where=chosen.where,
        value=chosen.gen_id,
        message=f"{hint}names no {stage} of the store: "
        f"{metadata_path(stage, chosen.gen_id)} does not exist",
        remedy="correct the id, or take the line out",
    )


def _unreadable(source: Source) -> Iterator[Problem]:
    return (flaw for flaw in source.generation.problems if flaw.code in _UNREAD)
