"""The plan on disk: `plan.jsonl`, one JSON record a line, named by the digest of its bytes.

Kinds of records, in this order: `plan` (the format), `generation` (every one of the store, with the
digests of its files), `stray` (other entries of the stages' folders), then `note` (for an operator
to see), `blocker` (what must be fixed first), `file` (memberships, manifests, selections and tables
that change) and `seen` (those that do not), and `end` (totals). Empty values are omitted. It
contains no time and no absolute path: the same store gives the same bytes. A plan could be crafted,
so every path in it is checked on reading.
"""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import field, frozen
from blake3 import blake3

from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.fs.files import exists, is_file, write_lines
from genid_store.fs.jsonfile import load_json, load_own
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.number import Planned
from genid_store.migration.references import Mappings
from genid_store.stages import stage_names

FORMAT: Final = 8
SHARED: Final = "shared-file"  # the note of a file that another generation links to as well
PLAN_FILE: Final = "plan.jsonl"
#: Prefix of a folder aside that is on another file system than `.genid/`.
ASIDE: Final = ".genid-"
#: The folders of `.genid/` that hold our record of one generation each: <stage>/<gen_id>.json.
RECORDS: Final = (".genid/failures", ".genid/reused")
_ID_LENGTH: Final = 16  # hex digits of the plan's digest that name it
_BATCH: Final = 256  # entries; few enough to hold their metadata in memory
_LAST: Final = 4096  # bytes; more than the last record takes
#: A relative path without `.` or `..`.
_INNER: Final = re.compile(r"(?:(?!\.{1,2}(?:/|\Z))[^/\0]+/)*(?!\.{1,2}\Z)[^/\0]+")
_REMEDY: Final = "restore the folder from a backup; a plan that was not begun can be made again"
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
Record = dict[str, Any]
Item = TypeVar("Item")
Read = TypeVar("Read", "Planned", "PlannedFile")


@frozen(kw_only=True)
class PlannedFile:
    """A file outside `gens/` that may name ids. `what` is `membership`, `manifest`, `table`, or a
    selection's stage; the `kind` is `file` if it changes, else `seen`."""

    kind: str
    path: str
    what: str
    digest: str


@frozen
class Work:
    """A plan in short: the stages in which something changes, the new id of each old one and back,
    the new id that members get instead (`Planned.named`), and the (stage, id) of merged slots, to
    which no new id leads back."""

    stages: tuple[str, ...]
    mapping: Mappings
    back: Mappings
    members: Mappings
    merged: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, entries: Iterable[Planned]) -> Work:
        mapping, back, members = (
            {stage: dict[str, str]() for stage in stage_names()} for _ in range(3)
        )
        changed, merged = set(), set()
        for entry in entries:
            if entry.moves:
                mapping[entry.stage][entry.old] = entry.new
            if entry.moves or entry.named:
                members[entry.stage][entry.old] = entry.named or entry.new
            if entry.merged:
                merged.add((entry.stage, entry.old))
            elif entry.moves:
                back[entry.stage][entry.new] = entry.old
            if entry.moves or entry.rewrite or entry.merged:
                changed.add(entry.stage)
        stages = tuple(name for name in stage_names() if name in changed)
        return cls(stages, mapping, back, members, frozenset(merged))

    def mapping_in(self, what: str) -> Mappings:
        """Return the new ids as a file of this kind (`PlannedFile.what`) gets them."""
        names_members = what == "membership" or what in self.mapping
        return self.members if names_members else self.mapping


@frozen(slots=False)
class Plan:
    """A plan on disk: its data root and its id.

    `stamps` are the `fs.fingerprints.stamp` of each file of its entries, in order, taken with the
    digests; `decided` is its `work`. Only the process that made the plan has the two.
    """

    root: DataRoot
    plan_id: str
    stamps: array[int] = field(factory=lambda: array("q"), eq=False, repr=False)
    decided: Work | None = field(default=None, eq=False, repr=False)

    @cached_property
    def folder(self) -> Path:
        return plans_folder(self.root) / self.plan_id

    @cached_property
    def path(self) -> Path:
        return self.folder / PLAN_FILE

    @cached_property
    def work(self) -> Work:
        """The plan in short. StoreError: as `entries`."""
        return self.decided or Work.of(self.entries())

    def records(self, *kinds: str) -> Iterator[Record]:
        """Yield the plan's records of these kinds, unchecked, in order."""
        wanted = tuple(f'{{"kind":"{kind}",'.encode() for kind in kinds)
        with self.path.open("rb") as file:
            for line in file:
                if line.startswith(wanted):
                    yield load_own(line)

    def entries(self) -> Iterator[Planned]:
        """Yield every generation, then every other entry of the stages' folders.

        StoreError: a record is malformed, or a name or path in it leads out of its folder.
        """
        return self._read(Planned, "generation", "stray")

    def files(self, *kinds: str) -> Iterator[PlannedFile]:
        """Yield the files outside `gens/` of these kinds (`file`, `seen`). StoreError: as above."""
        return (one for one in self._files if one.kind in kinds)

    @cached_property
    def _files(self) -> list[PlannedFile]:
        return list(self._read(PlannedFile, "file", "seen"))

    def shared(self) -> frozenset[str]:
        """Return the full paths of the files that are hard links to another generation's."""
        notes = (one for one in self.records("note") if one["note"] == SHARED)
        return frozenset(self.live(one["path"]) for one in notes)

    def totals(self) -> Record:
        """Return the plan's last record."""
        with self.path.open("rb") as file:
            file.seek(-min(_LAST, self.path.stat().st_size), os.SEEK_END)
            totals: Record = load_json(file.read().splitlines()[-1])
        return totals

    def has_work(self) -> bool:
        """Return whether carrying it out would change anything."""
        totals = self.totals()
        return any(totals[name] for name in ("moves", "merged", "references", "files"))

    def places(self) -> list[str]:
        """Return the paths from the data root that change, except those of our own records."""
        files = [planned.path for planned in self.files("file")]
        return [f"gens/{stage}" for stage in self.work.stages] + files

    def live(self, path: str) -> str:
        """Return the full path of `path`, which is relative to the data root."""
        return f"{self.root.path}/{path}"

    def aside(self, path: str) -> str:
        """Return the full path of the other version of `path`: in the migration's folder, or, if
        it cannot be renamed from there, in a folder of its own on the same file system."""
        top, _, rest = path.partition("/")
        if top in self._elsewhere:
            return self.live(f"{top}/{ASIDE}{self.plan_id}/{rest}")
        return f"{self.folder}/aside/{path}"

    @cached_property
    def _elsewhere(self) -> frozenset[str]:
        """The folders of the data root that have, or need, a folder aside of their own, because
        they are not on the file system of `.genid/`."""
        ours = trees.file_system_of(self.live(".genid"))
        return frozenset(
            entry.name
            for entry in os.scandir(self.root.path)
            if entry.is_dir(follow_symlinks=False)
            and (
                exists(f"{entry.path}/{ASIDE}{self.plan_id}")
                or trees.file_system_of(entry.path) != ours
            )
        )

    def _read(self, record: type[Read], *kinds: str) -> Iterator[Read]:
        for document in self.records(*kinds):
            try:
                read = record(**document)
                safe = _is_safe(read)
            except (TypeError, ValueError, AttributeError) as error:
                raise _refused(self.path, f"a record is malformed: {error}") from error
            if not safe:
                raise _refused(self.path, "a name or path in it leads out of its folder")
            yield read


def _is_safe(read: Planned | PlannedFile) -> bool:
    """Return whether all names and paths in a record stay within their folders."""
    if isinstance(read, PlannedFile):
        return is_a_hosts(read.path)
    return (
        read.stage in stage_names()
        and type(read.rewrite) in (list, tuple)
        and {type(read.old), type(read.new), type(read.named or "")} == {str}
        and "/" not in f"{read.old}{read.new}{read.named or ''}"
        and is_inner(f"{read.old}/{read.new}/{read.named or 'none'}")
        and all(map(_is_place, read.files))
    )


def batched(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield lists of items: doing one step for many files and then the next takes half the time of
    doing all steps for one file after another."""
    left = iter(items)
    while batch := list(islice(left, _BATCH)):
        yield batch


def is_inner(path: object) -> bool:
    """Return whether a value is a relative path that stays below its folder."""
    return type(path) is str and _INNER.fullmatch(path) is not None


@lru_cache(maxsize=256)  # most generations have files of the same names
def _is_place(name: str) -> bool:
    return name == "" or is_inner(name)


def is_a_hosts(path: str) -> bool:
    """Return whether a path from the data root can be one of the host's files."""
    return is_inner(path) and path.partition("/")[0] not in (".genid", "gens")


def plans_folder(root: DataRoot) -> Path:
    return root.own / "migrations"


# -- writing ---------------------------------------------------------------------------------------
def note(kind: str, path: str, detail: str) -> Record:
    """Return the record of something that an operator should see."""
    return {"kind": "note", "note": kind, "path": path, "detail": detail}


def blocker(path: str, message: str, remedy: str) -> Record:
    """Return the record of what must be fixed before a plan can be carried out."""
    return {"kind": "blocker", "path": path, "message": message, "remedy": remedy}


def write_plan(folder: Path, records: Iterable[Record]) -> str:
    """Write the records of a plan durably and return the plan's id."""
    write_lines(folder / PLAN_FILE, (_ENCODER.encode(one).encode() + b"\n" for one in records))
    return _digest(folder / PLAN_FILE)


def open_plan(root: DataRoot, plan_id: str) -> Plan:
    """Return the plan of that id, its bytes checked.

    StoreError: there is none, its file was changed, or it has another format.
    """
    plan = Plan(root, plan_id)
    if not is_file(plan.path):
        raise _refused(plan.path, "the plan's file is missing")
    if _digest(plan.path) != plan_id:
        raise _refused(plan.path, "the plan's file was changed or cut short")
    first = next(plan.records("plan"), {})
    if (form := first.get("format")) != FORMAT:
        message = f"it has format {form!r}, and this genid reads format {FORMAT}"
        # Not the version alone: two checkouts of one version may have different formats.
        maker = f"version {first.get('genid', 'unknown')}, format {form!r}"
        remedy = f"resume, roll back or finish it with the genid that made it ({maker})"
        raise _refused(plan.path, message, remedy)
    return plan


def plan_ids(root: DataRoot) -> list[str]:
    """Return the ids of all plans of a data root, sorted."""
    try:
        return sorted(filter(is_segment, os.listdir(plans_folder(root))))
    except FileNotFoundError:
        return []


def _digest(path: Path) -> str:
    return blake3().update_mmap(path).hexdigest()[:_ID_LENGTH]


def _refused(path: Path, message: str, remedy: str = _REMEDY) -> StoreError:
    return StoreError.of("the migration's plan cannot be used", str(path), message, remedy)
