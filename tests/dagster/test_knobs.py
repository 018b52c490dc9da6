"""What a project can set: its own executor, resources, pools, tags, and who is woken by what."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cohort_kit import ON
from dagster_kit import QUIET, lay, requested
from genid_dagster_adapter.component import GenidCohorts
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import register
from genid_dagster_adapter.translator import Translator
from genid_store.errors import StoreError
from genid_store.generation.records import Request
from genid_store.ids.rollout import Rollout

DRAFT = dg.AssetKey("draft_generation")


class Endpoint(dg.ConfigurableResource[Any]):
    """A host's generator as a resource, configured by the environment when it runs."""

    url: str

    def __call__(self, request: Request) -> str:
        return f"{self.url} says {request.gen_id}"


def nobody(request: Request) -> str:
    return "text"


def root(tmp_path: Path) -> Path:
    """A draft d1, a member of the cohort c."""
    lay(tmp_path, "draft", "d1")
    (tmp_path / "cohorts" / "c").mkdir(parents=True)
    (tmp_path / "cohorts" / "c" / "membership.csv").write_text("stage,gen_id\ndraft,d1\n")
    return tmp_path


def make(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    asset = definitions.resolve_assets_def(DRAFT)
    assert dg.materialize([asset], partition_key="d1", instance=instance, run_config=QUIET).success


def test_the_generator_can_be_a_resource_and_the_data_root_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resource's own variables are read when it runs."""
    monkeypatch.setenv("HERE", str(root(tmp_path)))
    definitions = build_definitions(
        data_root=dg.EnvVar("HERE"), generate=Endpoint(url=dg.EnvVar("URL")), rollout=Rollout.OFF
    )
    monkeypatch.setenv("URL", "there")
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, "draft", ["d1"])
        make(definitions, instance)
    assert (tmp_path / "gens/draft/d1/parsed.txt").read_text() == "there says d1"
    monkeypatch.delenv("HERE")
    with pytest.raises(StoreError, match="HERE"):
        build_definitions(data_root=dg.EnvVar("HERE"), rollout=Rollout.OFF)


RETRIES = dg.RetryPolicy(max_retries=2)
MANY_RUNS = dg.BackfillPolicy.multi_run(max_partitions_per_run=500)


@pytest.mark.parametrize(
    ("knob", "value", "found"),
    [
        ("pool", "llm", lambda asset: asset.op.pool),
        ("op_tags", {"team": "texts"}, lambda asset: dict(asset.op.tags)),
        ("retry_policy", RETRIES, lambda asset: asset.op.retry_policy),
        ("backfill_policy", MANY_RUNS, lambda asset: asset.backfill_policy),
    ],
)
def test_a_project_says_how_its_runs_are_run(
    tmp_path: Path, knob: str, value: Any, found: Callable[[Any], Any]
) -> None:
    """Each is an argument, and the assets that pay have it."""
    ours = build_definitions(data_root=tmp_path, generate=nobody, rollout=ON, **{knob: value})
    assert found(ours.resolve_assets_def(DRAFT)) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("owners", ["team:texts"]),
        ("tags", {"cost": "high"}),
        ("kinds", {"llm"}),
        ("group_name", "mine"),
    ],
)
def test_a_project_describes_the_assets_by_dagsters_own_mapping(
    tmp_path: Path, name: str, value: Any
) -> None:
    """All of them, the cohort's as the stages'."""
    ours = build_definitions(data_root=tmp_path, generate=nobody, rollout=ON)
    mapped = ours.map_asset_specs(func=lambda spec: spec.replace_attributes(**{name: value}))
    for key in (DRAFT, dg.AssetKey("cohort_membership")):
        spec = mapped.resolve_assets_def(key).specs_by_key[key]
        found = getattr(spec, name)
        assert found == value or set(value.items()) <= set(found.items())


def test_the_projects_executor_is_the_one_that_holds(tmp_path: Path) -> None:
    """The definitions merge into a project that has one, and all jobs run by it."""
    ours = build_definitions(data_root=tmp_path, generate=nobody, rollout=ON)
    merged = dg.Definitions.merge(ours, dg.Definitions(executor=dg.multiprocess_executor))
    for name in ("genid_cohort", "genid_make_missing"):
        assert merged.resolve_job_def(name).executor_def is dg.multiprocess_executor


class Outspoken(Translator):
    """A host's, whose code uses what is young in Dagster, too."""

    def get_metadata(self, name: str) -> dict[str, Any]:
        warnings.warn(f"young: {name}", dg.BetaWarning, stacklevel=1)
        return {}


def test_a_hosts_warnings_are_not_silenced(tmp_path: Path) -> None:
    """Neither those of its own code while the definitions are built, nor any afterwards; those that
    building them would give are not shown."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        build_definitions(data_root=tmp_path, generate=nobody, rollout=ON, translator=Outspoken())
        assert filters == list(warnings.filters)
        warnings.warn("later", dg.PreviewWarning, stacklevel=1)
    texts = [str(one.message) for one in shown]
    assert "young: cohort_membership" in texts
    assert texts[-1] == "later"
    assert [text for text in texts if not text.startswith("young: ")] == ["later"]


def test_a_free_rerun_wakes_nobody_downstream(tmp_path: Path) -> None:
    """The condition of docs/dagster.md goes by the data version, which the same text keeps."""
    changed = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())

    @dg.asset(deps=[DRAFT], automation_condition=changed)
    def paid_summary() -> None:
        """A host's asset that pays."""

    ours = build_definitions(data_root=root(tmp_path), generate=nobody, rollout=Rollout.OFF)
    definitions = dg.Definitions.merge(ours, dg.Definitions(assets=[paid_summary]))
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, "draft", ["d1"])
        first = dg.evaluate_automation_conditions(definitions, instance)
        make(definitions, instance)
        second = dg.evaluate_automation_conditions(definitions, instance, cursor=first.cursor)
        assert second.get_num_requested(paid_summary.key) == 1
        make(definitions, instance)
        third = dg.evaluate_automation_conditions(definitions, instance, cursor=second.cursor)
        assert third.get_num_requested(paid_summary.key) == 0
        assert requested(definitions, instance)["draft"] == set()


def test_each_field_of_the_component_is_described() -> None:
    """In the JSON schema that editors and `dg` show."""
    model: Any = GenidCohorts.get_model_cls()
    fields = model.model_json_schema()["properties"]
    assert {name for name, field in fields.items() if not field.get("description")} == set()
    assert {"data_root", "generate", "automation", "pool"} < set(fields)
