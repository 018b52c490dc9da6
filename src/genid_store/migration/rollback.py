"""Carry everything that was made or changed since the migration back to the former tree.

The former tree is aside and becomes live again. Before that, every generation, text, membership and
record of the live tree that differs from what the migration left there is added to it, with the ids
from before. What was made since keeps its own id. The former version of a file that was changed
since is kept in the migration's folder, below `kept/`. All of this happens aside: a kill leaves the
live tree as it was, and repeating it gives the same result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import field, frozen

from genid_store.fs import trees
from genid_store.fs.files import check_inside, exists, is_file, is_folder, is_link
from genid_store.fs.fingerprints import Entry, digest, entries, fingerprint
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
#: A path from the data root, and what happened to it since the migration.
Carried = tuple[str, str]


@frozen
class CarryingBack:
    """The completion of the former tree, which is aside; `carried` lists what happened since."""

    plan: Plan
    carried: list[Carried] = field(factory=list)

    def run(self, advance: Advance) -> list[str]:
        """Carry along what is new and return the further places that change.

        StoreError: a symbolic link leads out of the data root. OSError: a step failed.
        """
        plan = self.plan
        made = {stage: set(os.listdir(plan.live(f"gens/{stage}"))) for stage in plan.work.stages}
        self._check(*(plan.aside(f"gens/{stage}") for stage in made))
        for entry in plan.entries():
            if entry.stage in made and not entry.merged:
                made[entry.stage].discard(entry.new)
                self._entry(entry)
            advance()
        for stage, names in made.items():
            for name in sorted(names):
                self._entry(Planned(stage=stage, old=name, new=name), made=True)
        return [*carry_records(plan, back=True), *self._files()]

    def _entry(self, entry: Planned, *, made: bool = False) -> None:
        """Carry along what was changed in an entry of a stage's folder, or a `made` one whole."""
        place = f"gens/{entry.stage}/{entry.old}"
        live, former = self.plan.live(f"gens/{entry.stage}/{entry.new}"), self.plan.aside(place)
        if not exists(live):
            self.carried.append((place, REMOVED))
            return
        found = entries(live)
        was_folder = not is_file(former) if made else "" not in entry.files
        is_now_folder = is_folder(live) and not is_link(live)
        replaced = exists(former) and is_now_folder != was_folder
        if made or replaced:
            self.carried.append((place, AGAIN if exists(former) else MADE))
        else:
            removed = sorted(entry.files.keys() - {file.path for file in found})
            self.carried.extend((f"{place}/{name}".rstrip("/"), REMOVED) for name in removed)
        for file in found:
            inner = f"/{file.path}" if file.path else ""
            source, target = live + inner, former + inner
            if replaced or (made and exists(target)):
                self._keep(source, f"again/{entry.stage}/{entry.old}{inner}")
            elif made:
                self._add(entry, file.path, source, target)
            elif what := self._change(entry, file, source, target):
                self.carried.append((place + inner, what))
                if what != IN_PLACE:
                    if exists(target):
                        self._keep(target, place + inner, move=True)
                    self._add(entry, file.path, source, target)
        if not exists(former):
            os.mkdir(former)  # a folder without a file
            trees.finish_folder(former, live)

    def _change(self, entry: Planned, file: Entry, live: str, former: str) -> str | None:
        """Return what was done to a file since the migration; None: nothing."""
        if not exists(former):
            return CHANGED if file.path in entry.files else MADE
        if file.path in entry.rewrite:
            linked = is_link(former)
            expected = migrated(self.plan, entry, file.path, trees.contents(former), is_link=linked)
            is_same = is_link(live) == linked and trees.contents(live) == expected
            return None if is_same else CHANGED
        if os.path.samestat(os.lstat(live), os.lstat(former)):
            planned = entry.files.get(file.path, file.fingerprint)
            return None if file.fingerprint == planned else IN_PLACE
        return None if file.fingerprint == fingerprint(former) else CHANGED

    def _add(self, entry: Planned, name: str, source: str, target: str) -> None:
        """Give the former tree a file of the live one, with the ids from before."""
        self._folders(source, target, name.count("/"))
        if is_link(source) or name not in DOCUMENTS:
            trees.link_or_copy(source, target)
            return
        data, back = trees.contents(source), References(self.plan.work.back, entry.stage)
        kept = f"{self.plan.folder}/{KEPT}/gens/{entry.stage}/{entry.old}/{name}"
        if name == METADATA and name in entry.rewrite and not entry.reason and is_file(kept):
            new = restore_metadata(data, back, trees.contents(kept))
        else:
            new = rewrite_json(data, back)
        trees.write_like(target, new, source)

    def _folders(self, source: str, target: str, depth: int) -> None:
        """Make the folders that contain a file, as deep as `depth` below its generation's."""
        folder, like = os.path.dirname(target), os.path.dirname(source)
        if depth:
            self._folders(like, folder, depth - 1)
        if not exists(folder):
            os.mkdir(folder)
            trees.finish_folder(folder, like)
        self._check(folder)

    def _keep(self, path: str, name: str, *, move: bool = False) -> None:
        """Keep a version in the migration's folder. An earlier kept version is never replaced: it
        is from before the migration, or from a rollback that was interrupted."""
        kept = f"{self.plan.folder}/{KEPT}/{name}"
        self._check(os.path.dirname(kept), os.path.dirname(path))
        trees.make_folders(os.path.dirname(kept))
        if not exists(kept):
            (trees.move if move else trees.link_or_copy)(path, kept)
        elif move:
            os.unlink(path)

    def _check(self, *paths: str) -> None:
        check_inside(self.plan.root, *map(Path, paths))

    def _files(self) -> Iterator[str]:
        """Restore the ids in the files outside `gens/`; yield the paths that were not in the
        migration."""
        plan, work = self.plan, self.plan.work
        planned = {file.path: file for file in plan.files("file", "seen")}
        tables = [path for path, file in planned.items() if file.what == "table"]
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
                if rewrite_file(trees.contents(former), what, work.mapping_in(what)) == data:
                    continue
                self.carried.append((path, CHANGED))
                self._keep(former, path, move=True)
            try:
                new = rewrite_file(data, what, work.back)
            except ValueError:
                new = data  # it was made malformed since, so it has no ids to restore
            if changes or new != data:
                trees.make_folders(os.path.dirname(former))
                trees.remove_tree(former)
                trees.write_like(former, new, live)
            if new != data and not changes:
                self.carried.append((path, MADE))
                yield path
