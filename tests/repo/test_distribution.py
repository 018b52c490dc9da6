"""The distribution: what an install brings, and what it says where a part is absent."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PACKAGES = ("genid", "genid_store", "genid_dagster_adapter")


@pytest.fixture(scope="module")
def built(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=project,
        check=True,
        capture_output=True,
    )
    return folder


def needed(names: Iterable[str], found: frozenset[str] = frozenset()) -> frozenset[str]:
    """Return the installed distributions that some distributions need, themselves included."""
    for name in set(names) - found:
        requirements = map(Requirement, distribution(name).requires or ())
        below = [
            one.name
            for one in requirements
            if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
        found = needed(below, found | {name})
    return found


def install_line(project: Path, extra: str) -> str:
    """Return the command by which README.md installs the wheel, for one extra ("" for none)."""
    lines = re.findall(r"^pip install .*\.whl.*$", (project / "README.md").read_text("utf-8"), re.M)
    assert 1 == len(lines)
    return re.sub(r"\[\w+\]", f"[{extra}]" if extra else "", lines[0])


def environment_with(project: Path, built: Path, home: Path, extra: str) -> Path:
    """Return the interpreter of a new environment into which README's line installed the wheel.

    What the wheel needs is copied there beforehand, so that pip asks no index; pip itself checks
    that nothing is lacking.
    """
    own = [Requirement(one) for one in distribution("generation-ids").requires or ()]
    wanted = [one.name for one in own if not one.marker or one.marker.evaluate({"extra": extra})]
    venv.create(home, with_pip=True)
    site = next(home.glob("lib/python*/site-packages"))
    for name in needed(wanted):
        found = distribution(name)
        for file in found.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(str(found.locate_file(file)), site / file)
    (home / "dist").symlink_to(built)
    words = shlex.split(install_line(project, extra))
    done = run(home / "bin" / "python", "-m", words[0], "--isolated", *words[1:], "--no-index")
    assert 0 == done.returncode, done.stderr
    return home / "bin" / "python"


@pytest.fixture(scope="module")
def core_python(project: Path, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel, attrs and blake3 alone."""
    return environment_with(project, built, tmp_path_factory.mktemp("core"), "")


@pytest.fixture(scope="module")
def cli_python(project: Path, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what its extra `cli` needs."""
    return environment_with(project, built, tmp_path_factory.mktemp("cli"), "cli")


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        [str(python), *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        cwd=python.parents[1],
    )


def test_the_wheel_holds_every_package_their_types_and_the_licence(built: Path) -> None:
    """The wheel carries three packages, their `py.typed` markers, the starter and the licence."""
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"{name}/py.typed" for name in PACKAGES} <= names
    assert "genid_store/starter/1_raw/llm_models.csv" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_sdist_holds_the_specification_and_the_tests(built: Path) -> None:
    """The sdist carries what a packager needs to check it: SPEC.md, CHANGELOG.md and the tests."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"SPEC.md", "CHANGELOG.md", "LICENSE", "tests/conftest.py"} <= names


def test_the_core_derives_an_id_with_attrs_and_blake3_alone(core_python: Path) -> None:
    """The wheel without an extra is enough to derive an id."""
    script = (
        "from genid import Draft, gen_id;"
        "print(gen_id(Draft(combo_id='combo_v1_85128e4e5ef3', template_id='creative-synthesis-v10',"
        " llm_model_id='gemini_25_pro', replicate=1)))"
    )
    assert "d_2pkyzevzpngrcb4vm9d9j2b1mk\n" == run(core_python, "-c", script).stdout


def test_the_command_without_its_extra_says_how_to_get_it(core_python: Path) -> None:
    """Without the `cli` extra `genid` prints one line with the remedy and exits with 2."""
    result = run(core_python, "-m", "genid_store", "--help")
    words = "the command is an extra of generation-ids: pip install '.[cli]' in a checkout"
    assert (2, f"genid: {words}\n") == (result.returncode, result.stderr)


def test_the_command_runs_where_the_wheel_is_installed(cli_python: Path) -> None:
    """README's line for the extra `cli` is enough for the command, under its name."""
    words = ["derive", "draft", "--combo-id", "c", "--template-id", "t", "--llm-model-id", "m"]
    result = run(cli_python.with_name("genid"), *words, "--replicate", "1")
    assert (0, "") == (result.returncode, result.stderr)
    assert re.fullmatch(r"d_[0-9a-z]{26}\n", result.stdout)


def test_every_extra_that_the_pages_install_is_there(project: Path, built: Path) -> None:
    """No page names an extra that the wheel lacks: pip would only warn, and install too little."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (one for one in archive.namelist() if one.endswith("dist-info/METADATA"))
        offered = re.findall(r"^Provides-Extra: (.*)$", archive.read(metadata).decode(), re.M)
    pages = [project / "README.md", *(project / "docs").glob("*.md")]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    named = set(re.findall(r"(?:generation-ids|whl|'\.)\[(\w+)\]", text))
    assert {"cli", "dagster", "arrow"} <= named
    assert set() == named - set(offered)


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
