"""What every test may ask for. Nothing here touches the network or a folder outside `tmp_path`."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from genid._registry import registered

PROJECT = Path(__file__).resolve().parent.parent

# No test fails because its neighbours left it no core.
settings.register_profile("any_load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_load")


@pytest.fixture(autouse=True)
def only_the_usual_stages() -> Iterator[None]:
    """Forget the stages that a test defines."""
    before = dict(registered)
    yield
    registered.clear()
    registered.update(before)


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the checkout."""
    return PROJECT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of binding reference files (spec, golden cohorts, official vectors).

    `../shared` beside the checkout, or the folder that GENID_SHARED names.
    """
    folder = Path(os.environ.get("GENID_SHARED", PROJECT.parent / "shared"))
    if not (folder / "spec" / "vectors.json").is_file():
        pytest.skip(f"no reference files at {folder}; set GENID_SHARED to run this test")
    return folder


def pytest_configure() -> None:
    """Take signals as a terminal would send them: a script's background job ignores interrupts,
    what `nohup` starts ignores hang-ups, and every process that a test starts would do the same."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long forms too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="long form: runs with --long (make test-long)")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)
