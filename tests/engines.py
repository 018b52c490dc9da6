"""Run the recipes of `docs/scale.md`, each in an environment of its own: `make test-engines`.

    python tests/engines.py [daft] [daft-ray] [ray] [spark]

Every recipe derives the ids of 200,000 drafts, more than one batch, on the engine's workers, and
compares them with the single path; tests of what the engine alone makes possible follow where there
are some. The environments lie below `build/engines` and are kept.
"""

import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "build" / "engines"
RECIPES = {
    "daft": ("daft", "hypothesis", "pytest"),
    "daft-ray": ("daft", "ray"),
    "ray": ("ray[data]",),
    "spark": ("pyspark", "pandas<3"),
}
#: Tests that need the engine.
TESTS = {"daft": ("tests/genid/test_daft.py",)}
QUIET = {"DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "1"}


def main(names: list[str]) -> int:
    """Run the recipes; return 0 if all gave the right ids, 1 otherwise."""
    failed = [name for name in names or RECIPES if not runs(name)]
    say(f"{len(names or RECIPES) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def runs(name: str) -> bool:
    """Run one recipe and its tests in its environment and tell whether it was right."""
    say(f"{name} …")
    python, environ = environment(name), {**os.environ, **QUIET}
    recipe = [python, str(PROJECT / "tests" / "engine_recipes.py"), name]
    run = subprocess.run(recipe, env=environ, check=False, cwd=HOME)
    if run.returncode == 0 and name in TESTS:
        tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS[name]]
        run = subprocess.run(tests, env=environ, check=False, cwd=PROJECT)
    return run.returncode == 0


def environment(name: str) -> str:
    """Make the environment of a recipe if it is not there; return its interpreter."""
    python = HOME / name / "bin" / "python"
    stamp = HOME / name / "complete"
    wanted = " ".join(RECIPES[name])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME / name)], check=True)
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", f"{PROJECT}[arrow]", *RECIPES[name]], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def say(line: str) -> None:
    """Print a line at once: what is run prints too."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
