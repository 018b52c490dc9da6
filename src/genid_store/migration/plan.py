"""Make a plan: read the whole store, decide every new id, write down what will be done.

Writes below `.genid/migrations/` alone. The plan's folder holds `plan.jsonl` (for machines),
`mapping.csv` and `summary.md` (for people).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import asdict

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, sync_folder
from genid_store.fs.fingerprints import Entry, Fingerprint, entries
from genid_store.fs.layout import METADATA, PARSED_METADATA, RAW_METADATA, DataRoot
from genid_store.migration.id_files import FilesToPlan, blocker, note
from genid_store.migration.number import EMPTY_SLOT, Decision, Numbered, number_stage
from genid_store.migration.planfile import (
    FORMAT,
    PLAN_FILE,
    Plan,
    PlanWriter,
    Record,
    is_inner,
    plans_folder,
    what_becomes,
)
from genid_store.migration.references import References, retarget, rewrite_json
from genid_store.migration.scan import StageScan, scan_stage
from genid_store.migration.summary import write_mapping, write_summary
from genid_store.stages import parent_stage, stage_names

#: The files of a generation in which references are looked for.
DOCUMENTS: Final = (METADATA, RAW_METADATA, PARSED_METADATA)
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
    building = _fresh_folder(root)
    try:
        planning = _Planning(root, scans, number_all(scans), tables, progress)
        return _publish(Plan(root, planning.write(building)), building)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def number_all(scans: dict[str, StageScan]) -> dict[str, Numbered]:
    """Decide about all generations of a store, parents' stages first."""
    numbered: dict[str, Numbered] = {}
    for stage, scan in scans.items():
        above = numbered.get(parent_stage(stage) or "")
        parents = {} if above is None else above.decisions
        numbered[stage] = number_stage(scan.sources, parents, scan.strays)
    return numbered


def _check_tables(tables: tuple[str, ...]) -> None:
    problems = [
        Problem(
            where=table,
            message="it is not the path of a host's table below the data root",
            remedy="give its path from the data root, outside gens/ and .genid/",
        )
        for table in tables
        if not is_inner(table) or table.split("/")[0] in ("gens", ".genid")
    ]
    if problems:
        raise StoreError("a table cannot be rewritten", problems)


def _fresh_folder(root: DataRoot) -> Path:
    folder = plans_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".new-*"):  # by a planning that was killed
        shutil.rmtree(left, ignore_errors=True)
    building = folder / f".new-{secrets.token_hex(4)}"
    building.mkdir()
    return building


def _publish(plan: Plan, building: Path) -> Plan:
    """Give the finished folder its name; where the same plan is there already, keep that."""
    check_inside(plan.root, plan.folder)
    if not plan.path.is_file():
        shutil.rmtree(plan.folder, ignore_errors=True)
        os.rename(building, plan.folder)
        sync_folder(plan.folder.parent)
    return plan


class _Planning:
    """The writing of one plan."""

    def __init__(
        self,
        root: DataRoot,
        scans: dict[str, StageScan],
        numbered: dict[str, Numbered],
        tables: tuple[str, ...],
        progress: Progress | None,
    ) -> None:
        self.root, self.scans, self.numbered, self.progress = root, scans, numbered, progress
        self.mapping = {
            stage: {old: one.new_id for old, one in found.decisions.items() if one.moves}
            for stage, found in numbered.items()
        }
        known = {stage: found.decisions for stage, found in numbered.items()}
        self.files = FilesToPlan(root, self.mapping, known, tables)
        self.totals: Counter[str] = Counter()
        self._notes: list[Record] = []
        self._holder: dict[tuple[int, int], str] = {}  # which generation has a file of many names

    def write(self, folder: Path) -> str:
        """Write the plan's files into `folder` and return the plan's id."""
        writer = PlanWriter(folder / PLAN_FILE)
        writer.write({"kind": "plan", "format": FORMAT, "target": "v1"})
        for record in self._records():
            self.totals[f"{record['kind']}s"] += 1
            writer.write(record)
        names = ("generations", "moves", "keeps", "stays", "merged", "references", "files",
                 "blockers", "rewritten", "need", "size", "names")  # fmt: skip
        writer.write({"kind": "end", **{name: self.totals[name] for name in names}})
        plan_id = writer.close()
        write_mapping(folder, self._decisions())
        write_summary(folder, plan_id, folder / PLAN_FILE)
        return plan_id

    def _decisions(self) -> Iterator[Decision]:
        for found in self.numbered.values():
            yield from found.decisions.values()

    def _records(self) -> Iterator[Record]:
        total = sum(len(scan.sources) for scan in self.scans.values())
        for done, decision in enumerate(self._decisions(), start=1):
            yield self._generation(decision)
            if self.progress is not None:
                self.progress(done, total)
        for stage, scan in self.scans.items():
            yield from (self._stray(stage, name) for name in scan.strays)
            yield from self._about_stage(stage, scan)
        yield from self._notes
        yield from self.files.records()

    def _generation(self, decision: Decision) -> Record:
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
            self._size(entry.fingerprint, rewritten=entry.path in rewrite)
        self.totals[what_becomes(decision.reason, moves=decision.moves)] += 1
        self.totals["references"] += bool(rewrite) and not decision.moves
        return {
            "kind": "generation",
            "stage": source.stage,
            "old": source.gen_id,
            "new": decision.new_id,
            "parent": decision.parent,
            "replicate": decision.replicate,
            "reason": decision.reason,
            "detail": decision.detail,
            "rewrite": rewrite,
            "copies": copies,
            "files": files,
        }

    def _entries(self, place: str) -> list[Entry]:
        try:
            return entries(f"{self.root.path}/{place}", DOCUMENTS)
        except OSError as error:
            where = str(error.filename or place).removeprefix(f"{self.root.path}/")
            message = error.strerror or type(error).__name__
            remedy = "make it readable for this user, so that its content can be verified"
            self._notes.append(blocker(where, message, remedy))
            return []

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
        return rewrite_json(entry.data, self._references(decision)) != entry.data

    def _references(self, decision: Decision) -> References:
        return References(self.mapping, decision.source.stage)

    def _link_changes(self, decision: Decision, path: str, entry: Entry) -> bool:
        """Say whether a symbolic link leads into a folder that moves; metadata that would have to
        change behind one is a blocker."""
        target = entry.fingerprint[1]
        new = retarget(target, path.rpartition("/")[0], str(self.root.path), self.mapping)
        self._notes.append(note("symlink", path, target))
        old = decision.source.parent_gen_id
        follows = old is not None and self._references(decision).new_parent(old) is not None
        if entry.path in ("", METADATA) and (decision.moves or follows):
            message = "metadata that must change lies behind a symbolic link"
            remedy = "replace the link by what it points to, or bind-mount that"
            self._notes.append(blocker(path, message, remedy))
        return bool(entry.path) and new is not None

    def _size(self, fingerprint: Fingerprint, *, rewritten: bool) -> None:
        """Count one file of the new tree, and the bytes that it takes on the disk."""
        size = fingerprint[0] if isinstance(fingerprint[0], int) else 0
        taken = -(-(size + _GROWTH) // _BLOCK) * _BLOCK
        self.totals.update(names=1, size=taken, rewritten=rewritten, need=taken * rewritten)

    def _stray(self, stage: str, name: str) -> Record:
        place = f"gens/{stage}/{name}"
        files = {entry.path: entry.fingerprint for entry in self._entries(place)}
        self._notes.append(note("stray-entry", place, ""))
        for fingerprint in files.values():
            self._size(fingerprint, rewritten=False)
        return {"kind": "stray", "stage": stage, "old": name, "new": name, "files": files}

    def _about_stage(self, stage: str, scan: StageScan) -> Iterator[dict[str, Any]]:
        for group in self.numbered[stage].duplicates:
            yield {"kind": "note", "note": "duplicates", **asdict(group)}
        for names in scan.collisions:
            yield note("case-collision", f"gens/{stage}/{names[0]}", ", ".join(names[1:]))
        for place in (f"gens/{stage}", "gens"):
            if os.path.islink(f"{self.root.path}/{place}"):
                yield blocker(place, "it is a symbolic link", "bind-mount what it points to there")
