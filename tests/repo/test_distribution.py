"""The distribution: what an install brings, and what it says where a part is absent."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

SITE = Path(sysconfig.get_path("purelib"))
CORE_DEPENDENCIES = ("attr", "attrs", "blake3")
PACKAGES = ("genid", "genid_store", "genid_dagster_adapter")


@pytest.fixture(scope="module")
def built(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel and the sdist, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture(scope="module")
def bare_python(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, attrs and blake3 alone."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    for name in CORE_DEPENDENCIES:
        shutil.copytree(SITE / name, site / name)
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return home / "bin" / "python"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, env=environment, check=False
    )


def test_the_wheel_holds_every_package_their_types_and_the_licence(built: Path) -> None:
    """The wheel carries three packages, their `py.typed` markers and the licence, no tests."""
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{name}/py.typed" for name in PACKAGES} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_sdist_holds_the_specification_and_the_tests(built: Path) -> None:
    """The sdist carries what a packager needs to check it: SPEC.md, CHANGELOG.md and the tests."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"SPEC.md", "CHANGELOG.md", "LICENSE", "tests/conftest.py"} <= names


def test_the_core_derives_an_id_with_attrs_and_blake3_alone(bare_python: Path) -> None:
    """`pip install genid` is enough to derive an id."""
    script = (
        "from genid import Draft, gen_id;"
        "print(gen_id(Draft(combo_id='combo_v1_85128e4e5ef3', template_id='creative-synthesis-v10',"
        " llm_model_id='gemini_25_pro', replicate=1)))"
    )
    assert "d_2pkyzevzpngrcb4vm9d9j2b1mk\n" == run(bare_python, "-c", script).stdout


def test_the_command_without_its_extra_says_how_to_get_it(bare_python: Path) -> None:
    """Without the `cli` extra `genid` prints one line with the remedy and exits with 2."""
    result = run(bare_python, "-m", "genid_store", "--help")
    assert (2, "genid: the command is an extra: pip install 'genid[cli]'\n") == (
        result.returncode,
        result.stderr,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["derive", "--help"]])
def test_the_command_starts_without_any_heavy_library(arguments: list[str]) -> None:
    """`genid --help` and `genid derive` import neither Dagster nor a dataframe library."""
    script = (
        "import sys; from genid_store.cli import run; run(sys.argv[1:]);"
        "heavy = {'dagster', 'pandas', 'pyarrow', 'polars', 'daft', 'datafusion', 'rich'};"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = run(Path(sys.executable), "-c", script, *arguments)
    assert "[]\n" == result.stderr
