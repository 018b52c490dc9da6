"""Make a plan: read the whole store, decide every new id, write down what will be done.

Writes below `.genid/migrations/` alone. The plan's folder holds `plan.jsonl` (for machines),
`mapping.csv` and `summary.md` (for people).
"""

from __future__ import annotations

import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import asdict, define, field

from genid import STAGES as SIGNATURES
from genid_store.errors import Problem, StoreError
from genid_store.fs import trees
from genid_store.fs.files import check_inside, write_lines
from genid_store.fs.fingerprints import LINK, Entry, entries
from genid_store.fs.layout import METADATA, PARSED_METADATA, RAW_METADATA, DataRoot
from genid_store.migration.id_files import blocker, files_to_plan, note
from genid_store.migration.number import EMPTY_SLOT, Decision, Numbered, number_stage
from genid_store.migration.planfile import (
    FORMAT,
    Mappings,
    Plan,
    Record,
    is_a_hosts,
    plans_folder,
    write_plan,
)
from genid_store.migration.references import References, retarget, rewrite_json
from genid_store.migration.scan import StageScan, scan_stage
from genid_store.migration.summary import MAPPING, SUMMARY, mapping_lines, summary_lines
from genid_store.stages import parent_stage, stage_names

#: The files of a generation in which references are looked for.
DOCUMENTS: Final = (METADATA, RAW_METADATA, PARSED_METADATA)
_TOTALS: Final = (
    "generations", "strays", "moves", "keeps", "stays", "merged", "references", "files", "blockers",
    "rewritten", "need", "size", "names",
)  # fmt: skip
_BLOCK: Final = 4096  # bytes that a file takes at least
_GROWTH: Final = 512  # bytes by which metadata grows at most, or nearly

Progress = Callable[[int, int], None]


def make_plan(
    root: DataRoot, *, tables: tuple[str, ...] = (), progress: Progress | None = None
) -> Plan:
    """Plan the migration of a whole store to v1 ids; the same store gives the same plan.

    `tables` are further files of the data root, by their paths from there, in which ids are to be
    replaced. The caller holds the data root's lock.

    Raises:
        StoreError: a table's path leads out of the data root, or into `gens/` or `.genid/`.
        OSError: the store cannot be read or `.genid/` not be written.
    """
    _check_tables(tables)
    scans = {stage: scan_stage(root, stage) for stage in stage_names()}
    planning = _Planning(root, scans, number_all(scans), tables, progress)
    folder = plans_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".new-*"):  # by a planning that was killed
        trees.remove_tree(str(left))
    building = folder / f".new-{secrets.token_hex(4)}"
    building.mkdir()
    try:
        plan = Plan(root, write_plan(building, planning.records()))
        decisions, totals = planning.decisions, planning.totals
        write_lines(building / MAPPING, mapping_lines(decisions()))
        lines = summary_lines(plan.plan_id, decisions(), planning.others, totals)
        write_lines(building / SUMMARY, lines)
        check_inside(root, plan.folder)
        if not plan.path.is_file():  # else the same plan is there already
            trees.remove_tree(str(plan.folder))
            trees.move(str(building), str(plan.folder))
        return plan
    finally:
        trees.remove_tree(str(building))


def number_all(scans: dict[str, StageScan]) -> dict[str, Numbered]:
    """Decide every stage's new ids, parents before their children."""
    numbered: dict[str, Numbered] = {}
    for stage, scan in scans.items():
        above = parent_stage(stage)
        parents = {} if above is None else numbered[above].decisions
        numbered[stage] = number_stage(scan.sources, parents, scan.strays)
    return numbered


def _check_tables(tables: tuple[str, ...]) -> None:
    message = "it is not the path of a host's table below the data root"
    remedy = "give its path from the data root, outside gens/ and .genid/"
    problems = [
        Problem(where=table, message=message, remedy=remedy)
        for table in tables
        if not is_a_hosts(table)
    ]
    if problems:
        raise StoreError("a table cannot be rewritten", problems)


@define
class _Planning:
    """The making of one plan's records. `others` are those that are not of one entry in `gens/`."""

    root: DataRoot
    scans: dict[str, StageScan]
    numbered: dict[str, Numbered]
    tables: tuple[str, ...]
    progress: Progress | None
    mapping: Mappings = field(init=False)
    totals: Counter[str] = field(factory=Counter)
    others: list[Record] = field(factory=list)
    _holder: dict[tuple[int, int], str] = field(factory=dict)  # who has a file of many names

    def __attrs_post_init__(self) -> None:
        self.mapping = {
            stage: {old: one.new_id for old, one in found.decisions.items() if one.moves}
            for stage, found in self.numbered.items()
        }

    def decisions(self) -> Iterator[Decision]:
        for found in self.numbered.values():
            yield from found.decisions.values()

    def records(self) -> Iterator[Record]:
        """Yield every record of the plan."""
        yield {"kind": "plan", "format": FORMAT, "target": "v1"}
        for record in self._all():
            self.totals[f"{record['kind']}s"] += 1
            yield record
        yield {"kind": "end", **{name: self.totals[name] for name in _TOTALS}}

    def _all(self) -> Iterator[Record]:
        total = sum(len(scan.sources) for scan in self.scans.values())
        for done, decision in enumerate(self.decisions(), start=1):
            yield self._generation(decision)
            if self.progress is not None:
                self.progress(done, total)
        for stage, scan in self.scans.items():
            for name in scan.strays:
                found = {one.path: one.fingerprint for one in self._entries(f"gens/{stage}/{name}")}
                for fingerprint in found.values():
                    self._count(fingerprint)
                yield {"kind": "stray", "stage": stage, "old": name, "new": name, "files": found}
        self.others += self._beside_generations()
        self.others += self._not_followed()
        known = {stage: found.decisions for stage, found in self.numbered.items()}
        self.others += files_to_plan(self.root, self.mapping, known, self.tables)
        yield from self.others

    def _beside_generations(self) -> Iterator[Record]:
        """Yield what is to be seen in the stages' folders."""
        for stage, scan in self.scans.items():
            for name in scan.strays:
                yield note("stray-entry", f"gens/{stage}/{name}", "")
            for group in self.numbered[stage].duplicates:
                yield {"kind": "note", "note": "duplicates", **asdict(group)}
            folded = defaultdict(list)
            for name in sorted([*(source.gen_id for source in scan.sources), *scan.strays]):
                folded[name.casefold()].append(name)
            for _, (first, *others) in sorted(folded.items()):
                if others:
                    yield note("case-collision", f"gens/{stage}/{first}", ", ".join(others))
            for place in (f"gens/{stage}", "gens"):
                if os.path.islink(f"{self.root.path}/{place}"):
                    remedy = "bind-mount what it points to there"
                    yield blocker(place, "it is a symbolic link", remedy)

    def _not_followed(self) -> Iterator[Record]:
        """Yield what would go on naming ids that change: undeclared stages, further references."""
        folders = sorted(self.root.gens.glob("[!.]*")) if any(self.mapping.values()) else []
        for folder in folders:
            if folder.name not in self.scans and any(folder.glob(f"*/{METADATA}")):
                message = (
                    "generations are there, of no declared stage: what they name would be gone"
                )
                remedy = (
                    "declare the stage (`genid --stages MODULE`, or [stages] in genid.toml), or "
                    "move the folder out of gens/"
                )
                yield blocker(f"gens/{folder.name}", message, remedy)
        for stage, scan in self.scans.items():
            rules = SIGNATURES[stage].__genid_rules__.items()
            references = [(name, rule.parent_stage) for name, rule in rules if rule.parent_stage]
            for name, above in references[1:]:
                moved = self.mapping[above]
                if any(source.others.get(name) in moved for source in scan.sources):
                    message = f"{name} is a second reference, and the migration follows the first"
                    remedy = "move the folder out of gens/: its generations name ids that change"
                    yield blocker(f"gens/{stage}", message, remedy)

    def _generation(self, decision: Decision) -> Record:
        source = decision.source
        place = f"gens/{source.stage}/{source.gen_id}"
        files: dict[str, str] = {}
        rewrite: list[str] = []
        copies: list[str] = []
        for entry in self._entries(place):
            files[entry.path] = entry.fingerprint
            changes = decision.reason != EMPTY_SLOT and self._changes(decision, place, entry)
            if changes:
                rewrite.append(entry.path)
            holder = self._holder.setdefault(entry.inode, place) if entry.inode else place
            if holder != place:
                copies.append(entry.path)
                self.others.append(note("shared-file", f"{place}/{entry.path}", holder))
            self._count(entry.fingerprint, rewritten=changes)
        self.totals[decision.what] += 1
        self.totals["references"] += bool(rewrite) and not decision.moves
        record: dict[str, Any] = {
            "kind": "generation",
            "stage": source.stage,
            "old": source.gen_id,
            "new": decision.new_id,
            "what": decision.what,
            "parent": decision.parent,
            "replicate": decision.replicate,
            "reason": decision.reason,
            "detail": decision.detail,
            "rewrite": rewrite,
            "copies": copies,
            "files": files,
        }
        return record

    def _entries(self, place: str) -> list[Entry]:
        try:
            return entries(f"{self.root.path}/{place}", DOCUMENTS)
        except OSError as error:
            where = str(error.filename or place).removeprefix(f"{self.root.path}/")
            message = error.strerror or type(error).__name__
            remedy = "make it readable for this user, so that its content can be verified"
            self.others.append(blocker(where, message, remedy))
            return []

    def _count(self, fingerprint: str, *, rewritten: bool = False) -> None:
        """Count one file of the new tree, and the bytes that it takes on the disk."""
        size = fingerprint.partition(":")[0]
        taken = -(-(_GROWTH + (int(size) if size.isdecimal() else 0)) // _BLOCK) * _BLOCK
        self.totals["names"] += 1
        self.totals["size"] += taken
        if rewritten:
            self.totals["rewritten"] += 1
            self.totals["need"] += taken

    def _changes(self, decision: Decision, place: str, entry: Entry) -> bool:
        """Say whether a file must change: it names an id that changes."""
        if entry.fingerprint.startswith(LINK):
            return self._link_changes(decision, f"{place}/{entry.path}".rstrip("/"), entry)
        if entry.data is None:
            return False
        if entry.path == METADATA and decision.moves:
            return True
        if b"gen_id" not in entry.data and b"gens/" not in entry.data:
            names = (decision.source.gen_id, decision.source.parent_gen_id or "")
            if not any(name and name.encode() in entry.data for name in names):
                return False
        references = References(self.mapping, decision.source.stage)
        return rewrite_json(entry.data, references) != entry.data

    def _link_changes(self, decision: Decision, path: str, entry: Entry) -> bool:
        """Say whether a symbolic link leads into a folder that moves; metadata that would have to
        change behind one is a blocker."""
        target = entry.fingerprint.removeprefix(LINK)
        self.others.append(note("symlink", path, target))
        parent = decision.source.parent_gen_id or ""
        follows = References(self.mapping, decision.source.stage).new_parent(parent) != parent
        if entry.path in ("", METADATA) and (decision.moves or follows):
            message = "metadata that must change lies behind a symbolic link"
            remedy = "replace the link by what it points to, or bind-mount that"
            self.others.append(blocker(path, message, remedy))
        folder = path.rpartition("/")[0]
        return bool(entry.path) and target != retarget(
            target, folder, str(self.root.path), self.mapping
        )
