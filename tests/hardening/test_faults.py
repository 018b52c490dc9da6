"""One call of the system fails, at every place in turn: reading or writing, by every usual error.

Each operation then gives its documented error or its result; nothing that was there is lost, and
the same operation afterwards comes to what an undisturbed one does.
"""

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import pytest

import migrationkit
from cohort_kit import COHORT, OFF, ON, built, make_root, put_draft, write_table
from genid import Draft, Essay, gen_id
from genid_store import Collected, Generated, Request, Store
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.errors import StoreError
from genid_store.fs import rescue
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import PARSED, DataRoot
from genid_store.fs.locks import blocked
from genid_store.generation import batch, content
from genid_store.generation.giving import take_back
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked
from genid_store.generation.reuse import plan_reuse_of
from genid_store.generation.run import run_cohort
from genid_store.migration import run as migration
from genid_store.migration.swap import open_migration
from genid_store.stages import PIPELINE
from hardening_kit import attempt, faulty, refusing, sample, tree, without_own
from paid_kit import DRAFT, small_root

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


# -- runs and calls of the library -----------------------------------------------------------------
def a_small_cohort(path: Path) -> DataRoot:
    root = make_root(path, replicates=(1, 1, 1))
    for stage in PIPELINE:
        rows = [["template_id", "generator", "active"], ["only", "llm", "true"]]
        write_table(path, f"{stage}_templates.csv", rows)
        template = root.template(stage, "only")
        template.parent.mkdir(parents=True)
        template.write_text("Write.")
    built(root, ON)
    return root


def an_empty_store(path: Path) -> DataRoot:
    return Store.open(path).root


class Paid:
    """A generator that knows what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __call__(self, request: Request) -> str:
        self.calls.append(request.gen_id)
        return "SCORE: 7"

    def again(self) -> Self:
        """Return one for the next process."""
        return type(self)()


def run(root: DataRoot, paid: Paid) -> None:
    run_cohort(root, COHORT, paid, Asked(), concurrency=1)


def once_all(root: DataRoot, paid: Paid) -> None:
    draft = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)
    essay = Essay(parent_gen_id=gen_id(draft), template_id="t", replicate=1)
    Store.open(root.path).once_all([essay, draft], paid, concurrency=1)


class InBatches(Paid):
    """The same by batch; what was submitted stays at the provider, whoever asks for it next."""

    def __init__(self, batches: dict[str, list[str]] | None = None) -> None:
        super().__init__()
        self.batches = {} if batches is None else batches

    def find(self, key: str) -> str | None:
        return key if key in self.batches else None

    def submit(self, key: str, requests: Iterable[Request]) -> str:
        self.batches[key] = [one.custom_id for one in requests]
        self.calls += self.batches[key]
        return key

    def collect(self, batch: str) -> Collected:
        return Collected(answers=[(name, "SCORE: 7") for name in self.batches[batch]], ended=True)

    def again(self) -> Self:
        return type(self)(self.batches)


def run_in_batches(root: DataRoot, host: InBatches) -> None:
    run_cohort(root, COHORT, host, Asked(), concurrency=1)


@pytest.mark.parametrize(
    ("make", "work", "host"),
    [
        (a_small_cohort, run, Paid),
        (an_empty_store, once_all, Paid),
        (a_small_cohort, run_in_batches, InBatches),
    ],
    ids=["run", "once", "batches"],
)
def test_a_call_that_fails_while_texts_are_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], DataRoot],
    work: Callable[[DataRoot, Paid], None],
    host: type[Paid],
) -> None:
    """One error, or every other text; a second attempt makes the rest and pays for nothing whose
    text is there, or in the folder that the failure names, also where the data root was moved
    meanwhile. Nothing is left there."""
    rescued = tmp_path / "tmp"
    rescued.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(rescued))
    monkeypatch.setattr(rescue, "USUAL", ())
    monkeypatch.setattr(batch, "_FIRST", 0.001)
    monkeypatch.setattr(batch, "PATIENCE", 2)
    whole, paid = make(tmp_path / "whole"), host()
    with faulty(whole.path, 0, refusing(0), reads=True) as seen:
        work(whole, paid)
    for at, code in cases(len(seen)):
        root, first = make(tmp_path / "root"), host()
        with faulty(root.path, at, refusing(code), reads=True):
            _, error = attempt(StoreError, lambda: work(root, first))  # noqa: B023
        assert error is None or blamed(error, code), (at, seen[at - 1], str(error))
        root = DataRoot.open(root.path.rename(tmp_path / "moved"))
        again = first.again()
        work(root, again)
        assert not set(first.calls) & set(again.calls), (at, os.strerror(code), seen[at - 1])
        there = {one.parent.name for one in root.gens.rglob("parsed.txt")}
        assert set(paid.calls) == there, (at, os.strerror(code), seen[at - 1], error)
        assert [] == list(rescued.iterdir())
        shutil.rmtree(root.path)


# -- reuse -----------------------------------------------------------------------------------------
def a_cohort_to_reuse(path: Path) -> DataRoot:
    """A legacy cohort with its texts, built again under deterministic ids that have none."""
    root = a_small_cohort(path)
    built(root, OFF)
    run(root, Paid())
    built(root, ON)
    return root


def a_cohort_that_reused(path: Path) -> DataRoot:
    root = a_cohort_to_reuse(path)
    run(root, Paid())
    return root


def reuse(root: DataRoot) -> None:
    paid = Paid()
    try:
        run(root, paid)
    finally:
        assert [] == paid.calls


@pytest.mark.parametrize(
    ("make", "work"),
    [(a_cohort_to_reuse, reuse), (a_cohort_that_reused, take_back)],
    ids=["reuse", "take back"],
)
def test_a_call_that_fails_while_texts_are_reused(
    tmp_path: Path, make: Callable[[Path], DataRoot], work: Callable[[DataRoot], object]
) -> None:
    """Nobody is called, no text is lost, and a second attempt comes to what an undisturbed one
    does."""
    start, whole = make(tmp_path / "start"), make(tmp_path / "whole")
    with faulty(whole.path, 0, refusing(0), reads=True) as seen:
        work(whole)
    for at, code in cases(len(seen)):
        root = DataRoot.open(shutil.copytree(start.path, tmp_path / "root", symlinks=True))
        with faulty(root.path, at, refusing(code), reads=True):
            _, error = attempt(StoreError, lambda: work(root))  # noqa: B023
        assert error is None or blamed(error, code), (at, seen[at - 1], str(error))
        assert legacy_texts(start) == legacy_texts(root), (at, os.strerror(code), seen[at - 1])
        work(root)
        assert texts(whole) == texts(root), (at, os.strerror(code), seen[at - 1], error)
        shutil.rmtree(root.path)


def a_universe(path: Path, answer: Callable[[Request], str | Generated]) -> DataRoot:
    """One draft, two essays, two evaluations: requested under legacy ids, then built again."""
    root = small_root(path)
    built(root, OFF)
    run_cohort(root, COHORT, answer, Asked(), concurrency=1)
    built(root, ON)
    return root


def failing(request: Request) -> str:
    raise RuntimeError("the provider is down")


def unparsed(request: Request) -> Generated:
    return Generated(text="no score", unparsed="no score in it")


def ask_for_the_draft(root: DataRoot, paid: Paid) -> None:
    Store.open(root.path).once(DRAFT, paid)


@pytest.mark.parametrize("answer", [lambda one: "SCORE: 7", failing, unparsed])
@pytest.mark.parametrize("work", [run, ask_for_the_draft])
def test_a_look_that_fails_makes_nobody_pay_again(
    tmp_path: Path,
    answer: Callable[[Request], str | Generated],
    work: Callable[[DataRoot, Paid], None],
) -> None:
    """Whatever keeps the metadata of a task's other id, or the index, from being read for a moment:
    its text, its failure or what could not be parsed still counts."""
    start = a_universe(tmp_path / "start", answer)
    for one in start.gens.glob("draft/d_*/metadata.json") if work is not run else ():
        shutil.rmtree(one.parent)  # the library has not heard of it yet
    for at in itertools.count(1):
        root, paid = DataRoot.open(shutil.copytree(start.path, tmp_path / "root")), Paid()
        strike, looked_at = refusing(CODES[at % len(CODES)]), r"/metadata\.json|/index\."
        with faulty(root.path, at, strike, reads=True, only=looked_at) as seen:
            attempt(StoreError, lambda: work(root, paid))  # noqa: B023
        assert [] == paid.calls, seen[at - 1 : at]
        shutil.rmtree(root.path)
        if len(seen) < at:
            break
    assert at > 20


@pytest.mark.parametrize("lost", [(), ("evaluation",), ("draft", "essay", "evaluation")])
def test_a_text_that_cannot_be_read_for_a_moment_makes_nobody_pay_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: tuple[str, ...]
) -> None:
    """Also where what was paid for could not be parsed, which holds its task up under every id."""
    start = a_cohort_to_reuse(tmp_path / "start")
    for stage in lost:
        for one in start.stage(stage).glob(f"*/{PARSED}"):
            one.unlink()
    real = read_bytes
    looks = at = 1
    while looks >= at:
        root = DataRoot.open(shutil.copytree(start.path, tmp_path / str(at)))
        looks, paid = 0, Paid()

        def read(path: str | Path) -> bytes:
            nonlocal looks
            looks += Path(path).name == PARSED
            if looks == at and Path(path).name == PARSED:  # noqa: B023
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return real(path)

        with monkeypatch.context() as patch:
            patch.setattr(content, "read_bytes", read)
            attempt(StoreError, lambda: obtain_each(root, paid))  # noqa: B023
        assert [] == paid.calls, at
        shutil.rmtree(root.path)
        at += 1
    assert at > 5


def obtain_each(root: DataRoot, paid: Paid) -> None:
    """Obtain every member of the cohort, as assets do: whatever a run would leave out."""
    members = read_membership(root, COHORT)
    executor = Executor(root=root, generator=paid, plan=plan_reuse_of(root, members))
    for member in members:
        executor.obtain(*member)


def texts(root: DataRoot) -> dict[str, bytes]:
    return {one.parent.name: one.read_bytes() for one in root.gens.rglob("parsed.txt")}


def legacy_texts(root: DataRoot) -> dict[str, bytes]:
    return {name: data for name, data in texts(root).items() if name[1] != "_"}


# -- migrations ------------------------------------------------------------------------------------
def a_store(path: Path) -> DataRoot:
    return DataRoot.open(migrationkit.tiny_store(path))


def a_migrated_store(path: Path) -> DataRoot:
    root = a_store(path)
    migration.migrate(root)
    return root


def again(root: DataRoot, work: Callable[[DataRoot], object]) -> None:
    """Do what the error's remedy says: go on with what was begun, else try the same again."""
    found = open_migration(root)
    state = "none" if found is None else found.state
    if work is migration.migrate and state != "none":
        migration.resume(root) if state != "migrated" else None
    elif state != "none" or work is migration.migrate:
        work(root)


@pytest.mark.parametrize(
    ("make", "work"),
    [
        (a_store, migration.migrate),
        (a_migrated_store, migration.rollback),
        (a_migrated_store, migration.finish),
    ],
    ids=["migrate", "roll back", "finish"],
)
def test_a_call_that_fails_while_a_store_moves(
    tmp_path: Path, make: Callable[[Path], DataRoot], work: Callable[[DataRoot], object]
) -> None:
    """One error; no text is lost, and doing it again comes to what an undisturbed one does."""
    whole = make(tmp_path / "whole")
    with faulty(whole.path, 0, refusing(0), reads=True) as seen:
        work(whole)
    for at, code in cases(len(seen)):
        outside = seen[at - 1].removeprefix(f"scandir {whole.path}").partition("/")[2]
        if (code, outside) in ((errno.EACCES, ""), (errno.EACCES, "reports")):
            continue  # a folder that this user may not list: its reports are not in the plan
        root = make(tmp_path / "root")
        with faulty(root.path, at, refusing(code), reads=True):
            _, error = attempt(StoreError, lambda: work(root))  # noqa: B023
        assert error is None or blamed(error, code), (at, seen[at - 1], str(error))
        again(root, work)
        expected, found = (without_own(tree(one.path)) for one in (whole, root))
        assert expected == found, (at, os.strerror(code), seen[at - 1], error)
        assert blocked(root) is None
        shutil.rmtree(root.path)
