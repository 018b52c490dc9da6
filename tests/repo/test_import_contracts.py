"""Each import contract fails when it is broken: a copy of the sources with one import too many."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: A contract's name -> the module that gets an import that breaks it, and the import.
BREACHES = {
    "The core knows nothing of the adapter": ("genid/_text.py", "import json"),
    "The adapter stands on the store": ("genid/_text.py", "import genid_store.errors"),
    "Inside the store each layer knows": (
        "genid_store/catalog/lookup.py",
        "import genid_store.cohort.build",
    ),
    "The store knows no orchestrator": ("genid_store/hooks.py", "import dagster"),
    "The command line is the cli's alone": ("genid_store/cohort/build.py", "import click"),
    "Pages are the report's alone": ("genid_store/cli/cohort.py", "import jinja2"),
    "Ids and planning never touch a disk": ("genid_store/cohort/planning/plan.py", "import os"),
}


def _lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Path:
    """The sources and their contracts, by themselves."""
    folder = tmp_path_factory.mktemp("contracts")
    shutil.copytree(project / "src", folder / "src")
    shutil.copy(project / "pyproject.toml", folder)
    return folder


def test_the_sources_keep_every_contract_and_each_has_a_breach_here(copy: Path) -> None:
    """The copy is what is looked at, not what is installed."""
    ran = _lint(copy)
    assert 0 == ran.returncode, ran.stdout
    for name in BREACHES:
        assert f"{name}" in ran.stdout
    assert f"Contracts: {len(BREACHES)} kept, 0 broken." in ran.stdout


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_seen(copy: Path, name: str) -> None:
    """That contract is broken, whatever else may be."""
    place, line = BREACHES[name]
    path = copy / "src" / place
    before = path.read_text("utf-8")
    path.write_text(f"{before}\n{line}\n", "utf-8")
    try:
        ran = _lint(copy)
    finally:
        path.write_text(before, "utf-8")
    assert 1 == ran.returncode
    broken = [text for text in ran.stdout.splitlines() if "BROKEN" in text]
    assert any(text.startswith(name) for text in broken), ran.stdout
