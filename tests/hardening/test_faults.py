"""One call of the system fails, at every place in turn: reading or writing, by every usual error.

Each operation then gives its documented error or its result; nothing that was there is lost, and
the same operation afterwards comes to what an undisturbed one does.
"""

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cohort_kit import ON, built, make_root, put_draft, write_table
from genid_store.catalog.index.query import StoreIndex
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from hardening_kit import attempt, faulty, refusing, sample, tree, without_own

CODES = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EROFS, errno.ESTALE)


def a_cohort(path: Path) -> DataRoot:
    """Tables, and a store of a few generations that are in no cohort."""
    root = make_root(path)
    for number in range(3):
        put_draft(root, f"draft{number}")
    return root


def a_built_cohort(path: Path) -> DataRoot:
    """The same, built; then a template more, so that a rebuild replaces the membership."""
    root = a_cohort(path)
    built(root, ON)
    rows = [["template_id", "generator", "active"], ["another", "llm", "true"]]
    write_table(root.path, "evaluation_templates.csv", rows)
    return root


def build(root: DataRoot) -> object:
    return len(built(root, ON).plan.rows)


def index(root: DataRoot) -> object:
    with StoreIndex.fresh(root) as found:
        return [(one.gen_id, [flaw.code for flaw in one.problems]) for one in found.iter("draft")]


def blamed(error: StoreError, code: int) -> bool:
    return os.strerror(code) in str(error)


OPERATIONS: list[tuple[Callable[[Path], DataRoot], Callable[[DataRoot], object]]] = [
    (a_cohort, build),
    (a_built_cohort, build),
    (a_built_cohort, index),
]


def cases(count: int) -> Iterator[tuple[int, int]]:
    """Yield the number of each call with an error, the errors in turn."""
    codes = itertools.cycle(CODES)
    return ((at, next(codes)) for at in sample(count, 30))


@pytest.mark.parametrize(("make", "work"), OPERATIONS, ids=["first build", "rebuild", "index"])
def test_a_call_that_fails(
    tmp_path: Path, make: Callable[[Path], DataRoot], work: Callable[[DataRoot], object]
) -> None:
    """The error names what the system said; metadata is never lost; the second attempt succeeds."""
    whole = make(tmp_path / "whole")
    with faulty(whole.path, 0, refusing(0), reads=True) as seen:
        expected = work(whole)
    product = times_aside(whole)
    for at, code in cases(len(seen)):
        root = make(tmp_path / "root")
        before = metadata(root)
        with faulty(root.path, at, refusing(code), reads=True):
            _, error = attempt(StoreError, lambda: work(root))  # noqa: B023
        assert error is None or blamed(error, code), (at, seen[at - 1], str(error))
        assert before.items() <= metadata(root).items(), (at, seen[at - 1])
        assert expected == work(root), (at, os.strerror(code), seen[at - 1])
        assert product == times_aside(root), (at, os.strerror(code), seen[at - 1])
        shutil.rmtree(root.path)


def metadata(root: DataRoot) -> dict[str, bytes]:
    found = without_own(tree(root.path))
    return {name: data for name, data in found.items() if name.startswith("gens/")}


def times_aside(root: DataRoot) -> dict[str, bytes]:
    """Return what a data root holds, apart from the times in the file of combos."""
    found = without_own(tree(root.path))
    return {name: data for name, data in found.items() if not name.endswith("combo_mappings.csv")}
