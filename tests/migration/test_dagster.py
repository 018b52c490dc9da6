"""Dagster's records follow a migration and come back with it; nothing is asked for meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genid_dagster_adapter.migration_history import (
    MIGRATED_FROM,
    ORIGINAL_RUN,
    ORIGINAL_TIME,
    Target,
    is_pending,
    sync,
)
from genid_dagster_adapter.partition_pruning import prune, unowned
from genid_dagster_adapter.partitions import register, registered
from genid_dagster_adapter.stage_assets import build_stage_assets
from genid_store.catalog.memberships import read_memberships
from genid_store.fs.layout import PARSED, DataRoot
from genid_store.generation import Generated, Request
from genid_store.migration import run
from genid_store.stages import PIPELINE
from migrationkit import KilledError, killed_at, small_store
from storekit import make_store

Records = dict[str, tuple[set[str], set[str]]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    off = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(home), overrides=off) as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "store").mkdir()
    return DataRoot.open(small_store(tmp_path / "store"))


def _record_all(instance: dg.DagsterInstance, root: DataRoot, target: Target) -> None:
    """Register every member and report those that have content as materialized."""
    cohorts = read_memberships(root).members.values()
    members = [member for members in cohorts for member in members]
    for stage in PIPELINE:
        keys = list(dict.fromkeys(gen_id for of, gen_id in members if of == stage))
        register(instance, stage, keys, prefix=target.partition_prefix)
        for key in keys:
            if (root.generation(stage, key) / PARSED).is_file():
                instance.report_runless_asset_event(_event(root, target, stage, key))


def _event(root: DataRoot, target: Target, stage: str, key: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        target.asset_key(stage),
        partition=key,
        metadata={
            "path": dg.MetadataValue.path(str(root.generation(stage, key))),
            "gen_id": key,
            "told": dg.MetadataValue.md(f"made `{key}` well"),
            "record": dg.MetadataValue.json(
                {"gen_id": key, "n": 3, "all": [f"gens/{stage}/{key}"]}
            ),
            "seconds": 1.5,
        },
        tags={"dagster/data_version": f"version-of-{key}", "id": key},
    )


def _records(instance: dg.DagsterInstance, target: Target) -> Records:
    """Return, by stage, the registered keys and those of them that are materialized."""
    found = {}
    for stage in PIPELINE:
        keys = set(registered(instance, stage, prefix=target.partition_prefix))
        done = instance.get_materialized_partitions(target.asset_key(stage))
        found[stage] = keys, keys & done
    return found


def _latest(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> Any:
    only = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    return instance.fetch_materializations(only, limit=1).records[0].asset_materialization


def _mapping(plan: Any) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {stage: {} for stage in PIPELINE}
    for record in plan.records("generation"):
        found[record["stage"]][record["old"]] = record["new"]
    return found


@pytest.mark.parametrize("target", [Target(), Target(key_prefix=("x",), partition_prefix="x_")])
def test_keys_and_materializations_follow_and_come_back(
    on_disk: dg.DagsterInstance, root: DataRoot, target: Target
) -> None:
    """Every key is renamed, the materialized ones stay so; rolling back restores both sets."""
    instance = on_disk
    _record_all(instance, root, target)
    before = _records(instance, target)
    plan = run.migrate(root)
    mapping = _mapping(plan)
    expected: Mapping[str, tuple[set[str], ...]] = {
        stage: tuple({mapping[stage][key] for key in keys} for keys in both)
        for stage, both in before.items()
    }
    assert is_pending(root)
    (carried,) = sync(instance, root, target=target)
    assert expected == _records(instance, target)
    assert (False, True) == (carried.back, carried.events > 0)
    assert [] == sync(instance, root, target=target), "a second time does nothing"
    run.rollback(root)
    (back,) = sync(instance, root, target=target)
    assert back.back
    assert before == _records(instance, target)
    assert not is_pending(root)


def test_an_event_carries_its_data_version_and_names_the_new_id(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """Tags and metadata with the old id rewritten, the original run and time beside them."""
    _record_all(instance, root, Target())
    plan = run.migrate(root)
    sync(instance, root)
    moved = next(iter(plan.records("generation")))
    old, new = moved["old"], moved["new"]
    event = _latest(instance, Target().asset_key("draft"), new)
    assert {"dagster/data_version": f"version-of-{old}", "id": new}.items() <= event.tags.items()
    told = {key: value.value for key, value in event.metadata.items()}
    assert f"{root.path}/gens/draft/{new}" == told["path"]
    assert (new, f"made `{new}` well") == (told["gen_id"], told["told"])
    assert {"gen_id": new, "n": 3, "all": [f"gens/draft/{new}"]} == told["record"]
    assert (old, 1.5) == (told[MIGRATED_FROM], told["seconds"])
    assert {ORIGINAL_RUN, ORIGINAL_TIME} <= set(told)


def test_events_come_before_keys_and_deletions_last(
    instance: dg.DagsterInstance, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each stage, parents' stages first: what a live daemon must never see is a registered key
    without its event."""
    _record_all(instance, root, Target())
    run.migrate(root)
    calls = []
    for name in (
        "report_runless_asset_event",
        "add_dynamic_partitions",
        "delete_dynamic_partition",
    ):
        real = getattr(instance, name)

        def call(*args: Any, _real: Any = real, _name: str = name) -> Any:
            stage = args[0].asset_key.path[-1] if _name.startswith("report") else args[0]
            calls.append((stage.partition("_")[0], _name.partition("_")[0]))
            return _real(*args)

        monkeypatch.setattr(instance, name, call)
    sync(instance, root)
    expected = [(stage, step) for stage in PIPELINE for step in ("report", "add", "delete")]
    assert expected == list(dict.fromkeys(calls))


@pytest.mark.parametrize("undo", [False, True], ids=["there", "back"])
def test_stopping_in_the_middle_is_gone_on_with(
    instance: dg.DagsterInstance, root: DataRoot, monkeypatch: pytest.MonkeyPatch, undo: bool
) -> None:
    """Whatever call was the last one, doing it again comes to the same records."""
    _record_all(instance, root, Target())
    before = _records(instance, Target())
    plan = run.migrate(root)
    mapping = _mapping(plan)
    expected: Mapping[str, tuple[set[str], ...]] = {
        stage: tuple({mapping[stage][key] for key in keys} for keys in both)
        for stage, both in before.items()
    }
    if undo:
        sync(instance, root)
        run.rollback(root)
        expected = before
    stops = 0
    for patience in (1, 2, 3, 5, 8, 13):
        with monkeypatch.context() as patched:
            left = iter(range(patience))
            for name in (
                "report_runless_asset_event", "add_dynamic_partitions", "delete_dynamic_partition",
            ):  # fmt: skip
                real = getattr(instance, name)

                def call(*args: Any, _real: Any = real, _left: Any = left) -> Any:
                    if next(_left, None) is None:
                        raise KilledError
                    return _real(*args)

                patched.setattr(instance, name, call)
            try:
                sync(instance, root)
            except KilledError:
                stops += 1
    sync(instance, root)
    assert stops >= 3
    assert expected == _records(instance, Target())


def test_after_a_kill_in_the_files_dagster_follows_only_when_they_are_done(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """An unfinished migration leaves Dagster's records alone."""
    _record_all(instance, root, Target())
    before = _records(instance, Target())
    with killed_at(120):
        run.migrate(root)
    assert [] == sync(instance, root)
    assert before == _records(instance, Target())
    run.resume(root)
    assert 1 == len(sync(instance, root))


def test_a_migrated_store_requests_nothing_and_reuses_everything(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Automation, with an old and with a fresh cursor, asks for nothing that was made before; the
    generator is never called for it."""
    store = make_store(tmp_path / "made", generations=60, oddities=())
    root = DataRoot.open(store.path)
    calls: list[str] = []

    def generate(request: Request) -> Generated:
        calls.append(request.gen_id)
        return Generated(text="new")

    assets = build_stage_assets(data_root=root.path, generate=generate)
    defs = dg.Definitions(assets=assets)
    unmade = store.of(stage="draft", family="legacy")[0].gen_id
    for name in ("raw.txt", PARSED):
        (root.generation("draft", unmade) / name).unlink(missing_ok=True)
    _record_all(instance, root, Target())
    first = dg.evaluate_automation_conditions(defs, instance)
    missing = {made.gen_id for made in store.generations if made.state == "seeded"} | {unmade}
    plan = run.migrate(root)
    between = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
    sync(instance, root)
    mapping = _mapping(plan)
    expected = {mapping[made.stage].get(made.gen_id) for made in store.generations
                if made.gen_id in missing}  # fmt: skip
    for cursor in (first.cursor, between.cursor, None):
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        asked = {key for asset in assets for key in result.get_requested_partitions(asset.key)}
        assert asked <= expected, "only what was missing before the migration, too"
        assert mapping["draft"][unmade] in asked, "and that is still asked for"
    assert [] == calls


def test_pruning_deletes_the_keys_of_no_cohort(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """And no other key; a membership that cannot be read stops it."""
    _record_all(instance, root, Target())
    register(instance, "draft", ["d_of_nobody"])
    before = _records(instance, Target())
    assert {"draft": ["d_of_nobody"], "essay": [], "evaluation": []} == unowned(instance, root)
    prune(instance, root)
    assert before["draft"][0] - {"d_of_nobody"} == _records(instance, Target())["draft"][0]


def test_two_migrations_that_nobody_followed_are_followed_in_their_order(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """From the first ids to the last, whatever the plans are called; one undone is undone first."""
    _record_all(instance, root, Target())
    run.migrate(root)
    sync(instance, root)
    run.rollback(root)
    folder = root.generation("draft", "chained")
    (folder / "more.txt").write_text("so that the plan is another one")
    first = run.migrate(root)
    run.finalize(root)
    metadata = folder.with_name(_mapping(first)["draft"]["chained"]) / "metadata.json"
    document = json.loads(metadata.read_bytes())
    metadata.write_bytes(json.dumps({**document, "template_id": "another"}).encode())
    second = run.migrate(root)
    assert [True, False, False] == [one.back for one in sync(instance, root)]
    keys = set(registered(instance, "draft"))
    assert set(os.listdir(root.stage("draft"))) >= keys
    assert _mapping(second)["draft"][_mapping(first)["draft"]["chained"]] in keys
