"""Verify what was built before it becomes live: a finding stops the migration.

Every file of the plan must exist and be unchanged. A file with the device, inode, size and
modification time that it was digested under is unchanged; any other, such as a copy, is digested
again. Every id is derived again from the metadata that was written, by the catalog's functions and
not by the numbering's. Every parent and every member must exist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from genid import V1, GenIdError
from genid_store.catalog.expected import signature
from genid_store.catalog.memberships import parse_membership
from genid_store.catalog.metadata import Generation, parse_metadata
from genid_store.errors import NO_VALUE, Problem
from genid_store.fs.files import read_bytes
from genid_store.fs.fingerprints import below, digest, fingerprint, stamp
from genid_store.fs.layout import METADATA
from genid_store.migration.build import Advance
from genid_store.migration.number import Planned
from genid_store.migration.planfile import Plan, PlannedFile, batched
from genid_store.stages import parent_stage, stage_names

_REMEDY = "the store is unchanged; report this, with the plan's folder"
_CHANGED = "stop what writes to the store and try again; the store is unchanged"


@frozen
class Verifying:
    """The verification of a tree that was built. `known` are the new ids of each stage."""

    plan: Plan
    known: dict[str, set[str]] = field(factory=lambda: {stage: set() for stage in stage_names()})
    _models: dict[str, str | None] = field(factory=dict)  # of the drafts, by their new ids

    def problems(self, advance: Advance) -> Iterator[Problem]:
        """Yield every difference between what was built and what was planned. OSError: a file
        cannot be read."""
        plan = self.plan
        names: dict[str, set[str]] = {stage: set() for stage in plan.work.stages}
        stamps = iter(plan.stamps)
        for batch in batched(plan.entries()):  # a parent comes before its children
            metadata: list[tuple[Planned, str]] = []
            for entry in batch:
                advance()
                known = dict(zip(entry.files, stamps, strict=False))
                if entry.merged:
                    continue
                if entry.kind == "generation":
                    self.known[entry.stage].add(entry.new)
                place = plan.live(f"gens/{entry.stage}/{entry.old}")
                if entry.stage in names:
                    names[entry.stage].add(entry.new)
                    built = plan.aside(f"gens/{entry.stage}/{entry.new}")
                    wrong = list(self._entry(entry, place, built, known))
                    yield from wrong
                    if wrong:
                        continue
                    place = built
                if METADATA in entry.files and not entry.reason:
                    metadata.append((entry, f"{place}/{METADATA}"))
            contents = [read_bytes(path) for _, path in metadata]
            for (entry, _), data in zip(metadata, contents, strict=True):
                found = parse_metadata(entry.stage, entry.new, data, METADATA)
                yield from self._derived(entry, found)
        for stage, expected in names.items():
            for name in sorted(expected ^ set(os.listdir(plan.aside(f"gens/{stage}")))):
                yield _problem(f"gens/{stage}/{name}", "it was not planned, or is missing")
        for planned in plan.files("file"):
            if planned.what == "membership":
                yield from self._members(planned)

    def _entry(
        self, entry: Planned, live: str, built: str, stamps: dict[str, int]
    ) -> Iterator[Problem]:
        place = f"gens/{entry.stage}/{entry.new}"
        for name, planned in entry.files.items():
            path, wrong = f"{built}/{name}" if name else built, ""
            try:
                if name in entry.rewrite:
                    os.lstat(path)
                    path = f"{live}/{name}" if name else live
                # The stamp of its digesting saves reading it again.
                if stamp(os.lstat(path)) != stamps.get(name) and fingerprint(path) != planned:
                    wrong = "it was changed since the plan was made"
            except FileNotFoundError:
                wrong = "it has gone since the plan was made"
            if wrong:
                yield _problem(f"{place}/{name}", wrong, _CHANGED)

    def _derived(self, entry: Planned, found: Generation) -> Iterator[Problem]:
        """Derive the id from the metadata that was written, and check that the parent exists."""
        place = f"gens/{entry.stage}/{entry.new}/{METADATA}"
        above, parent = parent_stage(entry.stage), found.parent_gen_id
        if above is None:
            self._models[entry.new] = found.llm_model_id
        elif parent not in self.known[above]:
            yield _problem(place, f"its {above} does not exist", value=parent)
        try:
            model = self._models.get(parent or "")
            derived = V1.derive(signature(found, parent_gen_id=parent, parent_model=model))
        except GenIdError as error:
            yield _problem(place, f"no id can be derived: {error}")
            return
        if derived != entry.new or (entry.moves and found.declared_gen_id != entry.new):
            yield _problem(place, "it is the metadata of another id", value=derived)

    def _members(self, planned: PlannedFile) -> Iterator[Problem]:
        """Yield the members that are missing from, or too many in, the new membership."""
        plan, mapping = self.plan, self.plan.work.members
        live = read_bytes(plan.live(planned.path))
        if digest(live) != planned.digest:
            yield _problem(planned.path, "it was changed since the plan was made", _CHANGED)
        unread: list[Problem] = []
        before = set(parse_membership(live, planned.path, unread))
        after = set(parse_membership(read_bytes(plan.aside(planned.path)), planned.path, unread))
        yield from unread
        expected = {(stage, mapping[stage].get(gen_id, gen_id)) for stage, gen_id in before}
        for stage, gen_id in sorted(expected ^ after):
            yield _problem(planned.path, f"its {stage} {gen_id} is missing or too many")
        for stage, gen_id in sorted(after - before):
            if gen_id not in self.known[stage]:
                yield _problem(planned.path, f"its {stage} {gen_id} does not exist")


def only_in_former(plan: Plan) -> Iterator[Problem]:
    """Yield every file of the former tree that was written there after planning and is not a hard
    link to one in the live tree. OSError: a file cannot be read."""
    planned: dict[str, dict[str, Mapping[str, str]]] = {stage: {} for stage in plan.work.stages}
    for entry in plan.entries():
        if entry.stage in planned:
            planned[entry.stage][entry.old] = entry.files
    for stage, generations in planned.items():
        for name, one in below(plan.aside(f"gens/{stage}")):
            gen_id, _, inner = name.partition("/")
            known = generations.get(gen_id, {}).get(inner)
            if os.lstat(one.path).st_nlink == 1 and known != fingerprint(one.path):
                message = "it was written after planning, and the live store does not have it"
                remedy = "move it from there to where it belongs"
                yield _problem(plan.root.relative(Path(one.path)), message, remedy)


def _problem(where: str, message: str, remedy: str = _REMEDY, value: object = NO_VALUE) -> Problem:
    return Problem(where=where, message=message, remedy=remedy, value=value)
