"""Build the migrated store beside the live one, which is not touched.

The new version of each place is at the same path below `aside`: the stages' folders, with a hard
link to every content file (or a copy, if the file system has no hard links), and the other files
that name ids. A killed build leaves the live tree as it was; the next one removes what is left of
it and starts over.

Content is linked, not copied. If a text is overwritten in place after the migration, it changes
under its old name as well, so a rollback keeps the last version, as it does after any other change.
Copies would double the size of the store, and bring back the older text. Only a file that two
generations share is copied, because both of its names are live afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import product
from operator import itemgetter
from pathlib import Path
from typing import Final

from attrs import field, frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, exists, is_folder, is_link, read_with_status
from genid_store.fs.fingerprints import LINK, below, digest
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.migration.number import Planned
from genid_store.migration.planfile import ASIDE, RECORDS, Plan, batched, plans_folder
from genid_store.migration.references import (
    References,
    retarget,
    rewrite_file,
    rewrite_json,
    rewrite_metadata,
)

_SPARE: Final = 64  # inodes that a migration needs besides those of its tree

Advance = Callable[[], None]


def build(plan: Plan, advance: Advance) -> list[str]:
    """Build everything that changes beside the live tree and return the places, from the data root.

    StoreError: a file was changed since planning. OSError: a step failed. In both cases the live
    tree is untouched.
    """
    stages = plan.work.stages
    for stage in stages:
        os.makedirs(plan.aside(f"gens/{stage}"))
    shared = plan.shared()
    for batch in batched(plan.entries()):
        step = _Step(plan, shared)
        for entry in batch:
            if entry.stage in stages and not entry.merged:
                live, aside = plan.live(f"gens/{entry.stage}"), plan.aside(f"gens/{entry.stage}")
                step.mirror(entry, f"{live}/{entry.old}", f"{aside}/{entry.new}")
            advance()
        step.finish()
    for stage in stages:
        trees.finish_folder(plan.aside(f"gens/{stage}"), plan.live(f"gens/{stage}"))
    for planned in plan.files("file"):
        live, aside = plan.live(planned.path), plan.aside(planned.path)
        trees.make_folders(os.path.dirname(aside))
        data = trees.contents(live)
        _refuse_change(planned.path, digest(data), planned.digest)
        trees.write_like(
            aside, rewrite_file(data, planned.what, plan.work.mapping_in(planned.what)), live
        )
    return [*plan.places(), *carry_records(plan, back=False)]


def clear(root: DataRoot, keep: str | None = None) -> None:
    """Remove the trees that builds and swaps left aside, except those of the plan `keep`. OSError:
    one cannot be removed."""
    for path in (*plans_folder(root).glob("*/aside"), *root.path.glob(f"*/{ASIDE}*")):
        kept = keep in (path.parent.name, path.name.removeprefix(ASIDE))
        if not kept and (path.name == "aside" or not is_link(path.parent)):
            check_inside(root, path.parent)
            trees.remove_tree(str(path))


def missing_room(plan: Plan) -> Problem | None:
    """Return the problem if the disk does not have the room that a plan takes, else None."""
    totals, links = plan.totals(), trees.can_link(str(plan.path))
    need = totals["need" if links else "size"]
    names = totals["generations"] + totals["rewritten" if links else "names"] + _SPARE
    for folder in filter(os.path.isdir, (plan.root.gens, plan.folder)):
        free = os.statvfs(folder)
        room = free.f_bavail * free.f_frsize
        if room < need or (free.f_files > 0 and free.f_favail < names):
            return Problem(
                where=plan.root.relative(folder),
                message=f"the migration takes up to {need} bytes and {names} files",
                value=f"{room} bytes and {free.f_favail} files free",
                remedy="free space on the disk; nothing was changed",
            )
    return None


def migrated(plan: Plan, entry: Planned, name: str, data: bytes, *, is_link: bool) -> bytes:
    """Return the new contents of a file of a generation, or the new target of a link in it."""
    mapping = plan.work.mapping
    if is_link:
        folder = os.path.dirname(f"gens/{entry.stage}/{entry.old}/{name}".rstrip("/"))
        return os.fsencode(retarget(os.fsdecode(data), folder, str(plan.root.path), mapping))
    references = References(mapping, entry.stage, plan.work.members)
    if name == METADATA and not entry.reason:
        return rewrite_metadata(data, references, entry, plan.plan_id)
    return rewrite_json(data, references)


@frozen
class _Step:
    """The building of some entries. Once their folders and links are made, it remains to write
    `rewrites` (entry, name, child, path aside), then to finish `folders` (path aside, path)."""

    plan: Plan
    shared: frozenset[str]  # files that are copied
    rewrites: list[tuple[Planned, str, os.DirEntry[str], str]] = field(factory=list)
    folders: list[tuple[str, str]] = field(factory=list)

    def mirror(self, entry: Planned, source: str, target: str, inner: str = "") -> None:
        """Make an entry's new folder, or the one below `inner`, except the files that change."""
        if "" in entry.files:  # it is not a folder
            if "" in entry.rewrite:  # but a link to one that moves
                data = trees.contents(source)
                _refuse_change(source, LINK + os.fsdecode(data), entry.files[""])
                new = migrated(self.plan, entry, "", data, is_link=True)
                trees.write_like(target, new, source)
            else:
                trees.link_or_copy(source, target)
            return
        os.mkdir(target)
        with os.scandir(source) as scan:
            for child in scan:
                name, made = inner + child.name, f"{target}/{child.name}"
                if child.is_dir(follow_symlinks=False):
                    self.mirror(entry, child.path, made, f"{name}/")
                elif name not in entry.files:
                    raise _changed(child.path, "it appeared since the plan was made")
                elif name in entry.rewrite:
                    self.rewrites.append((entry, name, child, made))
                else:
                    make = trees.copy if child.path in self.shared else trees.link_or_copy
                    make(child.path, made)
        self.folders.append((target, source))

    def finish(self) -> None:
        """Write the files that change, then restore the times of every folder."""
        read = [_read(child) for _, _, child, _ in self.rewrites]
        new = []
        for (entry, name, child, _), (data, _) in zip(self.rewrites, read, strict=True):
            is_link = child.is_symlink()
            is_now = LINK + os.fsdecode(data) if is_link else digest(data)
            _refuse_change(child.path, is_now, entry.files[name])
            new.append(migrated(self.plan, entry, name, data, is_link=is_link))
        for (_, _, child, target), data, (_, like) in zip(self.rewrites, new, read, strict=True):
            trees.write_like(target, data, child.path, like)
        for folder, like_folder in self.folders:
            trees.finish_folder(folder, like_folder)


def _read(child: os.DirEntry[str]) -> tuple[bytes, os.stat_result | None]:
    if child.is_symlink():
        return os.fsencode(os.readlink(child.path)), None
    return read_with_status(child.path)


def _refuse_change(path: str, found: str, planned: str) -> None:
    """Raise StoreError if a file was changed since planning."""
    if found != planned:
        raise _changed(path, "it was changed since the plan was made")


def _changed(path: str, message: str) -> StoreError:
    remedy = "stop what writes to the store and try again; nothing was changed"
    return StoreError.of("something else writes to the store", path, message, remedy)


# -- our own records of single generations ---------------------------------------------------------
def carry_records(plan: Plan, *, back: bool) -> Iterator[str]:
    """Copy our own records of single generations aside, under the ids from after the migration or
    from before it, and other files in their folders unchanged; yield those folders.

    A record aside that is the same but for the ids is kept. Records of merged slots are omitted,
    and kept aside on the way back, because the failure of an empty slot is not one of the other
    generation. StoreError: a symbolic link leads out of the data root.
    """
    work = plan.work
    mapping, other = (work.back, work.mapping) if back else (work.mapping, work.back)
    for folder, stage in product(RECORDS, work.stages):
        place = f"{folder}/{stage}"
        live, aside = plan.live(place), plan.aside(place)
        if not is_folder(live):
            continue
        check_inside(plan.root, Path(live), Path(aside))
        live = os.path.realpath(live)
        trees.make_folders(aside)
        merged = {f"{gen_id}.json" for one, gen_id in work.merged if one == stage}
        stale = {name for name, _ in below(aside) if _is_record(name)} - merged
        for name, entry in sorted(below(live), key=itemgetter(0)):
            if name in merged and not back:
                continue
            data, new = trees.contents(entry.path), name
            if _is_record(name):
                gen_id = name.removesuffix(".json")
                new = f"{mapping[stage].get(gen_id, gen_id)}.json"
            stale.discard(new)
            made = f"{aside}/{new}"
            if exists(made):
                if _rewritten(name, trees.contents(made), References(other, stage)) == data:
                    continue
                trees.remove_tree(made)
            trees.make_folders(os.path.dirname(made))
            new_data = _rewritten(name, data, References(mapping, stage))
            trees.write_like(made, new_data, entry.path)
        for name in stale:
            os.unlink(f"{aside}/{name}")
        trees.finish_folder(aside, live)
        yield place


def _is_record(name: str) -> bool:
    return name.endswith(".json") and is_segment(name)


def _rewritten(name: str, data: bytes, references: References) -> bytes:
    return rewrite_json(data, references) if _is_record(name) else data
