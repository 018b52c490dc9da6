"""What may not stand in a committed file, because it is true of one machine only."""

import re
import subprocess
from pathlib import Path

import pytest

ADDRESS = re.compile(b"index" + rb"-url\b|\"resolved\": *\"" + b"http")
HOME = re.compile(rb"(?<![A-Za-z0-9_.~/-])/(?:home|root|Users)/[a-z]")


@pytest.fixture(scope="module")
def committed(project: Path) -> list[Path]:
    """Every file that the repository tracks."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=project, capture_output=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout: there is no list of committed files")
    names = listing.stdout.decode().split("\0")
    return [project / name for name in names if name and (project / name).is_file()]


@pytest.mark.parametrize("pattern", [ADDRESS, HOME], ids=["package index", "home folder"])
def test_no_committed_file_names_one_machine(
    committed: list[Path], pattern: re.Pattern[bytes]
) -> None:
    """No committed file holds the address of a package index or the path of somebody's home."""
    here = Path(__file__)
    found = [path.name for path in committed if path != here and pattern.search(path.read_bytes())]
    assert [] == found
