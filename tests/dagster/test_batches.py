"""What is in a batch at a provider is left to it by every run of Dagster's."""

from collections.abc import Iterable

import dagster as dg
import pytest

from cohort_kit import OFF, ON
from dagster_kit import QUIET, Counting, materialize_range, requested
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import COHORTS, register
from genid_store import Collected, Request, Rollout
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked
from genid_store.generation.run import run_cohort

DRAFT = dg.AssetKey("draft_generation")


class Provider:
    """A batch object that answers once `ended` is set; `billed` has every row that it was given."""

    def __init__(self) -> None:
        self.ended = False
        self.billed: list[str] = []
        self.rows: dict[str, list[str]] = {}

    def find(self, key: str) -> str | None:
        return key if key in self.rows else None

    def submit(self, key: str, requests: Iterable[Request]) -> str:
        self.rows[key] = [one.custom_id for one in requests]
        self.billed += self.rows[key]
        return key

    def collect(self, batch: str) -> Collected:
        answers = [(name, f"text of {name}") for name in self.rows[batch]] if self.ended else []
        return Collected(answers=answers, ended=self.ended)


def job(
    root: DataRoot, instance: dg.DagsterInstance, generate: Counting, cohort_id: str
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(data_root=root.path, rollout=ON, generate=generate)
    register(instance, COHORTS, [cohort_id])
    return definitions.resolve_job_def("genid_make_missing").execute_in_process(
        partition_key=cohort_id,
        instance=instance,
        run_config={**QUIET, "ops": {"cohort_generations": {"config": {}}}},
        raise_on_error=False,
    )


def logged(instance: dg.DagsterInstance) -> str:
    """Return all that the last run logged."""
    (run,) = instance.get_runs(limit=1)
    return "\n".join(one.user_message for one in instance.all_logs(run.run_id))


@pytest.mark.parametrize("rollout", [ON, OFF], ids=["its ids", "other ids of its tasks"])
def test_the_members_of_a_batch_are_left_to_it(
    root: DataRoot, instance: dg.DagsterInstance, rollout: Rollout
) -> None:
    """By the job, the stage's asset and automation, which say since when they are in it; the cohort
    does not count as made. Once the batch is collected nothing of it is paid for again."""
    provider, counting = Provider(), Counting()
    run_cohort(root, "c", provider, Asked(), wait=False)
    build_cohort(root, Options(rollout=rollout, cohort_id="d"))
    drafts = [one.gen_id for one in read_membership(root, "d") if one.stage == "draft"]
    register_members(instance, root, "d")
    definitions = build_definitions(data_root=root.path, rollout=rollout, generate=counting)
    assert requested(definitions, instance)["draft"] == set()
    materialize_range(definitions, DRAFT, instance, *drafts)
    assert "in a batch since" in logged(instance)
    assert job(root, instance, counting, "d").success
    assert "in a batch since" in logged(instance)
    assert instance.get_materialized_partitions(dg.AssetKey("cohort_generations")) == set()
    assert counting.calls == []
    provider.ended = True
    run_cohort(root, "c", provider, Asked(), wait=False)
    job(root, instance, counting, "c")
    assert not set(counting.calls) & set(provider.billed)
    assert instance.get_materialized_partitions(DRAFT) >= set(next(iter(provider.rows.values())))
