"""Make a plan: read the whole store, decide every new id, write down what will be done.

Writes below `.genid/migrations/` alone. The plan's folder holds `plan.jsonl` (for machines),
`mapping.csv` and `summary.md` (for people).
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from attrs import asdict, define, field

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside
from genid_store.fs.fingerprints import Entry, Fingerprint, entries
from genid_store.fs.layout import METADATA, PARSED_METADATA, RAW_METADATA, DataRoot
from genid_store.migration.id_files import blocker, files_to_plan, note
from genid_store.migration.number import EMPTY_SLOT, Decision, Numbered, number_stage
from genid_store.migration.planfile import (
    FORMAT,
    Mappings,
    Plan,
    Planned,
    PlannedFile,
    Record,
    is_a_hosts,
    plans_folder,
    write_plan,
)
from genid_store.migration.references import References, retarget, rewrite_json
from genid_store.migration.scan import StageScan, scan_stage
from genid_store.migration.summary import write_mapping, write_summary
from genid_store.stages import parent_stage, stage_names

#: The files of a generation in which references are looked for.
DOCUMENTS: Final = (METADATA, RAW_METADATA, PARSED_METADATA)
_TOTALS: Final = (
    "generations", "strays", "moves", "keeps", "stays", "merged", "references", "files", "blockers",
    "rewritten", "need", "size", "names",
)  # fmt: skip
_BLOCK: Final = 4096  # bytes that a file takes at least
_GROWTH: Final = 512  # bytes by which metadata grows at most, or nearly

Progress = Callable[[int, int], None]


def make_plan(
    root: DataRoot, *, tables: tuple[str, ...] = (), progress: Progress | None = None
) -> Plan:
    """Plan the migration of a whole store to v1 ids; the same store gives the same plan.

    `tables` are further files of the data root, by their paths from there, in which ids are to be
    replaced. The caller holds the data root's lock.

    Raises:
        StoreError: a table's path leads out of the data root, or into `gens/` or `.genid/`.
        OSError: the store cannot be read or `.genid/` not be written.
    """
    _check_tables(tables)
    scans = {stage: scan_stage(root, stage) for stage in stage_names()}
    numbered = number_all(scans)
    folder = plans_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".new-*"):  # by a planning that was killed
        trees.remove_tree(str(left))
    building = folder / f".new-{secrets.token_hex(4)}"
    building.mkdir()
    try:
        planning = _Planning(root, scans, numbered, tables, progress)
        plan = Plan(root, write_plan(building, planning.records()))
        write_mapping(building, planning.decisions())
        write_summary(building, plan.plan_id)
        check_inside(root, plan.folder)
        if not plan.path.is_file():  # else the same plan is there already
            trees.remove_tree(str(plan.folder))
            trees.move(str(building), str(plan.folder))
        return plan
    finally:
        trees.remove_tree(str(building))


def number_all(scans: dict[str, StageScan]) -> dict[str, Numbered]:
    """Decide about all generations of a store, parents' stages first."""
    numbered: dict[str, Numbered] = {}
    for stage, scan in scans.items():
        above = numbered.get(parent_stage(stage) or "")
        parents = {} if above is None else above.decisions
        numbered[stage] = number_stage(scan.sources, parents, scan.strays)
    return numbered


def _check_tables(tables: tuple[str, ...]) -> None:
    message = "it is not the path of a host's table below the data root"
    remedy = "give its path from the data root, outside gens/ and .genid/"
    problems = [
        Problem(where=table, message=message, remedy=remedy)
        for table in tables
        if not is_a_hosts(table)
    ]
    if problems:
        raise StoreError("a table cannot be rewritten", problems)


@define
class _Planning:
    """The making of one plan's records."""

    root: DataRoot
    scans: dict[str, StageScan]
    numbered: dict[str, Numbered]
    tables: tuple[str, ...]
    progress: Progress | None
    mapping: Mappings = field(factory=dict)
    totals: Counter[str] = field(factory=Counter)
    _notes: list[Record] = field(factory=list)
    _holder: dict[tuple[int, int], str] = field(factory=dict)  # who has a file of many names

    def decisions(self) -> Iterator[Decision]:
        for found in self.numbered.values():
            yield from found.decisions.values()

    def records(self) -> Iterator[Planned | PlannedFile | Record]:
        """Yield every record of the plan."""
        self.mapping = {
            stage: {old: one.new_id for old, one in found.decisions.items() if one.moves}
            for stage, found in self.numbered.items()
        }
        yield {"kind": "plan", "format": FORMAT, "target": "v1"}
        for record in self._all():
            kind = record["kind"] if isinstance(record, dict) else record.kind
            self.totals[f"{kind}s"] += 1
            yield record
        yield {"kind": "end", **{name: self.totals[name] for name in _TOTALS}}

    def _all(self) -> Iterator[Planned | PlannedFile | Record]:
        total = sum(len(scan.sources) for scan in self.scans.values())
        for done, decision in enumerate(self.decisions(), start=1):
            yield self._generation(decision)
            if self.progress is not None:
                self.progress(done, total)
        for stage, scan in self.scans.items():
            for name in scan.strays:
                yield self._stray(stage, name)
                self._notes.append(note("stray-entry", f"gens/{stage}/{name}", ""))
            for group in self.numbered[stage].duplicates:
                yield {"kind": "note", "note": "duplicates", **asdict(group)}
            for names in scan.collisions:
                yield note("case-collision", f"gens/{stage}/{names[0]}", ", ".join(names[1:]))
            for place in (f"gens/{stage}", "gens"):
                if os.path.islink(f"{self.root.path}/{place}"):
                    remedy = "bind-mount what it points to there"
                    yield blocker(place, "it is a symbolic link", remedy)
        yield from self._notes
        known = {stage: found.decisions for stage, found in self.numbered.items()}
        yield from files_to_plan(self.root, self.mapping, known, self.tables)

    def _generation(self, decision: Decision) -> Planned:
        source = decision.source
        place = f"gens/{source.stage}/{source.gen_id}"
        files: dict[str, Fingerprint] = {}
        rewrite: list[str] = []
        copies: list[str] = []
        for entry in self._entries(place):
            files[entry.path] = entry.fingerprint
            if decision.reason != EMPTY_SLOT and self._changes(decision, place, entry):
                rewrite.append(entry.path)
            holder = self._holder.setdefault(entry.inode, place) if entry.inode else place
            if holder != place:
                copies.append(entry.path)
                self._notes.append(note("shared-file", f"{place}/{entry.path}", holder))
            self._count(entry.fingerprint, rewritten=entry.path in rewrite)
        self.totals[decision.what] += 1
        self.totals["references"] += bool(rewrite) and not decision.moves
        return Planned(
            kind="generation",
            stage=source.stage,
            old=source.gen_id,
            new=decision.new_id,
            what=decision.what,
            parent=decision.parent,
            replicate=decision.replicate,
            reason=decision.reason,
            detail=decision.detail,
            rewrite=rewrite,
            copies=copies,
            files=files,
        )

    def _stray(self, stage: str, name: str) -> Planned:
        found = {one.path: one.fingerprint for one in self._entries(f"gens/{stage}/{name}")}
        for fingerprint in found.values():
            self._count(fingerprint)
        return Planned(kind="stray", stage=stage, old=name, new=name, files=found)

    def _entries(self, place: str) -> list[Entry]:
        try:
            return entries(f"{self.root.path}/{place}", DOCUMENTS)
        except OSError as error:
            where = str(error.filename or place).removeprefix(f"{self.root.path}/")
            message = error.strerror or type(error).__name__
            remedy = "make it readable for this user, so that its content can be verified"
            self._notes.append(blocker(where, message, remedy))
            return []

    def _count(self, fingerprint: Fingerprint, *, rewritten: bool = False) -> None:
        """Count one file of the new tree, and the bytes that it takes on the disk."""
        size = fingerprint[0] if isinstance(fingerprint[0], int) else 0
        taken = -(-(size + _GROWTH) // _BLOCK) * _BLOCK
        self.totals.update(names=1, size=taken, rewritten=rewritten, need=taken * rewritten)

    def _changes(self, decision: Decision, place: str, entry: Entry) -> bool:
        """Say whether a file must change: it names an id that changes."""
        if entry.fingerprint[0] == "->":
            return self._link_changes(decision, f"{place}/{entry.path}".rstrip("/"), entry)
        if entry.data is None:
            return False
        if entry.path == METADATA and decision.moves:
            return True
        if b"gen_id" not in entry.data and b"gens/" not in entry.data:
            names = (decision.source.gen_id, decision.source.parent_gen_id or "")
            if not any(name and name.encode() in entry.data for name in names):
                return False
        references = References(self.mapping, decision.source.stage)
        return rewrite_json(entry.data, references) != entry.data

    def _link_changes(self, decision: Decision, path: str, entry: Entry) -> bool:
        """Say whether a symbolic link leads into a folder that moves; metadata that would have to
        change behind one is a blocker."""
        target = entry.fingerprint[1]
        self._notes.append(note("symlink", path, target))
        parent = decision.source.parent_gen_id or ""
        follows = References(self.mapping, decision.source.stage).new_parent(parent) != parent
        if entry.path in ("", METADATA) and (decision.moves or follows):
            message = "metadata that must change lies behind a symbolic link"
            remedy = "replace the link by what it points to, or bind-mount that"
            self._notes.append(blocker(path, message, remedy))
        folder = path.rpartition("/")[0]
        return bool(entry.path) and target != retarget(
            target, folder, str(self.root.path), self.mapping
        )
