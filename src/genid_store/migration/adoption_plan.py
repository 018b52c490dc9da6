"""Decide whose content a member with a deterministic id can be given; reads only."""

from __future__ import annotations

import os

from attrs import field, frozen

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.lookup import claim, duplicates
from genid_store.catalog.memberships import read_memberships
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import PARSED, DataRoot
from genid_store.migration import state_folder as own
from genid_store.migration.cohort_files import own_records
from genid_store.migration.fingerprints import read_bytes
from genid_store.stages import PIPELINE, parent_stage


@frozen
class Taken:
    """One member that gets content: whose, and which files."""

    stage: str
    gen_id: str
    adopted_from: str
    files: tuple[str, ...]


@frozen
class Skipped:
    """One member whose task the store has, and why its content was not taken."""

    stage: str
    gen_id: str
    reason: str


@frozen(kw_only=True)
class Adoption:
    """What an adoption does; `adoption_id` is None where nothing was written."""

    adoption_id: str | None
    taken: tuple[Taken, ...]
    skipped: tuple[Skipped, ...]


@frozen
class _Planning:
    """One adoption being planned: `texts` says where a member's text will be."""

    root: DataRoot
    index: StoreIndex
    taken: list[Taken] = field(factory=list)
    skipped: list[Skipped] = field(factory=list)
    texts: dict[tuple[str, str], str] = field(factory=dict)

    def consider(self, member: Indexed) -> None:
        """Take the first claimant's content whose parent's text is the member's parent's."""
        found = [one for one in duplicates(self.index, member) if one.has_content]
        if not found:
            return
        if member.content == "raw":
            self._skip(member, "it is paid for itself and waits to be parsed (raw.txt)")
            return
        for source in sorted(found, key=claim):
            if self._same_parent_text(member, source):
                self._take(member, source)
                return
        stage = parent_stage(member.stage)
        self._skip(member, f"its {stage}'s text is not the one that the content was made from")

    def _take(self, member: Indexed, source: Indexed) -> None:
        folder = self.root.generation(source.stage, source.gen_id)
        mine = set(os.listdir(self.root.generation(member.stage, member.gen_id)))
        names = [entry.name for entry in os.scandir(folder) if not entry.is_dir()]
        names = sorted(name for name in names if name not in mine and not name.startswith("."))
        names.sort(key=lambda name: name == PARSED)  # the last one: with it there is content
        self.texts[member.stage, member.gen_id] = f"{folder}/{PARSED}"
        self.taken.append(Taken(member.stage, member.gen_id, source.gen_id, tuple(names)))

    def _same_parent_text(self, member: Indexed, source: Indexed) -> bool:
        stage = parent_stage(member.stage)
        if stage is None or member.parent_gen_id == source.parent_gen_id:
            return True
        mine, theirs = (self._text(stage, one.parent_gen_id) for one in (member, source))
        if mine is None or theirs is None:
            return False
        return os.path.samefile(mine, theirs) or read_bytes(mine) == read_bytes(theirs)

    def _text(self, stage: str, gen_id: str | None) -> str | None:
        path = self.texts.get((stage, gen_id or ""))
        path = path or f"{self.root.gens}/{stage}/{gen_id}/{PARSED}"
        return path if os.path.isfile(path) else None

    def _skip(self, member: Indexed, reason: str) -> None:
        self.skipped.append(Skipped(member.stage, member.gen_id, reason))


def plan_adoption(root: DataRoot, index: StoreIndex, cohort_id: str | None) -> Adoption:
    planning = _Planning(root, index)
    waiting = (record["path"].removeprefix("gens/") for record in own_records(root))
    busy = {*own.makers(root), *waiting}  # what gets a text of its own
    members = sorted(_members(root, cohort_id), key=lambda key: (PIPELINE.index(key[0]), key[1]))
    for stage, gen_id in members:
        member = index.get(stage, gen_id)
        if member is None or member.has_content or not member.recomputes:
            continue
        if member.family in ("v1", "phase-1") and f"{stage}/{gen_id}" not in busy:
            planning.consider(member)
    return Adoption(adoption_id=None, taken=tuple(planning.taken), skipped=tuple(planning.skipped))


def _members(root: DataRoot, cohort_id: str | None) -> set[tuple[str, str]]:
    """Return the members of all cohorts, or of one.

    StoreError: a membership that is asked for is not there, cannot be read, or is not the two
    columns.
    """
    found = read_memberships(root)
    asked = root.relative(root.cohorts if cohort_id is None else root.cohort(cohort_id))
    problems: list[Problem] = [one for one in found.problems if one.where.startswith(f"{asked}/")]
    if cohort_id is not None and cohort_id not in found.members and not problems:
        where = root.relative(root.membership(cohort_id))
        missing = Problem(where=where, message="there is no membership", remedy="build the cohort")
        problems = [missing]
    if problems:
        raise StoreError("the members cannot be told", problems)
    cohorts = found.members if cohort_id is None else [cohort_id]
    return {member for cohort in cohorts for member in found.members[cohort]}
