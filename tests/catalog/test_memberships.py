"""One reader of membership.csv: what it takes, what it refuses, and that it is the only one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import genid_store
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.stages import Member

_TWO = (Member("draft", "d1"), Member("essay", "e1"))


def _write(folder: Path, data: bytes) -> DataRoot:
    root = DataRoot(folder)
    root.cohort("c").mkdir(parents=True)
    root.membership("c").write_bytes(data)
    return root


@pytest.mark.parametrize(
    "data",
    [
        b"stage,gen_id\ndraft,d1\nessay,e1\n",
        b"\xef\xbb\xbfstage,gen_id\ndraft,d1\nessay,e1\n",
        b"stage,gen_id\r\ndraft,d1\r\nessay,e1\r\n",
        b"stage,gen_id\ndraft,d1\n\nessay,e1",
        b'gen_id,note,stage\nd1,"a, b",draft\ne1,,essay\n',
        b"stage,gen_id,parent_gen_id\ndraft,d1,\nessay,e1,d1\ndraft,d1,\n",
        b'"stage","gen_id"\n"draft","d1"\n"essay","e1"\n',
    ],
    ids=["plain", "bom", "crlf", "blank line, no end", "order", "twice", "quoted"],
)
def test_what_spreadsheets_and_hosts_write_is_read(tmp_path: Path, data: bytes) -> None:
    root = _write(tmp_path, data)
    assert _TWO == read_membership(root, "c")
    found = read_memberships(root)
    assert ({"c": _TWO}, ()) == (found.members, found.problems)
    assert {member: ["c"] for member in _TWO} == found.cohorts_of()
    assert set(_TWO) == found.every()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b"", "cohorts/c/membership.csv:1"),
        (b"stage,id\ndraft,d1\n", "cohorts/c/membership.csv:1:gen_id"),
        (b"stage,stage,gen_id\ndraft,draft,d1\n", "cohorts/c/membership.csv:1:stage"),
        (b"stage,gen_id\nchapter,d1\n", "cohorts/c/membership.csv:2:stage"),
        (b"stage,gen_id\ndraft,../d1\n", "cohorts/c/membership.csv:2:gen_id"),
        (b"stage,gen_id\ndraft\n", "cohorts/c/membership.csv:2:gen_id"),
        (b"stage,gen_id\ndraft,d1,x\n", "cohorts/c/membership.csv:2"),
        (b"stage,gen_id\ndraft,\xff\n", "cohorts/c/membership.csv:2"),
        (b'stage,gen_id\ndraft,"d1\n', "cohorts/c/membership.csv:2"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(tmp_path: Path, data: bytes, where: str) -> None:
    root = _write(tmp_path, data)
    with pytest.raises(StoreError) as caught:
        read_membership(root, "c")
    assert where == caught.value.problems[0].where
    found = read_memberships(root)
    assert caught.value.problems == found.problems
    assert {"membership-malformed"} == {problem.code for problem in found.problems}
    with pytest.raises(StoreError):
        found.every()


def test_rows_beside_a_wrong_one_are_members_all_the_same(tmp_path: Path) -> None:
    root = _write(tmp_path, b"stage,gen_id\ndraft,d1\nchapter,x\nessay,e1\n")
    found = read_memberships(root)
    assert ({"c": _TWO}, 1) == (found.members, len(found.problems))


def test_a_name_that_cannot_be_read_is_not_taken_for_an_absent_file(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    for cohort in ("absent", "dangling", "folder", "pipe"):
        root.cohort(cohort).mkdir(parents=True)
    root.membership("dangling").symlink_to(tmp_path / "elsewhere.csv")
    root.membership("folder").mkdir()
    os.mkfifo(root.membership("pipe"))
    assert () == read_membership(root, "absent")
    for cohort in ("dangling", "folder", "pipe"):
        with pytest.raises(StoreError):
            read_membership(root, cohort)
    found = read_memberships(root)
    assert "absent" not in found.members
    assert ["dangling", "folder", "pipe"] == sorted(
        {problem.where.split("/")[1] for problem in found.problems}
    )


def test_no_other_module_parses_the_file() -> None:
    """`migration.references` parses it too, in order to write it again with other ids."""
    source = Path(genid_store.__file__).parent.parent
    parses = re.compile(r"csv\.(reader|DictReader)\(|(read|parse)_csv\(")
    found = set()
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if '"gen_id"' in text and parses.search(text):
            found.add(path.relative_to(source).as_posix())
    rewriting = "genid_store/migration/references.py"
    assert {"genid_store/catalog/memberships.py", rewriting} == found
