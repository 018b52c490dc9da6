"""The plan for people: the mapping as a table, and a summary to read before anything is done."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from genid_store.fs.csvfile import dump_csv
from genid_store.migration.number import ADOPTED, EMPTY_SLOT, Decision
from genid_store.migration.planfile import Record

MAPPING: Final = "mapping.csv"
SUMMARY: Final = "summary.md"
_COLUMNS: Final = (
    "stage", "previous_gen_id", "gen_id", "previous_replicate", "replicate", "what", "reason",
)  # fmt: skip
_SHOWN: Final = 20  # entries of a list that the summary shows; the plan has them all
#: The heading under which each kind of record stands, in the order of the page.
_HEADINGS: Final = {
    "blocker": "To be fixed before the plan can be carried out",
    "stays": "What stays, and why",
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


def mapping_lines(decisions: Iterable[Decision]) -> Iterator[bytes]:
    """Yield a CSV of every generation's old and new id and `what` becomes of it: it moves, keeps
    its id (which is right), stays (no id can be derived), or is merged (an empty slot)."""
    yield dump_csv([_COLUMNS]).encode()
    for one in decisions:
        row = (one.source.stage, one.source.gen_id, one.new_id, one.source.replicate,
               one.replicate, one.what, one.reason)  # fmt: skip
        yield dump_csv([["" if cell is None else cell for cell in row]]).encode()


def summary_lines(
    plan_id: str, decisions: Iterable[Decision], others: Iterable[Record], totals: Record
) -> Iterator[bytes]:
    """Yield the lines of the summary, as Markdown, from all that is decided, every other record of
    the plan, and its totals."""
    lines = _lines(plan_id, decisions, others, totals)
    return (f"{line}\n".encode(errors="backslashreplace") for line in lines)


def _lines(
    plan_id: str, decisions: Iterable[Decision], others: Iterable[Record], totals: Record
) -> Iterator[str]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    sections: dict[str, list[str]] = defaultdict(list)
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in decisions:
        counts[one.source.stage][one.what] += 1
        if one.reason:
            reasons[one.source.stage, one.reason].append(one.source.gen_id)
    for record in others:
        kind = record["note" if "note" in record else "kind"]
        sections[kind].append(_line(kind, record))
    for (stage, reason), ids in reasons.items():
        shown = ", ".join(f"`{gen_id}`" for gen_id in ids[:3])
        more = "" if len(ids) <= 3 else f" and {len(ids) - 3} more"
        section = reason if reason in _HEADINGS else "stays"
        sections[section].append(f"{len(ids)} {stage} ({reason}): {shown}{more}")
    yield from (f"# Migration plan {plan_id}", "")
    yield "| stage | generations | move to a new id | right already | stay | merged |"
    yield "|---|---:|---:|---:|---:|---:|"
    for stage, row in counts.items():
        cells = (row[what] for what in ("moves", "keeps", "stays", "merged"))
        yield f"| {stage} | {row.total()} | {' | '.join(map(str, cells))} |"
    need, size = (_size(totals[name]) for name in ("need", "size"))
    yield ""
    yield (
        f"{totals['rewritten']} files of generations are rewritten, which takes up to "
        f"{need} ({size} where the file system has no hard links)."
    )
    if totals["references"]:
        yield f"{totals['references']} generations that do not move name some that do."
    for kind, title in _HEADINGS.items():
        lines = sections[kind]
        if lines:
            yield from ("", f"## {title} ({len(lines)})", "")
            yield from (f"- {line}" for line in lines[:_SHOWN])
        if len(lines) > _SHOWN:
            yield f"- and {len(lines) - _SHOWN} more, all in plan.jsonl"


def _size(count: int) -> str:
    """Return a number of bytes for people, rounded up."""
    unit, name = (2**20, "MiB") if count >= 10 * 2**20 else (2**10, "KiB")
    return f"{-(-count // unit):,} {name}"


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
