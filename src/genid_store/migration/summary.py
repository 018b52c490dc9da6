"""The plan for people: the mapping as a table, and a summary to read before anything is done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from genid_store.fs.csvfile import dump_csv
from genid_store.fs.files import write_lines
from genid_store.fs.jsonfile import load_json
from genid_store.migration.number import ADOPTED, EMPTY_SLOT, Decision
from genid_store.migration.planfile import PLAN_FILE, Record

MAPPING: Final = "mapping.csv"
SUMMARY: Final = "summary.md"
_COLUMNS: Final = (
    "stage", "previous_gen_id", "gen_id", "previous_replicate", "replicate", "what", "reason",
)  # fmt: skip
_SHOWN: Final = 20  # entries of a list that the summary shows; the plan has them all
_STAYS: Final = "What stays, and why"
#: The heading under which each kind of record stands, in the order of the page.
_HEADINGS: Final = {
    "blocker": "To be fixed before the plan can be carried out",
    "stays": _STAYS,
    ADOPTED: "One text under several ids: these stay beside the one that stands for them",
    EMPTY_SLOT: "Empty slots of a task that is there: they become one with it",
    "duplicates": "Duplicates, which become further replicates",
    "file": "Other files that change",
    "report": "Reports to be made again: they mention ids that change",
    "symlink": "Symbolic links",
    "shared-file": "Files that two generations share: each gets its own",
    "case-collision": "Names that differ in case only",
    "stray-entry": "Entries that are not a generation's folder",
    "member-without-generation": "Members without a generation",
}


def write_mapping(folder: Path, decisions: Iterable[Decision]) -> None:
    """Write every generation's old and new id and `what` becomes of it: it moves, keeps its id
    (which is right), stays (no id can be derived), or is merged (an empty slot)."""
    rows = (
        (one.source.stage, one.source.gen_id, one.new_id, one.source.replicate, one.replicate,
         one.what, one.reason) for one in decisions
    )  # fmt: skip
    cells = (["" if cell is None else cell for cell in row] for row in (_COLUMNS, *rows))
    write_lines(folder / MAPPING, (dump_csv([row]).encode() for row in cells))


def write_summary(folder: Path, plan_id: str) -> None:
    """Write the summary of the plan in a folder, from its file alone."""
    with (folder / PLAN_FILE).open("rb") as file:
        lines = summary_lines(plan_id, map(load_json, file))
        encoded = (f"{line}\n".encode(errors="backslashreplace") for line in lines)
        write_lines(folder / SUMMARY, encoded)


def summary_lines(plan_id: str, records: Iterable[Record]) -> Iterator[str]:
    """Yield the lines of the summary, as Markdown."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    sections: dict[str, list[str]] = defaultdict(list)
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    end: Record = {}
    for record in records:
        kind = record.get("note", record["kind"])
        if kind == "generation":
            counts[record["stage"]][record["what"]] += 1
            if record["reason"]:
                reasons[record["stage"], record["reason"]].append(record["old"])
        elif kind in _HEADINGS:
            sections[kind].append(_line(kind, record))
        end = record
    for (stage, reason), ids in reasons.items():
        section = reason if reason in _HEADINGS else "stays"
        sections[section].append(f"{len(ids)} {stage} ({reason}): {_some(ids)}")
    yield from _totals(plan_id, counts, end)
    for kind, title in _HEADINGS.items():
        lines = sections[kind]
        if lines:
            yield from ("", f"## {title} ({len(lines)})", "")
            yield from (f"- {line}" for line in lines[:_SHOWN])
        if len(lines) > _SHOWN:
            yield f"- and {len(lines) - _SHOWN} more, all in plan.jsonl"


def _totals(plan_id: str, counts: dict[str, Counter[str]], end: Record) -> Iterator[str]:
    yield from (f"# Migration plan {plan_id}", "")
    yield "| stage | generations | move to a new id | right already | stay | merged |"
    yield "|---|---:|---:|---:|---:|---:|"
    for stage, row in counts.items():
        cells = (row[what] for what in ("moves", "keeps", "stays", "merged"))
        yield f"| {stage} | {row.total()} | {' | '.join(map(str, cells))} |"
    need, size = (end[name] / 2**20 for name in ("need", "size"))
    yield ""
    yield (
        f"{end['rewritten']} files of generations are rewritten, which takes up to {need:.1f} MiB "
        f"({size:.1f} MiB where the file system has no hard links)."
    )
    if end["references"]:
        yield f"{end['references']} generations that do not move name some that do."


def _line(kind: str, record: Record) -> str:
    if kind == "duplicates":
        kept = f"`{record['kept']}` keeps it" if record["kept"] else "a folder that stays has it"
        others = ", ".join(f"`{old}` becomes {number}" for old, number in record["renumbered"])
        number = record["replicate"]
        return f"{record['stage']} replicate {number} of {record['task']}: {kept}; {others}"
    if kind == "blocker":
        return f"`{record['path']}`: {record['message']}; {record['remedy']}"
    detail = record.get("detail")
    return f"`{record['path']}`: {detail}" if detail else f"`{record['path']}`"


def _some(ids: list[str]) -> str:
    shown = ", ".join(f"`{gen_id}`" for gen_id in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"
