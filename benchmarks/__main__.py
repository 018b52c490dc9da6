"""`python -m benchmarks [--short | --long] [--only TEXT] [--planted FACTOR] [--times N]
    [--json FILE]`.

Exit status: 0 if every ratio is within its bound, 1 if one is past it.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.harness import Result, Size, run
from benchmarks.report import heading, machine, row, summary, table, write_json


def main() -> int:
    """Measure, print the table and the summary line, write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--short", dest="size", action="store_const", const="short")
    sizes.add_argument("--long", dest="size", action="store_const", const="long")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases whose name has it")
    parser.add_argument(
        "--planted", type=float, default=1, metavar="FACTOR", help="multiply our times by it"
    )
    parser.add_argument(
        "--times", type=int, default=1, metavar="N", help="measure every case so many times"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here too")
    arguments = parser.parse_args()
    size: Size = arguments.size or "full"
    results: list[Result] = []
    skipped: list[tuple[str, str]] = []
    for result in run(size, arguments.only, arguments.planted, arguments.times):
        if isinstance(result, Result):
            results.append(result)
            print("  ".join(filter(None, row(result))), file=sys.stderr, flush=True)
        else:
            skipped.append(result)
    print(f"\n{heading(machine(), size)}\n")
    print("\n".join(table(results)))
    for topic, reason in skipped:
        print(f"\nskipped {topic}: {reason}")
    if arguments.json is not None:
        write_json(arguments.json, size, results)
    print(f"\n{summary(results, skipped)}")
    return 1 if any(result.verdict == "past" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
