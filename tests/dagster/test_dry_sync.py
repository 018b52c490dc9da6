"""A dry run of the sync says what the sync does next, and one offender is skipped and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from attrs import evolve

from cohort_kit import ON
from dagster_kit import Counting, new_home, small_cohort
from genid_dagster_adapter.partitions import owners, register, registered
from genid_dagster_adapter.sync import Synced, partition_keys, sync
from genid_dagster_adapter.translator import Translator
from genid_store.cli import run
from genid_store.cohort.build import Options, build_cohort
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import Block, block
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort
from genid_store.migration.run import migrate
from genid_store.stages import PIPELINE

HOST = dg.AssetKey("draft_raw")
Before = Callable[[dg.DagsterInstance, DataRoot, DataRoot], dict[str, Any]]


def nothing(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    return {}


def made(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    run_cohort(root, "c", Counting(), Asked())
    register(instance, "draft", ["d_nobody"])
    return {"prune": True}


def completed(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    sync(instance, root)
    run_cohort(root, "c", Counting(), Asked())
    return {}


def gone(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    sync(instance, other)
    sync(instance, root)
    shutil.rmtree(other.path)
    return {}


def forgotten(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    gone(instance, root, other)
    return {"prune": True, "forget": [str(other.path)]}


def moved(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    """The data root itself; a sync from its new place takes the old one off the record."""
    sync(instance, DataRoot(Path(shutil.copytree(root.path, root.path.with_name("old")))))
    shutil.copytree(root.path.with_name("old"), root.path, dirs_exist_ok=True)
    shutil.rmtree(root.path.with_name("old"))
    return {"prune": True}


def migrated(instance: dg.DagsterInstance, root: DataRoot, other: DataRoot) -> dict[str, Any]:
    """With a record of a host's asset under a key that changed."""
    build_cohort(root, Options(rollout=ON.OFF, cohort_id="c", drop=True))
    run_cohort(root, "c", Counting(), Asked())
    sync(instance, root)
    old = registered(instance, "draft")[0]
    instance.report_runless_asset_event(dg.AssetMaterialization(HOST, partition=old))
    migrate(root)
    return {"prune": True, "others": [HOST]}


def state(instance: dg.DagsterInstance) -> list[Any]:
    """Return the keys, the data roots, and how many events each asset has."""
    keys = [registered(instance, stage) for stage in (*PIPELINE, ".cohorts")]
    assets = sorted(instance.all_asset_keys())
    counts = [len(instance.fetch_materializations(key, limit=999).records) for key in assets]
    return [*keys, owners(instance, ""), assets, counts]


def plain(done: Synced) -> Synced:
    return evolve(done, dry_run=False)


@pytest.fixture
def other(tmp_path: Path) -> DataRoot:
    return small_cohort(tmp_path / "other", ON.OFF)


@pytest.mark.parametrize(
    "before", [nothing, made, completed, gone, forgotten, moved, migrated],
    ids=lambda before: before.__name__,
)  # fmt: skip
def test_a_dry_run_changes_nothing_and_comes_true(
    instance: dg.DagsterInstance, root: DataRoot, other: DataRoot, before: Before
) -> None:
    """Events of generations and of cohorts, keys that are registered, deleted and held."""
    options = before(instance, root, other)
    found = state(instance)
    planned = sync(instance, root, dry_run=True, **options)
    assert found == state(instance)
    done = sync(instance, root, **options)
    assert plain(planned) == done
    assert (found == state(instance)) == (before is gone)
    assert any(done.deleted.values()) == (before in (made, forgotten, migrated))
    assert any(done.cohort_events.values()) == (before in (nothing, made, completed, migrated))


#: What DAGSTER_HOME's settings say; None without DAGSTER_HOME.
SETTINGS = {
    "embedded": None,
    "by default": "",
    "at another place": "storage: {sqlite: {base_dir: PLACE}}",
    "each at its own": "event_log_storage: {module: dagster._core.storage.event_log, "
    "class: SqliteEventLogStorage, config: {base_dir: PLACE}}",
    "where a variable says": "storage: {sqlite: {base_dir: {env: PLACE_OF_IT}}}",
    "each where a variable says": "event_log_storage: {module: dagster._core.storage.event_log, "
    "class: SqliteEventLogStorage, config: {base_dir: {env: PLACE_OF_IT}}}",
}


def files(folder: Path) -> dict[Path, bytes | None]:
    """Return every entry below a folder, with the content of files."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("exists", [False, True])
def test_what_only_reads_writes_nothing(
    root: DataRoot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: str,
    exists: bool,
) -> None:
    """No instance and no database: they answer as if those were there, and empty."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    if (text := SETTINGS[settings]) is not None:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        monkeypatch.setenv("PLACE_OF_IT", str(tmp_path / "place"))
        place = str(tmp_path / "place")
        (tmp_path / "dagster.yaml").write_text(text.replace(" PLACE}", f" {place}}}"))
    sync_it = ["dagster", "sync", "--data-root", str(root.path), "--json"]
    if exists:
        assert 0 == run(sync_it)
    before = files(tmp_path)
    capsys.readouterr()
    assert 0 == run([*sync_it, "--dry-run"])
    planned = json.loads(capsys.readouterr().out)
    assert (0 if exists else 10) == sum(planned["registered"].values())
    assert exists == any(partition_keys(root).values())
    assert before == files(tmp_path)


def _blocked(root: DataRoot) -> None:
    block(root, Block(by="migration", reason="it was interrupted", remedy="resume it"))


@pytest.mark.parametrize("why", ["nothing to forget", "nobody can tell", "blocked"])
def test_a_dry_run_is_refused_where_the_sync_is(
    instance: dg.DagsterInstance, root: DataRoot, other: DataRoot, why: str
) -> None:
    """For the same reasons."""
    gone(instance, root, other)
    options: dict[str, Any] = {"prune": True}
    if why == "nothing to forget":
        options["forget"] = ["/nope"]
    elif why == "blocked":
        _blocked(root)
    for dry_run in (True, False):
        with pytest.raises(StoreError, match=why):
            sync(instance, root, dry_run=dry_run, **options)


def test_keys_are_nobodys_only_where_that_can_be_told(
    instance: dg.DagsterInstance, root: DataRoot, other: DataRoot
) -> None:
    """While another data root is missing its keys are not offered for pruning; it is named."""
    gone(instance, root, other)
    register(instance, "draft", ["d_nobody"])
    for dry_run in (True, False):
        done = sync(instance, root, dry_run=dry_run)
        assert done.unowned == {stage: [] for stage in PIPELINE}
        assert [one.partition(":")[0] for one in done.problems] == [str(other.path)]
    done = sync(instance, root, forget=[str(other.path)])
    assert "d_nobody" in done.unowned["draft"]
    assert len(done.unowned["draft"]) == 1 + 2
    assert done.problems == []


def test_the_audit_does_not_judge_the_keys_of_a_data_root_that_is_missing(
    root: DataRoot, other: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be its members."""
    monkeypatch.setenv("DAGSTER_HOME", str(new_home(tmp_path / "home")))
    with dg.DagsterInstance.get() as instance:
        gone(instance, root, other)
        own = [line.split(",")[1] for line in root.membership("c").read_text().splitlines()[1:3]]
    assert sorted(partition_keys(root)["draft"]) == sorted(own)


def cohort(root: DataRoot, cohort_id: str, text: str) -> None:
    root.cohort(cohort_id).mkdir()
    root.membership(cohort_id).write_text(text)


OFFENDERS = {
    "a cohort that Dagster cannot name": ("a...b", "stage,gen_id\n", "a...b"),
    "a damaged cohort": ("damaged", "no membership\n", "cohorts/damaged/membership.csv:1"),
    "a member that Dagster cannot name": ("odd", "stage,gen_id\ndraft,x...y\n", "x...y"),
}


@pytest.mark.parametrize("case", OFFENDERS)
def test_an_offender_is_skipped_and_named(
    root: DataRoot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
) -> None:
    """All other records are brought level; a dry run names it too, and so does a second sync."""
    cohort_id, text, named = OFFENDERS[case]
    cohort(root, cohort_id, text)
    run_cohort(root, "c", Counting(), Asked())
    monkeypatch.setenv("DAGSTER_HOME", str(new_home(tmp_path / "home")))
    for words in (["--dry-run"], [], ["--dry-run"], []):
        assert 0 == run(["dagster", "sync", "--data-root", str(root.path), *words]), (
            capsys.readouterr()
        )
        assert named in capsys.readouterr().out
    assert 0 == run(["dagster", "sync", "--data-root", str(root.path), "--json"])
    done = json.loads(capsys.readouterr().out)
    assert (sum(done["events"].values()), done["cohort_events"]) == (0, {})
    with dg.DagsterInstance.get() as instance:
        for name in ("cohort_membership", "cohort_generations"):
            recorded = instance.get_materialized_partitions(Translator().get_asset_key(name))
            assert recorded - {"odd"} == {"c"}, name
        assert len(registered(instance, "evaluation")) == 4
        assert "a...b" not in registered(instance, ".cohorts")
