"""The code in the guides runs, as it stands."""

import re
from pathlib import Path

import pytest

from cohort_kit import make_root


@pytest.mark.parametrize("page", ["adopting.md", "cohorts.md"])
def test_every_python_block_of_a_page_runs(project: Path, tmp_path: Path, page: str) -> None:
    """One after the other, in one namespace; the data root is the tests' small one."""
    text = (project / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert blocks
    namespace = {"data_root": make_root(tmp_path / "root").path}
    for block in blocks:
        exec(compile(block, page, "exec"), namespace)
