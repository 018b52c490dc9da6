"""Two data roots on one instance, with partition sets of the same names: each one's keys are safe
from the other."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest

from dagster_kit import new_home
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import forget_roots, owners, register, registered
from genid_dagster_adapter.sync import partition_keys, sync
from genid_dagster_adapter.translator import Translator
from genid_store.cli import run
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import Block, block


def members(root: DataRoot, *keys: str, cohort: str = "c") -> DataRoot:
    path = root.membership(cohort)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(["stage,gen_id\n", *(f"draft,{key}\n" for key in keys)]))
    return root


@pytest.fixture
def here(tmp_path: Path) -> DataRoot:
    return members(DataRoot(tmp_path / "here"), "d_here", "d_both")


@pytest.fixture
def there(tmp_path: Path) -> DataRoot:
    """The other data root, whose cohort has the same id."""
    return members(DataRoot(tmp_path / "there"), "d_there", "d_both")


def test_pruning_one_leaves_the_others_keys(
    instance: dg.DagsterInstance, here: DataRoot, there: DataRoot
) -> None:
    """Also the key that both have, where one of them drops it; what neither has goes."""
    register_members(instance, there, "c")
    sync(instance, here)
    register(instance, "draft", ["d_nobody"])
    members(here, "d_here")
    assert ["d_nobody"] == sync(instance, here).unowned["draft"]
    assert ["d_nobody"] == sync(instance, here, prune=True).deleted["draft"]
    assert {"d_here", "d_there", "d_both"} == set(registered(instance, "draft"))
    members(there)
    assert ["d_there", "d_both"] == sync(instance, there, prune=True).deleted["draft"]
    assert ["d_here"] == registered(instance, "draft")


def test_prefixes_have_a_record_each(
    instance: dg.DagsterInstance, here: DataRoot, there: DataRoot
) -> None:
    """Sets of other names are nobody's business: a data root that is gone there stops nothing."""
    sync(instance, there, Translator(partition_prefix="x_"))
    sync(instance, here)
    assert [here.path] == [one.path for one in owners(instance, "")]
    shutil.rmtree(there.path)
    sync(instance, here, prune=True)


def test_a_data_root_that_moved_is_the_same_one(
    instance: dg.DagsterInstance, here: DataRoot, there: DataRoot, tmp_path: Path
) -> None:
    """Until it is synced from its new place it counts as gone, and nothing is deleted."""
    sync(instance, here)
    sync(instance, there)
    moved = DataRoot(there.path.rename(tmp_path / "moved"))
    with pytest.raises(StoreError, match="nobody can tell") as caught:
        sync(instance, here, prune=True)
    assert [str(there.path)] == [problem.where for problem in caught.value.problems]
    sync(instance, moved)
    assert {here.path, moved.path} == {one.path for one in owners(instance, "")}
    assert not sync(instance, here, prune=True).deleted["draft"]
    assert "d_there" in registered(instance, "draft")


def test_a_copy_is_another_data_root(
    instance: dg.DagsterInstance, here: DataRoot, tmp_path: Path
) -> None:
    """Both lie where they were, whatever identity the copy brought along."""
    sync(instance, here)
    copy = DataRoot(Path(shutil.copytree(here.path, tmp_path / "copy")))
    sync(instance, copy)
    members(here)
    assert not sync(instance, here, prune=True).deleted["draft"]
    assert {here.path, copy.path} == {one.path for one in owners(instance, "")}


def test_a_data_root_that_is_gone_holds_its_keys_until_it_is_forgotten(
    instance: dg.DagsterInstance, here: DataRoot, there: DataRoot
) -> None:
    """One error with both ways out; a new folder at its path is not it."""
    sync(instance, there)
    sync(instance, here)
    shutil.rmtree(there.path)
    members(there, "d_new")
    with pytest.raises(StoreError, match="or forget it") as caught:
        sync(instance, here, prune=True)
    assert [(f"forget={there.path}",)] == [one.ways for one in caught.value.problems]
    assert "d_there" in registered(instance, "draft")
    with pytest.raises(StoreError, match="nothing to forget"):
        forget_roots(instance, [str(there.path), "/not/on/it"], "")
    sync(instance, there)  # the new one, which stays on the record
    forget_roots(instance, [str(there.path)], "")
    with pytest.raises(StoreError, match="nothing to forget"):
        forget_roots(instance, [str(there.path)], "")
    assert ["d_there"] == sync(instance, here, prune=True).deleted["draft"]
    assert "d_new" in registered(instance, "draft")


@pytest.mark.parametrize("damage", ["blocked", "malformed", "a loop"])
def test_a_data_root_whose_members_are_unknown_holds_its_keys(
    instance: dg.DagsterInstance, here: DataRoot, there: DataRoot, damage: str
) -> None:
    """A migration is under way, a membership is damaged, or nobody can look."""
    sync(instance, there)
    sync(instance, here)
    if damage == "blocked":
        block(there, Block(by="migration", reason="it was interrupted", remedy="resume it"))
    elif damage == "malformed":
        there.membership("c").write_text("stage\n")
    else:
        (there.own / "identity").unlink()
        (there.own / "identity").symlink_to("identity")
    with pytest.raises(StoreError, match="nobody can tell") as caught:
        sync(instance, here, prune=True)
    assert all(str(there.path) in problem.where for problem in caught.value.problems)
    assert "d_there" in registered(instance, "draft")
    sync(instance, here)


def test_the_command_and_the_audit_know_whose_keys_are_whose(
    here: DataRoot,
    there: DataRoot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The other one's keys are no finding here; `--forget` takes a data root off the record."""
    monkeypatch.setenv("DAGSTER_HOME", str(new_home(tmp_path / "home")))

    def genid(*arguments: str) -> str:
        command = ["dagster", "sync", "--data-root", str(here.path), *arguments]
        assert 0 == run(command)
        return capsys.readouterr().out

    with dg.DagsterInstance.get() as instance:
        sync(instance, there)
    assert "2 partitions" not in genid("--prune")
    assert ["d_both", "d_here"] == sorted(partition_keys(here)["draft"])
    shutil.rmtree(there.path)
    assert "deleted: draft d_there" in genid("--forget", str(there.path), "--prune")


def test_one_location_with_two_data_roots_over_the_same_sets_is_refused(tmp_path: Path) -> None:
    """One error that names the sets; one data root under two asset prefixes is no such case."""

    def mounted(root: str, name: str, prefix: str = "x-") -> dg.Definitions:
        return build_definitions(
            data_root=tmp_path / root,
            translator=Translator(key_prefix=[name], partition_prefix=prefix),
        )

    with pytest.raises(dg.DagsterInvariantViolationError, match="data_root_of_x_2d_partitions"):
        dg.Definitions.merge(mounted("one", "one"), mounted("two", "two"))
    merged = dg.Definitions.merge(
        mounted("one", "one"), mounted("one", "two"), mounted("two", "three", "y-")
    )
    dg.Definitions.validate_loadable(merged)
