"""What most of the adapter's tests begin with; a module that needs another one defines it."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_kit import small_cohort
from genid_store.fs.layout import DataRoot


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A built cohort `c`: 2 drafts, 4 essays (2 of them copies), 4 evaluations."""
    return small_cohort(tmp_path / "root")
