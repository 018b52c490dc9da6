"""Make a plan: read the whole store, decide every new id, and write what a migration will do.

Only `.genid/migrations/` is written to. The plan's folder has `plan.jsonl` (for machines),
`mapping.csv` and `summary.md` (for people).
"""

from __future__ import annotations

import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from itertools import chain, count, groupby
from pathlib import PurePath
from typing import Final

from attrs import define, evolve, field, fields

from genid import STAGES as SIGNATURES
from genid_store.catalog.findings import KINDS, UNDECLARED_STAGE
from genid_store.catalog.index.refresh import Progress
from genid_store.catalog.reader import undeclared_stages
from genid_store.errors import Problem, StoreError, counted
from genid_store.fs import trees
from genid_store.fs.files import check_inside, is_file, is_folder, is_link, write_lines
from genid_store.fs.fingerprints import LINK, Entry, entries
from genid_store.fs.layout import METADATA, PARSED_METADATA, RAW_METADATA, DataRoot
from genid_store.migration.number import ADOPTED, EMPTY_SLOT, Decision, Planned
from genid_store.migration.planfile import (
    FORMAT,
    RECORDS,
    SHARED,
    Plan,
    Record,
    Work,
    batched,
    blocker,
    is_a_hosts,
    note,
    plans_folder,
    write_plan,
)
from genid_store.migration.references import References, retarget, rewrite_json
from genid_store.migration.scan import decide, scan_files
from genid_store.stages import stage_names

#: The files of a generation that are searched for references.
DOCUMENTS: Final = (METADATA, RAW_METADATA, PARSED_METADATA)
SUMMARY: Final = "summary.md"
_TOTALS: Final = (
    "generations", "strays", "moves", "keeps", "stays", "merged", "references", "files", "blockers",
    "rewritten", "need", "size", "names",
)  # fmt: skip
_WRITTEN: Final = tuple(attribute.name for attribute in fields(Planned))
_BLOCK: Final = 4096  # bytes of room that a file may take besides its size
_COLUMNS: Final = (
    "stage", "previous_gen_id", "gen_id", "previous_replicate", "replicate", "what", "reason",
)  # fmt: skip
_SHOWN: Final = 20  # entries of a list that the summary shows
#: The heading in the summary for each kind of record, in the order of the page.
_HEADINGS: Final = {
    "blocker": "To be fixed before the plan can be carried out",
    "stays": "What stays, and why",
    ADOPTED: "One text under several ids: these stay beside the one that stands for them",
    EMPTY_SLOT: "Empty slots of a task that is there: they become one with it",
    "duplicate": "Duplicates, which become further replicates",
    "file": "Other files that change",
    "report": "Reports to be made again: they mention ids that change",
    "symlink": "Symbolic links",
    SHARED: "Files that two generations share: each gets its own",
    "case-collision": "Names that differ in case only",
    "stray-entry": "Entries that are not a generation's folder",
    "member-without-generation": "Members without a generation",
}


def make_plan(
    root: DataRoot, *, tables: tuple[str, ...] = (), progress: Progress | None = None
) -> Plan:
    """Plan the migration of a whole store to v1 ids; the same store gives the same plan.

    `tables` are the paths, from the data root, of further files in which to replace ids. The caller
    holds the data root's lock.

    Raises:
        StoreError: a table's path leads out of the data root, or into `gens/` or `.genid/`.
        OSError: the store cannot be read, or `.genid/` cannot be written to.
    """
    message = "it is not the path of a host's table below the data root"
    remedy = "give its path from the data root, outside gens/ and .genid/"
    if wrong := [path for path in tables if not is_a_hosts(path)]:
        problems = [Problem(where=path, message=message, remedy=remedy) for path in wrong]
        raise StoreError("a table cannot be rewritten", problems)
    decided, strays = decide(root)
    work = Work.of(chain.from_iterable(found.values() for found in decided.values()))
    planning = _Planning(root, decided, strays, tables, progress or (lambda *_: None), work)
    folder = plans_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    building = folder / ".new"
    trees.remove_tree(str(building))  # left by a planning process that was killed
    building.mkdir()
    try:
        plan_id = write_plan(building, planning.records())
        stages = tuple(stage for stage in stage_names() if stage in planning.changing)
        plan = Plan(root, plan_id, planning.stamps, evolve(work, stages=stages))
        write_lines(building / "mapping.csv", planning.mapping_lines())
        lines = (f"{line}\n" for line in planning.summary(plan.plan_id))
        write_lines(building / SUMMARY, (line.encode(errors="backslashreplace") for line in lines))
        check_inside(root, plan.folder)
        if not is_file(plan.path):  # else the same plan was made before
            trees.remove_tree(str(plan.folder))
            trees.move(str(building), str(plan.folder))
        return plan
    finally:
        trees.remove_tree(str(building))


@define
class _Planning:
    """The making of one plan. `decided` and `strays` are what `scan.decide` returned, `others` the
    records that are not about an entry in `gens/`."""

    root: DataRoot
    decided: dict[str, dict[str, Decision]]
    strays: dict[str, list[str]]
    tables: tuple[str, ...]
    progress: Progress
    work: Work
    totals: Counter[str] = field(factory=Counter)
    counts: dict[str, Counter[str]] = field(factory=lambda: defaultdict(Counter))
    changing: set[str] = field(factory=set)  # stages
    reasons: dict[tuple[str, str], list[str]] = field(factory=lambda: defaultdict(list))
    others: list[Record] = field(factory=list)
    stamps: array[int] = field(factory=lambda: array("q"))  # of every file, in the plan's order
    _holder: dict[tuple[int, int], str] = field(factory=dict)  # inode -> its first generation

    def decisions(self) -> Iterator[Decision]:
        return chain.from_iterable(found.values() for found in self.decided.values())

    def records(self) -> Iterator[Record]:
        """Yield every record of the plan."""
        yield {"kind": "plan", "format": FORMAT, "target": "v1", "genid": version("generation-ids")}
        for record in self._all():
            self.totals[f"{record['kind']}s"] += 1
            yield record
        yield {"kind": "end", **{name: self.totals[name] for name in _TOTALS}}

    def _all(self) -> Iterator[Record]:
        total = sum(map(len, (*self.decided.values(), *self.strays.values())))
        strays = (
            Planned(kind="stray", stage=stage, old=name, new=name)
            for stage, names in self.strays.items()
            for name in names
        )
        done = count(1)
        for batch in batched(chain(self.decisions(), strays)):
            read = [self._files(f"gens/{planned.stage}/{planned.old}") for planned in batch]
            for planned, files in zip(batch, read, strict=True):
                yield self._entry(planned, files)
                self.progress(next(done), total)
        self.others += self._beside_generations()
        self.others += self._not_followed()
        self.others += scan_files(self.root, self.work, self.decided, self.tables)
        self.others += [*self._places()]
        yield from self.others

    def _entry(self, planned: Planned, files: list[Entry]) -> Record:
        """Count an entry of a stage's folder and return its record, with its files."""
        place = f"gens/{planned.stage}/{planned.old}"
        rewrite: list[Entry] = []
        if isinstance(planned, Decision):
            rewrite = [file for file in files if self._changes(planned, place, file)]
            self._note(planned, place, files)
        if rewrite and not planned.moves:
            self.totals["references"] += 1
        if rewrite or planned.moves or planned.merged:
            self.changing.add(planned.stage)
        self.stamps.extend(file.stamp for file in files)
        self.totals["size"] += sum(_BLOCK + file.size for file in files)
        self.totals["need"] += sum(_BLOCK + file.size for file in rewrite)
        self.totals["rewritten"] += len(rewrite)
        self.totals["names"] += len(files)
        record = {name: value for name in _WRITTEN if (value := getattr(planned, name))}
        if rewrite:
            record["rewrite"] = [file.path for file in rewrite]
        if files:
            record["files"] = {file.path: file.fingerprint for file in files}
        return record

    def _note(self, decision: Decision, place: str, files: list[Entry]) -> None:
        """Count a generation, and note what an operator should see of it."""
        self.counts[decision.stage][decision.what] += 1
        self.totals[decision.what] += 1
        if decision.reason:
            self.reasons[decision.stage, decision.reason].append(decision.old)
        elif decision.detail:
            detail = f"{decision.detail}, it becomes {decision.replicate}"
            self.others.append(note("duplicate", place, detail))
        for file in files:
            if file.status is not None and file.status.st_nlink > 1:
                inode = file.status.st_dev, file.status.st_ino
                if (holder := self._holder.setdefault(inode, place)) != place:
                    self.others.append(note(SHARED, f"{place}/{file.path}", holder))

    def _files(self, place: str) -> list[Entry]:
        try:
            return entries(f"{self.root.path}/{place}", DOCUMENTS)
        except OSError as error:
            where = str(error.filename or place).removeprefix(f"{self.root.path}/")
            message = error.strerror or type(error).__name__
            remedy = "make it readable for this user, so that its content can be verified"
            self.others.append(blocker(where, message, remedy))
            return []

    def _changes(self, decision: Decision, place: str, file: Entry) -> bool:
        """Return whether a file names an id that changes."""
        if decision.merged:
            return False
        if file.fingerprint.startswith(LINK):
            return self._link_changes(decision, f"{place}/{file.path}".rstrip("/"), file)
        if file.data is None:
            return False
        if file.path == METADATA and decision.is_written:
            return True
        if b"gen_id" not in file.data and b"gens/" not in file.data:
            # Without either, only whole texts can be references: parse only if one may be there.
            names = (decision.old, decision.source.parent_gen_id or "")
            if not any(name and name.encode() in file.data for name in names):
                return False
        references = References(self.work.mapping, decision.stage, self.work.members)
        return rewrite_json(file.data, references) != file.data

    def _link_changes(self, decision: Decision, path: str, link: Entry) -> bool:
        """Return whether a symbolic link leads into a folder that moves. Metadata behind a link
        that would have to change is a blocker."""
        target = link.fingerprint.removeprefix(LINK)
        self.others.append(note("symlink", path, target))
        parent = decision.source.parent_gen_id
        follows = any(parent in moved for moved in self.work.members.values())
        if link.path in ("", METADATA) and (decision.is_written or follows):
            message = "metadata that must change lies behind a symbolic link"
            remedy = "replace the link by what it points to, or bind-mount that"
            self.others.append(blocker(path, message, remedy))
        folder, root = path.rpartition("/")[0], str(self.root.path)
        return target != retarget(target, folder, root, self.work.mapping)

    def _beside_generations(self) -> Iterator[Record]:
        """Yield notes about the stages' folders."""
        for stage, strays in self.strays.items():
            place = f"gens/{stage}"
            yield from (note("stray-entry", f"{place}/{name}", "") for name in strays)
            names = sorted(sorted([*self.decided[stage], *strays]), key=str.casefold)
            for _, (first, *others) in groupby(names, key=str.casefold):
                if others:
                    yield note("case-collision", f"{place}/{first}", ", ".join(others))

    def _places(self) -> Iterator[Record]:
        """Yield a blocker for each folder or file that would change but cannot be exchanged, and
        for each stage's folder that is a symbolic link."""
        changing = {f"gens/{stage}" for stage in self.changing}
        changing |= {f"{folder}/{stage}" for folder in RECORDS for stage in self.changing}
        changing |= {one["path"] for one in self.others if one["kind"] == "file"}
        changing |= {str(folder) for path in changing for folder in PurePath(path).parents}
        stages = {f"gens/{stage}" for stage in self.decided}
        for place in sorted((changing | stages | {"gens"}) - {"."}):
            path, top = f"{self.root.path}/{place}", place.partition("/")[0]
            if is_link(path):
                remedy = "replace it by what it points to, or bind-mount that there"
                yield blocker(place, "it is a symbolic link", remedy)
            elif place not in changing or not is_folder(path):
                continue
            elif trees.file_system_of(path) != trees.file_system_of(f"{self.root.path}/{top}"):
                message = f"it is on another file system than {top}/, and cannot be renamed"
                yield blocker(place, message, f"mount the whole of {top}/ or of the data root")
            elif not os.access(path, os.W_OK | os.X_OK):
                remedy = "give this user the right to write there"
                yield blocker(place, "the folder cannot be written to", remedy)

    def _not_followed(self) -> Iterator[Record]:
        """Yield a blocker for all that would still name ids that change: the generations of
        undeclared stages, and references that are not a stage's first."""
        for stage in undeclared_stages(self.root) if any(self.work.mapping.values()) else ():
            message = "its generations are of an undeclared stage and may name ids that change"
            yield blocker(f"gens/{stage}", message, KINDS[UNDECLARED_STAGE].remedy)
        for stage, decisions in self.decided.items():
            rules = SIGNATURES[stage].__genid_rules__.items()
            references = [(name, rule.parent_stage) for name, rule in rules if rule.parent_stage]
            for name, above in references[1:]:
                moved = self.work.mapping[above]
                if any(one.source.others.get(name) in moved for one in decisions.values()):
                    message = f"{name} is a second reference, and the migration follows the first"
                    remedy = "move the folder out of gens/: its generations name ids that change"
                    yield blocker(f"gens/{stage}", message, remedy)

    # -- for people --------------------------------------------------------------------------------
    def mapping_lines(self) -> Iterator[bytes]:
        """Yield a CSV of every generation's old and new id, and `Planned.what`. No cell can need
        quotes."""
        yield f"{','.join(_COLUMNS)}\n".encode()
        for each in self.decisions():
            numbers = each.source.replicate or "", each.replicate or ""
            row = (each.stage, each.old, each.new, *map(str, numbers), each.what, each.reason)
            yield f"{','.join(row)}\n".encode()

    def summary(self, plan_id: str) -> Iterator[str]:
        """Yield the lines of the summary, as Markdown."""
        sections: dict[str, list[str]] = defaultdict(list)
        for record in self.others:
            texts = [record[name] for name in ("detail", "message", "remedy") if record.get(name)]
            line = ": ".join(filter(None, (f"`{record['path']}`", "; ".join(texts))))
            sections[record["note" if "note" in record else "kind"]].append(line)
        for (stage, reason), ids in self.reasons.items():
            shown = ", ".join(f"`{gen_id}`" for gen_id in ids[:3])
            more = "" if len(ids) <= 3 else f" and {len(ids) - 3} more"
            section = reason if reason in _HEADINGS else "stays"
            sections[section].append(f"{len(ids)} {stage} ({reason}): {shown}{more}")
        yield from (f"# Migration plan {plan_id}", "")
        yield "| stage | generations | move to a new id | right already | stay | merged |"
        yield "|---|---:|---:|---:|---:|---:|"
        for stage, row in self.counts.items():
            cells = (row[what] for what in ("moves", "keeps", "stays", "merged"))
            yield f"| {stage} | {row.total()} | {' | '.join(map(str, cells))} |"
        need, size = (_size(self.totals[name]) for name in ("need", "size"))
        yield ""
        yield (
            f"Rewritten: {counted(self.totals['rewritten'], 'file')} of generations, "
            f"which takes up to {need} ({size} where the file system has no hard links)."
        )
        if self.totals["references"]:
            others = counted(self.totals["references"], "generation")
            yield f"Rewritten without moving: {others}."
        for kind, title in _HEADINGS.items():
            lines = sections[kind]
            if lines:
                yield from ("", f"## {title}", "")
                yield from (f"- {line}" for line in lines[:_SHOWN])
            if len(lines) > _SHOWN:
                yield f"- and {len(lines) - _SHOWN} more, all in plan.jsonl"


def _size(count: int) -> str:
    """Return a human-readable number of bytes, rounded up."""
    unit, name = (2**20, "MiB") if count >= 10 * 2**20 else (2**10, "KiB")
    return f"{-(-count // unit):,} {name}"
