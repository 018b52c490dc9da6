"""Mutation testing of the core: change one thing at a time and see whether a test notices.

    python tests/mutation.py [module of src/genid …]

Each worker gets a copy of the sources below `build/mutation`, because cosmic-ray changes files in
place. Survivors are compared with the table in `docs/mutation.md`, where each has its reason: one
that is not in the table fails the run, and so does a row whose mutant is dead or gone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attrs import frozen

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "build" / "mutation"
PAGE = PROJECT / "docs" / "mutation.md"
CORE = "src/genid"
WORKERS = max(1, min(4, os.cpu_count() or 1))
TIMEOUT = 120.0  # seconds after which a mutant counts as killed: it made something run on and on
#: The quick tests of the core, those first that notice most.
TESTS = (
    "tests/genid", "tests/property/test_round_trip.py", "tests/property/test_reference.py",
    "tests/property/test_injective.py", "tests/property/test_order_free.py",
    "tests/property/test_grid.py",
    "tests/hardening/test_fuzz_core.py",
)  # fmt: skip
#: Of the many replacements of one operator the closest is kept: the others die of the same tests.
KEPT = (
    "Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "Pow_Mul", "Mod_FloorDiv",
    "LShift_RShift", "RShift_LShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitOr",
)  # fmt: skip
CONFIGURATION = """\
[cosmic-ray]
module-path = {modules}
timeout = {timeout}
excluded-modules = []
test-command = {command}
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
    modules = [f"{CORE}/{name}" for name in names] or sorted(
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / CORE).glob("*.py")
        if path.name != "__init__.py"
    )
    shares = [modules[worker::WORKERS] for worker in range(min(WORKERS, len(modules)))]
    with ThreadPoolExecutor(len(shares)) as pool:
        outcomes = [one for found in pool.map(_run, range(len(shares)), shares) for one in found]
    return _report(outcomes, explained(PAGE.read_text(encoding="utf-8")), whole=not names)


def explained(page: str) -> Mapping[Mutant, str]:
    """Return the mutants of the page's table, each with its reason."""
    rows = re.findall(r"^\| `(\w+\.py)` \| `(.+?)` \| `(.+?)` \| (.+) \|$", page, re.M)
    return {
        Mutant(module, before.replace("\\|", "|"), after.replace("\\|", "|")): reason
        for module, before, after, reason in rows
    }


def row_of(mutant: Mutant, reason: str) -> str:
    """Return a mutant's row of the page's table."""
    before, after = (text.replace("|", "\\|") for text in (mutant.before, mutant.after))
    return f"| `{mutant.module}` | `{before}` | `{after}` | {reason} |"


def _run(worker: int, modules: Sequence[str]) -> list[tuple[str, Mutant]]:
    """Return the outcome of every mutant of `modules`, tried in a copy of its own."""
    copy = HOME / str(worker)
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ("src", "tests", "SPEC.md", "pyproject.toml"):
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy)
    tests = [name for name in TESTS if (copy / name).exists()]
    pytest = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    (copy / "mutation.toml").write_text(
        CONFIGURATION.format(
            modules=json.dumps(modules),
            timeout=TIMEOUT,
            command=json.dumps(" ".join(pytest)),
            kept="|".join(KEPT),
        ),
        encoding="utf-8",
    )
    shared = os.environ.get("GENID_SHARED", str(PROJECT.parent / "shared"))
    environ = {
        **os.environ,
        "PYTHONPATH": str(copy / "src"),
        "GENID_SHARED": shared,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # half of a mutant's time
    }

    def step(*words: str) -> str:
        command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
        done = subprocess.run(
            command, cwd=copy, env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    done = subprocess.run(
        pytest, cwd=copy, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the tests fail without any mutant:\n{done.stdout}{done.stderr}")
    step("cosmic-ray", "init", "mutation.toml", "session.sqlite")
    step("cr-filter-operators", "session.sqlite", "mutation.toml")
    step("cosmic-ray", "exec", "mutation.toml", "session.sqlite")
    return list(_outcomes(step("cosmic-ray", "dump", "session.sqlite").splitlines()))


def _outcomes(lines: Iterable[str]) -> Iterator[tuple[str, Mutant]]:
    for line in lines:
        job, result = json.loads(line)
        if result is None or result["worker_outcome"] == "skipped":
            continue
        (mutation,) = job["mutations"]
        module = Path(mutation["module_path"]).name
        outcome = result["test_outcome"] or result["worker_outcome"]
        yield outcome, _mutant(module, mutation, result)


def _mutant(module: str, mutation: Mapping[str, Any], result: Mapping[str, Any]) -> Mutant:
    """Return what a diff changed: its removed and its added lines."""
    changed: dict[str, list[str]] = {"-": [], "+": []}
    for line in (result["diff"] or "").splitlines():
        if line[:1] in changed and not line.startswith(("---", "+++")):
            changed[line[0]].append(line[1:].strip())
    before, after = (" ".join(changed[sign]) for sign in "-+")
    return Mutant(module, before or mutation["operator_name"], after or "(removed)")


def _report(
    outcomes: Sequence[tuple[str, Mutant]], reasons: Mapping[Mutant, str], *, whole: bool
) -> int:
    """Print the score and what is not as the page says; 1 where that is anything."""
    survivors = {mutant for outcome, mutant in outcomes if outcome == "survived"}
    strange = sorted({outcome for outcome, _ in outcomes} - {"survived", "killed"})
    alive = sum(outcome == "survived" for outcome, _ in outcomes)
    unexplained = sorted(survivors - reasons.keys())
    stale = sorted(reasons.keys() - survivors) if whole else []
    if unexplained:
        _say(f"survived, and not in {PAGE.name}:")
    for mutant in unexplained:
        _say(row_of(mutant, "?"))
    if stale:
        _say(f"in {PAGE.name}, and no survivors:")
    for mutant in stale:
        _say(row_of(mutant, reasons[mutant]))
    killed = len(outcomes) - alive
    _say(f"mutation: {killed} of {len(outcomes)} mutants killed ({killed / len(outcomes):.1%});")
    _say(f"  {alive} survived, {len(unexplained)} of them unexplained; {len(stale)} stale rows")
    if strange:
        _say(f"  outcomes that are neither killed nor survived: {', '.join(strange)}")
    return 1 if unexplained or stale or strange else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
