"""Records of ours that somebody damaged, valid but for one thing, and a run over them: one error or
the right result, and no call that an undamaged record would have kept from being paid for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort_kit import COHORT, OFF, ON, built
from genid_store import Request
from genid_store.config import read_config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import batches
from genid_store.generation.giving import take_back
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from hardening_kit import attempt, fuzzed, json_damaged, json_values, tree, without_own
from paid_kit import small_root


class Paid:
    """A generator that knows what it was asked for, and fails the first time where it is to."""

    def __init__(self, *, failing: bool = False) -> None:
        self.calls: list[str] = []
        self.failing = failing

    def __call__(self, request: Request) -> str:
        self.calls.append(request.gen_id)
        if self.failing:
            raise ValueError("no answer")
        return "SCORE: 7"


def run(root: DataRoot, paid: Paid, **asked: bool) -> None:
    run_cohort(root, COHORT, paid, Asked(**asked), concurrency=1)


def copied(start: Path, folder: Path) -> DataRoot:
    shutil.rmtree(folder, ignore_errors=True)
    return DataRoot.open(shutil.copytree(start, folder, symlinks=True))


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose draft failed."""
    root = small_root(tmp_path_factory.mktemp("failed") / "root")
    built(root, ON)
    run(root, Paid(failing=True))
    return root.path


@fuzzed(share=0.5)
@given(data=st.data(), retry=st.booleans())
def test_a_run_over_a_damaged_failure(
    failed: Path, tmp_path: Path, data: st.DataObject, retry: bool
) -> None:
    """What failed is asked for again where that is wanted, and nowhere else."""
    root = copied(failed, tmp_path / "copy")
    [path] = root.own.glob("failures/draft/*.json")
    path.write_bytes(data.draw(json_damaged(json.loads(path.read_bytes()))))
    paid = Paid()
    run(root, paid, retry_failed=retry)
    assert (path.stem in paid.calls) == retry


@pytest.fixture(scope="module")
def in_a_batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose draft is in a batch that this run cannot ask about."""
    root = small_root(tmp_path_factory.mktemp("batch") / "root")
    built(root, ON)
    [draft] = [one.name for one in (root.gens / "draft").iterdir()]
    since = "2026-01-01T00:00:00+00:00"
    batch = batches.Batch(
        key="b_1", stage="draft", state="submitted", since=since, members={draft: draft}, handle="h"
    )
    batches.write(root, batch)
    return root.path


@fuzzed(share=0.5)
@given(data=st.data())
def test_a_run_over_a_damaged_batch(in_a_batch: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Its members are called for only where the record says, soundly, that it has others; where it
    cannot be read nobody is."""
    root = copied(in_a_batch, tmp_path / "copy")
    path = root.own / "batches" / "b_1.json"
    sound = json.loads(path.read_bytes())
    path.write_bytes(data.draw(json_damaged(sound)))
    [draft] = sound["members"]
    held = any(one.holds("draft", [draft]) for one in batches.open_batches(root))
    paid = Paid()
    _, error = attempt(StoreError, lambda: run(root, paid))
    assert error is None or error.problems
    assert (draft in paid.calls) == (not held)


@pytest.fixture(scope="module")
def with_reused_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose members have the texts of legacy ids."""
    root = small_root(tmp_path_factory.mktemp("reused") / "root")
    built(root, OFF)
    run(root, Paid())
    built(root, ON)
    run(root, Paid())
    return root.path


@fuzzed(share=0.5)
@given(data=st.data())
def test_a_damaged_record_of_a_reused_text(
    with_reused_texts: Path, tmp_path: Path, data: st.DataObject
) -> None:
    """Nobody is called; taking back is refused, or loses no text of a legacy id."""
    root = copied(with_reused_texts, tmp_path / "copy")
    path = data.draw(st.sampled_from(sorted(root.own.glob("reused/*/*.json"))))
    sound = json.loads(path.read_bytes())
    inner = json.loads(sound["metadata"])
    metadata = json_damaged(inner).map(lambda one: {**sound, "metadata": one.decode("latin-1")})
    path.write_bytes(
        data.draw(json_damaged(sound) | metadata.map(lambda one: json.dumps(one).encode()))
    )
    paid = Paid()
    attempt(StoreError, lambda: run(root, paid))
    assert [] == paid.calls
    before = tree(root.path)
    _, error = attempt(StoreError, lambda: take_back(root))
    assert error is None or [path.name] == [Path(one.where).name for one in error.problems]
    after = tree(root.path)
    assert error is None or without_own(before) == without_own(after)
    for name, text in before.items():
        parts = name.split("/")
        if parts[0] == "gens" and parts[3:] and parts[2][1] != "_":
            assert text == after[name]


# -- genid.toml ------------------------------------------------------------------------------------
VALUES = (
    '"on"', '"draft"', '""', '"draft,draft"', '["draft"]', "[1]", "[[]]", "{}", "1", "0", "-1",
    "1.5", "true", "nan", "inf", "1979-05-27", "99999999999999999999", '"\\u0000"', '"v1"', '"v2"',
)  # fmt: skip
NAMES = ("rollout", "stages", "combos", "scheme", "module", "k_max", "description_level", "other")
SOUND = '[rollout]\nstages = "on"\nscheme = "v1"\n[combos]\nk_max = 3\n'


@st.composite
def tomls(draw: st.DrawFn) -> bytes:
    """Draw a document of known and unknown sections and keys with values of every type."""
    lines = SOUND.splitlines() if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 4))):
        name, value = draw(st.sampled_from(NAMES)), draw(st.sampled_from(VALUES))
        line = draw(st.sampled_from([f"[{name}]", f"[[{name}]]", f"{name} = {value}", "#", "="]))
        lines.insert(draw(st.integers(0, len(lines))), line)
    text = draw(st.sampled_from(["", "", "\ufeff", "\0"])) + "\n".join(lines)
    return text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-16-be"])))


@fuzzed(share=3)
@given(data=tomls())
def test_a_damaged_configuration_is_used_or_refused(tmp_path: Path, data: bytes) -> None:
    """Every value that is used has its type; what is refused is refused by its key."""
    (tmp_path / "genid.toml").write_bytes(data)
    found, error = attempt(StoreError, lambda: read_config(DataRoot.open(tmp_path)))
    if error is not None:
        assert error.problems
        assert all(one.where.startswith("genid.toml") for one in error.problems)
    else:
        assert found is not None
        assert found.k_max is None or (type(found.k_max) is int and found.k_max > 0)
        for text in (found.description_level, found.stages_module):
            assert text is None or type(text) is str


CONSUMERS: dict[str, Callable[[DataRoot], object]] = {
    "cohorts/autumn/manifest.json": lambda root: built(root, ON),
    ".genid/blocked.json": lambda root: run(root, Paid()),
}


@fuzzed(share=0.3)
@given(name=st.sampled_from(sorted(CONSUMERS)), data=json_values)
def test_a_record_of_any_shape(in_a_batch: Path, tmp_path: Path, name: str, data: object) -> None:
    """JSON of any kind where a manifest or a block belongs: the command goes on or refuses."""
    root = copied(in_a_batch, tmp_path / "copy")
    (root.path / name).parent.mkdir(exist_ok=True)
    (root.path / name).write_bytes(json.dumps(data).encode())
    _, error = attempt(StoreError, lambda: CONSUMERS[name](root))
    assert error is None or error.problems
