"""The edges between stages, and what Dagster is told of what is in flight: nothing asked twice."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.loader import LoadingContextForTest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import (  # type: ignore[attr-defined]
    InProcessTestWorkspaceLoadTarget,
    create_test_daemon_workspace_context,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.backfill import execute_backfill_iteration

from cohort_kit import ON, set_replicates, write_table
from dagster_kit import QUIET, Counting, materialize_range, requested, small_cohort
from genid_dagster_adapter import automation
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import COHORTS, register, registered
from genid_dagster_adapter.sync import sync
from genid_dagster_adapter.translator import Translator
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked, Request
from genid_store.generation.reuse import undecided
from genid_store.generation.run import run_cohort

MEMBERSHIP = dg.AssetKey("cohort_membership")
STAGES = ("draft", "essay", "evaluation")
UNPARTITIONED = ("selected_combo_mappings", "cohort_id", "register_cohort_partitions")
IN_THIS_PROCESS = {
    "telemetry": {"enabled": False},
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    },
    "run_retries": {"enabled": True, "max_retries": 3},
}
DEFINITIONS = """
import dagster as dg
from genid_dagster_adapter.definitions import build_definitions

def generate(request):
    with open({calls!r}, "a") as file:
        file.write(request.gen_id + "\\n")
    return "text"

defs = build_definitions(
    data_root={root!r}, generate=generate, executor=dg.in_process_executor, environ={{}}
)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), overrides=IN_THIS_PROCESS) as found:
        yield found


@pytest.fixture
def root(tmp_path: Path, instance: dg.DagsterInstance) -> DataRoot:
    """A built cohort `c`, registered: 2 drafts, 4 essays (2 of them copies), 4 evaluations."""
    found = small_cohort(tmp_path / "root")
    register(instance, COHORTS, ["c"])
    register_members(instance, found, "c")
    return found


def key(stage: str) -> dg.AssetKey:
    return dg.AssetKey(f"{stage}_generation")


def defs(root: DataRoot, generate: Callable[[Request], str], **more: Any) -> dg.Definitions:
    return build_definitions(data_root=root.path, rollout=ON, generate=generate, **more)


class Bumped(Translator):
    """Of a host whose callable has changed."""

    def get_code_version(self, name: str) -> str:
        return "2"


def status(
    found: dg.Definitions, instance: dg.DagsterInstance, *records: tuple[dg.AssetKey, str | None]
) -> set[str]:
    """Return what the catalog goes by: FRESH, STALE (it says "Unsynced") or MISSING."""
    loading = LoadingContextForTest(instance)
    resolver = CachingStaleStatusResolver(instance, found.resolve_asset_graph(), loading)
    return {resolver.get_status(asset, partition).value for asset, partition in records}


def recorded(instance: dg.DagsterInstance, cohort_id: str) -> list[dg.AssetMaterialization]:
    """Return what the instance has on record of a cohort, the newest first."""
    wanted = dg.AssetRecordsFilter(asset_key=MEMBERSHIP, asset_partitions=[cohort_id])
    records = instance.fetch_materializations(wanted, limit=10).records
    return [one.asset_materialization for one in records if one.asset_materialization]


def make_missing(
    definitions: dg.Definitions, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    return definitions.resolve_job_def("genid_make_missing").execute_in_process(
        partition_key="c", instance=instance, run_config=QUIET, raise_on_error=False
    )


def test_the_graph_has_an_edge_from_each_stage_to_the_next(tmp_path: Path) -> None:
    """And from what registers the partitions to all of them."""
    graph = build_definitions(
        data_root=tmp_path, rollout=ON, generate=Counting()
    ).resolve_asset_graph()
    registration = dg.AssetKey("register_cohort_partitions")
    assert graph.get(key("draft")).parent_keys == {registration}
    assert graph.get(key("essay")).parent_keys == {registration, key("draft")}
    assert graph.get(key("evaluation")).parent_keys == {registration, key("essay")}


def test_a_cold_backfill_of_all_three_stages_makes_everything(
    root: DataRoot, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """By Dagster's own daemon: each stage after the one before it; then the sensor asks for
    nothing, and after a further build for what that added alone."""
    file, calls = tmp_path / "defs.py", tmp_path / "calls"
    file.write_text(DEFINITIONS.format(calls=str(calls), root=str(root.path)))
    target = InProcessTestWorkspaceLoadTarget(
        InProcessCodeLocationOrigin(
            LoadableTargetOrigin(python_file=str(file), working_directory=str(tmp_path)), "here"
        )
    )
    definitions = defs(root, Counting())
    graph = definitions.resolve_asset_graph()
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id="cold",
        asset_graph=graph,
        partition_names=None,
        asset_selection=[key(stage) for stage in STAGES],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=True,
        title=None,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    with create_test_daemon_workspace_context(target, instance) as workspace:
        for _ in range(12):
            errors = [e for e in execute_backfill_iteration(workspace, logging.getLogger()) if e]
            assert errors == []
            found = instance.get_backfill("cold")
            assert found is not None
            if found.status.value.startswith("COMPLETED"):
                break
    assert found is not None
    assert found.status.value == "COMPLETED_SUCCESS"
    assert len(calls.read_text().split()) == 2 + 2 + 4
    assert [len(instance.get_materialized_partitions(key(stage))) for stage in STAGES] == [2, 4, 4]
    assert requested(definitions, instance) == {stage: set() for stage in STAGES}
    write_table(
        root.path,
        "llm_models.csv",
        [["id", "for_generation", "for_evaluation"], ["m", "true", "true"], ["n", "true", "false"]],
    )
    before = {stage: set(registered(instance, stage)) for stage in STAGES}
    build_cohort(root, Options(rollout=ON, cohort_id="c"))
    register_members(instance, root, "c")
    added = set(registered(instance, "draft")) - before["draft"]
    assert len(added) == 2
    assert requested(definitions, instance) == {"draft": added, "essay": set(), "evaluation": set()}


def test_a_tick_asks_for_nothing_that_the_job_has_in_flight(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Looked at from within each call: the drafts, essays and evaluations of the run are taken."""
    asked: list[dict[str, set[str]]] = []

    def generate(request: Request) -> str:
        asked.append(requested(definitions, instance))
        return "text"

    definitions = defs(root, generate, concurrency=1)
    assert requested(definitions, instance)["draft"] == set(registered(instance, "draft"))
    assert make_missing(definitions, instance).success
    assert asked == [{stage: set() for stage in STAGES}] * 8


def test_a_tick_asks_for_nothing_that_a_run_ends_with_during_it(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is in progress when the tick looks at the disk, and has ended when it looks at the
    runs: what it made is asked for by no further run, nor is what failed."""
    counting = Counting(registered(instance, "draft")[0])
    definitions = defs(root, counting)
    look = undecided

    def during_a_run(*arguments: Any) -> set[str]:
        monkeypatch.setattr(automation, "undecided", look)
        found = look(*arguments)
        with ThreadPoolExecutor(1) as other:  # the tick has an event loop in this one
            assert not other.submit(make_missing, definitions, instance).result().success
        return found

    monkeypatch.setattr(automation, "undecided", during_a_run)
    assert requested(definitions, instance) == {stage: set() for stage in STAGES}
    assert len(counting.calls) > 1


def test_a_child_that_was_launched_too_early_is_asked_for_once_its_parent_is_there(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Not before, whatever ticks; and a child that failed by itself waits for a human."""
    essays = registered(instance, "essay")
    counting = Counting()
    definitions = defs(root, counting)
    assert not materialize_range(definitions, key("essay"), instance, essays[0], essays[-1])
    assert counting.calls == []
    assert requested(definitions, instance)["essay"] == set()
    drafts = registered(instance, "draft")
    assert materialize_range(definitions, key("draft"), instance, drafts[0], drafts[-1])
    assert requested(definitions, instance)["essay"] == set(essays)
    counting.failing.update(essays)
    assert not materialize_range(definitions, key("essay"), instance, essays[0], essays[-1])
    made = instance.get_materialized_partitions(key("essay"))
    assert requested(definitions, instance)["essay"] == set()
    assert len(made) == 2  # copies, which nobody is called for


def test_no_run_follows_one_that_failed_by_itself(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """The project retries runs three times: what failed in the step waits for a human."""
    drafts = registered(instance, "draft")
    definitions = defs(root, Counting(drafts[0]))
    assert not materialize_range(definitions, key("draft"), instance, drafts[0], drafts[-1])
    assert not make_missing(definitions, instance).success
    runs = instance.get_runs()
    assert [run.tags["dagster/will_retry"] for run in runs] == ["false", "false"]


def test_a_generation_is_stale_by_its_code_version_alone(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Neither another draft nor another registration makes an essay stale; a bump does."""
    drafts = registered(instance, "draft")
    definitions = defs(root, Counting())
    assert materialize_range(definitions, key("draft"), instance, drafts[0], drafts[0])
    essays = registered(instance, "essay")
    materialize_range(definitions, key("essay"), instance, essays[0], essays[-1])
    (essay, *_) = instance.get_materialized_partitions(key("essay"))
    assert materialize_range(definitions, key("draft"), instance, drafts[-1], drafts[-1])
    job = definitions.resolve_job_def("genid_cohort")
    ops = {"build_cohort": {"config": {"cohort_id": "c"}}}
    assert job.execute_in_process(instance=instance, run_config={**QUIET, "ops": ops}).success
    assert status(definitions, instance, (key("essay"), essay)) == {"FRESH"}
    bumped = defs(root, Counting(), translator=Bumped())
    assert status(bumped, instance, (key("essay"), essay)) == {"STALE"}
    sync(instance, root, Bumped())  # which records nothing a second time
    assert status(bumped, instance, (key("essay"), essay)) == {"STALE"}


@pytest.mark.parametrize("how", ["job", "partition", "sync"])
def test_a_cohort_and_its_members_are_fresh_whoever_recorded_them(
    root: DataRoot, instance: dg.DagsterInstance, how: str
) -> None:
    """With the same data version and the same facts; a further cohort makes none of them stale, and
    where members changed a sync says so."""
    translator = Bumped() if how == "sync" else Translator()
    definitions = defs(root, Counting(), translator=translator)
    run_cohort(root, "c", Counting(), Asked())
    job = definitions.resolve_job_def("genid_cohort")
    if how != "sync":
        chosen: dict[str, Any] = {"partition_key": "c"} if how == "partition" else {}
        ops = {"build_cohort": {"config": {"cohort_id": "c"}}}
        config = {**QUIET, "ops": ops}
        assert job.execute_in_process(instance=instance, run_config=config, **chosen).success
    sync(instance, root, translator)
    assert make_missing(definitions, instance).success
    (event,) = recorded(instance, "c")
    facts = {name: event.metadata[name].value for name in ("cohort_id", "rollout")}
    assert facts == {"cohort_id": "c", "rollout": "all"}
    assert event.metadata["dagster/row_count"].value == 10
    before = (event.tags or {})["dagster/data_version"]
    set_replicates(root.path, 2, 1, 1)
    ops = {"build_cohort": {"config": {"cohort_id": "later"}}}
    assert job.execute_in_process(instance=instance, run_config={**QUIET, "ops": ops}).success
    run_cohort(root, "later", Counting(), Asked())
    sync(instance, root, translator)
    records: list[tuple[dg.AssetKey, str | None]] = [
        (MEMBERSHIP, "c"),
        (dg.AssetKey("cohort_generations"), "c"),
        (dg.AssetKey("cohort_id"), None),
        (dg.AssetKey("register_cohort_partitions"), None),
        *((key(of), one) for of in STAGES for one in instance.get_materialized_partitions(key(of))),
    ]
    assert len(records) == 4 + 20
    assert status(definitions, instance, *records) == {"FRESH"}
    build_cohort(root, Options(rollout=ON, cohort_id="c"))
    sync(instance, root, translator)
    event, *_ = recorded(instance, "c")
    assert (event.tags or {})["dagster/data_version"] != before
    assert event.metadata["dagster/row_count"].value == 20


def test_a_cohort_that_the_command_made_is_green_in_the_catalog(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A sync records each asset of it as runs would, once, and the cohort itself as soon as nothing
    of it is missing."""
    generations = dg.AssetKey("cohort_generations")
    run_cohort(root, "c", Counting(), Asked(max_calls=2))
    with dg.DagsterInstance.ephemeral() as other:
        sync(other, root)
        assert other.get_materialized_partitions(generations) == set()
        run_cohort(root, "c", Counting(), Asked())
        sync(other, root)
        assert other.get_materialized_partitions(generations) == {"c"}
        definitions = defs(root, Counting())
        records: list[tuple[dg.AssetKey, str | None]] = [
            (MEMBERSHIP, "c"),
            (generations, "c"),
            *((dg.AssetKey(one), None) for one in UNPARTITIONED),
        ]
        assert status(definitions, other, *records) == {"FRESH"}
        names = ("cohort_membership", "cohort_generations", *UNPARTITIONED)
        synced = {one: told(other, one) for one in names[1:]}
        sync(other, root)
        times = [other.fetch_materializations(dg.AssetKey(one), limit=9).records for one in names]
        assert [len(found) for found in times] == [1] * 5
    job = definitions.resolve_job_def("genid_cohort")
    ops = {"build_cohort": {"config": {"cohort_id": "c"}}}
    assert job.execute_in_process(instance=instance, run_config={**QUIET, "ops": ops}).success
    assert make_missing(definitions, instance).success
    assert synced == {one: told(instance, one) for one in synced}


@pytest.mark.parametrize("how", ["in one sync", "with one between", "job"])
def test_a_cohort_that_grew_is_made_again_as_soon_as_nothing_is_missing(
    root: DataRoot, instance: dg.DagsterInstance, how: str
) -> None:
    """Its new event has the new figures and another data version, so that what a host has
    downstream is requested; while members are missing there is none."""
    generations = dg.AssetKey("cohort_generations")

    def events() -> list[tuple[int, str]]:
        found: list[Any] = [
            record.asset_materialization
            for record in instance.fetch_materializations(generations, limit=9).records
        ]
        made = [sum(row.data["made"] for row in one.metadata["members"].records) for one in found]
        return list(zip(made, (one.tags["dagster/data_version"] for one in found), strict=True))

    definitions = defs(root, Counting())
    run_cohort(root, "c", Counting(), Asked())
    sync(instance, root)
    set_replicates(root.path, 1, 1, 2)
    ops = {"build_cohort": {"config": {"cohort_id": "c"}}}
    job = definitions.resolve_job_def("genid_cohort")
    assert job.execute_in_process(instance=instance, run_config={**QUIET, "ops": ops}).success
    if how != "in one sync":
        sync(instance, root)
    assert [count for count, _ in events()] == [10]
    if how == "job":
        assert make_missing(definitions, instance).success
    else:
        run_cohort(root, "c", Counting(), Asked())
    sync(instance, root)
    sync(instance, root)
    assert [count for count, _ in events()] == [14, 10]
    assert len({version for _, version in events()}) == 2


def told(instance: dg.DagsterInstance, asset: str) -> dict[str, Any]:
    """Return what the latest record of an asset says, but for how many keys were new."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    found: dict[str, Any] = dict(event.asset_materialization.metadata)
    if "partitions" in found:
        found["partitions"] = [one.data["members"] for one in found["partitions"].records]
    return found
