"""The one home of files: what is refused, what is kept, what a crash or another user leaves."""

import contextlib
import errno
import json
import os
import stat
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cohort_kit import ON, built, make_root
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import inspect_generation
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs.combos import read_catalogue, read_selected
from genid_store.cohort.inputs.selection import read_selection
from genid_store.cohort.inputs.tables import provider_models
from genid_store.config import read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs import files
from genid_store.fs.csvfile import dump_csv, parse_csv, read_csv, read_text
from genid_store.fs.jsonfile import DEPTH_LIMIT, load_json, read_json
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, blocked, root_lock
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from hardening_kit import IN_ITS_PLACE, need_linux_root
from paid_kit import small_root

# -- what is there and cannot be read --------------------------------------------------------------
READERS: dict[str, Callable[[DataRoot], object]] = {
    "cohorts/c/membership.csv": lambda root: read_membership(root, "c"),
    "2_tasks/selected_combo_mappings.csv": read_selected,
    "2_tasks/selected_essays.txt": read_selection,
    "2_tasks/selected_drafts.txt": read_selection,
    "combo_mappings.csv": read_catalogue,
    "genid.toml": read_config,
    "1_raw/llm_models.csv": provider_models,
}


@pytest.mark.parametrize("put", IN_ITS_PLACE, ids=lambda put: put.__name__)
def test_a_name_that_is_there_and_cannot_be_read_is_an_error(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """At once, with the path, by every reader; none takes it for absent."""
    root = DataRoot.open(tmp_path)
    for name, read in READERS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path)
        assert files.is_there(path)
        with pytest.raises(StoreError, match=name):
            read(root)
        with pytest.raises(OSError, match=r".") as caught:
            read_json(path)
        assert not isinstance(caught.value, FileNotFoundError)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        assert not files.is_there(path)
        read(root)


@pytest.mark.parametrize("put", IN_ITS_PLACE, ids=lambda put: put.__name__)
def test_a_metadata_or_a_block_that_cannot_be_read(
    tmp_path: Path, put: Callable[[Path], None]
) -> None:
    """Metadata is a flaw, not absent; a block blocks whatever it is."""
    root = DataRoot.open(tmp_path)
    place = tmp_path / "gens" / "draft" / "d"
    place.mkdir(parents=True)
    put(place / "metadata.json")
    (problem,) = inspect_generation(root, "draft", "d").problems
    assert "metadata-unreadable" == problem.code
    with StoreIndex.fresh(root) as index:
        (found,) = index.find("d")
    assert ["metadata-unreadable"] == [one.code for one in found.problems]
    (tmp_path / ".genid").mkdir(exist_ok=True)
    put(tmp_path / ".genid" / "blocked.json")
    assert blocked(root) is not None
    with pytest.raises(StoreError, match="blocked"), root_lock(root, BUILD):
        pass


@pytest.mark.parametrize("link", ["cohorts", "cohorts/c", "2_tasks"])
def test_a_folder_that_is_a_dangling_link_hides_nothing(tmp_path: Path, link: str) -> None:
    """A disk that is not mounted is not an empty one."""
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to("/nowhere/mounted")
    name = next(name for name in READERS if name.startswith(link))
    assert files.is_there(tmp_path / name)
    with pytest.raises(StoreError, match="target is not there"):
        READERS[name](DataRoot.open(tmp_path))


@pytest.mark.parametrize("target", ["nowhere", "metadata.json", "/nowhere/mounted/metadata.json"])
def test_a_member_whose_metadata_cannot_be_reached_is_refused(tmp_path: Path, target: str) -> None:
    """It is not seeded again, and nothing else is written either."""
    root = make_root(tmp_path / "root")
    row = built(root, ON).plan.rows[0]
    path = root.generation(row.stage, row.gen_id) / "metadata.json"
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(StoreError, match="cannot be reached"):
        built(root, ON)
    assert target == os.readlink(path)


# -- JSON ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a" : 2}',
        '{"a":1,"a"\n\t:2,"b":3}',
        '{"b": {"a": 1, "\\u0061": 2}}',
        '[{"x": [{"a": 1, "a"\r: 1}]}]',
        '{"a": "x:y", "b": ":", "b"  : 1}',
        '{"a": NaN}',
        "[-Infinity]",
        "[1e999]",
        "\ufeff{}",
        "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1),
        '{"a":' * 976 + "1" + "}" * 976,
        "[" * 100_000,
        "1" * 5000,
        "",
    ],
)
def test_json_that_is_refused(text: str) -> None:
    """A key twice at any depth and however written, what is not a number, and what is too deep."""
    with pytest.raises(ValueError, match=r"."):
        load_json(text.encode("utf-8"))


@pytest.mark.parametrize("data", ["{}".encode("utf-16"), "{}".encode("utf-32"), b"\xff", b'"\xe9"'])
def test_json_is_utf_8(data: bytes) -> None:
    """Python would guess the others."""
    with pytest.raises(ValueError, match="decode"):
        load_json(data)


def test_json_at_the_limit_is_read() -> None:
    """As deep as may be, and brackets in texts count for nothing."""
    deep = "[" * DEPTH_LIMIT + "]" * DEPTH_LIMIT
    assert deep == json.dumps(load_json(deep))
    assert {"a": "[{" * 200} == load_json(json.dumps({"a": "[{" * 200}))


# -- CSV -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (b"a;b\n1;2\n", "t:1", "semicolons"),
        (b"a\tb\n1\t2\n", "t:1", "tabs"),
        (b"\xef\xbb\xbfa|b\n", "t:1", "vertical bars"),
        (b"\na,b\n1,2\n", "t:1", "blank"),
        (b"\r\na,b\r\n", "t:1", "blank"),
        (b"a,b\n1,2\n1," + b"x" * 200_000 + b"\n", "t:3", "more than 131072 characters"),
        ("a,b\n1,2\n".encode("utf-16"), "t", "UTF-16"),
        ("a,b\n1,2\n".encode("utf-16-be"), "t", "UTF-16"),
        (b"a,b\n1,\0\n", "t:2", "NUL"),
        (b"a,b\n1,\xe9\n", "t:2", "0xe9"),
        (b'a,b\n1,"2\n3,4\n', "t:2", "not CSV"),
    ],
)
def test_a_table_that_is_not_one_says_where_and_why(data: bytes, place: str, words: str) -> None:
    """The separator is named, the line is; what comes before it is still read, for its problems."""
    problems: list[Problem] = []
    before = [2] if place == "t:3" else []
    assert before == [line.number for line in parse_csv("t", data, ("a", "b"), problems)]
    assert (place, True) == (problems[0].where, words in problems[0].message), problems


def test_a_column_of_nearly_the_name_of_one_that_is_there_is_a_hosts_own() -> None:
    """It is refused only where it would be the one that is missing."""
    problems: list[Problem] = []
    (line,) = parse_csv("t", b"id,ID\n1,2\n", ("id",), problems)
    assert ([], "1") == (problems, line["id"])


@pytest.mark.parametrize("cell", ["\r", "a\rb", "\r\n", '"', ",", "\n\r", "é\ra", " "])
def test_a_cell_reads_back_as_it_was_written(tmp_path: Path, cell: str) -> None:
    """A bare carriage return is quoted on every Python."""
    (tmp_path / "t.csv").write_text(dump_csv([["a", "b"], [cell, "x"]]), "utf-8", newline="")
    problems: list[Problem] = []
    (line,) = read_csv(DataRoot.open(tmp_path), tmp_path / "t.csv", ("a", "b"), problems)
    assert ([], cell, "x") == (problems, line["a"], line["b"])


def test_a_concept_with_a_carriage_return_is_built_twice(tmp_path: Path) -> None:
    """What the catalogue holds is what a second build reads."""
    root = make_root(tmp_path / "root", combos=False)
    path = root.raw / "concepts_metadata.csv"
    path.write_bytes(path.read_bytes() + b'"odd\rone",odd,true\n')
    built(root, ON, k_max=99)
    assert () == built(root, ON, k_max=99).files
    (combo,) = read_catalogue(root)
    assert "odd\rone" in combo.concept_ids


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xef\xbb\xbfWrite.", "Write."),
        (b"Write\r\n.", "Write\r\n."),
        ("Café".encode("latin-1"), None),
        ("Write.".encode("utf-16"), None),
        (b"a\0b", None),
    ],
)
def test_a_text_for_a_prompt(tmp_path: Path, data: bytes, text: str | None) -> None:
    """Without a byte order mark; what is not UTF-8 is named with its line."""
    (tmp_path / "t.txt").write_bytes(data)
    problems: list[Problem] = []
    assert text == read_text(DataRoot.open(tmp_path), tmp_path / "t.txt", problems)
    assert (text is None) == bool(problems)
    assert all(problem.where.startswith("t.txt") for problem in problems)


# -- writing ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [0o664, 0o600, 0o444])
def test_a_file_that_is_replaced_leaves_its_mode(tmp_path: Path, mode: int) -> None:
    """And a new one follows the umask."""
    path = tmp_path / "f"
    before = os.umask(0o002)
    try:
        files.write_atomic(path, b"1")
        assert 0o664 == stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode)
        files.write_atomic(path, b"2")
        assert (b"2", mode) == (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        assert files.create_exclusive(tmp_path / "g", b"")
        assert 0o664 == stat.S_IMODE((tmp_path / "g").stat().st_mode)
    finally:
        os.umask(before)


def test_a_file_that_is_replaced_leaves_its_owner(tmp_path: Path) -> None:
    """Where the system lets us."""
    need_linux_root()
    path = tmp_path / "f"
    path.write_bytes(b"1")
    os.chown(path, 1234, 2345)
    files.write_atomic(path, b"2")
    assert (1234, 2345) == (path.stat().st_uid, path.stat().st_gid)
    with mock.patch.object(os, "fchown", side_effect=PermissionError(errno.EPERM, "no")):
        files.write_atomic(path, b"3")
    assert b"3" == path.read_bytes()


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "x" * 251 + ".csv"])
def test_the_longest_names_are_written(tmp_path: Path, name: str) -> None:
    """A temporary file's name is shorter than the name that it is for, also in bytes."""
    root = DataRoot.open(tmp_path)
    files.write_atomic(tmp_path / name, b"1")
    files.write_atomic(tmp_path / name, b"2")
    (tmp_path / f".{files._shortened(name)}.1-00000000.tmp").touch()
    files.sweep_temporaries(root, [tmp_path / name])
    assert [name] == os.listdir(tmp_path)


def across_mounts(*_: object, **__: object) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_a_move_across_a_mount_is_on_disk_before_its_source_goes(tmp_path: Path) -> None:
    """The copy is brought to disk, compared and named; then the source is removed."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"paid for" * 200_000)
    target.write_bytes(b"old")
    steps: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        real: Callable[..., None] = getattr(os, name)

        def step(*given: Any, **more: Any) -> None:
            if not str(given[0]).endswith(".tmp") or name != "unlink":
                steps.append(name)
            real(*given, **more)

        return step

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(os, "rename", across_mounts))
        for name in ("fsync", "replace", "unlink"):
            stack.enter_context(mock.patch.object(os, name, noted(name)))
        files.move(source, target)
    assert ["fsync", "replace", "fsync", "unlink"] == steps
    assert (b"paid for" * 200_000, ["b"]) == (target.read_bytes(), os.listdir(tmp_path))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_move_across_a_mount_that_fails_loses_nothing(tmp_path: Path, step: str) -> None:
    """The source is there, the target as it was, nothing beside it."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"paid for")
    target.write_bytes(b"old")
    refused = mock.patch.object(os, step, side_effect=OSError(errno.EIO, "no"))
    with (
        mock.patch.object(os, "rename", across_mounts),
        refused,
        pytest.raises(OSError, match="no"),
    ):
        files.move(source, target)
    assert (b"paid for", b"old") == (source.read_bytes(), target.read_bytes())
    assert ["a", "b"] == sorted(os.listdir(tmp_path))


def test_a_copy_that_differs_is_refused(tmp_path: Path) -> None:
    """A disk that gives back other bytes than it took costs nothing."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"paid for")
    differing = mock.patch("filecmp.cmp", return_value=False)
    with (
        mock.patch.object(os, "rename", across_mounts),
        differing,
        pytest.raises(OSError, match="dif"),
    ):
        files.move(source, target)
    assert ["a"] == os.listdir(tmp_path)


@pytest.mark.parametrize("code", sorted(files.NO_LINKS))
def test_a_file_system_without_links(tmp_path: Path, code: int) -> None:
    """Keeping copies, creating creates, and never overwrites."""
    (tmp_path / "a").write_bytes(b"1")
    with mock.patch.object(os, "link", side_effect=OSError(code, os.strerror(code))):
        files.keep(tmp_path / "a", tmp_path / "kept")
        assert files.create_exclusive(tmp_path / "new", b"2")
        assert not files.create_exclusive(tmp_path / "a", b"3")
    assert [b"1", b"1", b"2"] == [path.read_bytes() for path in sorted(tmp_path.iterdir())]


def test_a_file_is_created_durably_where_there_are_no_links(tmp_path: Path) -> None:
    """The file that has the name is synced, not only the temporary one beside it."""
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)

    refused = OSError(errno.EPERM, os.strerror(errno.EPERM))
    with (
        mock.patch.object(os, "link", side_effect=refused),
        mock.patch.object(os, "fsync", sync),
    ):
        assert files.create_exclusive(tmp_path / "new", b"2")
    assert (tmp_path / "new").stat().st_ino in synced


def test_a_group_shares_a_data_root(tmp_path: Path) -> None:
    """Two users of one group, setgid folders and umask 002, build, run and index in turn."""
    need_linux_root()
    small_root(tmp_path / "root")
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, 1001, 3000)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    for above in tmp_path.parents:
        if above.owner() == "root" and above != Path("/") and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    for user, cohort in ((1001, "one"), (1002, "two"), (1001, "three"), (1002, "one")):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.setgroups([3000])
                os.setgid(3000)
                os.setuid(user)
                os.umask(0o002)
                root = DataRoot.open(tmp_path / "root")
                build_cohort(root, Options(rollout=ON, cohort_id=cohort))
                run_cohort(root, cohort, lambda _: "SCORE: 7", Asked(max_calls=1))
                with StoreIndex.fresh(root) as index:
                    status = 0 if index.persistent else 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert 0 == os.waitpid(child, 0)[1] >> 8, (user, cohort)
    narrow = [
        path
        for path in (tmp_path / "root" / ".genid").rglob("*")
        if not path.stat().st_mode & 0o020
    ]
    assert [] == narrow
