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

from attrs import field, frozen

from genid_store.fs import trees
from genid_store.fs.files import check_inside, read_bytes
from genid_store.fs.fingerprints import digest, entries, fingerprint
from genid_store.fs.layout import METADATA
from genid_store.migration.build import STATE_FOLDERS, Advance, Work
from genid_store.migration.id_files import candidates, rewrite_file
from genid_store.migration.plan import DOCUMENTS
from genid_store.migration.planfile import Planned
from genid_store.migration.references import References, restore_metadata, retarget, rewrite_json

KEPT = "kept"
MADE = "made since the migration"
CHANGED = "changed since the migration; the former version is kept"
IN_PLACE = "written over in place since the migration; it stays as it is now"
REMOVED = "removed since the migration; it is there again"
AGAIN = "made again under an id from before; what differs is kept"
#: A path from the data root, and what has become of it since the migration.
Carried = tuple[str, str]


@frozen
class CarryingBack:
    """The filling up of the former tree, which lies aside; `carried` says what was taken along."""

    work: Work
    carried: list[Carried] = field(factory=list)
    _back: dict[str, References] = field(factory=dict)

    def run(self, advance: Advance) -> list[tuple[str, str]]:
        """Take along what is new and return the further places that change, as (path, aside).

        Raises:
            StoreError: a symbolic link leads out of the data root.
            OSError: the system refused a step.
        """
        work = self.work
        self._back.update({stage: References(work.back, stage) for stage in work.back})
        check_inside(work.plan.root, *(work.plan.root.path / work.aside(f"gens/{stage}")
                                       for stage in work.stages))  # fmt: skip
        planned: dict[str, set[str]] = {stage: set() for stage in work.stages}
        for entry in work.plan.entries():
            if entry.stage in planned and not entry.merged:
                planned[entry.stage].add(entry.new)
                self._planned(entry)
            if not entry.stray:
                advance()
        for stage, known in planned.items():
            for name in sorted(set(os.listdir(f"{work.root}/gens/{stage}")) - known):
                self._made(stage, name)
        for folder in STATE_FOLDERS:
            self._records(folder)
        return list(self._files())

    # -- gens/ ----------------------------------------------------------------------------------
    def _places(self, stage: str, live: str, former: str) -> tuple[str, str]:
        aside = self.work.aside(f"gens/{stage}")
        return f"{self.work.root}/gens/{stage}/{live}", f"{self.work.root}/{aside}/{former}"

    def _planned(self, entry: Planned) -> None:
        """Take along what was added to a generation of the plan, or changed in it."""
        live, former = self._places(entry.stage, entry.new, entry.old)
        place = f"gens/{entry.stage}/{entry.new}"
        if not os.path.lexists(live):
            self.carried.append((place, REMOVED))
            return
        if "" in entry.files or not os.path.isdir(live) or os.path.islink(live):
            if fingerprint(live) != entry.files.get(""):
                self._keep(live, f"{place}")
            return
        found = {one.path: one for one in entries(live, DOCUMENTS)}
        for name in sorted(entry.files.keys() - found.keys()):
            self.carried.append((f"{place}/{name}", REMOVED))
        for name, one in found.items():
            source, target = f"{live}/{name}", f"{former}/{name}"
            if not os.path.lexists(target):
                what = CHANGED if name in entry.files else MADE
                self.carried.append((f"{place}/{name}", what))
                self._add(entry, name, source, target)
            elif name in entry.rewrite:
                if not self._is_as_migrated(entry, name, source, target):
                    self.carried.append((f"{place}/{name}", CHANGED))
                    self._replace(entry, name, source, target)
            elif os.path.samestat(os.lstat(source), os.lstat(target)):
                if name in entry.files and one.fingerprint != entry.files[name]:
                    self.carried.append((f"{place}/{name}", IN_PLACE))
            elif one.fingerprint != fingerprint(target):
                self.carried.append((f"{place}/{name}", CHANGED))
                self._replace(entry, name, source, target)

    def _is_as_migrated(self, entry: Planned, name: str, live: str, former: str) -> bool:
        if os.path.islink(live) or os.path.islink(former):
            if not (os.path.islink(live) and os.path.islink(former)):
                return False
            folder = f"gens/{entry.stage}/{entry.old}/{name}".rpartition("/")[0]
            leads_to = os.readlink(former)
            new = retarget(leads_to, folder, self.work.root, self.work.mapping)
            return os.readlink(live) == (new or leads_to)
        return read_bytes(live) == self.work.new_bytes(entry, name, read_bytes(former))

    def _replace(self, entry: Planned, name: str, source: str, target: str) -> None:
        self._keep(target, f"gens/{entry.stage}/{entry.old}/{name}", move=True)
        self._add(entry, name, source, target)

    def _add(self, entry: Planned, name: str, source: str, target: str) -> None:
        """Give the former tree a file of the live one, its ids led back."""
        self._folders(source, target, name.count("/"))
        if os.path.islink(source) or name not in DOCUMENTS:
            trees.link_or_copy(source, target)
            return
        data = read_bytes(source)
        if name == METADATA and entry.moves:
            original = f"{self.work.plan.folder}/{KEPT}/gens/{entry.stage}/{entry.old}/{name}"
            before = read_bytes(original) if os.path.isfile(original) else b""
            new = restore_metadata(data, self._back[entry.stage], before)
        else:
            new = rewrite_json(data, self._back[entry.stage])
        trees.write_like(target, new, source, os.stat(source))

    def _folders(self, source: str, target: str, depth: int) -> None:
        """Make the folders that a file lies in, as deep as `depth` below its generation's."""
        for up in range(depth, -1, -1):
            folder, like = target, source
            for _ in range(up + 1):
                folder, like = os.path.dirname(folder), os.path.dirname(like)
            if not os.path.lexists(folder):
                os.mkdir(folder)
                trees.finish_folder(folder, like)
            check_inside(self.work.plan.root, self.work.plan.root.path / folder)

    def _made(self, stage: str, name: str) -> None:
        """Take along a generation, or another entry, that the migration did not leave there."""
        live, former = self._places(stage, name, name)
        again = os.path.lexists(former)
        entry = Planned(stage=stage, old=name, new=name, files={})
        self.carried.append((f"gens/{stage}/{name}", AGAIN if again else MADE))
        for one in entries(live):
            source, target = f"{live}/{one.path}".rstrip("/"), f"{former}/{one.path}".rstrip("/")
            if os.path.lexists(target):
                self._keep(source, f"again/{stage}/{name}/{one.path}".rstrip("/"))
            else:
                self._add(entry, one.path, source, target)
        if not os.path.lexists(former):
            os.mkdir(former)  # a folder without a file
            trees.finish_folder(former, live)

    def _keep(self, path: str, name: str, *, move: bool = False) -> None:
        """Keep a version in the migration's folder; the first one that was kept stays."""
        kept = f"{self.work.plan.folder}/{KEPT}/{name}"
        check_inside(self.work.plan.root, self.work.plan.root.path / os.path.dirname(kept))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        if not os.path.lexists(kept):
            if move:
                os.rename(path, kept)
            else:
                trees.link_or_copy(path, kept)
        elif move:
            os.unlink(path)

    # -- everything else ------------------------------------------------------------------------
    def _files(self) -> Iterator[tuple[str, str]]:
        """Lead the ids in the other files back; yield those that the migration did not change."""
        work = self.work
        changed = {planned.path: planned for planned in work.plan.files()}
        seen = work.plan.seen()
        tables = [path for path, planned in changed.items() if planned.what == "table"]
        references = self._back[next(iter(self._back))]
        for path, what, stage in candidates(work.plan.root, tables):
            live, former = f"{work.root}/{path}", f"{work.root}/{work.aside(path)}"
            if not os.path.isfile(live):
                if path in changed:
                    self.carried.append((path, REMOVED))
                continue
            data = read_bytes(live)
            if seen.get(path) == digest(data):
                continue
            if path in changed and os.path.lexists(former):
                if work.new_file(changed[path], read_bytes(former)) == data:
                    continue
                self.carried.append((path, CHANGED))
                self._keep(former, path, move=True)
            try:
                new = rewrite_file(data, what, stage, references)
            except ValueError:
                new = data  # nothing in it can be led back: it stays as somebody has left it
            if path in changed or new != data:
                os.makedirs(os.path.dirname(former), exist_ok=True)
                trees.remove_tree(former)
                trees.write_like(former, new, live, os.stat(live))
            if path not in changed and new != data:
                self.carried.append((path, MADE))
                yield path, work.aside(path)

    def _records(self, folder: str) -> None:
        """Lead our own records back; one that was removed since (its generation was made) stays
        removed."""
        work = self.work
        live, former = f"{work.root}/{folder}", f"{work.root}/{work.aside(folder)}"
        if not os.path.isdir(live) or not os.path.isdir(former):
            return
        check_inside(work.plan.root, work.plan.root.path / work.aside(folder))
        there = _records(live)
        expected = set(work.merged)
        for stage, gen_id in sorted(there):
            old = work.back.get(stage, {}).get(gen_id, gen_id)
            expected.add((stage, old))
            source, target = f"{live}/{stage}/{gen_id}.json", f"{former}/{stage}/{old}.json"
            data = rewrite_json(read_bytes(source), References(work.back, stage))
            if os.path.lexists(target) and read_bytes(target) == data:
                continue
            os.makedirs(os.path.dirname(target), exist_ok=True)
            trees.remove_tree(target)
            trees.write_like(target, data, source, os.stat(source))
        for stage, gen_id in _records(former):
            if (stage, work.mapping.get(stage, {}).get(gen_id, gen_id)) not in there and (
                stage, gen_id) not in expected:  # fmt: skip
                os.unlink(f"{former}/{stage}/{gen_id}.json")


def _records(folder: str) -> set[tuple[str, str]]:
    return {
        (stage, name.removesuffix(".json"))
        for stage in os.listdir(folder)
        for name in os.listdir(f"{folder}/{stage}")
    }
