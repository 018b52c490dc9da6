"""Build the migrated store beside the live one, which is not touched.

What becomes of each place lies under the same path below `aside`: the stages' folders, with every
content file as a second name of the live one (copied where the file system has no hard links), and
the other files that name ids. A build that is killed leaves the live tree as it was; the next one
clears what it left and begins again.

Content is linked, not copied: a text that somebody writes over in place changes under its old name
too, so rolling back keeps what was written last, as for every other change since. Copies would
double a store of years and bring the older text back. A file that two generations share is copied,
because afterwards both of its names are live (it may have been given to one of them by reuse).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, read_bytes
from genid_store.fs.fingerprints import digest
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.migration.id_files import rewrite_file
from genid_store.migration.planfile import Mappings, Plan, Planned, PlannedFile, plans_folder
from genid_store.migration.references import References, retarget, rewrite_json, rewrite_metadata
from genid_store.stages import stage_names

#: The folders of `.genid/` that hold one file for each generation: <stage>/<gen_id>.json.
STATE_FOLDERS: Final = (".genid/failures", ".genid/reused")
_ASIDE: Final = ".genid-"  # begins the name of a folder aside that lies on another file system
_SPARE: Final = 64  # names that a migration needs besides those of its tree

Advance = Callable[[], None]


@frozen(slots=False)
class Work:
    """What a plan comes to, read from its file once.

    `stages` are those in which something changes. `mapping` leads to the new ids; `back` from them,
    for the generations that have their text there. `merged` are the empty slots that become one
    with another generation, as (stage, id).
    """

    plan: Plan
    stages: tuple[str, ...]
    mapping: Mappings
    back: Mappings
    merged: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, plan: Plan) -> Work:
        """Read a plan. StoreError: it was crafted."""
        mapping: Mappings = {stage: {} for stage in stage_names()}
        back: Mappings = {stage: {} for stage in stage_names()}
        changed, merged = set(), set()
        for entry in plan.entries():
            if entry.moves:
                mapping[entry.stage][entry.old] = entry.new
                if not entry.merged:
                    back[entry.stage][entry.new] = entry.old
            if entry.merged:
                merged.add((entry.stage, entry.old))
            if entry.moves or entry.rewrite or entry.merged:
                changed.add(entry.stage)
        stages = tuple(name for name in stage_names() if name in changed)
        return cls(plan, stages, mapping, back, frozenset(merged))

    @cached_property
    def root(self) -> str:
        return str(self.plan.root.path)

    @cached_property
    def places(self) -> list[str]:
        """What changes, but for our own records: paths from the data root."""
        files = [planned.path for planned in self.plan.files()]
        return [f"gens/{stage}" for stage in self.stages] + files

    @cached_property
    def forward(self) -> dict[str, References]:
        return {stage: References(self.mapping, stage) for stage in stage_names()}

    @cached_property
    def elsewhere(self) -> frozenset[str]:
        """The folders of the data root that are not on the file system of `.genid/`."""
        ours = trees.file_system_of(f"{self.root}/.genid")
        return frozenset(
            entry.name
            for entry in os.scandir(self.root)
            if entry.is_dir(follow_symlinks=False) and trees.file_system_of(entry.path) != ours
        )

    def aside(self, path: str) -> str:
        """Return where what becomes of `path` lies, both from the data root: in the migration's
        folder, or, where nothing can be renamed from there, in a folder of its own."""
        top, _, rest = path.partition("/")
        if top in self.elsewhere:
            return f"{top}/{_ASIDE}{self.plan.plan_id}/{rest}"
        return f".genid/migrations/{self.plan.plan_id}/aside/{path}"

    def new_bytes(self, entry: Planned, name: str, data: bytes) -> bytes:
        """Return what a file of a generation becomes."""
        if name == METADATA and entry.moves:
            return rewrite_metadata(
                data,
                self.forward[entry.stage],
                new_id=entry.new,
                replicate=entry.replicate,
                parent=entry.parent,
                plan=self.plan.plan_id,
                old=entry.old,
            )
        return rewrite_json(data, self.forward[entry.stage])

    def new_file(self, planned: PlannedFile, data: bytes) -> bytes:
        """Return what a file outside `gens/` becomes. ValueError: it is not of its form."""
        return rewrite_file(data, planned.what, planned.stage, self.forward[stage_names()[0]])


def build(work: Work, advance: Advance) -> list[str]:
    """Build everything that changes beside the live tree and return the places, from the data root.

    Raises:
        StoreError: a file is not what it was when the plan was made; a place lies behind a symbolic
            link or on a file system of its own.
        OSError: the system refused something. Either way the live tree is untouched.
    """
    _refuse_places(work)
    for stage in work.stages:
        os.makedirs(f"{work.root}/{work.aside(f'gens/{stage}')}")
    for entry in work.plan.entries():
        if entry.stage in work.stages and not entry.merged:
            live = f"{work.root}/gens/{entry.stage}"
            target = f"{work.root}/{work.aside(f'gens/{entry.stage}')}"
            _Mirror(work, entry).make(f"{live}/{entry.old}", f"{target}/{entry.new}")
        if not entry.stray:
            advance()
    for stage in work.stages:
        trees.finish_folder(
            f"{work.root}/{work.aside(f'gens/{stage}')}", f"{work.root}/gens/{stage}"
        )
    for planned in work.plan.files():
        _file(work, planned)
    return [*work.places, *_state_folders(work)]


def clear(root: DataRoot, keep: str | None = None) -> None:
    """Remove what builds and swaps left aside, but for the plan `keep`. OSError: it stays."""
    found = [plans_folder(root) / plan / "aside" for plan in _names(str(plans_folder(root)))]
    for folder in _names(str(root.path)):
        if not os.path.islink(root.path / folder) and os.path.isdir(root.path / folder):
            found += [root.path / folder / name for name in _names(str(root.path / folder))
                      if name.startswith(_ASIDE)]  # fmt: skip
    for path in found:
        if keep is None or keep not in (path.parent.name, path.name.removeprefix(_ASIDE)):
            check_inside(root, path.parent)
            trees.remove_tree(str(path))


def missing_room(plan: Plan) -> Problem | None:
    """Return what is wrong where the disk has not the room that a plan takes, else None."""
    totals = plan.totals()
    links = _can_link(plan)
    need = totals["need" if links else "size"] + os.path.getsize(plan.path)
    names = totals["generations"] + totals["rewritten" if links else "names"] + _SPARE
    for folder in (plan.root.gens, plan.folder):
        if not folder.is_dir():
            continue
        free = os.statvfs(folder)
        room = free.f_bavail * free.f_frsize
        if room < need or (free.f_files > 0 and free.f_favail < names):
            return Problem(
                where=plan.root.relative(folder),
                message=f"the migration takes up to {need} bytes and {names} files",
                value=f"{room} bytes and {free.f_favail} files free",
                remedy="make room; nothing was changed",
            )
    return None


def _can_link(plan: Plan) -> bool:
    probe = f"{plan.folder}/probe"
    trees.remove_tree(probe)
    try:
        os.link(plan.path, probe)
    except OSError as error:
        if error.errno not in trees.NO_LINK:
            raise
        return False
    os.unlink(probe)
    return True


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _refuse_places(work: Work) -> None:
    """Raise StoreError for places that cannot be exchanged."""
    root = work.plan.root
    check_inside(root, *(root.path / place for place in work.places))
    problems = []
    parts = [place.split("/") for place in work.places]
    for folder in sorted({"/".join(one[:at]) for one in parts for at in range(1, len(one) + 1)}):
        path = f"{work.root}/{folder}"
        top = folder.split("/")[0]
        if os.path.islink(path):
            problems.append(Problem(where=folder, message="it is a symbolic link",
                                    remedy="bind-mount what it points to there"))  # fmt: skip
        elif os.path.isdir(path):
            if trees.file_system_of(path) != trees.file_system_of(f"{work.root}/{top}"):
                message = f"it is on another file system than {top}/, and cannot be renamed"
                remedy = f"mount the whole of {top}/ or of the data root"
                problems.append(Problem(where=folder, message=message, remedy=remedy))
            elif not os.access(path, os.W_OK | os.X_OK):
                remedy = "give this user the right to write there"
                message = "the folder cannot be written to"
                problems.append(Problem(where=folder, message=message, remedy=remedy))
    if problems:
        raise StoreError("the store cannot be exchanged for a migrated one", problems)


@frozen
class _Mirror:
    """The making of one generation's new folder."""

    work: Work
    entry: Planned

    def make(self, source: str, target: str, inner: str = "") -> None:
        if os.path.islink(source) or not os.path.isdir(source):
            trees.link_or_copy(source, target)
            return
        os.mkdir(target)
        with os.scandir(source) as scan:
            found = sorted(scan, key=lambda entry: entry.name)
        for child in found:
            name, made = inner + child.name, f"{target}/{child.name}"
            if child.is_dir(follow_symlinks=False):
                self.make(child.path, made, f"{name}/")
            elif name in self.entry.rewrite:
                self._rewrite(child, name, made)
            elif name in self.entry.copies:
                trees.copy(child.path, made)
            else:
                trees.link_or_copy(child.path, made)
        trees.finish_folder(target, source)

    def _rewrite(self, child: os.DirEntry[str], name: str, target: str) -> None:
        status, planned = child.stat(follow_symlinks=False), self.entry.files[name]
        if stat.S_ISLNK(status.st_mode):
            leads_to = os.readlink(child.path)
            folder = f"gens/{self.entry.stage}/{self.entry.old}/{name}".rpartition("/")[0]
            refuse_change(child.path, ("->", leads_to), planned)
            new = retarget(leads_to, folder, self.work.root, self.work.mapping)
            trees.write_link(target, new or leads_to, status)
            return
        data = read_bytes(child.path)
        refuse_change(child.path, digest(data), planned)
        new_bytes = self.work.new_bytes(self.entry, name, data)
        trees.write_like(target, new_bytes, child.path, status)


def refuse_change(path: str, found: object, planned: object) -> None:
    """Raise StoreError where a file is not what it was when the plan was made."""
    if found != planned:
        problem = Problem(
            where=path,
            message="it was changed since the plan was made",
            value=found,
            remedy="stop what writes to the store and try again; nothing was changed",
        )
        raise StoreError("something else writes to the store", [problem])


def _file(work: Work, planned: PlannedFile) -> None:
    path, target = f"{work.root}/{planned.path}", f"{work.root}/{work.aside(planned.path)}"
    os.makedirs(os.path.dirname(target), exist_ok=True)
    data = read_bytes(path)
    refuse_change(planned.path, digest(data), planned.digest)
    trees.write_like(target, work.new_file(planned, data), path, os.stat(path))


def _state_folders(work: Work) -> Iterator[str]:
    """Build our own records of single generations under the new ids; yield those that there are."""
    for folder in STATE_FOLDERS:
        if os.path.isdir(f"{work.root}/{folder}"):
            check_inside(work.plan.root, work.plan.root.path / folder)
            _mirror_records(work, folder)
            yield folder


def _mirror_records(work: Work, folder: str) -> None:
    """Make a state folder again, with the ids replaced in names and documents."""
    target, mapping = f"{work.root}/{work.aside(folder)}", work.mapping
    os.makedirs(target, exist_ok=True)
    for stage in _names(f"{work.root}/{folder}"):
        source = f"{work.root}/{folder}/{stage}"
        os.makedirs(f"{target}/{stage}", exist_ok=True)
        for name in _names(source):
            gen_id = name.removesuffix(".json")
            new = f"{target}/{stage}/{mapping.get(stage, {}).get(gen_id, gen_id)}.json"
            if not is_segment(gen_id) or (stage, gen_id) in work.merged:
                continue  # what an empty slot could not be made of says nothing of the other one
            data = rewrite_json(read_bytes(f"{source}/{name}"), References(mapping, stage))
            trees.write_like(new, data, f"{source}/{name}", os.stat(f"{source}/{name}"))
    shutil.copymode(f"{work.root}/{folder}", target)
