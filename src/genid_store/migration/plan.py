"""Make a plan: read the whole store, decide every new id, write down what will be done.

Writes below `.genid/migrations/` alone. The plan's folder holds `plan.jsonl` (for machines),
`mapping.csv` and `summary.md` (for people).
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from attrs import asdict, frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import guarded, sync_folder
from genid_store.fs.layout import DataRoot
from genid_store.migration.cohort_files import cohort_records, own_records, report_records
from genid_store.migration.describe import Contents
from genid_store.migration.numbering import Numbered, number_stage
from genid_store.migration.planfile import FORMAT, PLAN_FILE, Plan, PlanWriter, Record, plans_folder
from genid_store.migration.records import Decision
from genid_store.migration.references import IdMapping
from genid_store.migration.scan import StageScan, scan_stage
from genid_store.migration.summary import write_mapping, write_summary
from genid_store.stages import PIPELINE, parent_stage

_BLOCK = 4096  # bytes that a file takes at least
_GROWTH = 512  # bytes by which metadata grows at most, or nearly

Progress = Callable[[int, int], None]
Duplicates = Literal["renumber", "fail"]


@frozen
class _Decided:
    """Everything that was decided, by stage."""

    scans: dict[str, StageScan]
    numbered: dict[str, Numbered]

    def decisions(self) -> Iterator[Decision]:
        for stage in PIPELINE:
            yield from self.numbered[stage].decisions.values()

    def mapping(self) -> dict[str, dict[str, str]]:
        return {
            stage: {old: d.new_id for old, d in self.numbered[stage].decisions.items() if d.moves}
            for stage in PIPELINE
        }


def make_plan(
    root: DataRoot, *, duplicates: Duplicates = "renumber", progress: Progress | None = None
) -> Plan:
    """Plan the migration of a whole store to v1 ids; the same store gives the same plan.

    The caller holds the data root's lock.

    Raises:
        StoreError: `duplicates` is "fail" and there are some (all are listed); or the store
            cannot be read or `.genid/` not be written.
    """
    with guarded(root):
        decided = _decide(root)
        if duplicates == "fail":
            _refuse_duplicates(decided)
        building = _fresh_folder(root)
        try:
            plan_id = _write(root, decided, building, progress or (lambda done, total: None))
            return _publish(Plan(root, plan_id), building)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _decide(root: DataRoot) -> _Decided:
    scans = {stage: scan_stage(root, stage) for stage in PIPELINE}
    numbered: dict[str, Numbered] = {}
    for stage, scan in scans.items():
        above = numbered.get(parent_stage(stage) or "")
        parents = {} if above is None else above.decisions
        numbered[stage] = number_stage(scan.sources, parents, scan.strays)
    return _Decided(scans, numbered)


def _refuse_duplicates(decided: _Decided) -> None:
    problems = [
        Problem(
            where=f"gens/{group.stage}/{group.kept}",
            message=f"{1 + len(group.renumbered)} generations claim replicate {group.replicate} "
            f"of {group.task}",
            value=[old for old, _ in group.renumbered],
            remedy="plan without --duplicates fail, and they become further replicates",
        )
        for stage in PIPELINE
        for group in decided.numbered[stage].duplicates
    ]
    if problems:
        raise StoreError("there are duplicates, and nothing was planned", problems)


def _fresh_folder(root: DataRoot) -> Path:
    folder = plans_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for entry in os.scandir(folder):
        if entry.name.startswith(".new-"):  # left by a planning that was killed
            shutil.rmtree(entry.path, ignore_errors=True)
    building = folder / f".new-{secrets.token_hex(4)}"
    building.mkdir()
    return building


def _publish(plan: Plan, building: Path) -> Plan:
    """Give the finished folder its name; where the same plan is there already, keep that."""
    if not plan.path.is_file():
        shutil.rmtree(plan.folder, ignore_errors=True)
        os.rename(building, plan.folder)
        sync_folder(plan.folder.parent)
    return plan


def _write(root: DataRoot, decided: _Decided, folder: Path, progress: Progress) -> str:
    """Write the plan's files into `folder` and return the plan's id."""
    writer = PlanWriter(folder / PLAN_FILE)
    writer.write({"kind": "plan", "format": FORMAT, "target": "v1", "stages": list(PIPELINE)})
    totals = _write_generations(root, decided, writer, progress)
    for record in _about_the_rest(root, decided):
        totals.count(record)
        writer.write(record)
    writer.write(totals.record())
    plan_id = writer.close()
    decisions = list(decided.decisions())
    write_mapping(folder, decisions)
    write_summary(folder, plan_id, folder / PLAN_FILE)
    return plan_id


class _Totals:
    """What the `end` record says: counts, and the bytes that executing takes."""

    def __init__(self) -> None:
        self.generations = self.moves = self.stays = self.references = 0
        self.files = self.blockers = self.need = self.rewritten = 0

    def count(self, record: Record) -> None:
        if record["kind"] == "file":
            self.files += 1
            self.add_need(record["digest"][0])
        self.blockers += record["kind"] == "blocker"

    def add_need(self, size: int) -> None:
        """Count one file that is written anew, and its original: where the file system has no hard
        links it is copied."""
        self.rewritten += 1
        self.need += 2 * -(-(size + _GROWTH) // _BLOCK) * _BLOCK

    def record(self) -> Record:
        return {"kind": "end", **vars(self)}


def _write_generations(
    root: DataRoot, decided: _Decided, writer: PlanWriter, progress: Progress
) -> _Totals:
    totals = _Totals()
    mapping = decided.mapping()
    contents = Contents(root, mapping)
    count = sum(len(scan.sources) for scan in decided.scans.values())
    for decision in decided.decisions():
        record, notes = contents.describe(decision)
        writer.write(record)
        for size in contents.rewritten_sizes(record):
            totals.add_need(size)
        contents.notes.extend(notes)
        totals.generations += 1
        totals.moves += decision.moves
        totals.stays += bool(decision.reason)
        totals.references += bool(record["rewrite"]) and not decision.moves
        progress(totals.generations, count)
    for note in contents.notes:
        totals.count(note)
        writer.write(note)
    return totals


def _about_the_rest(root: DataRoot, decided: _Decided) -> Iterator[Record]:
    """Yield the records of cohorts, selection files, groups, collisions, strays and reports."""
    mapping: IdMapping = decided.mapping()
    known = {stage: decided.numbered[stage].decisions for stage in PIPELINE}
    yield from cohort_records(root, mapping, known)
    for stage in PIPELINE:
        for group in decided.numbered[stage].duplicates:
            yield {"kind": "note", "note": "duplicates", **asdict(group)}
        for names in decided.scans[stage].collisions:
            yield {"kind": "note", "note": "case-collision", "stage": stage, "ids": list(names)}
        for name in decided.scans[stage].strays:
            yield {"kind": "note", "note": "stray-entry", "path": f"gens/{stage}/{name}"}
    yield from report_records(root, mapping)
    yield from own_records(root)
