"""Install every dependency at its lower bound and run the tests: what `make test-lowest` does.

    python tests/lowest.py [pytest arguments]
    python tests/lowest.py --dagster

The second form takes a minute: the lowest Dagster alone, over what is installed here, and the tests
of what the adapter rests on.

The environment lies in `build/lowest` and is kept while `pyproject.toml` does not change. A bound
that does not work fails here; the remedy is to raise it in `pyproject.toml`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / "build" / "lowest"
PYTHON = HOME / "bin" / "python"
#: What is installed, and so held to its bounds; `docs` and `bench` have no tests of their own.
EXTRAS = ("cli", "dagster", "arrow", "examples", "test")
#: `name[extra]>=version` and, after a comma, an upper bound.
REQUIREMENT = re.compile(r"([a-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9.]+)(?:,<[0-9.]+)?")
#: What is run: all that runs the product in this process. Not the browser, the linters, the package
#: that is built, nor the long forms.
TESTS = (
    "tests/genid", "tests/property", "tests/ids", "tests/cohort", "tests/catalog", "tests/dagster",
    "tests/migration", "tests/hardening", "tests/report",
)  # fmt: skip
#: What `--dagster` runs: the assets, the sensor, the jobs, loading, and the private interfaces.
DAGSTER = [
    f"tests/dagster/test_{name}.py"
    for name in ("stage_assets", "missing_job", "knobs", "loading", "private_interfaces")
]


def lower_bounds(project: dict[str, Any]) -> Iterator[str]:
    """Yield `name==bound` for the dependencies of the core and of EXTRAS.

    ValueError: a dependency has no lower bound, so that nobody knows what works.
    """
    extras = project["optional-dependencies"]
    for requirement in [
        *project["dependencies"],
        *(one for name in EXTRAS for one in extras[name]),
    ]:
        if requirement.startswith("generation-ids["):
            continue
        found = REQUIREMENT.fullmatch(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} is not of the form name>=version")
        yield f"{found[1]}=={found[2]}"


def with_lowest_dagster(bounds: list[str]) -> int:
    """Run DAGSTER with the lowest Dagster, which lies in a folder of its own."""
    version = next(one for one in bounds if one.startswith("dagster==")).removeprefix("dagster==")
    folder = PROJECT / "build" / f"dagster-{version}"
    if not (folder / "dagster").is_dir():
        packages = [f"{name}=={version}" for name in ("dagster-pipes", "dagster-shared", "dagster")]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), *packages], check=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *DAGSTER]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode


def main(arguments: list[str]) -> int:
    text = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    bounds = sorted(set(lower_bounds(tomllib.loads(text)["project"])))
    if arguments == ["--dagster"]:
        return with_lowest_dagster(bounds)
    stamp = HOME / "bounds.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8").split() != bounds:
        print(f"installing {len(bounds)} packages at their lower bounds into build/lowest …")  # noqa: T201 - a script
        venv.create(HOME, clear=True, with_pip=True)
        pip = [str(PYTHON), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *bounds, "-e", str(PROJECT)], check=True)
        stamp.write_text("\n".join(bounds), encoding="utf-8")
    tests = [name for name in TESTS if (PROJECT / name).is_dir()]
    command = [str(PYTHON), "-m", "pytest", "-q", "-n", "2", *(arguments or tests)]
    return subprocess.run(command, cwd=PROJECT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
