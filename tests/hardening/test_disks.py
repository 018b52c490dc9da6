"""Real file systems that are full or read-only: a tmpfs of the test's own, and the system's errors.

What is stopped tells why in words, leaves nothing torn, and goes on where there is room again.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genid_store.catalog.index.query import StoreIndex
from genid_store.cohort.build import build_cohort
from genid_store.cohort.prepare import Options
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from genid_store.migration import run
from genid_store.migration.swap import UNFINISHED, open_migration
from hardening_kit import (
    attempt,
    command,
    faulty,
    fill,
    on_a_disk,
    refused,
    remount,
    sample,
    without_own,
)
from hardening_kit import tree as contents
from migrationkit import Tree, differences, small_store, tree
from storekit import make_store

FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)
ROOM = "size=48m,nr_inodes=40000"


def built(root: DataRoot) -> None:
    build_cohort(root, Options(rollout=Rollout.parse("on"), cohort_id="fresh"))


def a_store(folder: Path) -> DataRoot:
    """Make a store with tables, of generations of every family."""
    make_store(folder, generations=60, oddities=(), files=("parsed.txt",), selection=None)
    return DataRoot.open(folder)


def product(root: DataRoot) -> dict[str, bytes]:
    """Return what a data root holds, apart from the times in the file of combos."""
    found = without_own(contents(root.path))
    return {name: data for name, data in found.items() if not name.endswith("combo_mappings.csv")}


def fresh(folder: Path) -> DataRoot:
    """The migration tests' small store in a new place."""
    folder.mkdir()
    return DataRoot.open(small_store(folder))


def changes(root: DataRoot, work: Callable[[DataRoot], object]) -> int:
    with faulty(root.path, 0, lambda *_: None) as seen:
        work(root)
    return len(seen)


def filled(root: DataRoot, at: int, work: Callable[[DataRoot], object]) -> StoreError | None:
    """Do `work`, before whose change number `at` the disk becomes full; return its refusal."""
    disk = root.path.parent
    with faulty(root.path, at, lambda *_: fill(disk)):
        _, error = attempt(StoreError, lambda: work(root))
    assert (disk / "ballast").exists(), at
    assert error is None or FULL in str(error), (at, str(error))
    return error


def tried(
    disk: Path, make: Callable[[Path], DataRoot], points: list[int]
) -> Iterator[tuple[int, DataRoot]]:
    """Yield each point with a store of its own, on an empty disk."""
    for point in points:
        yield point, make(disk / str(point))
        (disk / "ballast").unlink(missing_ok=True)
        shutil.rmtree(disk / str(point))


def test_a_build_on_a_disk_that_fills(tmp_path: Path) -> None:
    """From any step on: the documented error and no torn file; with room it becomes what an
    undisturbed build makes."""

    def scenario(disk: Path) -> None:
        whole = a_store(disk / "whole")
        count = changes(whole, built)
        expected = product(whole)
        stopped = 0
        for at, root in tried(disk, a_store, sample(count, 8)):
            stopped += filled(root, at, built) is not None
            left = product(root)
            assert {} == {name: left[name] for name in left if left[name] != expected.get(name)}
            (disk / "ballast").unlink()
            built(root)
            assert expected == product(root), at
        assert stopped > 4

    on_a_disk(tmp_path / "disk", ROOM, scenario)


def test_an_index_on_a_disk_that_fills(tmp_path: Path) -> None:
    """The index is a cache: full disk or not, it answers the same, and tears nothing."""

    def answers(root: DataRoot) -> list[str]:
        with StoreIndex.fresh(root) as index:
            return ids_in(index, "essay")

    def scenario(disk: Path) -> None:
        whole = a_store(disk / "whole")
        expected = sorted(path.name for path in whole.stage("essay").iterdir())
        for at, root in tried(disk, a_store, sample(changes(whole, answers), 8)):
            found: list[str] = []
            assert filled(root, at, lambda root: found.extend(answers(root))) is None, at  # noqa: B023
            assert (expected, expected) == (found, answers(root)), at
            (disk / "ballast").unlink()
            assert expected == answers(root), at

    on_a_disk(tmp_path / "disk", ROOM, scenario)


def test_an_index_on_a_disk_that_fails(tmp_path: Path) -> None:
    """SQLite undoes a transaction by itself after an I/O error; the message names that error."""
    root = a_store(tmp_path / "root")

    def told(size: int) -> str:
        def limits() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        done = command("store", "audit", "--data-root", root.path, limits=limits)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr

    # Which step of SQLite meets the limit depends on its version.
    assert any("SQLite says: disk I/O error" in told(size) for size in (70_000, 50_000, 90_000))


def test_a_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    """The file that cannot be written is ours, and not to be moved away."""
    root = a_store(tmp_path / "root")

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))

    words = ["--data-root", root.path, "--cohort-id", "fresh"]
    told = refused(command("cohort", "build", *words, limits=limits))
    assert os.strerror(errno.EFBIG) in told
    assert "raise the limit (ulimit -f)" in told


def ids_in(index: StoreIndex, stage: str) -> list[str]:
    return sorted(one.gen_id for one in index.iter(stage))


def settled(root: DataRoot) -> None:
    """Go on with what was begun; where nothing was, begin."""
    found = open_migration(root)
    if found is None:
        run.migrate(root)
    elif found.state in UNFINISHED:
        run.resume(root)


def undone(root: DataRoot) -> None:
    if open_migration(root) is not None:
        run.rollback(root)


@pytest.mark.parametrize("way", [settled, undone])
def test_a_migration_on_a_disk_that_fills(
    tmp_path: Path, way: Callable[[DataRoot], object]
) -> None:
    """From any step on: it stops with a remedy; after that `--resume` gives the tree of an
    uninterrupted run and `rollback` the one from before, once there is room."""

    def scenario(disk: Path) -> None:
        whole = fresh(disk / "whole")
        before = tree(whole.path)
        count = changes(whole, run.migrate)
        expected = tree(whole.path) if way is settled else before
        stopped = 0
        for at, root in tried(disk, fresh, sample(count, 12)):
            error = filled(root, at, run.migrate)
            stopped += error is not None
            assert error is None or "space" in str(error), error
            while_full(root, way, expected)
            (disk / "ballast").unlink()
            way(root)
            assert [] == differences(expected, tree(root.path)), at
        assert stopped > 6

    on_a_disk(tmp_path / "disk", ROOM, scenario)


def while_full(root: DataRoot, way: Callable[[DataRoot], object], expected: Tree) -> None:
    """Try without room: it is done, or the error says why not."""
    _, error = attempt(StoreError, lambda: way(root))
    if error is None:
        assert [] == differences(expected, tree(root.path))
    else:
        assert FULL in str(error) or "not enough space" in str(error), error


def test_a_rollback_on_a_disk_that_fills(tmp_path: Path) -> None:
    """Going back stops with a remedy, or needs no room; either way it gets there."""

    def scenario(disk: Path) -> None:
        whole = fresh(disk / "whole")
        before = tree(whole.path)
        run.migrate(whole)
        count = changes(whole, run.rollback)
        for at, root in tried(disk, fresh, sample(count, 8)):
            run.migrate(root)
            filled(root, at, run.rollback)
            (disk / "ballast").unlink()
            undone(root)
            assert [] == differences(before, tree(root.path)), at

    on_a_disk(tmp_path / "disk", ROOM, scenario)


def test_a_disk_that_is_full_before_is_refused_before(tmp_path: Path) -> None:
    """A migration looks for its room first: blocks, and names for files."""

    def no_blocks(disk: Path) -> None:
        root = fresh(disk / "root")
        before = tree(root.path)
        run.plan(root)
        ballast = fill(disk)
        assert refusal(root) in ("not enough space", FULL)
        assert [] == differences(before, tree(root.path))
        ballast.unlink()
        run.migrate(root)

    def no_names(disk: Path) -> None:
        root = fresh(disk / "root")
        before = tree(root.path)
        for number in range(os.statvfs(disk).f_favail - 24):
            (disk / f"ballast-{number}").touch()
        assert "not enough space" == refusal(root)
        assert [] == differences(before, tree(root.path))

    def refusal(root: DataRoot) -> str:
        with pytest.raises(StoreError) as caught:
            run.migrate(root)
        return next(one for one in ("not enough space", FULL) if one in str(caught.value))

    on_a_disk(tmp_path / "blocks", ROOM, no_blocks)
    on_a_disk(tmp_path / "names", "size=16m,nr_inodes=400", no_names)


def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    """Writing is refused with the system's word, looking works, and nothing is changed."""

    def scenario(disk: Path) -> None:
        root = a_store(disk / "root")
        before = contents(root.path)
        remount(disk, read_only=True)
        for work in (built, run.plan, run.migrate):
            with pytest.raises(StoreError, match=READ_ONLY):
                work(root)
        drafts = sorted(path.name for path in root.stage("draft").iterdir())
        with StoreIndex.fresh(root) as index:
            assert (drafts, False) == (ids_in(index, "draft"), index.persistent)
        remount(disk, read_only=False)
        assert before == contents(root.path)
        built(root)

    on_a_disk(tmp_path / "disk", ROOM, scenario)


def test_a_file_system_that_becomes_read_only_half_way(tmp_path: Path) -> None:
    """A migration that stopped goes neither on nor back then, and loses nothing."""

    def scenario(disk: Path) -> None:
        whole = fresh(disk / "whole")
        before = tree(whole.path)
        count = changes(whole, run.migrate)
        expected = {run.resume: tree(whole.path), run.rollback: before}
        for way in (run.resume, run.rollback):
            for at in range(count, 0, -1):
                root = fresh(disk / f"{way.__name__}-{at}")
                filled(root, at, run.migrate)
                (disk / "ballast").unlink()
                found = open_migration(root)
                if found is not None and found.state in UNFINISHED:
                    break
            half = tree(root.path)
            remount(disk, read_only=True)
            for tried_way in (run.resume, run.rollback):
                with pytest.raises(StoreError, match=READ_ONLY):
                    tried_way(root)
            assert [] == differences(half, tree(root.path))
            remount(disk, read_only=False)
            way(root)
            assert [] == differences(expected[way], tree(root.path))

    on_a_disk(tmp_path / "disk", ROOM, scenario)
