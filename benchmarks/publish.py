"""Write a run down: `python -m benchmarks.publish bench-results/short.json`.

The whole table goes into `benchmarks/results.md`, its ratios into the README's six rows.
"""

import json
import re
import sys
from pathlib import Path

from benchmarks.harness import Result
from benchmarks.report import HEADER, heading, row, summary

_PLACE = Path(__file__).resolve().parent
_ROW = re.compile(r"^(\|[^|]+\| ([^|]+) \| ([^|]+) \| )[\d.]+x( \|)$", re.M)


def main(source: Path) -> None:
    """Read a results file and write both pages."""
    data = json.loads(source.read_text("utf-8"))
    results = [
        Result(**{name: value for name, value in one.items() if name != "verdict"})
        for one in data["results"]
    ]
    lines = ["# Results", "", f"What `make bench-{data['size']}` printed.", ""]
    lines += [heading(data["machine"], data["size"]), ""]
    lines += [f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
    lines += [f"| {' | '.join(row(result))} |" for result in results]
    lines += ["", summary(results, [])]
    (_PLACE / "results.md").write_text("\n".join(lines) + "\n", "utf-8")
    readme = _PLACE.parent / "README.md"
    ratios = {(one.name, one.peer_name): row(one)[6] for one in results}
    text = readme.read_text("utf-8")
    readme.write_text(
        _ROW.sub(lambda found: f"{found[1]}{ratios[found[2], found[3]]}{found[4]}", text), "utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
