"""The index: right, incremental, never trusted blindly, and harmless where it may not write."""

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from genid import SchemeName
from genid_store.catalog.index import reading as index_reading
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.errors import StoreError
from genid_store.fs.files import read_with_status
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE
from storekit import Store, make_store


def _all(index: StoreIndex) -> dict[tuple[str, str], Indexed]:
    return {(one.stage, one.gen_id): one for stage in PIPELINE for one in index.iter(stage)}


def _anew(root: DataRoot) -> dict[tuple[str, str], Indexed]:
    """Return what an index made from nothing says."""
    shutil.rmtree(root.own, ignore_errors=True)
    with StoreIndex.fresh(root, persist=False) as index:
        return _all(index)


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _files(path: Path) -> dict[str, tuple[int, int]]:
    return {
        str(one.relative_to(path)): (one.lstat().st_mtime_ns, one.lstat().st_ino)
        for one in path.rglob("*")
    }


# -- what it says ----------------------------------------------------------------------------------
def test_it_holds_every_generation_with_its_expected_ids(mixed: Store) -> None:
    """Each generation is there with the ids that its task has, whatever is wrong with others."""
    with StoreIndex.fresh(DataRoot.open(mixed.path), persist=False) as index:
        for made in mixed.generations:
            found = index.get(made.stage, made.gen_id)
            assert found is not None
            assert (made.v1, made.phase_1) == (found.expected["v1"], found.expected["phase-1"])
            assert (made.state == "made") == found.has_content
        twins = len(mixed.odd("case collision"))
        assert len(mixed.generations) + twins == len(_all(index))


def test_it_says_the_same_as_reading_directly(mixed: Store) -> None:
    """A generation that went through the database is the one that was read, but for `raw`."""
    root = DataRoot.open(mixed.path)
    with StoreIndex.fresh(root, persist=False) as index:
        for made in mixed.generations:
            read = read_generation(root, made.stage, made.gen_id)
            found = index.get(made.stage, made.gen_id)
            assert found is not None
            names = [field.name for field in attrs.fields(Generation)]
            names = [name for name in names if name not in ("raw", "problems")]
            assert [getattr(read, name) for name in names] == [
                getattr(found, name) for name in names
            ]
            assert read.problems == found.problems[: len(read.problems)]


def _expected(index: StoreIndex, stage: str, gen_id: str, scheme: SchemeName) -> str | None:
    found = index.get(stage, gen_id)
    assert found is not None
    return found.expected[scheme]


def test_look_ups_go_both_ways(small: Store, index: StoreIndex) -> None:
    """Deterministic to existing, existing to deterministic, and children."""
    for made in small.generations:
        assert made.v1 is not None
        assert made.gen_id in {one.gen_id for one in index.by_expected("v1", made.v1)}
        assert made.v1 == _expected(index, made.stage, made.gen_id, "v1")
        assert made.phase_1 == _expected(index, made.stage, made.gen_id, "phase-1")
        if made.parent is not None:
            siblings = index.children(made.stage, made.parent.gen_id)
            assert made.gen_id in {one.gen_id for one in siblings}
    assert None is index.get("draft", "nobody")


def test_content_is_that_of_the_moment(small: Store, index: StoreIndex) -> None:
    """Content comes and goes without a refresh, and raw text alone is no content."""
    made = small.of(stage="draft")[0]
    folder = small.path / made.folder
    for name in ("raw.txt", "parsed.txt"):
        (folder / name).write_text("text")
    assert "parsed" == getattr(index.get("draft", made.gen_id), "content", None)
    (folder / "parsed.txt").unlink()
    assert "raw" == getattr(index.get("draft", made.gen_id), "content", None)
    (folder / "raw.txt").unlink()
    assert None is getattr(index.get("draft", made.gen_id), "content", 0)


# -- incremental -----------------------------------------------------------------------------------
@pytest.mark.usefixtures("settled")
def test_an_unchanged_store_is_not_read_again(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second refresh, also by another process later, opens no metadata file."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        before = _all(index)

    def refuse(*_: object) -> None:
        raise AssertionError("a metadata file was read")

    monkeypatch.setattr(index_reading, "read_with_status", refuse)
    with StoreIndex.open(root) as index:
        refreshed = index.refresh()
        assert (len(before), 0, 0) == (refreshed.total, refreshed.read, refreshed.removed)
        assert before == _all(index)


def test_a_file_that_changed_just_now_is_read_again_the_next_time(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of the file system's clock a file can change under the same stamp."""
    monkeypatch.setattr(index_reading, "TICK_NS", 10**18)
    with StoreIndex.fresh(DataRoot.open(small.path)) as index:
        assert len(small.generations) == index.refresh().read


Change = Callable[[Store], None]


def _draft(store: Store) -> Path:
    return store.path / store.of(stage="draft")[0].folder / "metadata.json"


def _change_draft(store: Store) -> None:
    _edit(_draft(store), template_id="another")


def _change_nothing_but_the_essays_model(store: Store) -> None:
    path = store.path / store.of(stage="essay")[0].folder / "metadata.json"
    _edit(path, llm_model_id="another-model")


def _remove_draft(store: Store) -> None:
    shutil.rmtree(_draft(store).parent)


def _break_draft(store: Store) -> None:
    _draft(store).write_bytes(b"{")


def _lose_metadata(store: Store) -> None:
    _draft(store).unlink()


def _rename_essay(store: Store) -> None:
    folder = store.path / store.of(stage="essay")[0].folder
    folder.rename(folder.with_name("e-renamed"))


def _replace_by_one_of_the_same_size_and_time(store: Store) -> None:
    path = _draft(store)
    state = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"replicate": 1', b'"replicate": 2'))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def _add_orphan(store: Store) -> None:
    document = {"stage": "essay", "gen_id": "new", "parent_gen_id": "later", "template_id": "t"}
    path = store.path / "gens/essay/new/metadata.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    "change",
    [
        _change_draft,
        _change_nothing_but_the_essays_model,
        _remove_draft,
        _break_draft,
        _lose_metadata,
        _rename_essay,
        _replace_by_one_of_the_same_size_and_time,
        _add_orphan,
    ],
)
@pytest.mark.usefixtures("settled")
def test_a_refresh_comes_to_what_a_new_index_says(small: Store, change: Change) -> None:
    """After any change, descendants included, and with little read."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        change(small)
        assert index.refresh().read <= 1
        updated = _all(index)
        assert 0 == index.refresh().read
    assert _anew(root) == updated


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.usefixtures("settled")
def test_a_read_error_is_not_a_fact(
    small: Store, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It is named as what may hide a task, and the file is read again although nothing changed."""
    root = DataRoot.open(small.path)
    made = small.of(stage="draft", family="legacy")[0]
    read = read_with_status

    def refuse(path: str, **limit: int) -> object:
        if f"/{made.gen_id}/" in path:
            raise OSError(code, os.strerror(code), path)
        return read(path, **limit)

    with StoreIndex.open(root) as index:
        with monkeypatch.context() as patched:
            patched.setattr(index_reading, "read_with_status", refuse)
            index.refresh()
            [unread] = [one for one in index.without_task() if one.gen_id == made.gen_id]
            assert ["metadata-unreadable"] == [problem.code for problem in unread.problems]
            assert made.gen_id not in [one.gen_id for one in index.by_expected("v1", str(made.v1))]
            assert 1 == index.refresh().read
        assert 1 == index.refresh().read
        assert made.gen_id not in [one.gen_id for one in index.without_task()]
        assert made.gen_id in [one.gen_id for one in index.by_expected("v1", str(made.v1))]
        assert 0 == index.refresh().read


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("when", [-1, -(10**18), 0, 2**62, 2**63 - 1])
def test_times_beyond_all_clocks_are_kept(small: Store, when: int) -> None:
    """Before 1970 and far from now: as stamps they are as good as others."""
    folder = small.path / "gens" / "draft"
    for path in [*folder.glob("*/metadata.json"), folder]:
        with contextlib.suppress(OverflowError, OSError):  # of file systems with fewer bits
            os.utime(path, ns=(when, when))
    with StoreIndex.open(DataRoot.open(small.path)) as index:
        assert len(small.generations) == index.refresh().read
        assert 0 == index.refresh().read


@pytest.mark.usefixtures("settled")
def test_inode_numbers_of_64_bits_are_kept(small: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As overlay file systems give them; an unchanged store is not read again for it."""

    class _Status:
        def __init__(self, state: os.stat_result) -> None:
            self.state = state

        def __getattr__(self, name: str) -> object:
            return self.state.st_ino | 1 << 63 if name == "st_ino" else getattr(self.state, name)

    status, read = os.stat, read_with_status

    def reading(path: str, **limit: int) -> tuple[bytes, object]:
        data, state = read(path, **limit)
        return data, _Status(state)

    with StoreIndex.open(DataRoot.open(small.path)) as index:
        monkeypatch.setattr(index_reading, "read_with_status", reading)
        monkeypatch.setattr(os, "stat", lambda *a, **k: _Status(status(*a, **k)))
        assert len(small.generations) == index.refresh().read
        assert 0 == index.refresh().read
        monkeypatch.undo()


def test_rows_that_were_overwritten_under_a_fitting_seal_are_read_again(small: Store) -> None:
    """SQLite itself sees nothing wrong with them."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        right = _all(index)
        index.sql("UPDATE generation SET unusual = '[' WHERE stage = 'draft'")
        made = small.of(stage="draft")[0]
        assert right[made.stage, made.gen_id] == index.get(made.stage, made.gen_id)


def test_a_link_without_target_in_the_place_of_a_stage_is_refused(small: Store) -> None:
    """Its generations are somewhere else and not gone."""
    root = DataRoot.open(small.path)
    root.stage("essay").rename(small.path / "elsewhere")
    root.stage("essay").symlink_to(small.path / "not mounted")
    with StoreIndex.open(root) as index, pytest.raises(StoreError, match="gens/essay"):
        index.refresh()


@pytest.mark.usefixtures("settled")
def test_a_parent_that_appears_makes_its_children_whole(small: Store) -> None:
    """An orphan gets its expected id when its parent comes back."""
    made = small.of(stage="draft")[0]
    folder, aside = small.path / made.folder, small.path / "aside"
    folder.rename(aside)
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        orphans = [one for one in small.generations if one.parent and one.parent.parent is made]
        assert {None} == {_expected(index, one.stage, one.gen_id, "v1") for one in orphans}
        aside.rename(folder)
        assert 1 == index.refresh().read
        for one in orphans:
            assert one.v1 == _expected(index, one.stage, one.gen_id, "v1")


@pytest.mark.usefixtures("settled")
def test_entries_that_are_no_generations_are_kept_apart(small: Store) -> None:
    """Files, hidden entries and unsafe names are none; the index follows them too."""
    stage = small.path / "gens" / "draft"
    (stage / "notes.txt").write_text("x")
    (stage / "with space").mkdir()
    (stage / ".hidden").mkdir()
    os.mkdir(os.fsencode(stage) + b"/not-utf8-\xff")
    with StoreIndex.fresh(DataRoot.open(small.path)) as index:
        assert [("not-utf8-\\udcff",), ("notes.txt",), ("with space",)] == index.sql(
            "SELECT name FROM stray ORDER BY name"
        )
        (stage / "notes.txt").unlink()
        index.refresh()
        assert 2 == len(index.sql("SELECT name FROM stray"))


# -- never trusted blindly -------------------------------------------------------------------------
def _overwrite(path: Path) -> None:
    path.write_bytes(b"this is no database " * 400)


def _truncate(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _tear(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0" * 8192)


def _lie(path: Path) -> None:
    """Change the content in a way that SQLite cannot see."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE generation SET v1 = 'lie'")
    connection.close()


def _of_another_store(path: Path) -> None:
    other = make_store(path.parent.parent.parent / "other", generations=100, oddities=())
    with StoreIndex.fresh(DataRoot.open(other.path)):
        pass
    shutil.copytree(other.path / ".genid", path.parent, dirs_exist_ok=True)


@pytest.mark.parametrize("damage", [_overwrite, _truncate, _tear, _lie, _of_another_store])
@pytest.mark.usefixtures("settled")
def test_a_torn_or_foreign_file_is_built_again(
    small: Store, damage: Callable[[Path], None]
) -> None:
    """Whatever happened to the file between two uses, it is noticed, and the index is right."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        expected = _all(index)
    damage(root.own / "index.sqlite")
    for persist in (False, True):
        with StoreIndex.open(root, persist) as index:
            assert len(small.generations) == index.refresh().read
            assert expected == _all(index)


def test_a_file_that_is_damaged_while_open_is_built_again(small: Store) -> None:
    """A refresh that meets damage starts anew."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root) as index:
        expected = _all(index)
        index._file.connection.execute("PRAGMA writable_schema = ON")
        index._file.connection.execute("UPDATE sqlite_master SET sql = 'nonsense'")
        index._file.connection.execute("PRAGMA schema_version = 999")
        index.refresh()
        assert expected == _all(index)


_KILLED = """
import os, signal, sys
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import DataRoot
root, moment = DataRoot.open(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
index = StoreIndex.open(root)
if moment == "opened":
    die()
index.refresh(die if moment == "refreshing" else None)
if moment == "refreshed":
    die()
index._file.connection.close()
die()
"""


@pytest.mark.parametrize("moment", ["opened", "refreshing", "refreshed", "closed"])
@pytest.mark.parametrize("before", ["no index", "an older index"])
def test_kill_9_leaves_an_index_that_the_next_run_repairs(
    small: Store, moment: str, before: str
) -> None:
    """Killed at any moment, the next run has all of the store and nothing else."""
    root = DataRoot.open(small.path)
    if before == "an older index":
        with StoreIndex.fresh(root):
            _change_draft(small)
    command = [sys.executable, "-c", _KILLED, str(small.path), moment]
    assert -signal.SIGKILL == subprocess.run(command, check=False).returncode
    with StoreIndex.fresh(root) as index:
        found = _all(index)
    assert _anew(root) == found


# -- several at once -------------------------------------------------------------------------------
def test_readers_see_the_index_from_before_until_a_refresh_is_done(small: Store) -> None:
    """A reader beside a writer is neither stopped nor shown half a refresh."""
    root = DataRoot.open(small.path)
    made = small.of(stage="draft")[0]
    with StoreIndex.fresh(root) as writer, StoreIndex.open(root) as reader:
        _edit(small.path / made.folder / "metadata.json", template_id="another")
        seen = []
        writer.refresh(lambda *_: seen.append(_expected(reader, "draft", made.gen_id, "v1")))
        assert {made.v1} == set(seen)
        assert made.v1 != _expected(reader, "draft", made.gen_id, "v1")


def test_two_may_refresh_at_once(small: Store) -> None:
    """Processes that start together each end with the whole store."""
    code = (
        "import sys; from genid_store.catalog.index.query import StoreIndex;"
        "from genid_store.fs.layout import DataRoot;"
        "index = StoreIndex.open(DataRoot.open(sys.argv[1])); index.refresh();"
        "print(index.sql('SELECT count(*) FROM generation')[0][0], index.persistent);"
        "index.close()"
    )
    command = [sys.executable, "-c", code, str(small.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    expected = f"{len(small.generations)} True\n"
    assert [expected] * 3 == [process.communicate()[0] for process in running]
    root = DataRoot.open(small.path)
    with StoreIndex.open(root) as index:
        index.refresh()
        found = _all(index)
    assert _anew(root) == found


def test_the_last_one_to_close_seals_the_file(small: Store) -> None:
    """A file that two had open is used again, not built again."""
    root = DataRoot.open(small.path)
    first, second = StoreIndex.open(root), StoreIndex.open(root)
    first.refresh()
    inode = (root.own / "index.sqlite").stat().st_ino
    first.close()
    second.close()
    with StoreIndex.open(root) as index:
        assert [(len(small.generations),)] == index.sql("SELECT count(*) FROM generation")
    assert inode == (root.own / "index.sqlite").stat().st_ino


def test_opening_it_again_drops_no_lock_of_the_first(small: Store) -> None:
    """Closing any descriptor of a file drops the locks that the process has on it (POSIX)."""
    root = DataRoot.open(small.path)
    shared = 0x40000002, 510  # the bytes that every connection of SQLite locks
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b');"
        f"fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, {shared[1]}, {shared[0]})"
    )
    command = [sys.executable, "-c", code, str(root.own / "index.sqlite")]

    def is_locked() -> bool:
        return subprocess.run(command, check=False, capture_output=True).returncode != 0

    with StoreIndex.fresh(root):
        assert is_locked()
        with StoreIndex.fresh(root):
            assert is_locked()
        assert is_locked()
    assert not is_locked()


# -- where it may not write ------------------------------------------------------------------------
@pytest.mark.parametrize("indexed", [False, True])
def test_without_persist_nothing_is_written(small: Store, indexed: bool) -> None:
    """Neither a file nor a time changes below the data root, with or without an index there."""
    root = DataRoot.open(small.path)
    if indexed:
        with StoreIndex.fresh(root):
            pass
    before = _files(small.path)
    with StoreIndex.open(root, persist=False) as index:
        index.refresh()
        assert not index.persistent
        assert len(small.generations) == len(_all(index))
    assert before == _files(small.path)


@pytest.mark.usefixtures("settled")
def test_without_persist_it_begins_with_the_file(small: Store) -> None:
    """An index in memory reads only what changed since the file was made."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root):
        pass
    _change_draft(small)
    with StoreIndex.open(root, persist=False) as index:
        assert 1 == index.refresh().read


def test_a_data_root_that_cannot_be_written_is_indexed_in_memory(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at a read-only store works."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with StoreIndex.fresh(DataRoot.open(small.path)) as index:
        assert not index.persistent
        assert len(small.generations) == len(_all(index))


@pytest.mark.usefixtures("settled")
def test_a_file_that_another_user_alone_may_write_is_read_into_memory(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would open it to read without a word, and fail at the first change."""
    root = DataRoot.open(small.path)
    with StoreIndex.fresh(root):
        pass
    _change_draft(small)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with StoreIndex.open(root) as index:
        assert 1 == index.refresh().read
        assert not index.persistent


def test_a_link_out_of_the_data_root_is_not_followed(small: Store, tmp_path: Path) -> None:
    """Where `.genid/` leads elsewhere the index is refused, and one in memory works."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (small.path / ".genid").symlink_to(elsewhere)
    root = DataRoot.open(small.path)
    with pytest.raises(StoreError, match="leads out of the data root"):
        StoreIndex.open(root)
    with StoreIndex.fresh(root, persist=False) as index:
        assert len(small.generations) == len(_all(index))
    assert [] == list(elsewhere.iterdir())


def test_gens_that_cannot_be_read_are_refused(small: Store) -> None:
    """A file where the stage's folder belongs is an error that names it."""
    shutil.rmtree(small.path / "gens" / "essay")
    (small.path / "gens" / "essay").write_text("x")
    with (
        StoreIndex.open(DataRoot.open(small.path)) as index,
        pytest.raises(StoreError, match="gens/essay"),
    ):
        index.refresh()


def test_a_store_without_generations_is_empty(tmp_path: Path) -> None:
    """A data root before its first cohort."""
    with StoreIndex.fresh(DataRoot.open(tmp_path)) as index:
        assert {} == _all(index)
