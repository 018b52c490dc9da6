"""The plan for people: the mapping as a table, and a summary to read before anything is done."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from genid_store.migration.numbering import ADOPTED
from genid_store.migration.planfile import Record
from genid_store.migration.records import Decision
from genid_store.stages import PIPELINE

MAPPING: Final = "mapping.csv"
SUMMARY: Final = "summary.md"
_COLUMNS: Final = (
    "stage", "previous_gen_id", "gen_id", "previous_replicate", "replicate", "what", "reason",
)  # fmt: skip
_SHOWN: Final = 20  # entries of a list that the summary shows; the plan has them all


def write_mapping(folder: Path, decisions: Iterable[Decision]) -> None:
    """Write every generation's old and new id: `what` is moves, keeps (right already) or stays."""
    with (folder / MAPPING).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for decision in decisions:
            source = decision.source
            what = "moves" if decision.moves else "stays" if decision.reason else "keeps"
            writer.writerow(
                (source.stage, source.gen_id, decision.new_id, source.replicate,
                 decision.replicate, what, decision.reason)
            )  # fmt: skip


def write_summary(folder: Path, plan_id: str, plan_file: Path) -> None:
    """Write the summary of a plan, from its file alone."""
    with plan_file.open("rb") as file:
        text = "\n".join(summary_lines(plan_id, map(json.loads, file)))
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def summary_lines(plan_id: str, records: Iterable[Record]) -> Iterator[str]:
    """Yield the lines of the summary, as Markdown."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    stays: dict[tuple[str, str], list[str]] = defaultdict(list)
    others: list[Record] = []
    for record in records:
        if record["kind"] == "generation":
            counts[record["stage"]][_what(record)] += 1
            if record["reason"]:
                stays[record["stage"], record["reason"]].append(record["old"])
        else:
            others.append(record)
    totals = others[-1]
    yield f"# Migration plan {plan_id}"
    yield ""
    yield "| stage | generations | move to a new id | right already | stay as they are |"
    yield "|---|---:|---:|---:|---:|"
    for stage in PIPELINE:
        row = counts[stage]
        yield f"| {stage} | {row.total()} | {row['moves']} | {row['keeps']} | {row['stays']} |"
    yield ""
    yield f"{totals['rewritten']} files are rewritten, which takes up to {_size(totals['need'])}."
    if totals["references"]:
        yield f"{totals['references']} generations that do not move name some that do."
    yield from _blockers([other for other in others if other["kind"] == "blocker"])
    yield from _stays(stays)
    yield from _duplicates([other for other in others if other.get("note") == "duplicates"])
    yield from _files([other for other in others if other["kind"] == "file"])
    yield from _notes([other for other in others if other["kind"] == "note"])


def _what(record: Record) -> str:
    if record["old"] != record["new"]:
        return "moves"
    return "stays" if record["reason"] else "keeps"


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if not lines:
        return
    yield from ("", f"## {title} ({len(lines)})", "")
    yield from (f"- {line}" for line in lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"- and {len(lines) - _SHOWN} more, all in plan.jsonl"


def _blockers(records: list[Record]) -> Iterator[str]:
    lines = [f"`{r['path']}`: {r['message']}; {r['remedy']}" for r in records]
    yield from _section("To be put right before the plan can be carried out", lines)


def _stays(stays: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    lines = [
        f"{len(ids)} {stage} ({reason}): {_some(ids)}"
        for (stage, reason), ids in stays.items()
        if reason != ADOPTED
    ]
    yield from _section("What stays, and why", lines)
    title = "Adopted content: these have a text that another one stands for, and stay beside it"
    adopted = [
        f"{len(ids)} {stage}: {_some(ids)}"
        for (stage, reason), ids in stays.items()
        if reason == ADOPTED
    ]
    yield from _section(title, adopted)


def _duplicates(records: list[Record]) -> Iterator[str]:
    yield from _section(
        "Duplicates, which become further replicates", [_group(record) for record in records]
    )


def _group(record: Record) -> str:
    kept = "taken by a folder that stays"
    if record["kept"]:
        kept = f"`{record['kept']}` keeps it"
    others = ", ".join(f"`{old}` becomes {number}" for old, number in record["renumbered"])
    return (
        f"{record['stage']} replicate {record['replicate']} of {record['task']}: {kept}; {others}"
    )


def _files(records: list[Record]) -> Iterator[str]:
    yield from _section("Other files that change", [f"`{r['path']}`" for r in records])


def _notes(records: list[Record]) -> Iterator[str]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record["note"] in _WORDS:
            by_kind[record["note"]].append(_WORDS[record["note"]][1].format(**record))
    for kind, (title, _) in _WORDS.items():
        yield from _section(title, by_kind[kind])


_WORDS: Final[dict[str, tuple[str, Any]]] = {
    "report": ("Reports to be made again: they mention old ids", "`{path}`: {mentions} ids"),
    "symlink": ("Symbolic links", "`{path}` points to `{target}` (changed: {retargeted})"),
    "hard-link": (
        "Files with several names (a rewritten one keeps its new text to itself)",
        "`{path}`: {names} names",
    ),
    "case-collision": ("Names that differ in case only", "{stage}: {ids}"),
    "special-file": ("Neither files nor folders nor links", "`{path}`"),
    "stray-entry": ("Entries that are no generation's folder", "`{path}`"),
    "member-without-generation": ("Members without a generation", "{cohort}: {members}"),
}


def _some(ids: list[str]) -> str:
    shown = ", ".join(f"`{gen_id}`" for gen_id in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"
