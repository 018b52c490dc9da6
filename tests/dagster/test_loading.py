"""A host's own assets take the cohort's id and the texts as their arguments."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cohort_kit import ON, make_root
from dagster_kit import QUIET, Counting, lay, write
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import partitions_def, register
from genid_store.errors import StoreError

seen: list[Any] = []
ENDS = ("start", "end")


@dg.asset
def aggregated_scores(cohort_id: str) -> None:
    seen.append(cohort_id)


@dg.asset
def report(evaluation_generation: dict[str, str]) -> None:
    seen.append(evaluation_generation)


@dg.asset(partitions_def=partitions_def("draft"))
def shortened(draft_generation: str) -> None:
    seen.append(draft_generation)


@dg.asset(partitions_def=partitions_def("draft"), backfill_policy=dg.BackfillPolicy.single_run())
def compared(draft_generation: dict[str, str]) -> None:
    seen.append(draft_generation)


def project(root: Path) -> dg.Definitions:
    """The adapter's definitions in a project with an executor and assets of its own."""
    ours = build_definitions(data_root=root, rollout=ON, generate=Counting())
    theirs = dg.Definitions(
        assets=[aggregated_scores, report, shortened, compared],
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(ours, theirs)


def materialize(
    definitions: dg.Definitions, name: str, instance: dg.DagsterInstance, **more: Any
) -> Any:
    seen.clear()
    job = definitions.resolve_implicit_global_asset_job_def()
    job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(name)], run_config=QUIET, **more
    )
    return seen[0]


def test_the_cohorts_id_is_a_value(tmp_path: Path) -> None:
    """In a later run and outside of one, that of the last that was built; before any, an error."""
    root = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    definitions = project(root.path)
    with dg.DagsterInstance.ephemeral() as instance:
        with pytest.raises(StoreError, match="no cohort is known"):
            materialize(definitions, "aggregated_scores", instance)
        for cohort_id in ("spring", "winter"):
            definitions.resolve_job_def("genid_cohort").execute_in_process(
                instance=instance,
                run_config={**QUIET, "ops": {"build_cohort": {"config": {"cohort_id": cohort_id}}}},
            )
        assert materialize(definitions, "aggregated_scores", instance) == "winter"
        built = ["selected_combo_mappings", "cohort_id", "cohort_membership"]
        together = [*built, "register_cohort_partitions", "aggregated_scores"]
        definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(name) for name in together],
            run_config={**QUIET, "ops": {"build_cohort": {"config": {"cohort_id": "spring"}}}},
        )
        assert seen[-1] == "spring"
        loaded = definitions.load_asset_value(dg.AssetKey("cohort_id"), instance=instance)
        assert loaded == "spring"


def test_texts_are_read_from_the_store(tmp_path: Path) -> None:
    """All of a stage as a mapping of id to text, without those that are not made; one by one where
    the host's asset has the same partitions, and a mapping where one run has several of them."""
    for number in range(3):
        lay(tmp_path, "evaluation", f"v{number}")
        lay(tmp_path, "draft", f"d{number}")
    write(tmp_path, "evaluation", "v0", "parsed.txt", "SCORE: 7")
    write(tmp_path, "evaluation", "v2", "parsed.txt", "SCORE: 2")
    write(tmp_path, "draft", "d1", "parsed.txt", "a draft")
    definitions = project(tmp_path)
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, "evaluation", ["v0", "v1", "v2"])
        register(instance, "draft", ["d0", "d1"])
        found = materialize(definitions, "report", instance)
        assert found == {"v0": "SCORE: 7", "v2": "SCORE: 2"}
        assert materialize(definitions, "shortened", instance, partition_key="d1") == "a draft"
        ends = {f"dagster/asset_partition_range_{end}": f"d{at}" for at, end in enumerate(ENDS)}
        found = materialize(definitions, "compared", instance, tags=ends)
        assert found == {"d1": "a draft"}
        with pytest.raises(StoreError, match="a text cannot be loaded"):
            materialize(definitions, "shortened", instance, partition_key="d0")
