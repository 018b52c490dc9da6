"""Look at what was built before it takes the live tree's place: a finding stops the migration.

Every content file of the plan must be there once, with its digest; every id must be derived again
from the metadata that was written, by the catalog's functions and not by the numbering's; every
parent and every member must be there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from attrs import field, frozen

from genid import V1, GenIdError
from genid_store.catalog.expected import signature
from genid_store.catalog.memberships import parse_membership
from genid_store.catalog.metadata import parse_metadata
from genid_store.errors import Problem
from genid_store.fs.files import read_bytes
from genid_store.fs.fingerprints import Entry, digest, entries
from genid_store.fs.layout import METADATA
from genid_store.migration.build import Advance, Work
from genid_store.migration.planfile import Planned
from genid_store.stages import parent_stage, stage_names

_REMEDY = "the store is as it was; report this, with the plan's folder"
_CHANGED = "stop what writes to the store and try again; the store is as it was"


@frozen
class Verifying:
    """One look at a tree that was built: `known` are the ids of each stage afterwards."""

    work: Work
    known: dict[str, set[str]] = field(factory=dict)
    _models: dict[str, str | None] = field(factory=dict)  # of the drafts, by their new ids

    def problems(self, advance: Advance) -> Iterator[Problem]:
        """Yield every difference between what was built and what was planned.

        OSError: something cannot be read.
        """
        self.known.update({stage: set() for stage in stage_names()})
        names: dict[str, set[str]] = {stage: set() for stage in self.work.stages}
        for entry in self.work.plan.entries():  # a parent comes before its children
            if not entry.stray:
                advance()
            if entry.merged:
                continue
            if not entry.stray:
                self.known[entry.stage].add(entry.new)
            if entry.stage in names:
                names[entry.stage].add(entry.new)
                yield from self._entry(entry)
            elif METADATA in entry.files and not entry.reason:
                self._remember_model(entry, self._live(entry))
        for stage, expected in names.items():
            for name in sorted(expected ^ set(os.listdir(self._aside(stage)))):
                yield _problem(f"gens/{stage}/{name}", "it was not planned, or is not there")
        yield from self._members()

    def _aside(self, stage: str) -> str:
        return f"{self.work.root}/{self.work.aside(f'gens/{stage}')}"

    def _live(self, entry: Planned) -> bytes:
        return read_bytes(f"{self.work.root}/gens/{entry.stage}/{entry.old}/{METADATA}")

    def _entry(self, entry: Planned) -> Iterator[Problem]:
        place = f"gens/{entry.stage}/{entry.new}"
        found = {one.path: one for one in self._found(entry)}
        for name in sorted(found.keys() ^ entry.files.keys()):
            yield _problem(f"{place}/{name}", "it appeared or went since the plan was made",
                           _CHANGED)  # fmt: skip
        for name, planned in entry.files.items():
            if name in found and name not in entry.rewrite and found[name].fingerprint != planned:
                yield _problem(f"{place}/{name}", "it was changed since the plan was made",
                               _CHANGED)  # fmt: skip
        document = found.get(METADATA)
        if document is not None and document.data is not None and not entry.reason:
            yield from self._metadata(entry, document.data, place)

    def _found(self, entry: Planned) -> list[Entry]:
        return entries(f"{self._aside(entry.stage)}/{entry.new}", (METADATA,))

    def _metadata(self, entry: Planned, data: bytes, place: str) -> Iterator[Problem]:
        """Derive an id from what was written, and look for the parent."""
        found = parse_metadata(entry.stage, entry.new, data, f"{place}/{METADATA}")
        self._remember_model(entry, data)
        above = parent_stage(entry.stage)
        if above is not None and found.parent_gen_id not in self.known[above]:
            yield _problem(
                f"{place}/{METADATA}", f"its {above} is not there", value=found.parent_gen_id
            )
        try:
            above = found.parent_gen_id
            model = self._models.get(above or "")
            written = signature(found, parent_gen_id=above, parent_model=model)
            derived: str = V1.gen_id(written)
        except GenIdError as error:
            yield _problem(f"{place}/{METADATA}", f"no id can be derived: {error}")
            return
        wrong = entry.moves and found.declared_gen_id != entry.new
        if derived != entry.new or wrong:
            yield _problem(f"{place}/{METADATA}", "it is the metadata of another id", value=derived)

    def _remember_model(self, entry: Planned, data: bytes) -> None:
        if parent_stage(entry.stage) is None:
            found = parse_metadata(entry.stage, entry.new, data, METADATA)
            self._models[entry.new] = found.llm_model_id

    def _members(self) -> Iterator[Problem]:
        """Yield the members that were there and are not afterwards."""
        for planned in self.work.plan.files():
            if planned.what != "membership":
                continue
            live = read_bytes(f"{self.work.root}/{planned.path}")
            if digest(live) != planned.digest:
                yield _problem(planned.path, "it was changed since the plan was made", _CHANGED)
            new = read_bytes(f"{self.work.root}/{self.work.aside(planned.path)}")
            unread: list[Problem] = []
            before = parse_membership(live, planned.path, unread)
            after = parse_membership(new, planned.path, unread)
            yield from unread
            expected = {
                (one.stage, self.work.mapping[one.stage].get(one.gen_id, one.gen_id))
                for one in before
            }
            for stage, gen_id in sorted(expected ^ set(after)):
                yield _problem(planned.path, f"its {stage} {gen_id} is missing or too many")
            for stage, gen_id in sorted(set(after) - set(before)):
                if gen_id not in self.known[stage]:
                    yield _problem(planned.path, f"its {stage} {gen_id} is not there")


def _problem(where: str, message: str, remedy: str = _REMEDY, value: object = None) -> Problem:
    if value is None:
        return Problem(where=where, message=message, remedy=remedy)
    return Problem(where=where, message=message, remedy=remedy, value=value)
