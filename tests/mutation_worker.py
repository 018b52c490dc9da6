"""Try every mutant of a cosmic-ray session on the sources here: what `mutation.py` starts.

    python mutation_worker.py session.sqlite seconds pytest-arguments…

Writes one line of JSON a mutant to `outcomes.jsonl`: what became of it, its module, cosmic-ray's
name for the change, and its diff. The libraries that the tests use are imported once; each mutant's
tests run in a fork, which takes a third of the time of a process of its own.
"""

from __future__ import annotations

import difflib
import importlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import pytest
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db

#: Everything that takes long to import but the code that is mutated.
LIBRARIES = (
    "attrs", "blake3", "hypothesis.strategies", "numpy", "pandas", "pyarrow.compute", "datafusion",
    "polars", "duckdb", "rfc8785", "typeid",
)  # fmt: skip


def main(session: str, seconds: int, tests: Sequence[str]) -> int:
    for name in LIBRARIES:
        if find_spec(name.split(".")[0]):
            importlib.import_module(name)
    found_is_enough = [hypothesis.Phase.explicit, hypothesis.Phase.generate]  # no shrinking
    hypothesis.settings.register_profile("mutation", phases=found_is_enough, database=None)
    hypothesis.settings.load_profile("mutation")
    if not passes(tests, seconds, quiet=False):
        return 1
    with (
        open("outcomes.jsonl", "w", encoding="utf-8", buffering=1) as outcomes,
        use_db(session, WorkDB.Mode.open) as database,
    ):
        for item in list(database.pending_work_items):
            (mutation,) = item.mutations
            operator = get_operator(mutation.operator_name)(**mutation.operator_args)
            try:
                with use_mutation(mutation.module_path, operator, mutation.occurrence) as codes:
                    before, after = codes
                    outcome = "survived" if passes(tests, seconds, quiet=True) else "killed"
            except AttributeError:  # cosmic-ray cannot replace an exception with a dotted name
                continue
            diff = difflib.unified_diff(before.splitlines(), (after or before).splitlines(), n=0)
            told = [outcome, Path(mutation.module_path).name, mutation.operator_name, [*diff][2:]]
            outcomes.write(f"{json.dumps(told)}\n")
    return 0


def passes(tests: Sequence[str], seconds: int, *, quiet: bool) -> bool:
    """Run tests in a fork; a mutant that makes them crash, or run on and on, does not pass."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        if quiet:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        else:
            os.dup2(2, 1)
        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    _, status = os.waitpid(child, 0)
    return status == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
