"""A store of every kind, and the report on it."""

import pytest

from genid_store.report.collect import Report
from report_kit import report_on
from storekit import FAULTS, Store, make_store


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with all four families, every oddity and every fault."""
    return make_store(tmp_path_factory.mktemp("report") / "data", generations=400, faults=FAULTS)


@pytest.fixture(scope="session")
def mixed_report(mixed: Store) -> Report:
    """The report on that store."""
    return report_on(mixed.path)
