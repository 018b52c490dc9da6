"""Draw the results of a run: `python -m benchmarks.chart RESULTS.json CHART.svg`.

Two panels: what one id costs beside its peers, and how the cost of a column grows with its rows.
"""

import json
import math
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

WIDTH, BAR, GAP, LEFT = 840, 18, 8, 340
STYLE = """
text { font: 13px sans-serif; fill: currentColor }
.ours { fill: #2f6fde } .peer { fill: #9aa4b2 } .limit { fill: #d08a1d }
.title { font-weight: bold }
"""

Bar = tuple[str, str, float]  # label, class, seconds an item


def main(source: Path, target: Path) -> None:
    """Read a results file and write the picture."""
    data = json.loads(source.read_text("utf-8"))
    panels = [
        ("One id, µs", list(_one_id(data["results"]))),
        ("A column, µs a row", list(_columns(data["results"]))),
    ]
    parts: list[str] = []
    y = 24
    for title, bars in panels:
        parts.append(f'<text class="title" x="8" y="{y}">{escape(title)}</text>')
        y += 14
        longest = max((seconds for _label, _kind, seconds in bars), default=1)
        for bar in bars:
            parts += _bar(bar, y, longest)
            y += BAR + GAP
        y += 28
    about = data["machine"]
    note = (
        f"{about['date']}, Python {about['python']}, {about['processor']}, {about['cores']} cores"
    )
    parts.append(f'<text x="8" y="{y}">{escape(note)}</text>')
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 16}" role="img" '
        f'aria-label="Benchmarks"><style>{STYLE}</style>{"".join(parts)}</svg>\n',
        "utf-8",
    )


def _one_id(results: list[dict[str, Any]]) -> Iterator[Bar]:
    cases = [result for result in results if result["topic"] == "ids"]
    if cases:
        best = min(cases, key=lambda case: float(case["ours"]))
        yield best["limit_name"], "limit", best["limit"]
        yield "genid", "ours", best["ours"]
    for case in sorted(cases, key=lambda case: float(case["peer"])):
        yield case["peer_name"], "peer", case["peer"]


def _columns(results: list[dict[str, Any]]) -> Iterator[Bar]:
    for case in results:
        if case["topic"] == "columns" and case["ours"] is not None:
            yield f"genid, {case['name']}", "ours", case["ours"]
            yield case["peer_name"], "peer", case["peer"]


def _bar(bar: Bar, y: int, longest: float) -> Iterator[str]:
    label, kind, seconds = bar
    width = max(1, math.floor((WIDTH - LEFT - 80) * seconds / longest))
    yield f'<text x="8" y="{y + BAR - 5}">{escape(label)}</text>'
    yield f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width}" height="{BAR}"/>'
    yield f'<text x="{LEFT + width + 6}" y="{y + BAR - 5}">{seconds * 1e6:.2f}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
