"""Dagster's records follow a migration and its rollback; nothing is asked for meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from genid_dagster_adapter import sync as syncing
from genid_dagster_adapter.events import MIGRATED_FROM, ORIGINAL_RUN, ORIGINAL_TIME, report
from genid_dagster_adapter.generations import generated_asset
from genid_dagster_adapter.partitions import record_owner, register, registered
from genid_dagster_adapter.sync import Synced, sync
from genid_dagster_adapter.translator import Translator
from genid_store.catalog.memberships import read_memberships
from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.fs.layout import PARSED, DataRoot
from genid_store.generation.records import Generated, Request
from genid_store.migration import run
from genid_store.stages import PIPELINE
from migrationkit import small_store
from storekit import make_store

Records = dict[str, tuple[set[str], set[str]]]
HOST = dg.AssetKey("draft_raw")


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


class KilledError(BaseException):
    """The process is dead: nothing catches this but the test."""


def _die(*args: Any) -> None:
    raise KilledError


def _watch(
    patch: pytest.MonkeyPatch, instance: dg.DagsterInstance, seen: Callable[[str, str], None]
) -> None:
    """Have `seen` called, with the step and whose it is, before each change of the instance."""

    def reported(on: dg.DagsterInstance, events: Iterable[dg.AssetMaterialization]) -> None:
        found = list(events)
        for first in found[:1]:
            seen("report", first.asset_key.path[-1])
        report(on, found)

    patch.setattr(syncing, "report", reported)
    for name in ("add_dynamic_partitions", "delete_dynamic_partition"):
        real = getattr(instance, name)

        def call(subject: str, *args: Any, _real: Any = real, _name: str = name) -> Any:
            seen(_name.partition("_")[0], subject)
            return _real(subject, *args)

        patch.setattr(instance, name, call)


def _record_all(instance: dg.DagsterInstance, root: DataRoot, mount: Translator) -> None:
    """Register every member and report those that have content as materialized."""
    members = sorted({one for found in read_memberships(root).members.values() for one in found})
    for stage in PIPELINE:
        keys = [gen_id for of, gen_id in members if of == stage]
        register(instance, stage, keys, prefix=mount.prefix)
        for key in keys:
            if (root.generation(stage, key) / PARSED).is_file():
                event = _event(root, mount.of_stage(stage), stage, key)
                instance.report_runless_asset_event(event)


def _event(root: DataRoot, asset: dg.AssetKey, stage: str, key: str) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset,
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


def _records(instance: dg.DagsterInstance, mount: Translator) -> Records:
    """Return, by stage, the registered keys and those of them that are materialized."""
    found = {}
    for stage in PIPELINE:
        keys = set(registered(instance, stage, prefix=mount.prefix))
        done = instance.get_materialized_partitions(mount.of_stage(stage))
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


def _followed(before: Records, mapping: Mapping[str, Mapping[str, str]]) -> Records:
    return {
        stage: ({mapping[stage][key] for key in keys}, {mapping[stage][key] for key in made})
        for stage, (keys, made) in before.items()
    }


def _nothing(done: Synced) -> bool:
    return not any((*done.events.values(), *done.registered.values(), *done.deleted.values()))


@pytest.mark.parametrize(
    "mount", [Translator(), Translator(key_prefix=("x",), partition_prefix="x_")]
)
def test_keys_and_materializations_follow_and_come_back(
    on_disk: dg.DagsterInstance, root: DataRoot, mount: Translator
) -> None:
    """Every key is renamed, the materialized ones stay so; after a rollback both sets are back."""
    instance = on_disk
    _record_all(instance, root, mount)
    before = _records(instance, mount)
    assert _nothing(sync(instance, root, mount)), "what is level already is left alone"
    plan = run.migrate(root)
    assert sum(sync(instance, root, mount, prune=True).events.values()) > 0
    assert _followed(before, _mapping(plan)) == _records(instance, mount)
    assert _nothing(sync(instance, root, mount, prune=True)), "a second time does nothing"
    run.rollback(root)
    sync(instance, root, mount, prune=True)
    assert before == _records(instance, mount)


def test_an_event_carries_what_the_old_one_said_and_names_the_new_id(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """Metadata with the old id replaced, the original run and time beside it, and the version of
    the text that is there."""
    _record_all(instance, root, Translator())
    plan = run.migrate(root)
    sync(instance, root)
    moved = next(iter(plan.records("generation")))
    old, new = moved["old"], moved["new"]
    event = _latest(instance, Translator().of_stage("draft"), new)
    told = {key: value.value for key, value in event.metadata.items()}
    assert f"{root.path}/gens/draft/{new}" == told["path"]
    assert (new, f"made `{new}` well") == (told["gen_id"], told["told"])
    assert {"gen_id": new, "n": 3, "all": [f"gens/draft/{new}"]} == told["record"]
    assert (old, 1.5) == (told[MIGRATED_FROM], told["seconds"])
    assert {ORIGINAL_RUN, ORIGINAL_TIME} <= set(told)
    assert 64 == len(event.tags["dagster/data_version"])


def test_events_come_before_keys_and_deletions_last(
    instance: dg.DagsterInstance, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each stage, parents' stages first: what a live daemon must never see is a registered key
    without its event."""
    _record_all(instance, root, Translator())
    record_owner(instance, root, "")
    run.migrate(root)
    calls = []

    def noted(name: str, subject: str, *args: Any) -> None:
        calls.append((subject.partition("_")[0], name))

    _watch(monkeypatch, instance, noted)
    sync(instance, root, prune=True)
    expected = [(stage, step) for stage in PIPELINE for step in ("report", "add", "delete")]
    expected += [("cohorts", "add"), ("cohort", "report")]
    assert expected == list(dict.fromkeys(calls))


@pytest.mark.parametrize("undo", [False, True], ids=["there", "back"])
def test_after_a_stop_in_the_middle_the_next_sync_completes_it(
    instance: dg.DagsterInstance, root: DataRoot, monkeypatch: pytest.MonkeyPatch, undo: bool
) -> None:
    """Whatever call was the last one, doing it again comes to the same records."""
    _record_all(instance, root, Translator())
    before = _records(instance, Translator())
    expected = _followed(before, _mapping(run.migrate(root)))
    if undo:
        sync(instance, root, prune=True)
        run.rollback(root)
        expected = before
    stops = 0
    for patience in (1, 2, 3, 5, 8, 13):
        with monkeypatch.context() as patched:
            left = iter(range(patience))

            def dies(*args: Any, _left: Any = left) -> None:
                if next(_left, None) is None:
                    raise KilledError

            _watch(patched, instance, dies)
            patched.setattr(syncing, "_PAGE", 2)
            try:
                sync(instance, root, prune=True)
            except KilledError:
                stops += 1
    sync(instance, root, prune=True)
    assert stops >= 1 if undo else stops >= 3
    assert expected == _records(instance, Translator())


def test_an_unfinished_migration_leaves_dagsters_records_alone(
    instance: dg.DagsterInstance, root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key is registered or deleted while the data root is blocked."""
    _record_all(instance, root, Translator())
    before = _records(instance, Translator())
    with monkeypatch.context() as patched:
        patched.setattr(trees, "exchange", _die)
        with pytest.raises(KilledError):
            run.migrate(root)
    with pytest.raises(StoreError, match="blocked"):
        sync(instance, root, prune=True)
    assert {stage: keys for stage, (keys, _) in before.items()} == {
        stage: keys for stage, (keys, _) in _records(instance, Translator()).items()
    }
    plan = run.resume(root)
    sync(instance, root, prune=True)
    assert _followed(before, _mapping(plan)) == _records(instance, Translator())


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

    assets = [generated_asset(stage, data_root=root.path, generate=generate) for stage in PIPELINE]
    defs = dg.Definitions(assets=assets)
    unmade = store.of(stage="draft", family="legacy")[0].gen_id
    for name in ("raw.txt", PARSED):
        (root.generation("draft", unmade) / name).unlink(missing_ok=True)
    _record_all(instance, root, Translator())
    first = dg.evaluate_automation_conditions(defs, instance)
    missing = {made.gen_id for made in store.generations if made.state == "seeded"} | {unmade}
    plan = run.migrate(root)
    between = dg.evaluate_automation_conditions(defs, instance, cursor=first.cursor)
    sync(instance, root, prune=True)
    mapping = _mapping(plan)
    expected = {mapping[made.stage].get(made.gen_id) for made in store.generations
                if made.gen_id in missing}  # fmt: skip
    for cursor in (first.cursor, between.cursor, None):
        result = dg.evaluate_automation_conditions(defs, instance, cursor=cursor)
        asked = {key for asset in assets for key in result.get_requested_partitions(asset.key)}
        assert asked <= expected, "only what was missing before the migration, too"
        assert asked, "and that is still asked for"
        assert mapping["draft"][unmade] not in asked, "but for a task that has its text"
    assert [] == calls


def test_pruning_deletes_the_keys_of_no_cohort(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """And no other key, and only when asked."""
    _record_all(instance, root, Translator())
    register(instance, "draft", ["d_of_nobody"])
    before = _records(instance, Translator())
    assert ["d_of_nobody"] == sync(instance, root).unowned["draft"]
    assert ["d_of_nobody"] == sync(instance, root, prune=True, dry_run=True).deleted["draft"]
    assert before == _records(instance, Translator())
    assert ["d_of_nobody"] == sync(instance, root, prune=True).deleted["draft"]
    assert before["draft"][0] - {"d_of_nobody"} == _records(instance, Translator())["draft"][0]


def test_keys_under_which_a_hosts_own_assets_have_records_stay_until_they_are_carried_over(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """An unnamed asset of the host's holds its keys; named, its materializations follow, and the
    keys of before can go."""
    _record_all(instance, root, Translator())
    plan = run.migrate(root)
    old, new = next((old, new) for old, new in _mapping(plan)["draft"].items() if old != new)
    instance.report_runless_asset_event(_event(root, HOST, "draft", old))
    assert [old] == sync(instance, root, prune=True).held["draft"]
    assert old in registered(instance, "draft")
    done = sync(instance, root, others=(HOST,), prune=True)
    assert ([old], []) == (done.deleted["draft"], done.held["draft"])
    assert {old, new} == instance.get_materialized_partitions(HOST)
    assert f"made `{new}` well" == _latest(instance, HOST, new).metadata["told"].value


def test_what_a_host_rewrote_is_known_from_our_own_record(
    instance: dg.DagsterInstance, root: DataRoot
) -> None:
    """`previous_gen_id` is gone from the metadata; the old key's event is carried all the same."""
    _record_all(instance, root, Translator())
    moved = next(iter(run.migrate(root).records("generation")))
    path = root.generation(moved["stage"], moved["new"]) / "metadata.json"
    fields = json.loads(path.read_text())
    assert fields.pop("previous_gen_id")
    path.write_text(json.dumps(fields))
    sync(instance, root)
    event = _latest(instance, Translator().of_stage(moved["stage"]), moved["new"])
    assert moved["old"] == event.metadata[MIGRATED_FROM].value
