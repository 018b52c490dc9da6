"""The stage assets and their condition: what Dagster asks for, what it records, what it costs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import dagster as dg
import pytest

from dagster_kit import QUIET, Counting, lay, requested, write
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import register
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import MIGRATION, Block, block, unblock
from genid_store.generation import failures, reuse
from genid_store.generation.content import content_version
from genid_store.generation.records import Generated, Request
from genid_store.generation.status import wanted_ids
from genid_store.ids.rollout import Rollout
from genid_store.stages import Member

DRAFT = dg.AssetKey("draft_generation")


@pytest.fixture
def root(tmp_path: Path, instance: dg.DagsterInstance) -> DataRoot:
    """Four drafts with an essay each, members of one cohort, registered."""
    members: list[tuple[str, str, dict[str, Any]]] = [("draft", f"d{n}", {}) for n in range(4)]
    essays = [("essay", f"e{n}", {"parent_gen_id": f"d{n}"}) for n in range(4)]
    for stage, gen_id, fields in [*members, *essays]:
        lay(tmp_path, stage, gen_id, **fields)
        register(instance, stage, [gen_id])
    folder = tmp_path / "cohorts" / "c"
    folder.mkdir(parents=True)
    lines = [f"{stage},{gen_id}\n" for stage, gen_id, _ in [*members, *essays]]
    (folder / "membership.csv").write_text("".join(["stage,gen_id\n", *lines]))
    return DataRoot(tmp_path)


def defs(root: DataRoot, generate: Counting) -> dg.Definitions:
    return build_definitions(
        data_root=root.path, generate=generate, rollout=Rollout.OFF, concurrency=2
    )


def launch(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    stage: str,
    keys: tuple[str, str],
    *,
    tags: Mapping[str, str] = MappingProxyType({}),
    **config: object,
) -> dg.ExecuteInProcessResult:
    name = f"{stage}_generation"
    return dg.materialize(
        [definitions.resolve_assets_def(name)],
        instance=instance,
        tags={
            **tags,
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[1],
        },
        run_config={**QUIET, "ops": {name: {"config": config}}},
        raise_on_error=False,
    )


def test_the_condition_asks_for_members_whose_parent_is_made(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Drafts first; an essay as soon as its own draft is there, also made outside Dagster."""
    definitions = defs(root, Counting())
    assert requested(definitions, instance)["draft"] == {"d0", "d1", "d2", "d3"}
    assert requested(definitions, instance)["essay"] == set()
    write(root.path, "draft", "d2", "parsed.txt", "older content")
    assert requested(definitions, instance)["essay"] == {"e2"}


def test_nothing_is_asked_for_twice(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """After a run its members are done; asking again is no cursor's merit."""
    definitions = defs(root, Counting())
    assert launch(definitions, instance, "draft", ("d0", "d3")).success
    assert requested(definitions, instance)["draft"] == set()
    assert requested(definitions, instance)["essay"] == {"e0", "e1", "e2", "e3"}


def test_what_is_on_record_is_not_asked_for_whatever_dagsters_cache_says(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick during which keys with a history were registered remembers them as missing."""
    definitions = defs(root, Counting())
    for key in ("d0", "d1"):
        write(root.path, "draft", key, "parsed.txt", "made")
        instance.report_runless_asset_event(dg.AssetMaterialization(DRAFT, partition=key))

    def before_registration(definition: object, keys: set[str]) -> set[str]:
        return set()

    definition = dg.DynamicPartitionsDefinition
    if not hasattr(definition, "filter_valid_partition_keys"):
        pytest.skip("this version of Dagster looks partitions up in another way")
    monkeypatch.setattr(definition, "filter_valid_partition_keys", before_registration)
    assert requested(definitions, instance)["draft"] == {"d2", "d3"}


def test_a_key_that_no_cohort_names_is_never_asked_for(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A rebuild that dropped members leaves their partitions: nobody pays for those."""
    root.membership("c").write_text("stage,gen_id\ndraft,d1\n")
    assert requested(defs(root, Counting()), instance)["draft"] == {"d1"}


def test_a_member_whose_task_is_there_under_another_id_is_not_asked_for(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Somebody must say first whether it gets that text or is paid for again."""
    lay(root.path, "draft", "d9", replicate=1)  # the task of d0
    register(instance, "draft", ["d9"])
    (root.cohorts / "later").mkdir()
    root.membership("later").write_text("stage,gen_id\ndraft,d9\n")
    definitions = defs(root, Counting())
    assert "d9" in requested(definitions, instance)["draft"]
    write(root.path, "draft", "d0", "parsed.txt", "made")
    assert requested(definitions, instance)["draft"] == {"d0", "d1", "d2", "d3"}
    write(root.path, "draft", "d9", "parsed.txt", "given")
    assert "d9" in requested(definitions, instance)["draft"]  # recorded as reused


def test_no_plan_is_made_for_members_whose_task_is_there_once(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at each of very many for itself would take a tick longer than Dagster waits."""
    planned: list[list[str]] = []
    real = reuse.plan_reuse

    def noted(index: StoreIndex, members: list[Member], **more: Any) -> reuse.Plan:
        planned.append([one.gen_id for one in members])
        return real(index, members, **more)

    monkeypatch.setattr(reuse, "plan_reuse", noted)
    lay(root.path, "draft", "d9", replicate=1)  # the task of d0
    assert requested(defs(root, Counting()), instance)["draft"] == {"d0", "d1", "d2", "d3"}
    assert planned == [["d0"]] * 2  # before Dagster is asked about runs, and after


def test_a_failure_waits_for_a_human(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """One member of a run fails: the others are recorded, it is not asked for again, its essay
    neither; launched by hand and made, all of it follows."""
    counting = Counting("d1")
    definitions = defs(root, counting)
    result = launch(definitions, instance, "draft", ("d0", "d3"))
    assert not result.success
    assert instance.get_materialized_partitions(DRAFT) == {"d0", "d2", "d3"}
    assert requested(definitions, instance) == {
        "draft": set(),
        "essay": {"e0", "e2", "e3"},
        "evaluation": set(),
    }
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "no answer for d1" in str(event.step_failure_data.user_failure_data)
    counting.failing.clear()
    assert launch(definitions, instance, "draft", ("d1", "d1")).success
    assert failures.failed_ids(root, "draft") == frozenset()
    assert requested(definitions, instance)["essay"] == {"e0", "e1", "e2", "e3"}


def test_an_automatic_retry_pays_for_no_failure_again(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Dagster may launch a failed run again by itself: what was never tried is made, what failed
    or was not parsed waits for a human, whatever the first run was told."""
    write(root.path, "draft", "d0", "raw.txt", "paid")
    counting = Counting("d1")
    definitions = defs(root, counting)
    assert not launch(definitions, instance, "draft", ("d1", "d1")).success
    retry = {"dagster/retry_number": "1"}
    result = launch(definitions, instance, "draft", ("d0", "d3"), tags=retry, retry_unparsed=True)
    assert not result.success
    assert counting.calls.count("d1") == 1
    assert sorted(counting.calls) == ["d1", "d2", "d3"]
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "d1 failed: RuntimeError: no answer for d1" in str(
        event.step_failure_data.user_failure_data
    )


def test_nothing_is_asked_for_while_a_migration_has_the_data_root(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A run would be stopped, and count as failed after the migration too."""
    definitions = defs(root, Counting())
    block(root, Block(by=MIGRATION, reason="the migration p1 was begun", remedy="finish it"))
    assert requested(definitions, instance)["draft"] == set()
    unblock(root)
    assert requested(definitions, instance)["draft"] == {"d0", "d1", "d2", "d3"}


def test_a_run_without_any_call_at_once_is_refused(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """0 is no way to say "the default"."""
    counting = Counting()
    result = launch(defs(root, counting), instance, "draft", ("d0", "d0"), concurrency=0)
    assert not result.success
    assert counting.calls == []


def test_a_failure_outside_dagster_counts_too(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """The record on disk is what every way of starting a run looks at."""
    failures.record(root, "draft", "d3", "elsewhere")
    assert requested(defs(root, Counting()), instance)["draft"] == {"d0", "d1", "d2"}


def test_content_that_is_there_is_recorded_as_reused(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Dagster learns of it and the host's callable is not called."""
    write(root.path, "draft", "d0", "parsed.txt", "older content")
    counting = Counting()
    definitions = defs(root, counting)
    assert "d0" in requested(definitions, instance)["draft"]
    assert launch(definitions, instance, "draft", ("d0", "d1")).success
    assert counting.calls == ["d1"]
    events = {
        record.partition_key: record.asset_materialization
        for record in instance.fetch_materializations(DRAFT, limit=10).records
    }
    outcomes = {key: event.metadata["outcome"].value for key, event in events.items() if event}
    assert outcomes == {"d0": "reused", "d1": "made"}


def test_the_data_version_is_the_contents_fingerprint(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Not a random one per run: the same content keeps its version."""
    definitions = defs(root, Counting())
    seen = set()
    for _ in range(2):
        launch(definitions, instance, "draft", ("d0", "d0"))
        (record,) = instance.fetch_materializations(DRAFT, limit=1).records
        assert record.asset_materialization is not None
        seen.add((record.asset_materialization.tags or {})["dagster/data_version"])
    assert seen == {content_version(root, "draft", "d0")}
    assert definitions.resolve_assets_def(DRAFT).code_versions_by_key[DRAFT] == "1"


def test_an_unparsed_text_is_paid_for_again_only_when_asked(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Neither automation nor a launch of everything that is missing repeats it."""
    write(root.path, "draft", "d0", "raw.txt", "paid")
    counting = Counting()
    definitions = defs(root, counting)
    assert "d0" not in requested(definitions, instance)["draft"]
    assert not launch(definitions, instance, "draft", ("d0", "d0")).success
    assert counting.calls == []
    assert launch(definitions, instance, "draft", ("d0", "d0"), retry_unparsed=True).success
    assert counting.calls == ["d0"]


def test_a_blocked_child_is_no_failure_on_record(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Launched too early it is not made, says why, and is left to later runs."""
    definitions = defs(root, Counting())
    result = launch(definitions, instance, "essay", ("e0", "e0"))
    assert not result.success
    assert failures.failed_ids(root, "essay") == frozenset()


def test_a_partition_shows_what_it_is(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """What it was made from, whose it is, its text's length and beginning, the score, the usage."""

    def generate(request: Request) -> Generated:
        usage = {"input_tokens": 12, "cost": 0.25, "model": "not a number", "cached": True}
        return Generated(text="7.5 \n", usage=usage)

    definitions = build_definitions(data_root=root.path, generate=generate, rollout=Rollout.OFF)
    for stage in ("draft", "essay"):
        assert launch(definitions, instance, stage, (f"{stage[0]}2", f"{stage[0]}2")).success
    (record,) = instance.fetch_materializations(dg.AssetKey("essay_generation"), limit=1).records
    assert record.asset_materialization is not None
    found = record.asset_materialization.metadata
    shown: dict[str, Any] = {name: one.value for name, one in found.items()}
    path = root.generation("essay", "e2")
    assert shown.pop("seconds") >= 0
    assert shown == {
        "path": str(path),
        "dagster/uri": (path / "parsed.txt").as_uri(),
        "parent": "[d2](/assets/draft_generation?view=partitions&partition=d2)",
        "parent_gen_id": "d2",
        "template_id": "essay-t",
        "llm_model_id": "m",
        "replicate": 3,
        "cohorts": "c",
        "words": 1,
        "preview": "7.5 \n",
        "score": 7.5,
        "usage/input_tokens": 12,
        "usage/cost": 0.25,
        "outcome": "made",
    }


def test_many_are_looked_at_as_one_is(tmp_path: Path) -> None:
    """Each state of a text and of its parent, and keys that are no ids, give the same answer, also
    with an index, and with one that is out of date."""
    root = DataRoot(tmp_path)
    for number in range(8):
        lay(tmp_path, "draft", f"d{number}")
        lay(tmp_path, "essay", f"e{number}", parent_gen_id=f"d{number % 5}")
    for number in (0, 2):
        write(tmp_path, "draft", f"d{number}", "parsed.txt", "made")
    write(tmp_path, "draft", "d1", "raw.txt", "unparsed")
    (root.generation("draft", "d3") / "parsed.txt").symlink_to(tmp_path / "gone")
    failures.record(root, "draft", "d4", "failed")
    failures.record(root, "draft", "d2", "failed before it was made")
    (root.generation("draft", "d5") / "metadata.json").unlink()
    write(tmp_path, "essay", "e7", "parsed.txt", "made")
    for stage, wanted in (("draft", {"d0", "d2", "d6", "d7"}), ("essay", {"e0", "e2", "e5", "e7"})):
        keys = [*(f"{stage[0]}{number}" for number in range(8)), "../x", "", "nowhere"]
        assert wanted_ids(root, stage, keys) == wanted
        assert {key for key in keys if wanted_ids(root, stage, [key])} == wanted
    with StoreIndex.fresh(root):
        assert wanted_ids(root, "essay", keys) == {"e0", "e2", "e5", "e7"}
    (root.generation("essay", "e1") / "metadata.json").unlink()
    shutil.rmtree(root.generation("essay", "e3"))
    lay(tmp_path, "essay", "e3", parent_gen_id="d2")  # which the index does not know of
    assert wanted_ids(root, "essay", keys) == {"e0", "e2", "e3", "e5", "e7"}
