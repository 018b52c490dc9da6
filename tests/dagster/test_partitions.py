"""Partition keys are checked, and registering them is idempotent and safe in a race."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_kit import new_home
from genid_dagster_adapter import partitions
from genid_dagster_adapter.partitions import partition_set, register, registered
from genid_dagster_adapter.sync import sync
from genid_store.catalog.memberships import Memberships, read_memberships
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock


def test_keys_keep_the_order_of_their_registration(instance: dg.DagsterInstance) -> None:
    """Ranges follow it; a key given twice counts once."""
    assert register(instance, "draft", ["b", "a", "b"]) == 2
    assert register(instance, "draft", ["c", "a"]) == 1
    assert registered(instance, "draft") == ["b", "a", "c"]


def test_stages_and_prefixes_are_sets_of_their_own(instance: dg.DagsterInstance) -> None:
    """The names are the contract's, and a prefix keeps two adapters apart."""
    register(instance, "essay", ["x"])
    register(instance, "essay", ["y"], prefix="mine_")
    assert instance.get_dynamic_partitions("essay_gens") == ["x"]
    assert instance.get_dynamic_partitions("mine_essay_gens") == ["y"]
    assert partition_set("evaluation") == "evaluation_gens"


@pytest.mark.parametrize(
    "key",
    ["", "a/b", "..", "a\x00b", "x" * 256, "a\n", "-a", ".a", "a b", "a...b", "é", "a|b"],
)
def test_a_key_that_dagster_would_take_and_break_on_is_refused(
    instance: dg.DagsterInstance, key: str
) -> None:
    """The whole call is refused, and names the key."""
    with pytest.raises(StoreError) as caught:
        register(instance, "draft", ["good", key])
    assert [problem.value for problem in caught.value.problems] == [key]
    assert registered(instance, "draft") == []


def test_many_keys_go_in_chunks(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite binds a limited number of variables; the order stays."""
    monkeypatch.setattr(partitions, "CHUNK", 7)
    keys = [f"k{number}" for number in range(40)]
    assert register(instance, "draft", keys) == 40
    assert registered(instance, "draft") == keys


_REGISTERING = """
import sys
from multiprocessing import get_context
import dagster as dg
from genid_dagster_adapter.partitions import register

context = get_context("fork")  # what is imported is so for all
together, added = context.Barrier(3), context.SimpleQueue()

def work():
    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        together.wait()
        ranges = (range(start, start + 20) for start in range(0, 50, 5))
        added.put(sum(register(instance, "draft", [f"k{n}" for n in keys]) for keys in ranges))

processes = [context.Process(target=work) for _ in range(3)]
for process in processes:
    process.start()
for process in processes:
    process.join()
    assert process.exitcode == 0
    print(added.get())
"""


def test_processes_that_register_the_same_keys_at_once_all_succeed(tmp_path: Path) -> None:
    """Nobody fails, and each key is there once."""
    home = new_home(tmp_path / "home")
    with dg.DagsterInstance.from_config(str(home)):
        pass  # the schema is made before the race
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _REGISTERING, str(home)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [int(line) for line in done.stdout.split()]
    assert len(answers) == 3
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert sorted(registered(instance, "draft")) == sorted(f"k{n}" for n in range(65))
    assert sum(answers) >= 65  # a key that two found missing at once counts twice


def _member(root: DataRoot, cohort_id: str, key: str) -> None:
    path = root.membership(cohort_id)
    path.parent.mkdir(parents=True)
    path.write_text(f"stage,gen_id\ndraft,{key}\n")


def test_no_build_comes_between_looking_at_keys_and_deleting_them(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pruning holds the lock under which builds write members and register them; a data root that
    is in use is not pruned."""
    root = DataRoot(tmp_path)
    refused = []

    def looked(*arguments: object) -> None:
        with pytest.raises(StoreError, match="in use") as caught, root_lock(root, BUILD, wait=0):
            raise AssertionError("a build can begin")
        refused.append(caught.value)

    _member(root, "c", "kept")
    register(instance, "draft", ["kept", "stray"])
    monkeypatch.setattr(instance, "delete_dynamic_partition", looked)
    assert ["stray"] == sync(instance, root, prune=True).deleted["draft"]
    assert 1 == len(refused)
    with root_lock(root, "migration"), pytest.raises(StoreError, match="in use"):
        sync(instance, root, prune=True)


def test_a_key_that_a_build_adds_meanwhile_is_not_taken_for_nobodys(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build ends after one of the two was read, and before the other is."""
    root = DataRoot(tmp_path)
    read = read_memberships

    def build_before_reading(root: DataRoot) -> Memberships:
        if not root.cohort("new").exists():
            _member(root, "new", "added")
            register(instance, "draft", ["added"])
        return read(root)

    _member(root, "c", "kept")
    register(instance, "draft", ["kept"])
    monkeypatch.setattr("genid_dagster_adapter.sync.read_memberships", build_before_reading)
    assert [] == sync(instance, root, dry_run=True).unowned["draft"]
