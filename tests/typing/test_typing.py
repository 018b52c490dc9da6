"""The types: mypy accepts what is right and refuses what is wrong, and nothing else."""

import re
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"


def checked(case: Path, cache: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run mypy --strict over one file, against the package in `src`."""
    api = pytest.importorskip("mypy.api")
    monkeypatch.setenv("MYPYPATH", str(project / "src"))
    out, problems, _status = api.run(
        ["--strict", "--show-error-codes", "--no-error-summary", "--config-file=",
         f"--cache-dir={cache}", str(case)]
    )  # fmt: skip
    assert "" == problems
    return str(out)


def test_what_is_right_is_accepted(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No complaint; `assert_type` checks the types that are seen."""
    assert "" == checked(CASES / "accepted.py", tmp_path, project, monkeypatch)


def test_what_is_wrong_is_refused(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the marked lines, each with one of its codes."""
    case = CASES / "refused.py"
    expected = {
        number: set(line.partition("# E: ")[2].split())
        for number, line in enumerate(case.read_text().splitlines(), start=1)
        if "# E: " in line
    }
    found: dict[int, set[str]] = {}
    for line in checked(case, tmp_path, project, monkeypatch).splitlines():
        error = re.search(r"refused\.py:(\d+): error: .*\[([a-z-]+)\]$", line)
        if error is not None:
            found.setdefault(int(error[1]), set()).add(error[2])
    assert sorted(expected) == sorted(found)
    for number, codes in found.items():
        assert codes <= expected[number], (number, codes)
