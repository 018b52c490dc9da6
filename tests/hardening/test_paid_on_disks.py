"""Runs on disks that are full, without inodes, or divided: every text that was paid for is there
after the next run, and none is paid for twice."""

import contextlib
import os
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cohort_kit import COHORT, ON, built
from dagster_kit import lay
from genid_store import Request
from genid_store.errors import StoreError
from genid_store.fs import rescue
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from genid_store.generation.status import state_of
from genid_store.migration import run as migration
from genid_store.stages import PIPELINE
from hardening_kit import attempt, command, fill, on_a_disk, remount_with
from paid_kit import small_root


class Paid:
    """A generator that counts what it was asked for, and fills the disk in its call number `at`."""

    def __init__(self, disk: Path, at: int = 0) -> None:
        self.calls: Counter[str] = Counter()
        self.disk, self.at = disk, at

    def __call__(self, request: Request) -> str:
        self.calls[request.gen_id] += 1
        if self.calls.total() == self.at:
            fill(self.disk)
        return "SCORE: 7 " + "x" * 20_000


def run(root: DataRoot, paid: Paid) -> None:
    attempt(StoreError, lambda: run_cohort(root, COHORT, paid, Asked(), concurrency=1))


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_disk_that_fills_inside_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """No room is nobody's failure: with room again the same command pays for the rest alone."""

    rescued = tmp_path / "rescued"
    rescued.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rescued))
    monkeypatch.setattr(rescue, "USUAL", ())

    def scenario(disk: Path) -> None:
        root, paid = small_root(disk / "root"), Paid(disk, at)
        built(root, ON)
        run(root, paid)
        (disk / "ballast").unlink()
        run(root, paid)
        assert {1} == set(paid.calls.values())
        assert 4 == paid.calls.total()
        assert [len("SCORE: 7 ") + 20_000] * 5 == [
            len(one.read_text()) for one in root.gens.rglob("parsed.txt")
        ]
        assert not any(failures.failed_ids(root, stage) for stage in PIPELINE)

    on_a_disk(tmp_path / "disk", "size=48m,nr_inodes=1000", scenario)


@pytest.mark.parametrize("inodes", [15, 40, 60, 75, 90])
def test_a_disk_without_inodes(tmp_path: Path, inodes: int) -> None:
    """Whichever step finds none left says so, in words; with more the same commands complete."""
    ledger = tmp_path / "ledger"

    def scenario(disk: Path) -> None:
        root, host = disk / "root", tmp_path / "host.py"
        host.write_text(
            "def generate(request):\n"
            f"    with open({str(ledger)!r}, 'a') as file:\n"
            "        print(request.gen_id, file=file)\n"
            "    return 'SCORE: 7'\n"
        )
        place = ["--data-root", root, "--cohort-id", "c"]
        words = (
            ["init", root],
            ["cohort", "build", *place],
            ["cohort", "run", *place, "--generate", f"{host}:generate"],
        )
        for arguments in words:
            done = command(*arguments)
            assert "Traceback" not in done.stderr
            assert done.returncode == 0 or "No space left on device" in done.stdout + done.stderr
            if done.returncode:
                break
        remount_with(disk, "nr_inodes=10000")
        for arguments in words[root.exists() :]:
            done = command(*arguments)
            assert 0 == done.returncode, (arguments, done.stdout, done.stderr)
        assert {1} == set(Counter(ledger.read_text().split()).values())

    on_a_disk(tmp_path / "disk", f"size=20m,nr_inodes={inodes}", scenario)


@pytest.fixture
def few_descriptors() -> Iterator[list[int]]:
    """Limit the open files of this process; yield a list of those to close again."""
    before, opened = resource.getrlimit(resource.RLIMIT_NOFILE), list[int]()
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        yield opened
    finally:
        for descriptor in opened:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("answers", [True, False], ids=["returns", "raises"])
def test_a_callable_that_leaves_no_file_descriptor_loses_nothing(
    tmp_path: Path, few_descriptors: list[int], answers: bool
) -> None:
    """Its text is published, or its failure recorded. The next call is not begun, and the reason
    speaks of open files."""
    root, asked = lay(tmp_path, "draft", "d1"), []
    lay(tmp_path, "draft", "d2")

    def leaking(request: Request) -> str:
        asked.append(request.gen_id)
        with contextlib.suppress(OSError):
            while True:
                few_descriptors.append(os.open(os.devnull, os.O_RDONLY))
        if not answers:
            raise ValueError("no answer")
        return "paid"

    executor = Executor(root=root, generator=leaking)
    assert ("made" if answers else "failed") == executor.obtain("draft", "d1").kind
    for _ in range(20):
        with contextlib.suppress(OSError):
            few_descriptors.append(os.open(os.devnull, os.O_RDONLY))
    refused = executor.obtain("draft", "d2")
    for descriptor in few_descriptors:
        os.close(descriptor)
    few_descriptors.clear()
    assert ("made" if answers else "failed") == state_of(root, "draft", "d1")
    assert ("refused", ["d1"]) == (refused.kind, asked)
    assert "Too many open files; close the files" in refused.reason


def test_generations_on_a_mount_of_their_own(tmp_path: Path) -> None:
    """Texts cross from one file system to the other whole, are paid for once, and survive a
    migration and the way back."""

    def scenario(disk: Path) -> None:
        root, paid = small_root(disk.parent), Paid(disk)
        built(root, ON)
        run(root, paid)
        texts = {one.parent.name: one.stat().st_size for one in root.gens.rglob("parsed.txt")}
        assert {len("SCORE: 7 ") + 20_000} == set(texts.values())
        assert [] == [one for one in root.own.glob("staging/*/*") if one.is_dir()]
        migration.migrate(root)
        attempt(StoreError, lambda: migration.rollback(root))
        run(root, paid)
        assert ({1}, 4) == (set(paid.calls.values()), paid.calls.total())

    (tmp_path / "root").mkdir()
    on_a_disk(tmp_path / "root" / "gens", "size=8m", scenario)
