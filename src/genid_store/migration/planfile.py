"""The plan on disk: `plan.jsonl`, one JSON record a line, named by the digest of its bytes.

Kinds of records, in this order: `plan` (the format), `generation` (every one of the store, with the
digests of its files), `stray` (other entries of the stages' folders), then `note` (what an operator
should see), `blocker` (what must be fixed first), `file` (memberships, manifests, selections and
tables that change) and `seen` (those that do not), and `end` (totals). No clock and no path of the
machine is in it: the same store gives the same bytes. A plan may be crafted, so every path in it is
checked where it is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import frozen
from blake3 import blake3

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import write_lines
from genid_store.fs.jsonfile import load_json, load_own
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.stages import stage_names

FORMAT: Final = 4
PLAN_FILE: Final = "plan.jsonl"
#: Begins the name of a folder aside that lies on another file system than `.genid/`.
ASIDE: Final = ".genid-"
_ID_LENGTH: Final = 16  # hex digits of the plan's digest that name it
_LAST: Final = 4096  # bytes; the last record is shorter
#: Names with `/` between them, none of them `.` or `..`.
_INNER: Final = re.compile(r"(?:(?!\.{1,2}(?:/|\Z))[^/\0]+/)*(?!\.{1,2}\Z)[^/\0]+")
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
Record = dict[str, Any]
#: stage -> old id -> new id, of the generations found under another id; every stage is there
Mappings = Mapping[str, dict[str, str]]
Read = TypeVar("Read", "Planned", "PlannedFile")


@frozen(kw_only=True, slots=False)  # slots make a frozen record twice as slow to make
class Planned:
    """One generation of a plan, or another entry of a stage's folder (`kind` is `stray`).

    `what` becomes of it: it `moves`, `keeps` its id, `stays` for a `reason`, or is an empty slot
    that is `merged` with another generation. `rewrite` names its files whose references change,
    from its folder; `copies` those that share an inode with another generation's; `files` has the
    fingerprint of each.
    """

    kind: str
    stage: str
    old: str
    new: str
    files: Mapping[str, str]
    what: str = "keeps"
    parent: str | None = None
    replicate: int | None = None
    reason: str = ""
    detail: str = ""
    rewrite: Sequence[str] = ()
    copies: Sequence[str] = ()

    @property
    def moves(self) -> bool:
        """Whether it is found under another id afterwards."""
        return self.old != self.new

    @property
    def merged(self) -> bool:
        return self.what == "merged"

    def is_safe(self) -> bool:
        """Say whether no name or path in it leads anywhere else."""
        return (
            self.stage in stage_names()
            and {type(self.rewrite), type(self.copies)} <= {list, tuple}
            and all(is_inner(name) and "/" not in name for name in (self.old, self.new))
            and all(map(_is_place, self.files))
        )


@frozen(kw_only=True)
class PlannedFile:
    """A file outside `gens/` that may name ids: its path from the data root, and how it is read
    (`membership`, `manifest`, `table`, or a selection's stage); one that is `seen` stays."""

    kind: str
    path: str
    what: str
    digest: str

    def is_safe(self) -> bool:
        """Say whether its path leads to a file of the host's below the data root."""
        return is_a_hosts(self.path)


@frozen(slots=False)
class Plan:
    """A plan that is on disk: its id and the data root that it is for."""

    root: DataRoot
    plan_id: str

    @cached_property
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
                    yield load_own(line)

    def entries(self) -> Iterator[Planned]:
        """Yield every generation, then every other entry of the stages' folders.

        StoreError: a record is not one, or a name or path in it cannot be.
        """
        return self._read(Planned, "generation", "stray")

    def files(self, *kinds: str) -> Iterator[PlannedFile]:
        """Yield the files outside `gens/` of these kinds (`file`, `seen`). StoreError: as above."""
        return self._read(PlannedFile, *kinds)

    def totals(self) -> Record:
        """Return the plan's last record."""
        with self.path.open("rb") as file:
            file.seek(-min(_LAST, self.path.stat().st_size), os.SEEK_END)
            totals: Record = load_json(file.read().splitlines()[-1])
        return totals

    def has_work(self) -> bool:
        """Say whether carrying it out would change anything."""
        totals = self.totals()
        return any(totals[name] for name in ("moves", "merged", "references", "files"))

    def live(self, path: str) -> str:
        """Return the full path of what lies at `path` from the data root."""
        return f"{self.root.path}/{path}"

    def aside(self, path: str) -> str:
        """Return the full path of where the other version of `path` lies: in the migration's
        folder, or, where nothing can be renamed from there, in a folder of its own."""
        top, _, rest = path.partition("/")
        if top in self._elsewhere:
            return self.live(f"{top}/{ASIDE}{self.plan_id}/{rest}")
        return f"{self.folder}/aside/{path}"

    @cached_property
    def _elsewhere(self) -> frozenset[str]:
        """The folders of the data root that have a folder aside of their own, or need one, as they
        are not on the file system of `.genid/`."""
        ours = trees.file_system_of(self.live(".genid"))
        return frozenset(
            entry.name
            for entry in os.scandir(self.root.path)
            if entry.is_dir(follow_symlinks=False)
            and (
                os.path.lexists(f"{entry.path}/{ASIDE}{self.plan_id}")
                or trees.file_system_of(entry.path) != ours
            )
        )

    def _read(self, record: type[Read], *kinds: str) -> Iterator[Read]:
        for found in self.records(*kinds):
            try:
                read = record(**found)
                safe = read.is_safe()
            except (TypeError, ValueError, AttributeError) as error:
                raise _refused(self.path, f"a record is not one: {error}") from error
            if not safe:
                raise _refused(self.path, "a name or path in it cannot be one of a data root")
            yield read


def is_inner(path: object) -> bool:
    """Say whether a text is a path that leads down from a folder and nowhere else."""
    return type(path) is str and _INNER.fullmatch(path) is not None


@lru_cache(maxsize=256)  # most generations have files of the same names
def _is_place(name: str) -> bool:
    return name == "" or is_inner(name)


def is_a_hosts(path: str) -> bool:
    """Say whether a path from the data root can be that of a file of the host's."""
    return is_inner(path) and path.partition("/")[0] not in (".genid", "gens")


def plans_folder(root: DataRoot) -> Path:
    return root.own / "migrations"


def write_plan(folder: Path, records: Iterable[Record]) -> str:
    """Write the records of a plan, on disk on return, and return the plan's id."""
    hasher = blake3()

    def lines() -> Iterator[bytes]:
        for record in records:
            line = _ENCODER.encode(record).encode() + b"\n"
            hasher.update(line)
            yield line

    write_lines(folder / PLAN_FILE, lines())
    return hasher.hexdigest()[:_ID_LENGTH]


def open_plan(root: DataRoot, plan_id: str) -> Plan:
    """Return the plan of that id, its bytes checked.

    StoreError: there is none, or its file is not what it was when it was written.
    """
    plan = Plan(root, plan_id)
    if not plan.path.is_file():
        raise _refused(plan.path, "the plan's file is missing")
    if blake3().update_mmap(plan.path).hexdigest()[:_ID_LENGTH] != plan_id:
        raise _refused(plan.path, "the plan's file was changed or cut short")
    return plan


def plan_ids(root: DataRoot) -> list[str]:
    """Return the ids of all plans of a data root, sorted."""
    try:
        return sorted(filter(is_segment, os.listdir(plans_folder(root))))
    except FileNotFoundError:
        return []


def _refused(path: Path, message: str) -> StoreError:
    remedy = "restore the folder from a backup; a plan that was not begun can be made again"
    problem = Problem(where=str(path), message=message, remedy=remedy)
    return StoreError("the migration's plan cannot be used", [problem])
