"""The definitions load, merge into a project, and can be set up by defs.yaml alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from cohort_kit import ON, make_root
from dagster_kit import Counting, small_cohort
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import COHORTS, register
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import Translator
from genid_store.cli import run
from genid_store.cohort.inputs.tables import provider_models
from genid_store.errors import StoreError
from genid_store.generation.load import load_generator
from genid_store.ids.rollout import Rollout

NAMES = [
    "cohort_generations",
    "cohort_id",
    "cohort_membership",
    "draft_generation",
    "essay_generation",
    "evaluation_generation",
    "register_cohort_partitions",
    "selected_combo_mappings",
]


def nobody(request: object) -> str:
    return "text"


def keys(definitions: dg.Definitions) -> list[str]:
    graph = definitions.resolve_asset_graph()
    return sorted(key.to_user_string() for key in graph.get_all_asset_keys())


def test_everything_loads(tmp_path: Path) -> None:
    """Assets, checks, the job and the sensor; without a callable no stage assets."""
    definitions = build_definitions(data_root=tmp_path, generate=nobody, rollout=Rollout.OFF)
    dg.Definitions.validate_loadable(definitions)
    assert keys(definitions) == NAMES
    assert len(definitions.resolve_asset_graph().asset_check_keys) == 7
    alone = build_definitions(data_root=tmp_path, rollout=Rollout.OFF)
    dg.Definitions.validate_loadable(alone)
    assert [name for name in NAMES if "generation" not in name] == keys(alone)


def test_two_of_them_merge_into_one_project(tmp_path: Path) -> None:
    """Prefixes keep assets, job, sensor and partition sets apart; the project has its executor."""
    both = [
        build_definitions(
            data_root=tmp_path / name,
            generate=nobody,
            rollout=Rollout.OFF,
            translator=Translator(
                key_prefix=[name], group_name=f"{name}_group", partition_prefix=f"{name}_"
            ),
        )
        for name in ("one", "two")
    ]
    own = dg.Definitions(executor=dg.multiprocess_executor)
    merged = dg.Definitions.merge(own, *both)
    dg.Definitions.validate_loadable(merged)
    assert sorted(f"{name}/{key}" for name in ("one", "two") for key in NAMES) == keys(merged)
    draft = merged.resolve_assets_def(dg.AssetKey(["one", "draft_generation"]))
    assert getattr(draft.partitions_def, "name", None) == "one_draft_gens"
    assert draft.group_names_by_key[draft.key] == "one_group"


def test_arguments_that_would_be_misread_are_refused(tmp_path: Path) -> None:
    """The name of a callable for the callable and no call at a time; a state that no sensor has;
    a text for a list of parts and partition sets that two data roots would share."""

    def refused(make: Callable[..., object], **arguments: object) -> list[str]:
        with pytest.raises(StoreError) as caught:
            make(**arguments)
        return [problem.where for problem in caught.value.problems]

    where = {"data_root": tmp_path, "rollout": Rollout.OFF}
    places = refused(build_definitions, **where, generate="host.py:offline", concurrency=0)
    assert places == ["generate", "concurrency"]
    assert refused(build_definitions, **where, automation="runing") == ["automation"]
    assert refused(build_definitions, **{**where, "rollout": "on"}) == ["rollout"]
    for wrong in ("3", 2.5, True, None):
        assert refused(build_definitions, **where, concurrency=wrong) == ["concurrency"]
    assert refused(build_definitions, **where, translator="Translator") == ["translator"]
    assert refused(Setup, data_root=tmp_path, stages="draft") == ["stages"]
    assert refused(Translator, key_prefix="one") == ["key_prefix", "partition_prefix"]
    bare = build_definitions(
        data_root=tmp_path,
        rollout=Rollout.OFF,
        translator=Translator(key_prefix=["my-texts"], partition_prefix=""),
    )
    dg.Definitions.validate_loadable(bare)
    assert [job.name for job in bare.jobs or ()] == ["my_texts_genid_cohort"]


def test_the_environment_is_read_when_the_arguments_do_not_say() -> None:
    """Without a data root, or with a typo in the flag, nothing loads and the error says why."""
    with pytest.raises(StoreError, match="GENID_DATA_ROOT"):
        build_definitions(environ={})
    with pytest.raises(StoreError, match="DD_DETERMINISTIC_GEN_IDS"):
        build_definitions(environ={"GENID_DATA_ROOT": "x", "DD_DETERMINISTIC_GEN_IDS": "yess"})


def test_a_damaged_table_of_models_asks_no_model(tmp_path: Path) -> None:
    """A wrong row elsewhere takes no provider's name away; a table that cannot be read stops what
    would be asked of another model. Without a table the models have no other name."""
    root = make_root(tmp_path / "root", combos=False)
    table = root.raw / "llm_models.csv"
    table.write_text("id,model,for_generation,for_evaluation\nm,vendor/m-2,true,true\n")
    (root.raw / "concepts_metadata.csv").unlink()
    assert {"m": "vendor/m-2"} == provider_models(root)
    table.write_bytes(b"id,model\nm,\xff\n")
    with pytest.raises(StoreError, match=r"1_raw/llm_models\.csv"):
        provider_models(root)
    table.write_text("id,model\nm,cheap\nother,x\nm,dear\n")
    with pytest.raises(StoreError, match=r"llm_models\.csv:4:id: is already in line 2"):
        provider_models(root)
    table.unlink()
    assert {} == provider_models(root)


def test_two_hosts_files_of_one_name_are_two_modules(tmp_path: Path) -> None:
    """One code location mounts both; a name that is none says who gave it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "host.py").write_text(f"def make(request):\n    return {name!r}\n")
    found = [load_generator(f"{tmp_path / name / 'host.py'}:make") for name in ("one", "two")]
    modules = [sys.modules[make.__module__] for make in found]
    assert [make(None) for make in found] == ["one", "two"]  # type: ignore[arg-type]
    assert [module.make for module in modules] == found
    with pytest.raises(StoreError, match=r"defs\.yaml: there is no file"):
        load_generator("none.py:make", where="defs.yaml")


def test_the_sensor_starts_stopped_unless_asked(tmp_path: Path) -> None:
    """Generations are paid for."""
    states = {}
    for automation in ("stopped", "running"):
        definitions = build_definitions(
            data_root=tmp_path,
            generate=nobody,
            rollout=Rollout.OFF,
            automation=automation,
        )
        (sensor,) = definitions.sensors or ()
        assert isinstance(sensor, dg.SensorDefinition)
        states[automation] = sensor.default_status.value
    assert states == {"stopped": "STOPPED", "running": "RUNNING"}


HOST_NAMES = """
import dagster as dg
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import Translator

class Names(Translator):
    def get_asset_key(self, name):
        stage = name.removesuffix("_generation")
        return super().get_asset_key(name) if stage == name else dg.AssetKey(["llm", stage])

    def get_group_name(self, name):
        return "paid" if name.endswith("_generation") else super().get_group_name(name)

    def get_metadata(self, name):
        return {"desk": f"the desk of {name}"}
"""


def test_a_host_names_groups_and_describes_the_assets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a subclass of Translator, in the definitions, in a partition's link to its parent, and in
    what follows the commands."""
    (tmp_path / "names.py").write_text(HOST_NAMES)
    space: dict[str, Any] = {}
    exec(HOST_NAMES, space)
    root = small_cohort(tmp_path / "root")
    definitions = build_definitions(
        data_root=root.path, generate=Counting(), rollout=ON, translator=space["Names"]()
    )
    essay = definitions.resolve_assets_def(dg.AssetKey(["llm", "essay"]))
    (spec,) = essay.specs
    assert (spec.group_name, spec.metadata["desk"]) == ("paid", "the desk of essay_generation")
    assert dg.AssetKey(["llm", "draft"]) in {dep.asset_key for dep in spec.deps}
    assert (
        definitions.resolve_assets_def(dg.AssetKey("cohort_id")).group_names_by_key[
            dg.AssetKey("cohort_id")
        ]
        == "genid"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        register(instance, COHORTS, ["c"])
        register_members(instance, root, "c")
        asked = dg.evaluate_automation_conditions(definitions, instance)
        assert len(asked.get_requested_partitions(dg.AssetKey(["llm", "draft"]))) == 2
        job = definitions.resolve_job_def("genid_make_missing")
        assert job.execute_in_process(partition_key="c", instance=instance).success
        event = instance.get_latest_materialization_event(essay.key)
        assert event is not None
        assert event.asset_materialization is not None
        parent = event.asset_materialization.metadata["parent"].value
        assert "/assets/llm/draft?view=partitions&partition=d_" in str(parent)
    command = ["dagster", "sync", "--data-root", str(root.path), "--translator"]
    assert run([*command, f"{tmp_path / 'names.py'}:Other"]) == 1
    assert "names.py has no such translator" in capsys.readouterr().err
    assert run([*command, f"{tmp_path / 'names.py'}:Names"]) == 0
    with dg.DagsterInstance.from_config(str(root.own / "dagster")) as instance:
        assert len(instance.get_materialized_partitions(essay.key)) == 4


def test_an_asset_prefix_is_given_to_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--asset-prefix` and `--partition-prefix` find what a project has mounted, also under keys
    that are no names of Dagster's."""
    root = make_root(tmp_path / "root", combos=False, replicates=(1, 1, 1))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    assert run(["cohort", "build", "--data-root", str(root.path), "--cohort-id", "c"]) == 0
    made = sorted(os.listdir(root.stage("draft")))[0]
    (root.generation("draft", made) / "parsed.txt").write_text("text")
    command = ["dagster", "sync", "--data-root", str(root.path)]
    assert run([*command, "--asset-prefix", "a-1/b-c", "--partition-prefix", "p_"]) == 0
    capsys.readouterr()
    with dg.DagsterInstance.from_config(str(root.own / "dagster")) as instance:
        assert len(instance.get_dynamic_partitions("p_draft_gens")) == 4
        key = dg.AssetKey(["a-1", "b-c", "draft_generation"])
        assert instance.get_materialized_partitions(key) == {made}


def test_defs_yaml_alone_sets_it_up(tmp_path: Path, project: Path) -> None:
    """`dg check defs` accepts the YAML of a project that has no other code, and loads it, for two
    data roots and for what `dg scaffold defs` writes; a data root has to be there."""
    package = tmp_path / "src" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "definitions.py").write_text(
        "from pathlib import Path\n"
        "from dagster import definitions, load_from_defs_folder\n"
        "@definitions\n"
        "def defs():\n"
        "    return load_from_defs_folder(path_within_project=Path(__file__).parent)\n"
    )
    for name in ("texts", "others"):
        (tmp_path / name).mkdir()
        (package / "defs" / name).mkdir(parents=True)
        (package / "defs" / name / "defs.yaml").write_text(
            "type: genid_dagster_adapter.component.GenidCohorts\n"
            "attributes:\n"
            f"  data_root: '{{{{ env.{name.upper()} }}}}'\n"
            f"  generate: {project / 'examples/daydreaming/host.py'}:offline\n"
            f"  key_prefix: [{name}]\n"
            f"  group_name: {name}\n"
            f"  partition_prefix: {name}_\n"
        )
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "0"\n[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "mine"\n'
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    (tmp_path / ".dg.toml").write_text("[cli.telemetry]\nenabled = false\n")
    environment = {
        **os.environ,
        "HOME": str(home),
        "DAGSTER_HOME": str(home),
        "TEXTS": "texts",
        "OTHERS": "others",
        "DG_CLI_CONFIG": str(tmp_path / ".dg.toml"),
        "PYTHONPATH": str(tmp_path / "src"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("DD_DETERMINISTIC_GEN_IDS", None)

    def dg_command(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            ["dg", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    dg_command("scaffold", "defs", "genid_dagster_adapter.component.GenidCohorts", "third")
    assert "no data root at" in dg_command("check", "defs", "--check-yaml", code=1)
    (tmp_path / "data").mkdir()
    assert "All definitions loaded successfully" in dg_command("check", "defs", "--check-yaml")
