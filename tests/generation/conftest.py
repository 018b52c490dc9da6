"""What the tests of generating share."""

from pathlib import Path

import pytest

from cohort_kit import make_root
from dagster_kit import write_templates
from genid_store.fs.layout import DataRoot


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    found = make_root(tmp_path / "root", replicates=(1, 1, 1))
    write_templates(found)
    return found
