"""What rolling back takes along: everything that was made or changed since the migration.

The former tree lies aside and takes the live one's place again. Before that it is given, from the
live tree, each generation, text, membership and record that is not what the migration left there,
with ids led back to those from before. What was made since keeps its own id. Where a file was
changed since, the change goes along and the former version is kept in the migration's folder, below
`kept/`. All of that happens aside: a kill leaves the live tree as it was, and doing it again comes
to the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from genid_store.fs import trees
from genid_store.fs.files import check_inside, exists, is_file, is_folder, is_link
from genid_store.fs.fingerprints import digest, entries, fingerprint
from genid_store.fs.layout import METADATA
from genid_store.migration.build import Advance, carry_records, migrated
from genid_store.migration.number import Planned
from genid_store.migration.plan import DOCUMENTS
from genid_store.migration.planfile import Plan
from genid_store.migration.references import (
    References,
    restore_metadata,
    rewrite_file,
    rewrite_json,
)
from genid_store.migration.scan import candidates

KEPT: Final = "kept"
MADE: Final = "made since the migration"
CHANGED: Final = "changed since the migration; the former version is kept"
IN_PLACE: Final = "written over in place since the migration; it stays as it is now"
REMOVED: Final = "removed since the migration; it is there again"
AGAIN: Final = "made again under an id from before; what differs is kept"
#: A path from the data root, and what has become of it since the migration.
Carried = tuple[str, str]


@frozen
class CarryingBack:
    """The filling up of the former tree, which lies aside; `carried` says what was taken along."""

    plan: Plan
    carried: list[Carried] = field(factory=list)

    def run(self, advance: Advance) -> list[str]:
        """Take along what is new and return the further places that change.

        StoreError: a symbolic link leads out of the data root. OSError: the system refused a step.
        """
        plan = self.plan
        new = {stage: set(os.listdir(plan.live(f"gens/{stage}"))) for stage in plan.work.stages}
        self._check(*(plan.aside(f"gens/{stage}") for stage in new))
        for entry in plan.entries():
            if entry.stage in new and not entry.merged:
                new[entry.stage].discard(entry.new)
                self._planned(entry)
            advance()
        for stage, names in new.items():
            for name in sorted(names):
                self._made(Planned(stage=stage, old=name, new=name))
        return [*carry_records(plan, back=True), *self._files()]

    def _planned(self, entry: Planned) -> None:
        """Take along what was added to a generation of the plan, or changed in it."""
        live, former, place = self._places(entry)
        if not exists(live):
            self.carried.append((place, REMOVED))
            return
        if "" in entry.files or not is_folder(live) or is_link(live):
            if fingerprint(live) != entry.files.get(""):
                self._keep(live, place)
            return
        found = {one.path: one.fingerprint for one in entries(live)}
        for name in sorted(entry.files.keys() - found.keys()):
            self.carried.append((f"{place}/{name}", REMOVED))
        for name, is_now in found.items():
            source, target = f"{live}/{name}", f"{former}/{name}"
            what = self._change(entry, name, is_now, source, target)
            if what is not None:
                self.carried.append((f"{place}/{name}", what))
            if what in (CHANGED, MADE):
                if exists(target):
                    self._keep(target, f"gens/{entry.stage}/{entry.old}/{name}", move=True)
                self._add(entry, name, source, target)

    def _change(self, entry: Planned, name: str, is_now: str, live: str, former: str) -> str | None:
        """Return what was done to a file since the migration; None: nothing."""
        if not exists(former):
            return CHANGED if name in entry.files else MADE
        if name in entry.rewrite:
            linked = is_link(former)
            expected = migrated(self.plan, entry, name, trees.contents(former), is_link=linked)
            is_same = is_link(live) == linked and trees.contents(live) == expected
            return None if is_same else CHANGED
        if os.path.samestat(os.lstat(live), os.lstat(former)):
            return IN_PLACE if is_now != entry.files.get(name, is_now) else None
        return None if is_now == fingerprint(former) else CHANGED

    def _made(self, entry: Planned) -> None:
        """Take along a generation, or another entry, that the migration did not leave there."""
        live, former, place = self._places(entry)
        self.carried.append((place, AGAIN if exists(former) else MADE))
        for one in entries(live):
            source, target = f"{live}/{one.path}".rstrip("/"), f"{former}/{one.path}".rstrip("/")
            if exists(target):
                self._keep(source, f"again/{entry.stage}/{entry.old}/{one.path}".rstrip("/"))
            else:
                self._add(entry, one.path, source, target)
        if not exists(former):
            os.mkdir(former)  # a folder without a file
            trees.finish_folder(former, live)

    def _places(self, entry: Planned) -> tuple[str, str, str]:
        """Return where a generation is, where its former version is, and the path from the data
        root under which the store that is given back has it."""
        now, former = f"gens/{entry.stage}/{entry.new}", f"gens/{entry.stage}/{entry.old}"
        return self.plan.live(now), self.plan.aside(former), former

    def _add(self, entry: Planned, name: str, source: str, target: str) -> None:
        """Give the former tree a file of the live one, its ids led back."""
        self._folders(source, target, name.count("/"))
        if is_link(source) or name not in DOCUMENTS:
            trees.link_or_copy(source, target)
            return
        data, back = trees.contents(source), References(self.plan.work.back, entry.stage)
        kept = self._kept(f"gens/{entry.stage}/{entry.old}/{name}")
        if name == METADATA and entry.moves and is_file(kept):
            new = restore_metadata(data, back, trees.contents(kept))
        else:
            new = rewrite_json(data, back)
        trees.write_like(target, new, source)

    def _folders(self, source: str, target: str, depth: int) -> None:
        """Make the folders that a file lies in, as deep as `depth` below its generation's."""
        folder, like = os.path.dirname(target), os.path.dirname(source)
        if depth:
            self._folders(like, folder, depth - 1)
        if not exists(folder):
            os.mkdir(folder)
            trees.finish_folder(folder, like)
        self._check(folder)

    def _kept(self, name: str) -> str:
        return f"{self.plan.folder}/{KEPT}/{name}"

    def _keep(self, path: str, name: str, *, move: bool = False) -> None:
        """Keep a version in the migration's folder; the first one that was kept stays."""
        kept = self._kept(name)
        self._check(os.path.dirname(kept), os.path.dirname(path))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        if not exists(kept):
            (trees.move if move else trees.link_or_copy)(path, kept)
        elif move:
            os.unlink(path)

    def _check(self, *paths: str) -> None:
        root = self.plan.root
        check_inside(root, *(root.path / path for path in paths))

    def _files(self) -> Iterator[str]:
        """Lead the ids in the other files back; yield those that the migration did not change."""
        plan, work = self.plan, self.plan.work
        planned = {one.path: one for one in plan.files("file", "seen")}
        tables = [one.path for one in planned.values() if one.what == "table"]
        for path, what in candidates(plan.root, tables).items():
            live, former, before = plan.live(path), plan.aside(path), planned.get(path)
            changes = before is not None and before.kind == "file"
            if not is_file(live):
                if changes:
                    self.carried.append((path, REMOVED))
                continue
            self._check(os.path.dirname(former))
            data = trees.contents(live)
            if before is not None and not changes and before.digest == digest(data):
                continue
            if changes and exists(former):
                if rewrite_file(trees.contents(former), what, work.mapping) == data:
                    continue
                self.carried.append((path, CHANGED))
                self._keep(former, path, move=True)
            try:
                new = rewrite_file(data, what, work.back)
            except ValueError:
                new = data  # nothing in it can be led back: it stays as somebody has left it
            if changes or new != data:
                os.makedirs(os.path.dirname(former), exist_ok=True)
                trees.remove_tree(former)
                trees.write_like(former, new, live)
            if new != data and not changes:
                self.carried.append((path, MADE))
                yield path
