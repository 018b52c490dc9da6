"""Build the example cohort with the flag off, then on, then once more; then run it, twice.

Works on a fresh copy of `data/` in `.demo/`, with the offline generator. Every step is a `genid`
command line, printed before it runs.
"""

import os
import shutil
import sys
from pathlib import Path

from genid_store.cli import run

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[1] / ".demo"
ROOT = DEMO / "data"
FLAG = "DD_DETERMINISTIC_GEN_IDS"


def files() -> dict[str, int]:
    """Return the pipeline's files in the data root and when each was written."""
    paths = (path for path in ROOT.rglob("*") if path.is_file() and ".genid" not in path.parts)
    return {str(path.relative_to(ROOT)): path.stat().st_mtime_ns for path in paths}


def step(title: str, command: str, *, flag: str) -> None:
    """Run one command under a state of the flag and say which files it wrote."""
    print(f"\n# {title}\n$ {FLAG}={flag} genid {command}", flush=True)
    os.environ[FLAG] = flag
    before = files()
    status = run(command.split())
    after = files()
    new = sum(path not in before for path in after)
    changed = sum(before.get(path, time) != time for path, time in after.items())
    print(f"files: {new} new, {changed} changed", flush=True)
    if status:
        sys.exit(status)


def main() -> None:
    """Make the copy and take the steps."""
    for name in ("DAGSTER_HOME", "DD_COHORT", "DD_GEN_ID_SCHEME", "GENID_DATA_ROOT"):
        os.environ.pop(name, None)
    shutil.rmtree(DEMO, ignore_errors=True)
    shutil.copytree(HERE / "data", ROOT)
    os.chdir(DEMO.parent)
    cohort = "--data-root .demo/data --cohort-id first-light"
    generate = "--generate examples/daydreaming/host.py:offline"
    step("the flag is off: legacy ids", f"cohort build {cohort}", flag="off")
    step("what would the flag change?", f"cohort compare {cohort}", flag="on")
    step("the flag is on: deterministic ids", f"cohort build {cohort}", flag="on")
    step("once more: nothing to do", f"cohort build {cohort}", flag="on")
    step(
        "the experiment: every missing member is made", f"cohort run {cohort} {generate}", flag="on"
    )
    step("once more: 0 generator calls", f"cohort run {cohort} {generate}", flag="on")
    dagster = os.path.relpath(Path(sys.executable).with_name("dagster"))
    print(
        "\nto look at it in Dagster's UI:\n"
        "  export DAGSTER_HOME=$PWD/.demo/data/.genid/dagster\n"
        f"  {dagster} dev -f examples/daydreaming/definitions.py"
    )


if __name__ == "__main__":
    main()
