"""The real Dagster web server in a real browser: the assets and their partitions are there."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser_kit import Browser
from genid_store.cli import run
from storekit import make_store

pytestmark = pytest.mark.browser

ASSETS = (
    "selected_combo_mappings",
    "cohort_id",
    "cohort_membership",
    "register_cohort_partitions",
    "draft_generation",
    "essay_generation",
    "evaluation_generation",
    "cohort_generations",
)
_DEFINITIONS = """
from genid_dagster_adapter.definitions import build_definitions

defs = build_definitions(data_root={root!r}, generate=lambda request: "text", environ={{}})
"""
_QUIET = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
_START = 120  # seconds that the server may take to come up on a busy machine


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A data root whose cohort `seen` is built, its Dagster home and its members by stage."""
    folder = tmp_path_factory.mktemp("dagster")
    store = make_store(folder / "data", generations=200, oddities=(), selection=None)
    for name in ("gens", "cohorts"):
        shutil.rmtree(store.path / name)
    counts = "stage,replicates\ndraft,1\nessay,1\nevaluation,1\n"
    (store.path / "1_raw" / "replication_config.csv").write_text(counts)
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(_QUIET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        patch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
        patch.delenv("DD_GEN_ID_SCHEME", raising=False)
        root = str(store.path)
        cohort = ["--data-root", root, "--cohort-id", "seen", "--json"]
        assert 0 == run(["cohort", "build", *cohort])
        (folder / "host.py").write_text("def make(request):\n    return f'7 {request.gen_id}'\n")
        host = ["--generate", f"{folder / 'host.py'}:make"]
        assert 0 == run(["cohort", "run", *cohort, *host])
    lines = (store.path / "cohorts" / "seen" / "membership.csv").read_text().splitlines()[1:]
    rows = [tuple(line.split(",")) for line in lines]
    return {"root": store.path, "home": home, "rows": rows}


@pytest.fixture(scope="module")
def server(members: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running web server over these definitions."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "served.py").write_text(_DEFINITIONS.format(root=str(members["root"])))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("dagster-webserver")), "-f", "served.py",
        "-h", "127.0.0.1", "-p", str(port), "--read-only",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(members["home"]),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, process, folder / "log")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until the server answers; fail with its log where it ends or takes too long."""
    end = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5) as answer:
                json.load(answer)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.25)
    pytest.fail(f"the web server did not come up: {log.read_text()[-2000:]}")


def _shows(browser: Browser, address: str, *texts: str) -> None:
    """Wait until the page at `address` shows all these texts."""
    from selenium.webdriver.support.ui import WebDriverWait

    browser.open(address, width=1600)
    everything = "return document.body.innerText"

    def shown(_: object) -> bool:
        text = browser.script(everything)
        return "Loading." not in text and all(one in text for one in texts)

    WebDriverWait(browser.driver, 60).until(shown, message=f"{address} does not show {texts}")


def test_every_asset_is_there(browser: Browser, server: str) -> None:
    """The graph shows the cohort assets and the stage assets."""
    _shows(browser, f"{server}/asset-groups", *ASSETS)


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_every_members_partition_is_there(
    browser: Browser, server: str, members: dict[str, object], stage: str
) -> None:
    """A stage asset's page counts the cohort's members and lists them in membership order."""
    rows = members["rows"]
    assert isinstance(rows, list)
    ids = [gen_id for of, gen_id in rows if of == stage]
    assert 0 < len(ids) < 1_000
    page = f"{server}/assets/{stage}_generation?view=partitions"
    _shows(browser, page, f"Materialized ({len(ids)})", *ids[:3])


def test_lineage_a_partition_and_a_cohort_are_shown(
    browser: Browser, server: str, members: dict[str, object], tmp_path: Path
) -> None:
    """The graph draws what an essay hangs on; its partition shows what it was made from, with the
    parent's id; a cohort's partition its figures; nothing is out of date. A picture of each is
    kept."""
    rows = members["rows"]
    assert isinstance(rows, list)
    draft, essay = (next(one for of, one in rows if of == stage) for stage in ("draft", "essay"))
    pages = {
        "lineage": ("essay_generation?view=lineage", ["draft_generation", "evaluation_generation"]),
        "combos": ("selected_combo_mappings?view=lineage", ["cohort_id", "cohort_membership"]),
        "partition": (
            f"essay_generation?view=partitions&partition={essay}",
            [essay, "template_id", "preview", draft[:2]],
        ),
        "cohort": (
            "cohort_membership?view=partitions&partition=seen",
            ["seen", "Materialized (1)", "cohort_id", "rollout", "all"],
        ),
    }
    for name, (page, texts) in pages.items():
        _shows(browser, f"{server}/assets/{page}", *texts)
        assert browser.driver.save_screenshot(str(tmp_path / f"{name}.png"))
        text = browser.script("return document.body.innerText")
        assert "Unsynced" not in text
        assert "Never materialized" not in text  # the command made it all, and the sync said so


def test_both_jobs_are_there(browser: Browser, server: str) -> None:
    """The one that builds a cohort and the one that makes what it lacks."""
    _shows(browser, f"{server}/jobs", "genid_cohort", "genid_make_missing")
