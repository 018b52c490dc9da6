"""A headless Chromium, and pages for it to open. Where there is none, the tests say so and skip."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser_kit import Browser
from genid_store.report.page import html
from report_kit import hostile_store, hostile_tables, report_on
from storekit import FAULTS, make_store

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests, with a profile of its own."""
    pytest.importorskip("selenium", reason="no selenium: pip install 'generation-ids[test]'")
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver")
    opened = Browser.start(binary, driver, tmp_path_factory.mktemp("profile"))
    try:
        yield opened
    finally:
        opened.driver.quit()


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a store of all families, oddities and faults."""
    return _reported(tmp_path_factory.mktemp("page"), 400)


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a store with 278 essays."""
    return _reported(tmp_path_factory.mktemp("large"), 5_000)


def _reported(folder: Path, generations: int) -> Path:
    make_store(folder / "data", generations=generations, faults=FAULTS, files=("parsed.txt",))
    return _written(folder / "report.html", html(report_on(folder / "data")))


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a store with hostile text in every field that can hold one."""
    folder = tmp_path_factory.mktemp("hostile")
    hostile_tables(hostile_store(folder / "data"), broken=False)
    return _written(folder / "report.html", html(report_on(folder / "data")))


def _written(page: Path, text: str) -> Path:
    page.write_text(text, encoding="utf-8")
    return page
