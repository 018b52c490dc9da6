"""The job that makes what a cohort lacks: one launch in Dagster's UI, without sensor or command."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]

from cohort_kit import OFF, ON
from dagster_kit import QUIET, Counting, requested, write
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.generations import MakeMissingConfig
from genid_dagster_adapter.partitions import COHORTS, register, registered
from genid_dagster_adapter.translator import Translator
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures

STAGES = ("draft", "essay", "evaluation")


def launch(
    root: DataRoot,
    instance: dg.DagsterInstance,
    generate: Counting,
    *,
    cohort_id: str = "c",
    raises: bool = False,
    **config: object,
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(data_root=root.path, rollout=ON, generate=generate)
    job = definitions.resolve_job_def("genid_make_missing")
    register(instance, COHORTS, [cohort_id])
    return job.execute_in_process(
        partition_key=cohort_id,
        instance=instance,
        run_config={**QUIET, "ops": {"cohort_generations": {"config": config}}},
        raise_on_error=raises,
    )


def recorded(instance: dg.DagsterInstance) -> list[int]:
    keys = (dg.AssetKey(f"{stage}_generation") for stage in STAGES)
    return [len(instance.get_materialized_partitions(key)) for key in keys]


def test_one_launch_makes_all_three_stages_and_a_second_one_nothing(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """Parents first, each recorded under its stage's asset; then 0 calls and 0 new events."""
    counting = Counting()
    assert launch(root, instance, counting).success
    assert len(counting.calls) == 2 + 2 + 4
    assert recorded(instance) == [2, 4, 4]
    assert [len(registered(instance, stage)) for stage in STAGES] == [2, 4, 4]
    again = launch(root, instance, counting)
    assert again.success
    assert len(counting.calls) == 2 + 2 + 4
    (event,) = [e for e in again.all_events if e.event_type_value == "ASSET_MATERIALIZATION"]
    assert (event.asset_key, event.partition) == (dg.AssetKey("cohort_generations"), "c")
    definitions = build_definitions(data_root=root.path, rollout=ON, generate=counting)
    assert requested(definitions, instance) == {stage: set() for stage in STAGES}


def test_content_without_a_record_gets_one(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """Made by the command, or by a run that was killed before Dagster heard of it."""
    gen_id = next(path.name for path in sorted((root.gens / "draft").iterdir()))
    write(root.path, "draft", gen_id, "parsed.txt", "there")
    counting = Counting()
    assert launch(root, instance, counting).success
    assert gen_id not in counting.calls
    assert recorded(instance) == [2, 4, 4]


def test_what_failed_is_tried_again_only_when_asked(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """The run fails and names it, also the run after it, which calls nobody; the rest is made."""
    bad = next(path.name for path in sorted((root.gens / "draft").iterdir()))
    counting = Counting(bad)
    assert not launch(root, instance, counting).success
    assert recorded(instance) == [1, 2, 2]
    calls = len(counting.calls)
    result = launch(root, instance, counting)
    assert not result.success
    assert len(counting.calls) == calls
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert f"draft {bad} failed" in str(event.step_failure_data.user_failure_data)
    counting.failing.clear()
    assert launch(root, instance, counting, retry_failed=True).success
    assert recorded(instance) == [2, 4, 4]
    assert failures.failed_ids(root, "draft") == frozenset()


def test_the_calls_can_be_capped(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """What is left by the cap is no failure, and the catalog shows how much it is; Dagster does not
    start such a run again by itself."""
    counting = Counting()
    result = launch(root, instance, counting, max_generations=3)
    assert result.success
    assert len(counting.calls) == 3
    (seen,) = instance.fetch_observations(dg.AssetKey("cohort_generations"), limit=9).records
    assert seen.asset_observation is not None
    members: Any = seen.asset_observation.metadata["members"]
    assert seen.partition_key == "c"
    assert sum(row.data["missing"] for row in members.records) > 0
    assert launch(root, instance, counting).success
    assert len(counting.calls) == len(set(counting.calls)) == 8
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"


@pytest.mark.parametrize("text", [None, '{"stage": "es'], ids=["gone", "cut short"])
def test_a_member_that_cannot_be_begun_fails_the_run(
    root: DataRoot, instance: dg.DagsterInstance, text: str | None
) -> None:
    """An essay whose metadata is gone or cut short: it is named with its evaluation, the rest is
    made; what a cap left, and what hangs on that, is not among what is named."""
    bad = next(path for path in sorted((root.gens / "essay").iterdir()))
    (bad / "metadata.json").unlink() if text is None else (bad / "metadata.json").write_text(text)
    assert launch(root, instance, Counting(), max_generations=0).success is False
    result = launch(root, instance, Counting())
    assert not result.success
    assert recorded(instance) == [2, 3, 3]
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    told = str(event.step_failure_data.user_failure_data)
    assert "generations without content: 2; the others are recorded" in told
    assert f"essay {bad.name} blocked: gens/essay/{bad.name}/metadata.json" in told
    assert f"essay {bad.name} has no content" in told


def _told(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [one for one in result.all_events if one.event_type_value == "STEP_FAILURE"]
    data: Any = event.step_failure_data.user_failure_data
    return str(data.description)


def test_a_second_legacy_cohort_names_the_keys_that_say_what_is_meant(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """For the job and for a launch of one partition; each is taken where the line says."""
    counting = Counting()
    for cohort_id in ("old", "older"):
        build_cohort(root, Options(rollout=OFF, cohort_id=cohort_id))
    assert launch(root, instance, counting, cohort_id="old").success
    calls = len(counting.calls)
    told = _told(launch(root, instance, counting, cohort_id="older"))
    assert told.endswith(
        "\nin the launchpad: ops: {cohort_generations: {config: {…}}} with "
        "reuse: true or pay_again: true"
    )
    assert "would be paid for a second time" in told
    assert "=True" not in told
    draft = read_membership(root, "older")[0].gen_id
    register(instance, "draft", [draft])
    definitions = build_definitions(data_root=root.path, rollout=OFF, generate=counting)
    job = definitions.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey("draft_generation")}
    )
    for config in ({}, {"reuse": True}):
        result = job.execute_in_process(
            partition_key=draft,
            instance=instance,
            run_config={**QUIET, "ops": {"draft_generation": {"config": config}}},
            raise_on_error=False,
        )
        assert result.success == bool(config)
        if not config:
            line = "ops: {draft_generation: {config: {…}}} with reuse: true or pay_again: true"
            assert _told(result).endswith(line)
    assert launch(root, instance, counting, cohort_id="older", reuse=True).success
    assert calls == len(counting.calls)


def test_an_essay_of_another_cohort_that_is_not_made_fails_the_run(
    root: DataRoot, instance: dg.DagsterInstance
) -> None:
    """A cohort of evaluations alone can do nothing about their essay, and says so."""
    rows = root.membership("c").read_text().splitlines()
    judgements = [row for row in rows if row.startswith(("stage", "evaluation"))]
    root.membership("e").parent.mkdir()
    root.membership("e").write_text("\n".join(judgements) + "\n")
    counting = Counting()
    assert not launch(root, instance, counting, cohort_id="e").success
    assert counting.calls == []


def test_an_unknown_cohort_is_refused(root: DataRoot, instance: dg.DagsterInstance) -> None:
    """A typo makes nothing, and the error says where it was looked for."""
    counting = Counting()
    with pytest.raises(StoreError, match=r"cohorts/spring/membership\.csv"):
        launch(root, instance, counting, cohort_id="spring", raises=True)
    assert counting.calls == []


def test_the_launchpads_config_in_the_docs_is_taken(tmp_path: Path, project: Path) -> None:
    """Also with everything that stands there as a remark."""
    page = (project / "docs" / "dagster.md").read_text()
    blocks = [part.partition("```")[0] for part in page.split("```yaml")[1:]]
    text = next(block for block in blocks if "cohort_generations" in block)
    options = MakeMissingConfig.model_fields.keys()
    for name in options:
        text = text.replace(f"# {name}", name)
    definitions = build_definitions(data_root=tmp_path, rollout=ON, generate=Counting())
    config = yaml.safe_load(text)
    dg.validate_run_config(definitions.resolve_job_def("genid_make_missing"), config)
    assert options == config["ops"]["cohort_generations"]["config"].keys()
    text = next(block for block in blocks if "build_cohort" in block)
    dg.validate_run_config(definitions.resolve_job_def("genid_cohort"), yaml.safe_load(text))


def test_the_jobs_are_the_ones_that_can_work(tmp_path: Path) -> None:
    """Without a callable there is nothing to make anything with."""
    alone = build_definitions(data_root=tmp_path, rollout=ON)
    assert [job.name for job in alone.jobs or ()] == ["genid_cohort"]
    prefixed = build_definitions(
        data_root=tmp_path,
        rollout=ON,
        generate=Counting(),
        translator=Translator(key_prefix=["a-b"], partition_prefix="x_"),
    )
    assert [job.name for job in prefixed.jobs or ()] == [
        "a_b_genid_cohort",
        "a_b_genid_make_missing",
    ]
