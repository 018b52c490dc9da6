"""Find the generations that a selection names, and check that a plan can be made from them.

Refuses, in one error: ids that are not in the store, ids of another stage, and metadata that cannot
be read or lacks a field that the plan needs. Other problems of the metadata become notices.
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

_ARTICLES: Final = {"draft": "a draft", "essay": "an essay", "evaluation": "an evaluation"}


@frozen
class Source:
    """One generation that the cohort starts from, and the line that names it."""

    generation: Generation
    where: str

    @property
    def gen_id(self) -> str:
        """The id under which the store has the generation."""
        return self.generation.gen_id

    @property
    def place(self) -> str:
        """The path of the generation's metadata.json, from the data root."""
        return _metadata_path(self.generation.stage, self.gen_id)


def find_sources(
    selection: Selection, view: StoreView, resolve: Resolve | None, problems: list[Problem]
) -> tuple[Source, ...]:
    """Return the generations that a selection names, in its order, each once.

    An id that no folder has is passed to `resolve`, which knows the other ids of generations. Ids
    that are not found or are of another stage, and metadata that cannot be read, are appended to
    `problems`.
    """
    sources: dict[str, Source] = {}
    for chosen in selection.chosen:
        generation = _look_up(selection.stage, chosen.gen_id, view, resolve)
        if generation is None:
            problems.append(_not_found(selection.stage, chosen, view))
            continue
        source = Source(generation, chosen.where)
        flaw = next(_unreadable(source), None)
        if flaw is None:  # an id of another family may name the same generation again
            sources.setdefault(source.gen_id, source)
        else:
            problems.append(flaw)
    return tuple(sources.values())


def find_parent(
    child: Source, stage: str, view: StoreView, resolve: Resolve | None = None
) -> Source | Problem:
    """Return the parent that a source's metadata names, or the reason why it cannot be used."""
    parent = str(child.generation.parent_gen_id)
    generation = _look_up(stage, parent, view, resolve) if is_segment(parent) else None
    if generation is None:
        return Problem(
            where=f"{child.place}:parent_gen_id",
            value=parent,
            message=f"names a {stage} that the store does not hold: expected at "
            f"{_metadata_path(stage, parent)} (needed by {child.where})",
            remedy=f"restore the {stage}, or take {child.gen_id} out of the selection",
        )
    source = Source(generation, child.where)
    return next(_unreadable(source), source)


class Refusals:
    """Collects the reasons why sources cannot become rows, to report all of them in one error."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def lacks(self, source: Source, fields: Sequence[str]) -> bool:
        """Note which `fields` are missing or invalid in the source's metadata; return whether any
        are. An absent replicate is 1."""
        generation = source.generation
        lacking = [
            name
            for name in fields
            if getattr(generation, "effective_replicate" if name == "replicate" else name) is None
        ]
        for name in lacking:
            flaws = (flaw.message for flaw in generation.problems if flaw.field == name)
            problem = Problem(
                where=f"{source.place}:{name}",
                message=f"{next(flaws, f'{name} is missing')}, and {source.where} needs it",
                remedy=f"correct {name} in the file, or take {source.gen_id} out of the selection",
            )
            self.problems.append(problem)
        return bool(lacking)

    @contextlib.contextmanager
    def of(self, source: Source) -> Iterator[None]:
        """Note the GenIdError that the block raises, as problems of the source."""
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
        """Raise StoreError with everything that was noted, if there is anything."""
        if self.problems:
            raise StoreError("the selected generations cannot be planned from", self.problems)


def _key(place: str) -> str:
    """Return the key of the metadata at a place that the core names; `gen_id` for a whole id."""
    return place.rpartition(".")[2] if "." in place else "gen_id"


def _metadata_path(stage: str, gen_id: str) -> str:
    """Return the path of a generation's metadata.json, from the data root."""
    return f"gens/{stage}/{gen_id}/{METADATA}"


def _look_up(
    stage: str, gen_id: str, view: StoreView, resolve: Resolve | None
) -> Generation | None:
    """Return a generation by its id in the store, else by another of its ids."""
    generation = view.get(stage, gen_id)
    if generation is not None or resolve is None:
        return generation
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
    shape = parse_id(chosen.gen_id).stage
    hint = "" if shape in (None, stage) else f"looks like the id of {_ARTICLES[str(shape)]} and "
    return Problem(
        where=chosen.where,
        value=chosen.gen_id,
        message=f"{hint}names no {stage} of the store: "
        f"{_metadata_path(stage, chosen.gen_id)} does not exist",
        remedy="correct the id, or take the line out",
    )


def _unreadable(source: Source) -> Iterator[Problem]:
    return (flaw for flaw in source.generation.problems if flaw.code in findings.OF_METADATA)
