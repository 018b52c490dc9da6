"""Results as one table, one JSON file and one summary line."""

import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import Result, Size

_PACKAGES = (
    "generation-ids", "attrs", "blake3", "pyarrow", "datafusion", "polars", "duckdb", "daft",
    "dask", "joblib", "diskcache", "rfc8785", "typeid-python", "dagster", "click",
)  # fmt: skip
HEADER = ("topic", "case", "against", "ours", "peer", "limit", "ratio", "goal", "bound", "")
_WORDS = {
    "goal": "goal met", "within": "within bound", "past": "PAST BOUND", "shown": "not judged",
}  # fmt: skip


def heading(about: dict[str, Any], size: Size) -> str:
    """Return the line above the table: when, where, and how busy the machine was."""
    one, five, fifteen = about["load"]
    return (
        f"{about['date']}, Python {about['python']}, {about['processor']}, {about['cores']} cores, "
        f"{size} form. Load over 1, 5 and 15 minutes: {one}, {five}, {fifteen}. Times are CPU "
        f"seconds of one item."
    )


def seconds(value: float | None) -> str:
    """Return seconds in a unit that suits them."""
    if value is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def row(result: Result) -> tuple[str, ...]:
    """Return a result as the table shows it; the gap to a missed goal is part of the verdict."""
    sign = "≥" if result.better == "speed" else "≤"
    unit = result.unit if result.unit == "x" else f" {result.unit}"
    verdict = _WORDS[result.verdict]
    if result.verdict != "goal":
        verdict += f", {gap(result):.0%} from goal"
    if result.measured > 1:
        verdict += f" (measured {result.measured} times)"
    return (
        result.topic,
        result.name,
        result.peer_name,
        seconds(result.ours),
        seconds(result.peer),
        seconds(result.limit),
        f"{result.ratio:.3g}{unit}",
        f"{sign} {result.goal:g}{unit}",
        "" if result.bound is None else f"{sign} {result.bound:g}{unit}",
        verdict,
    )


def gap(result: Result) -> float:
    """Return by which part of the goal a result misses it; 0 or less where it does not."""
    miss = result.goal - result.ratio if result.better == "speed" else result.ratio - result.goal
    return miss / result.goal


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the table, in Markdown that also reads well as it is."""
    rows = [HEADER, *map(row, results)]
    widths = [max(len(cells[at]) for cells in rows) for at in range(len(HEADER))]
    for number, cells in enumerate(rows):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"| {' | '.join(padded)} |"
        if number == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"


def summary(results: Sequence[Result], skipped: Sequence[tuple[str, str]]) -> str:
    """Return the one closing line."""
    counts = dict.fromkeys(_WORDS, 0)
    for result in results:
        counts[result.verdict] += 1
    text = (
        f"{len(results)} ratios: {counts['goal']} at their goal, {counts['within']} within their "
        f"bound, {counts['past']} past it, {counts['shown']} not judged"
    )
    return f"{text}; skipped: {', '.join(topic for topic, _ in skipped)}" if skipped else text


def write_json(path: Path, size: Size, results: Iterable[Result]) -> None:
    """Write the results with the machine and the versions that they were measured on."""
    data = {"machine": machine(), "size": size, "results": [plain(result) for result in results]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


def plain(result: Result) -> dict[str, Any]:
    """Return a result as JSON types."""
    return {**attrs.asdict(result), "verdict": result.verdict}


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "versions": dict(_versions()),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
