"""The scale recipes: the page shows what is run, and the large example writes what it should."""

import re
import runpy
from pathlib import Path

import pytest

from genid import Draft, gen_id


def test_the_page_shows_the_recipes_that_are_run(project: Path) -> None:
    """Each recipe of `docs/scale.md` is, line by line, in the script that runs it."""
    page = (project / "docs" / "scale.md").read_text("utf-8")
    script = (project / "tests" / "engine_recipes.py").read_text("utf-8")
    recipes = re.findall(r"    # recipe ([a-z-]+)\n(.*?)    # end\n", script, re.DOTALL)
    assert ["daft", "daft-ray", "ray", "spark"] == [name for name, _lines in recipes]
    for name, lines in recipes:
        code = re.sub(r"^    ", "", lines, flags=re.MULTILINE).strip()
        assert code in page, name


def test_the_large_example_writes_the_right_ids(project: Path, tmp_path: Path) -> None:
    """More rows than one batch; any row can be checked by hand."""
    parquet = pytest.importorskip("pyarrow.parquet")
    example = runpy.run_path(str(project / "examples" / "large_experiment.py"))
    path = tmp_path / "drafts.parquet"
    rows = example["BATCH"] + 100
    example["write"](str(path), rows)
    written = parquet.read_table(path)
    assert (rows, len(set(written["gen_id"].to_pylist()))) == (len(written), rows)
    for row in written.take([0, 1, 23, 24, rows - 101, rows - 100, rows - 1]).to_pylist():
        assert row.pop("gen_id") == gen_id(Draft(**row))
