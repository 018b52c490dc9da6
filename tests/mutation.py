"""Mutation testing of `genid`: change one thing at a time and see whether a test notices.

    python tests/mutation.py [module of src/genid …]

Each worker gets a copy of the sources below `build/mutation`, because cosmic-ray changes files in
place. Survivors are compared with the table in `tests/README.md`, where each has its reason: one
that is not in the table fails the run, and so does a row whose mutant is dead or gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import frozen

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "build" / "mutation"
PAGE = PROJECT / "tests" / "README.md"
CORE = "src/genid"
WORKERS = max(1, min(4, os.cpu_count() or 1))
TIMEOUT = 120  # seconds after which a mutant counts as killed: it made something run on and on
#: The modules that only tables go through, and the tests that put tables through them.
TABLES = ("_bulk.py", "_columns.py", "arrow.py")
TABLE_TESTS = (
    "tests/genid/test_arrow_mutants.py", "tests/genid/test_arrow.py",
    "tests/genid/test_arrow_inputs.py", "tests/property/test_columns.py",
    "tests/hardening/test_fuzz_columns.py",
)  # fmt: skip
#: Run where its engine is, `make test-engines`.
LEFT_OUT = ("__init__.py", "daft.py")
#: The quick tests of the other modules, those first that notice most.
TESTS = (
    *sorted(
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "tests" / "genid").glob("test_*.py")
        if not path.name.startswith(("test_arrow", "test_daft", "test_scale"))
    ),
    "tests/property/test_round_trip.py", "tests/property/test_reference.py",
    "tests/property/test_injective.py", "tests/property/test_order_free.py",
    "tests/property/test_grid.py",
    "tests/hardening/test_fuzz_core.py",
    *TABLE_TESTS[:3],
)  # fmt: skip
#: Of the many replacements of one operator the closest is kept: the others die of the same tests.
KEPT = (
    "Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Pow_Mul", "Mod_FloorDiv",
    "LShift_RShift", "RShift_LShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr",
)  # fmt: skip
CONFIGURATION = """\
[cosmic-ray]
module-path = {modules}
timeout = 0
excluded-modules = []
test-command = ""
[cosmic-ray.distributor]
name = "local"
[cosmic-ray.filters.operators-filter]
exclude-operators = ["core/ReplaceBinaryOperator_(?!({kept})$).*"]
"""


@frozen(order=True)
class Mutant:
    """One change: the module's name, the changed lines before and after, without indentation."""

    module: str
    before: str
    after: str


def main(names: Sequence[str]) -> int:
    chosen = names or sorted(
        path.name for path in (PROJECT / CORE).glob("*.py") if path.name not in LEFT_OUT
    )
    tables = [name for name in chosen if name in TABLES]
    core = [name for name in chosen if name not in TABLES]
    shares: list[tuple[list[str], Sequence[str]]] = [([name], TABLE_TESTS) for name in tables]
    shares += [(core[at::WORKERS], TESTS) for at in range(WORKERS)]
    shares = [share for share in shares if share[0]]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(_run, range(len(shares)), *zip(*shares, strict=True))
        outcomes = [one for share in found for one in share]
    return _report(outcomes, explained(PAGE.read_text(encoding="utf-8")), whole=not names)


def explained(page: str) -> Mapping[Mutant, str]:
    """Return the mutants of the page's table, each with its reason."""
    return {
        Mutant(module, plain(before), plain(after)): reason
        for module, changes, reason in re.findall(
            r"^\| `(\w+\.py)` \| (.+) \| (.+) \|$", page, re.M
        )
        for change in changes.split("<br>")
        for before, afters in [change.strip("`").split("` → `")]
        for after in afters.split("`, `")
    }


def table_of(reasons: Mapping[Mutant, str]) -> str:
    """Return the page's rows: one for each module and reason, with all changes that share them."""
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for mutant, reason in sorted(reasons.items()):
        changes = rows.setdefault((mutant.module, reason), {})
        changes.setdefault(mutant.before, []).append(mutant.after)
    return "".join(
        f"| `{module}` | {'<br>'.join(_change(*change) for change in changes.items())} | {why} |\n"
        for (module, why), changes in rows.items()
    )


def _change(before: str, afters: Sequence[str]) -> str:
    told = "`, `".join(afters)
    return f"`{before}` → `{told}`".replace("|", "\\|")


def plain(text: str) -> str:
    """Undo what a cell of a table asks for."""
    return text.replace("\\|", "|")


def _run(number: int, modules: Sequence[str], looking: Sequence[str]) -> list[tuple[str, Mutant]]:
    """Return the outcome of every mutant of `modules` under the tests that are `looking`."""
    copy = HOME / str(number)
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ("src", "tests", "SPEC.md", "pyproject.toml"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy)
    (copy / "mutation.toml").write_text(
        CONFIGURATION.format(
            modules=json.dumps([f"{CORE}/{name}" for name in modules]), kept="|".join(KEPT)
        ),
        encoding="utf-8",
    )
    environ = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "GENID_SHARED": os.environ.get("GENID_SHARED", str(PROJECT.parent / "shared")),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a good part of a mutant's time
    }

    def step(*command: object) -> None:
        done = subprocess.run(
            [*map(str, command)], cwd=copy, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stdout}{done.stderr}")

    tools = Path(sys.executable).parent
    tests = [name for name in looking if (copy / name).exists()]
    step(tools / "cosmic-ray", "init", "mutation.toml", "session.sqlite")
    step(tools / "cr-filter-operators", "session.sqlite", "mutation.toml")
    step(sys.executable, "-B", "tests/mutation_worker.py", "session.sqlite", TIMEOUT, *tests)
    lines = (copy / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
    return [_outcome(*json.loads(line)) for line in lines]


def _outcome(outcome: str, module: str, operator: str, diff: Sequence[str]) -> tuple[str, Mutant]:
    """Return the outcome of a mutant, and what its diff changed: removed and added lines."""
    changed: dict[str, list[str]] = {"-": [], "+": [], "@": []}
    for line in diff:
        changed[line[0]].append(line[1:].strip())
    before, after = (" ".join(changed[sign]) for sign in "-+")
    return outcome, Mutant(module, before or operator, after or "(removed)")


def _report(
    outcomes: Sequence[tuple[str, Mutant]], reasons: Mapping[Mutant, str], *, whole: bool
) -> int:
    """Print the score and what is not as the page says; 1 where that is anything."""
    survivors = {mutant for outcome, mutant in outcomes if outcome == "survived"}
    alive = sum(outcome == "survived" for outcome, _ in outcomes)
    unexplained = sorted(survivors - reasons.keys())
    stale = sorted(reasons.keys() - survivors) if whole else []
    if unexplained or stale:
        _say(f"not as {PAGE.name} has it; these are the survivors, `?` where a reason is missing:")
        _say(table_of({mutant: reasons.get(mutant, "?") for mutant in survivors}))
    killed = len(outcomes) - alive
    _say(f"mutation: {killed} of {len(outcomes)} mutants killed ({killed / len(outcomes):.1%});")
    _say(f"  {alive} survived, {len(unexplained)} of them unexplained; {len(stale)} stale rows")
    return 1 if unexplained or stale else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
