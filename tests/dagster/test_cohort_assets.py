"""The cohort assets and their checks: what they write, what an operator reads in the UI."""

import contextlib
import json
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cohort_kit import OFF, ON, everything, make_root, put_draft, select, set_replicates
from dagster_kit import QUIET, Counting, write_templates
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import register, registered
from genid_dagster_adapter.sync import sync
from genid_store.catalog.memberships import read_membership
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked
from genid_store.generation.run import plan_run
from genid_store.ids.rollout import Rollout

MEMBERSHIP = dg.AssetKey("cohort_membership")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))


def build(
    root: DataRoot,
    instance: dg.DagsterInstance,
    rollout: Rollout = ON,
    *,
    cohort_id: str | None = "c",
    **options: bool,
) -> dg.ExecuteInProcessResult:
    job = build_definitions(data_root=root.path, rollout=rollout).resolve_job_def("genid_cohort")
    ops = {"build_cohort": {"config": {"cohort_id": cohort_id, **options}}}
    return job.execute_in_process(instance=instance, run_config={**QUIET, "ops": ops})


def shown(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(MEMBERSHIP)
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def failing(result: dg.ExecuteInProcessResult) -> set[str]:
    return {name for name, one in checks(result).items() if not one.passed}


def test_a_build_writes_members_and_registers_them(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """One concept pair, 2 draft templates x 2 models, 2 essay templates, 2 judgements each."""
    result = build(root, instance)
    rows = {
        record.data["stage"]: (record.data["rows"], record.data["new"], record.data["existing"])
        for record in shown(instance)["rows"].records
    }
    assert rows == {"draft": (4, 4, 0), "essay": (8, 8, 0), "evaluation": (16, 16, 0)}
    text = root.membership("c").read_text().splitlines()[1:]
    drafts = [line.split(",")[1] for line in text if line.startswith("draft,")]
    assert registered(instance, "draft") == drafts
    assert (root.tasks / "selected_combo_mappings.csv").is_file()
    assert failing(result) == set()
    assert len(checks(result)) == 7


def test_what_the_ui_shows_is_trimmed(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """Mode, rollout, scheme, rows, repeated work and the cohort: nothing more when all is well."""
    build(root, instance)
    assert set(shown(instance)) == {
        "cohort_id",
        "mode",
        "rollout",
        "scheme",
        "rows",
        "repeated_work",
        "dagster/uri",
        "dagster/row_count",
    }


def test_without_an_id_the_tables_give_it(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DD_COHORT comes before them."""
    monkeypatch.delenv("DD_COHORT", raising=False)
    build(root, instance, cohort_id=None)
    assert shown(instance)["cohort_id"].value.startswith("cohort-")
    monkeypatch.setenv("DD_COHORT", "from-env")
    build(root, instance, cohort_id=None)
    assert shown(instance)["cohort_id"].value == "from-env"


def test_an_error_comes_out_as_it_was_raised(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """No traceback of Dagster's around it; no membership, no partition."""
    put_draft(root, "other", combo_id=None)
    (root.tasks / "selected_drafts.txt").write_text("other\nmissing\n")
    with pytest.raises(StoreError, match="missing"):
        build(root, instance)
    assert not root.cohort("c").exists()
    assert registered(instance, "draft") == []


def test_nothing_is_written_for_a_cohort_that_is_refused(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """An id that the flag cannot fold: no combo file is left behind, nor anything of ours."""
    (root.raw / "llm_models.csv").write_text(
        "id,for_generation,for_evaluation\nm,true,true\nM,true,true\n"
    )
    before = everything(root.path)
    with pytest.raises(StoreError, match="llm_models"):
        build(root, instance)
    assert before == everything(root.path)
    (root.raw / "llm_models.csv").write_text("id,for_generation,for_evaluation\nm,true,true\n")
    assert build(root, instance).success
    assert (root.tasks / "selected_combo_mappings.csv").is_file()


def test_the_job_writes_no_combos_where_it_refuses(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Here, to refuse work that is paid for."""
    write_templates(root)
    build(root, instance, Rollout.OFF)
    Executor(root=root, generator=Counting()).obtain("draft", registered(instance, "draft")[0])
    selected = root.tasks / "selected_combo_mappings.csv"
    selected.unlink()
    with pytest.raises(StoreError, match="paid for a second time"):
        build(root, instance, ON, forbid_regeneration=True)
    assert not selected.exists()


def test_no_build_warns_of_another_data_version(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """The first, one that changes the cohort, and one of another; the version is the event's."""
    for cohort_id, replicates in (("spring", 1), ("spring", 2), ("winter", 1)):
        set_replicates(root.path, replicates, 1, 1)
        run = build(root, instance, cohort_id=cohort_id).run_id
        assert [] == [
            log.message for log in instance.all_logs(run) if int(log.level) > logging.INFO
        ]


def test_two_cohorts_are_two_partitions_each_with_its_own_checks(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Winter does not hide spring: neither what was built nor what is wrong with it."""
    build(root, instance, cohort_id="spring")
    set_replicates(root.path, 1, 1, 2)
    build(root, instance, cohort_id="winter")
    assert instance.get_materialized_partitions(MEMBERSHIP) == {"spring", "winter"}
    assert instance.get_dynamic_partitions("cohorts") == ["spring", "winter"]
    set_replicates(root.path, 1, 1, 1)
    _only_checks(root, instance, "spring")
    _only_checks(root, instance, "winter")
    assert failing_partitions(instance, "replicates_as_configured") == {"winter"}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=MEMBERSHIP, asset_partitions=["spring"]), limit=1
    ).records
    assert records[0].asset_materialization is not None
    assert records[0].asset_materialization.metadata["cohort_id"].value == "spring"


def failing_partitions(instance: dg.DagsterInstance, name: str) -> set[str | None]:
    """Return the partitions whose last evaluation of a check failed."""
    key = dg.AssetCheckKey(MEMBERSHIP, name)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=20)
    last: dict[str | None, bool] = {}
    for record in records:  # newest first
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
            found = event.asset_check_evaluation_data
            last.setdefault(getattr(found, "partition", None), found.passed)
    return {partition for partition, passed in last.items() if not passed}


def test_a_cohort_is_rebuilt_by_its_partition(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """The partition is the cohort's id; another one beside it is refused."""
    build(root, instance, cohort_id="spring")
    job = build_definitions(data_root=root.path, rollout=ON).resolve_job_def("genid_cohort")
    set_replicates(root.path, 2, 1, 1)
    assert job.execute_in_process(
        partition_key="spring", instance=instance, run_config=QUIET
    ).success
    assert len(registered(instance, "draft")) == 8
    ops = {"build_cohort": {"config": {"cohort_id": "autumn"}}}
    with pytest.raises(StoreError, match="two cohorts"):
        job.execute_in_process(
            partition_key="spring", instance=instance, run_config={**QUIET, "ops": ops}
        )


def test_of_two_builds_at_once_one_alone_counts_a_key_as_added(
    root: DataRoot, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the keys missing in the same moment, were it not for the data root's lock."""
    build(root, instance)
    for key in registered(instance, "draft"):
        instance.delete_dynamic_partition("draft_gens", key)
    both = threading.Barrier(2)
    real = instance.add_dynamic_partitions

    def together(name: str, keys: Sequence[str]) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)
        real(name, keys)

    monkeypatch.setattr(instance, "add_dynamic_partitions", together)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: register_members(instance, root, "c"), range(2)))
    assert sorted(added["draft"] for _, added in results) == [0, 4]


def test_a_check_that_cannot_look_takes_no_other_along(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A table is gone: the check that needs it says so, the others are done."""
    build(root, instance)
    (root.raw / "replication_config.csv").unlink()
    result = _only_checks(root, instance)
    assert len(checks(result)) == 7
    assert failing(result) == {"replicates_as_configured"}
    text = str(checks(result)["replicates_as_configured"].metadata["members"].value)
    assert "not checked" in text
    assert "replication_config.csv" in text


def test_repeated_work_is_told_and_can_be_refused(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A flag flip makes the same work anew: the metadata, a warning and a refusal say so."""
    write_templates(root)
    build(root, instance, Rollout.OFF)
    counting = Counting()
    legacy = registered(instance, "draft")
    for gen_id in legacy:
        assert Executor(root=root, generator=counting).obtain("draft", gen_id).complete
    (root.own / "index.sqlite").unlink(missing_ok=True)
    with pytest.raises(StoreError) as caught:
        build(root, instance, ON, forbid_regeneration=True)
    assert all(any(old in str(p) for p in caught.value.problems) for old in legacy)
    assert registered(instance, "draft") == legacy
    result = build(root, instance, ON)
    assert shown(instance)["repeated_work"].value == len(legacy)
    assert legacy[0] in shown(instance)["repeated_members"].value
    assert "dropped" in shown(instance)
    assert "rollout_changes" in shown(instance)
    assert failing(result) == {"no_repeated_work", "partitions_are_members"}
    taken, copied = 4, 4
    calls = checks(result)["calls_to_make"].metadata["calls"].value
    assert calls == 4 + 8 + 16 - taken - copied
    warning = checks(result)["no_repeated_work"]
    assert warning.severity is dg.AssetCheckSeverity.WARN


def test_selected_generations_that_fold_are_named(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Two texts of one task were paid for, and the cohort uses one of them."""
    put_draft(root, "d1")
    put_draft(root, "d1b")
    select(root.path, "selected_drafts.txt", ["d1", "d1b"])
    build(root, instance)
    assert "draft d1b: folds into the member of d1," in shown(instance)["notices"].value


def test_a_changed_template_is_told(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """The id names the slot: the check names what was made from another text."""
    write_templates(root)
    build(root, instance)
    gen_id = registered(instance, "draft")[0]
    Executor(root=root, generator=Counting()).obtain("draft", gen_id)
    assert failing(build(root, instance)) == set()
    template = json.loads((root.generation("draft", gen_id) / "metadata.json").read_text())
    root.template("draft", template["template_id"]).write_text("another text")
    result = build(root, instance)
    assert failing(result) == {"made_from_current_templates"}
    assert gen_id in str(checks(result)["made_from_current_templates"].metadata["members"].value)


def test_an_id_that_does_not_recompute_is_an_error(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Somebody edited a member's metadata by hand."""
    build(root, instance)
    path = root.generation("draft", registered(instance, "draft")[0]) / "metadata.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "replicate": 7}))
    result = build(root, instance)
    assert "ids_recompute" in failing(result)
    assert checks(result)["ids_recompute"].severity is dg.AssetCheckSeverity.ERROR


def test_a_parent_that_is_gone_is_an_error(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """An evaluation-only cohort over an essay whose draft was deleted."""
    build(root, instance)
    essay = registered(instance, "essay")[0]
    (root.tasks / "selected_essays.txt").write_text(f"# mode: evaluation-only\n{essay}\n")
    build(root, instance, cohort_id="later")
    folder = root.generation("essay", essay)
    (folder / "metadata.json").unlink()
    folder.rmdir()
    result = _only_checks(root, instance, "later")
    assert "parents_exist" in failing(result)


def _only_checks(
    root: DataRoot, instance: dg.DagsterInstance, cohort_id: str = "c"
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(data_root=root.path, rollout=ON)
    selection = dg.AssetSelection.all_asset_checks()
    job = dg.define_asset_job("only_checks", selection)
    merged = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    return merged.resolve_job_def("only_checks").execute_in_process(
        tags={"dagster/partition": cohort_id}, instance=instance, run_config=QUIET
    )


def test_more_members_than_configured_is_a_warning(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """The table was changed after the build."""
    set_replicates(root.path, 1, 1, 2)
    build(root, instance)
    assert failing(_only_checks(root, instance)) == set()
    set_replicates(root.path, 1, 1, 1)
    assert failing(_only_checks(root, instance)) == {"replicates_as_configured"}


def test_a_partition_of_nobody_is_a_warning_with_the_command_that_prunes(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """And a member that was never registered is named too."""
    build(root, instance)
    register(instance, "draft", ["stray"])
    result = _only_checks(root, instance)
    assert failing(result) == {"partitions_are_members"}
    text = str(checks(result)["partitions_are_members"].metadata["members"].value)
    assert "stray" in text
    assert "genid dagster sync --prune` unregisters it" in text


def test_pruning_the_keys_of_legacy_texts_leaves_their_tasks_paid_for(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """After a build with deterministic ids they are of no cohort, but the members get the texts."""
    write_templates(root)
    build(root, instance, OFF)
    legacy = registered(instance, "draft")
    for gen_id in legacy:
        Executor(root=root, generator=Counting()).obtain("draft", gen_id)
    build(root, instance)
    assert "partitions_are_members" in failing(_only_checks(root, instance))
    assert sorted(legacy) == sorted(sync(instance, root, prune=True).deleted["draft"])
    work = plan_run(root, "c", read_membership(root, "c"), Asked())
    assert set(legacy) == {old for new, old in work.adopted.items() if new.stage == "draft"}


def test_a_damaged_cohort_elsewhere_does_not_fail_this_one(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Whose partitions are whose cannot be told then, and the check says why."""
    damaged = root.membership("damaged")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("no membership\n")
    result = build(root, instance)
    assert result.success
    text = str(checks(result)["partitions_are_members"].metadata["members"].value)
    assert "cohorts/damaged/membership.csv" in text
