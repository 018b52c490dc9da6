"""The plan on disk: `plan.jsonl`, one JSON record a line, named by the digest of its bytes.

Kinds of records, in this order: `plan` (the format), `generation` (every one of the store, with the
digests of its files), `stray` (other entries of the stages' folders), `file` (memberships,
manifests, selections and tables that change), `seen` (those that do not), `note` (what an operator
should see), `blocker` (what
must be fixed first), `end` (totals). No clock and no path of the machine is in it: the same store
gives the same bytes. A plan may be crafted, so every path in it is checked where it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from blake3 import blake3

from genid_store.errors import Problem, StoreError
from genid_store.fs.fingerprints import Fingerprint
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.number import EMPTY_SLOT
from genid_store.stages import stage_names

FORMAT: Final = 2
PLAN_FILE: Final = "plan.jsonl"
_ID_LENGTH: Final = 16  # hex digits of the plan's digest that name it
_LAST: Final = 4096  # bytes; the last record is shorter
Record = dict[str, Any]
#: stage -> old id -> new id, of the generations found under another id; every stage is there
Mappings = dict[str, dict[str, str]]


@frozen(kw_only=True)
class Planned:
    """One generation of a plan, or another entry of a stage's folder (`stray`).

    `rewrite` names its files whose references change, from its folder; `copies` those that share
    an inode with another generation's; `files` has the fingerprint of each.
    """

    stage: str
    old: str
    new: str
    parent: str | None = None
    replicate: int | None = None
    reason: str = ""
    rewrite: frozenset[str] = frozenset()
    copies: frozenset[str] = frozenset()
    files: Mapping[str, Fingerprint]
    stray: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is found under another id afterwards."""
        return self.old != self.new

    @property
    def merged(self) -> bool:
        """Whether it is an empty slot that becomes one with another generation."""
        return self.reason == EMPTY_SLOT


@frozen
class PlannedFile:
    """A file outside `gens/` that names ids: its path from the data root, and how it is read
    (`membership`, `manifest`, `selection` of `stage`, or `table`)."""

    path: str
    what: str
    stage: str
    digest: Fingerprint


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

    def records(self, *kinds: str) -> Iterator[Record]:
        """Yield the plan's records of these kinds, in order, as they are written."""
        wanted = tuple(f'{{"kind":"{kind}",'.encode() for kind in kinds)
        with self.path.open("rb") as file:
            for line in file:
                if line.startswith(wanted):
                    yield json.loads(line.decode())

    def entries(self) -> Iterator[Planned]:
        """Yield every generation, then every other entry of the stages' folders.

        StoreError: a name or path in the plan cannot be one.
        """
        for record in self.records("generation", "stray"):
            try:
                entry = self._planned(record)
            except (KeyError, TypeError, AttributeError) as error:
                raise _refused(self.path, f"a record lacks what it must have: {error}") from error
            yield entry

    def files(self) -> Iterator[PlannedFile]:
        """Yield the files outside `gens/` that change. StoreError: a path cannot be one."""
        for record in self.records("file"):
            if not is_inner(record["path"]) or record["path"].startswith((".genid", "gens/")):
                raise _refused(self.path, "a path is not a file's below the data root")
            yield PlannedFile(
                record["path"], record["what"], record["stage"], tuple(record["digest"])
            )

    def seen(self) -> dict[str, Fingerprint]:
        """Return the digests of the files that name no id that changes."""
        return {record["path"]: tuple(record["digest"]) for record in self.records("seen")}

    def totals(self) -> Record:
        """Return the plan's last record."""
        with self.path.open("rb") as file:
            file.seek(-min(_LAST, self.path.stat().st_size), os.SEEK_END)
            totals: Record = json.loads(file.read().splitlines()[-1])
        return totals

    def _planned(self, record: Record) -> Planned:
        stray = record["kind"] == "stray"
        names = (record["old"], record["new"])
        safe = all(is_inner(name) and "/" not in name if stray else is_segment(name)
                   for name in names)  # fmt: skip
        if record["stage"] not in stage_names() or not safe:
            raise _refused(self.path, "a name is not a generation's")
        files = {name: tuple(found) for name, found in record["files"].items()}
        if not all(name == "" or is_inner(name) for name in files):
            raise _refused(self.path, "a path is not a file's of a generation")
        return Planned(
            stage=record["stage"],
            old=record["old"],
            new=record["new"],
            parent=record.get("parent"),
            replicate=record.get("replicate"),
            reason=record.get("reason", ""),
            rewrite=frozenset(record.get("rewrite", ())),
            copies=frozenset(record.get("copies", ())),
            files=files,
            stray=stray,
        )


def what_becomes(reason: str, *, moves: bool) -> str:
    """Return what becomes of a generation: it moves, keeps its id, stays, or is merged."""
    if reason == EMPTY_SLOT:
        return "merged"
    if reason:
        return "stays"
    return "moves" if moves else "keeps"


def is_inner(path: object) -> bool:
    """Say whether a text is a path that leads down from a folder and nowhere else."""
    return type(path) is str and not {"", ".", ".."} & set(path.split("/")) and "\0" not in path


def plans_folder(root: DataRoot) -> Path:
    return root.own / "migrations"


def open_plan(root: DataRoot, plan_id: str) -> Plan:
    """Return the plan of that id, its bytes checked.

    StoreError: there is none, or its file is not what it was when it was written.
    """
    plan = Plan(root, plan_id)
    if not is_segment(plan_id) or not plan.path.is_file():
        known = ", ".join(plan_ids(root)) or "none"
        raise _refused(plan.path, f"there is no such plan (there is: {known})", "name one of them")
    hasher = blake3()
    hasher.update_mmap(plan.path)
    if hasher.hexdigest()[:_ID_LENGTH] != plan_id:
        raise _refused(plan.path, "the plan's file was changed or cut short")
    return plan


def plan_ids(root: DataRoot) -> list[str]:
    """Return the ids of all plans of a data root, sorted."""
    try:
        with os.scandir(plans_folder(root)) as found:
            return sorted(entry.name for entry in found if is_segment(entry.name))
    except FileNotFoundError:
        return []


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


def _refused(
    path: Path,
    message: str,
    remedy: str = "restore the folder from a backup; a plan that was not begun can be made again",
) -> StoreError:
    problem = Problem(where=str(path), message=message, remedy=remedy)
    return StoreError("the migration's plan cannot be used", [problem])
