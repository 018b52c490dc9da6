"""The plan on disk: `plan.jsonl`, one JSON record a line, named by the digest of its bytes.

Kinds of records, in this order: `plan` (the format), `generation` (every one of the store, moved
or not, with the digests of its files), `file` (membership, manifest and selection files that
change), `note` (what an operator should see), `blocker` (what must be put right first), `end`
(totals). No clock and no path of the machine is in it: the same store gives the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from blake3 import blake3

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.records import Step
from genid_store.stages import PIPELINE

FORMAT: Final = 1
PLAN_FILE: Final = "plan.jsonl"
JOURNAL_FILE: Final = "journal.jsonl"
_ID_LENGTH: Final = 16  # hex digits of the plan's digest that name it
_LAST: Final = 4096  # bytes; the last record is shorter
Record = dict[str, Any]


@frozen
class Plan:
    """A plan that is on disk: its id and the data root that it is for."""

    root: DataRoot
    plan_id: str

    @property
    def folder(self) -> Path:
        return plans_folder(self.root) / self.plan_id

    @property
    def path(self) -> Path:
        return self.folder / PLAN_FILE

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL_FILE

    def records(self, *kinds: str) -> Iterator[Record]:
        """Yield the plan's records of these kinds, in order."""
        wanted = tuple(f'{{"kind":"{kind}",'.encode() for kind in kinds)
        for line in _lines(self.path):
            if line.startswith(wanted):
                yield json.loads(line.decode())

    def steps(self) -> list[Step]:
        """Return what is to do for each generation that moves or has references to change."""
        found = enumerate(self.records("generation"))
        return [
            _step(number, record)
            for number, record in found
            if record["rewrite"] or record["old"] != record["new"]
        ]

    def totals(self) -> Record:
        """Return the plan's last record."""
        with self.path.open("rb") as file:
            file.seek(-min(_LAST, self.path.stat().st_size), os.SEEK_END)
            totals: Record = json.loads(file.read().splitlines()[-1])
        return totals


def plans_folder(root: DataRoot) -> Path:
    return root.own / "migrations"


def mapping_of(steps: Iterable[Step]) -> dict[str, dict[str, str]]:
    """Return stage -> old id -> new id of the generations that move."""
    mapping: dict[str, dict[str, str]] = {stage: {} for stage in PIPELINE}
    for step in steps:
        if step.moves:
            mapping[step.stage][step.old] = step.new
    return mapping


def open_plan(root: DataRoot, plan_id: str) -> Plan:
    """Return the plan of that id, its bytes checked.

    StoreError: there is none, or its file is not what it was when it was written.
    """
    plan = Plan(root, plan_id)
    if not is_segment(plan_id) or not plan.path.is_file():
        known = ", ".join(plan_ids(root)) or "none"
        raise _refused(plan.path, f"there is no such plan (there is: {known})", "name one of them")
    if _digest(_lines(plan.path)) != plan_id:
        remedy = "restore the folder from a backup; a plan that was not begun can be made again"
        raise _refused(plan.path, "the plan's file was changed or cut short", remedy)
    return plan


def plan_ids(root: DataRoot) -> list[str]:
    """Return the ids of all plans of a data root, sorted."""
    folder = plans_folder(root)
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if is_segment(e.name) and e.is_dir())


class PlanWriter:
    """Writes the records of one plan and digests them on the way."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._hasher = blake3()

    def write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        self._hasher.update(line)
        self._file.write(line)

    def close(self) -> str:
        """Bring the plan to disk and return its id."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hasher.hexdigest()[:_ID_LENGTH]


def _step(number: int, record: Record) -> Step:
    return Step(
        number,
        record["stage"],
        record["old"],
        record["new"],
        record["replicate"],
        record["parent"][1],
        tuple(record["rewrite"]),
        tuple(tuple(record["files"][name]) for name in record["rewrite"]),
    )


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _digest(lines: Iterable[bytes]) -> str:
    hasher = blake3()
    for line in lines:
        hasher.update(line)
    return hasher.hexdigest()[:_ID_LENGTH]


def _refused(path: Path, message: str, remedy: str) -> StoreError:
    problem = Problem(where=str(path), message=message, remedy=remedy)
    return StoreError("the migration's plan cannot be used", [problem])
