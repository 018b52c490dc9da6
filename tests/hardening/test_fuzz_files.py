"""Damaged files of our own and of the cohorts: rebuilt, told or refused, and never trusted."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import storekit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.inputs.combos import read_catalogue, read_selected
from genid_store.errors import StoreError
from genid_store.fs import locks as lock
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures
from genid_store.migration import run as migration
from hardening_kit import (
    DEEP,
    attempt,
    damaged,
    fuzzed,
    json_damaged,
    json_values,
    tree,
    without_own,
)

COHORT = "c1"
MEMBERSHIP = b"stage,gen_id\ndraft,d_1\nessay,e_1\nevaluation,v_1\n"
MANIFEST = {
    "combos": ["c"],
    "templates": {"draft": ["t"]},
    "llms": {"generation": ["m"]},
    "rollout": {"stages": ["draft"], "scheme": "v1"},
}
COMBOS = (
    b"combo_id,version,concept_id,description_level,k_max,created_at\n"
    b"combo_v1_1,v1,c-1,paragraph,2,2025-01-01\ncombo_v1_1,v1,c-2,paragraph,2,2025-01-01\n"
)
ANY_JSON = json_values.map(lambda value: json.dumps(value).encode())
SEAL = b"[1, 4096, 1, 1, 1]"


def in_root(folder: Path, name: str, data: bytes) -> DataRoot:
    """Return a data root in which one file has these bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return DataRoot.open(folder)


# -- cohorts ---------------------------------------------------------------------------------------
@fuzzed()
@given(data=damaged(MEMBERSHIP) | st.just(DEEP))
def test_a_damaged_membership_is_told(tmp_path: Path, data: bytes) -> None:
    """Both readers of a membership name safe ids only, and say what is wrong with the rest."""
    root = in_root(tmp_path, f"cohorts/{COHORT}/membership.csv", data)
    members, error = attempt(StoreError, lambda: read_membership(root, COHORT))
    found = read_memberships(root)
    everything = [*(members or ()), *found.members.get(COHORT, ())]
    assert all("/" not in gen_id and gen_id not in ("", "..") for _, gen_id in everything)
    if error is not None:
        assert error.problems
        assert all(COHORT in problem.where for problem in error.problems)


@fuzzed()
@given(
    data=st.one_of(
        damaged(json.dumps(MANIFEST).encode()),
        json_damaged(MANIFEST),
        json_damaged({"stages": ["draft"], "scheme": "v1"}).map(
            lambda rollout: b'{"rollout": ' + rollout + b"}"
        ),
        ANY_JSON,
        st.just(DEEP),
    )
)
def test_a_damaged_manifest_is_no_rollout_state(tmp_path: Path, data: bytes) -> None:
    """A manifest that cannot be made out is told from one that says off."""
    root = in_root(tmp_path, f"cohorts/{COHORT}/manifest.json", data)
    found = read_recorded(root, COHORT)
    assert found is not None


@fuzzed()
@given(data=damaged(COMBOS), name=st.sampled_from(["catalogue", "selected"]))
def test_damaged_combos_are_read_or_refused(tmp_path: Path, data: bytes, name: str) -> None:
    """The two files of combos give combos with ids, or one error with places."""
    files = {"catalogue": "combo_mappings.csv", "selected": "2_tasks/selected_combo_mappings.csv"}
    readers: dict[str, Callable[[DataRoot], object]] = {
        "catalogue": read_catalogue,
        "selected": read_selected,
    }
    root = in_root(tmp_path, files[name], data)
    _, error = attempt(StoreError, partial(readers[name], root))
    if error is not None:
        assert error.problems
        assert all(problem.where.startswith(files[name]) for problem in error.problems)


# -- ours ------------------------------------------------------------------------------------------
NOTE = {"purpose": "cohort build", "pid": 1, "host": "h", "since": "2025-01-01T00:00:00+00:00"}
BLOCK = {"by": "migration", "reason": "r", "remedy": "m", "ways": ["resume()"]}
FAILURE = {"stage": "draft", "gen_id": "x", "reason": "r", "at": "", "attempts": 1}


@fuzzed()
@given(data=st.one_of(damaged(json.dumps(NOTE).encode()), json_damaged(NOTE), st.just(DEEP)))
def test_a_damaged_note_of_the_locks_holder_holds_nobody_off(tmp_path: Path, data: bytes) -> None:
    """The note is words for people: whatever it says, a free lock is taken and given back."""
    root = in_root(tmp_path, ".genid/lock-holder.json", data)
    with lock.root_lock(root, lock.BUILD):
        holder = lock.holder(root)
        assert holder is not None
        assert lock.BUILD == holder.purpose


@fuzzed()
@given(
    data=st.one_of(
        damaged(json.dumps(BLOCK).encode()), json_damaged(BLOCK), ANY_JSON, st.just(DEEP)
    )
)
def test_a_damaged_block_still_blocks(tmp_path: Path, data: bytes) -> None:
    """A block that cannot be made out keeps builds out like one that can, with the documented
    error."""
    root = in_root(tmp_path, ".genid/blocked.json", data)

    def enter() -> None:
        with lock.root_lock(root, lock.BUILD):
            pass

    _, error = attempt(StoreError, enter)
    blocked = lock.blocked(root)
    assert blocked is not None
    assert (error is None) == (blocked.by == lock.BUILD)
    if error is not None:
        str(error).encode("utf-8", "backslashreplace")


@fuzzed()
@given(data=st.one_of(json_damaged(FAILURE), ANY_JSON, st.binary(max_size=9), st.just(DEEP)))
def test_a_damaged_record_of_a_failure_is_still_a_failure(tmp_path: Path, data: bytes) -> None:
    """What once failed is not tried again because its record is damaged; one more is counted."""
    root = in_root(tmp_path, ".genid/failures/draft/x.json", data)
    assert failures.read(root, "draft", "x") is not None
    assert {"x"} == failures.failed_ids(root, "draft")
    failures.record(root, "draft", "x", "again")
    found = failures.read(root, "draft", "x")
    assert found is not None
    assert "again" == found.reason


# -- the index -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store of everything with a closed, sealed index."""
    folder = tmp_path_factory.mktemp("indexed") / "root"
    storekit.make_store(folder, generations=60, faults=storekit.FAULTS, files=())
    with StoreIndex.fresh(DataRoot.open(folder)):
        pass
    return folder


def everything_in(root: DataRoot, *, persist: bool) -> list[object]:
    with StoreIndex.fresh(root, persist=persist) as index:
        return [one for stage in ("draft", "essay", "evaluation") for one in index.iter(stage)]


@fuzzed(share=0.7)
@given(data=st.data(), persist=st.booleans())
def test_a_damaged_index_is_never_trusted(
    indexed: Path, data: st.DataObject, persist: bool
) -> None:
    """After any damage to the files of the index it answers what a fresh one does."""
    root = DataRoot.open(indexed)
    truth = everything_in(root, persist=True)
    name = data.draw(st.sampled_from(["index.sqlite", "index.use", "index.sqlite-wal"]))
    path = root.own / name
    sound = path.read_bytes() if path.exists() else SEAL
    wrong = st.sampled_from(
        [b"", bytes(DEEP[:2000]), b"SQLite format 3\0" + b"\0" * 100, b"x" * 5000]
    )
    path.write_bytes(data.draw(damaged(sound[:20_000]) | wrong))
    assert truth == everything_in(root, persist=persist)
    assert truth == everything_in(root, persist=True)


@pytest.mark.parametrize(
    "name", [".genid", ".genid/index.sqlite", ".genid/index.use", ".genid/index.lock"]
)
def test_no_link_leads_an_index_out_of_the_data_root(tmp_path: Path, name: str) -> None:
    """Where a part of the index is a link to the outside, nothing is made or changed there."""
    folder = tmp_path / "root"
    storekit.make_store(folder, generations=30, files=())
    root = DataRoot.open(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "target"
    if name == ".genid":
        target.mkdir()
    else:
        root.own.mkdir()
    (folder / name).symlink_to(target)
    before = tree(outside)
    attempt(StoreError, lambda: everything_in(root, persist=True))
    assert before == tree(outside)


# -- migrations ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store that was migrated and can be rolled back."""
    folder = tmp_path_factory.mktemp("migrated") / "root"
    storekit.make_store(folder, generations=20, oddities=(), files=("parsed.txt",))
    migration.migrate(DataRoot.open(folder))
    return folder


ACTIONS: dict[str, Callable[[DataRoot], object]] = {
    "resume": migration.resume,
    "rollback": migration.rollback,
    "finish": migration.finish,
    "plan": migration.plan,
}


@fuzzed(share=0.2)
@given(
    data=st.data(),
    action=st.sampled_from(sorted(ACTIONS)),
    name=st.sampled_from(["plan.jsonl", "swap.json"]),
)
def test_a_damaged_plan_or_journal_changes_nothing_or_is_a_torn_tail(
    migrated: Path, tmp_path: Path, data: st.DataObject, action: str, name: str
) -> None:
    """With a damaged plan nothing is done; a journal that lost its tail is gone on with or told."""
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(migrated, folder, symlinks=True)
    (path,) = folder.glob(f".genid/migrations/*/{name}")
    sound = path.read_bytes()
    wrong = data.draw(damaged(sound) | st.sampled_from([b"", DEEP, b"\xff\n", b"{}\n"]))
    path.write_bytes(wrong)
    before = without_own(tree(folder))
    _, error = attempt(StoreError, partial(ACTIONS[action], DataRoot.open(folder)))
    if error is not None:
        assert error.problems
    if name == "plan.jsonl" and wrong != sound and action in ("resume", "rollback"):
        assert error is not None
        assert before == without_own(tree(folder))
