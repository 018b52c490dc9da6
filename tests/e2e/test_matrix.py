"""Every mode in every rollout state and scheme, through real Dagster on disk: built, run, rerun."""

from pathlib import Path

import dagster as dg
import pytest

from cohort_kit import make_root, put_draft, put_essay, tree, write_table
from dagster_kit import QUIET, Counting, materialize_range, new_home, write_templates
from genid import is_gen_id, parse_id
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import registered
from genid_dagster_adapter.translator import Translator
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.prepare import Options, prepare
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

STATES = {
    "off": Rollout.OFF,
    **{
        f"{flag or 'all'}-{scheme}": Rollout.parse(flag or "true", scheme)
        for scheme in ("v1", "phase-1")
        for flag in ("draft", "draft,essay", "")
    },
}
MODES = {
    "cartesian": (None, None, {"draft": 2, "essay": 4, "evaluation": 4}),
    "curated": ("eold1\neold2\n", None, {"draft": 2, "essay": 2, "evaluation": 2}),
    "drafts": (None, "dold1\ndold2\n", {"draft": 2, "essay": 4, "evaluation": 4}),
    "evaluations": ("# mode: evaluation-only\neold1\neold2\n", None, {"evaluation": 2}),
    "fill-up": (
        "# mode: evaluation-only\n# fill-up\neold1\neold2\n",
        None,
        {"evaluation": 2},
    ),
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_config(str(new_home(tmp_path_factory.mktemp("home"))))


def lay(path: Path, mode: str) -> DataRoot:
    """Lay tables, two older drafts and essays with content, and the mode's selection."""
    essays, drafts, _ = MODES[mode]
    root = make_root(path, combos=False, replicates=(1, 1, 1))
    models = [["id", "for_generation", "for_evaluation"]]
    writers = [["writer_a", "true", "false"], ["judge_a", "false", "true"]]
    write_table(path, "llm_models.csv", [*models, *writers])
    judgements = [["template_id", "generator", "active"], ["novelty-v1", "llm", "true"]]
    write_table(path, "evaluation_templates.csv", judgements)
    write_templates(root)
    if mode != "cartesian":
        for number, template in ((1, "links-v1"), (2, "links-v2")):
            put_draft(root, f"dold{number}", template_id=template)
            put_essay(root, f"eold{number}", f"dold{number}", template_id="story-v1")
            for stage, gen_id in (("draft", f"dold{number}"), ("essay", f"eold{number}")):
                (root.generation(stage, gen_id) / "parsed.txt").write_text("older\n")
    if essays:
        (root.tasks / "selected_essays.txt").write_text(essays)
    if drafts:
        (root.tasks / "selected_drafts.txt").write_text(drafts)
    return root


class Experiment:
    """One data root with its definitions, built and run as the commands do."""

    def __init__(self, root: DataRoot, rollout: Rollout, instance: dg.DagsterInstance) -> None:
        self.root, self.instance, self.counting = root, instance, Counting()
        self.prefix = f"{root.path.parent.name}_"
        self.definitions = build_definitions(
            data_root=root.path,
            generate=self.counting,
            rollout=rollout,
            translator=Translator(key_prefix=[self.prefix], partition_prefix=self.prefix),
        )

    def build(self) -> None:
        ops = {f"{self.prefix}__build_cohort": {"config": {"cohort_id": "c"}}}
        job = self.definitions.resolve_job_def(f"{self.prefix}_genid_cohort")
        job.execute_in_process(instance=self.instance, run_config={**QUIET, "ops": ops})

    def key(self, stage: str) -> dg.AssetKey:
        return dg.AssetKey([self.prefix, f"{stage}_generation"])

    def keys(self) -> list[list[str]]:
        return [registered(self.instance, stage, prefix=self.prefix) for stage in PIPELINE]

    def requests(self) -> int:
        """Return how many partitions automation asks for now."""
        return dg.evaluate_automation_conditions(self.definitions, self.instance).total_requested

    def run(self) -> int:
        """Make what is missing, as `genid cohort run` does; return the number of Dagster runs."""
        runs = 0
        for stage in PIPELINE:
            recorded = self.instance.get_materialized_partitions(self.key(stage))
            members = read_membership(self.root, "c")
            wanted = {one.gen_id for one in members if one.stage == stage} - recorded
            order = registered(self.instance, stage, prefix=self.prefix)
            keys = [key for key in order if key in wanted]
            if keys:
                runs += 1
                start = order.index(keys[0])
                assert keys == order[start : start + len(keys)]
                assert materialize_range(
                    self.definitions, self.key(stage), self.instance, *keys, reuse=True
                )
        return runs


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("mode", MODES)
def test_a_cohort_is_built_made_and_never_made_again(
    tmp_path: Path, instance: dg.DagsterInstance, mode: str, state: str
) -> None:
    """Ids of the right family, each member made once; then no file, no partition, no request."""
    rollout = STATES[state]
    experiment = Experiment(lay(tmp_path / "root", mode), rollout, instance)
    plan = prepare(experiment.root, Options(rollout=rollout, cohort_id="c")).plan
    experiment.build()
    expected = MODES[mode][2]
    rows = plan.rows
    kept = {"dold1", "dold2"} if mode == "drafts" and not rollout.covers("draft") else set()
    assert {stage: expected.get(stage, 0) for stage in PIPELINE} == plan.counts()
    for row in rows:
        if row.gen_id in kept:
            continue
        assert rollout.covers(row.stage) == (parse_id(row.gen_id).family in {"v1", "phase-1"})
        assert is_gen_id(row.gen_id) == (rollout.covers(row.stage) and rollout.scheme == "v1")
    assert experiment.run() == sum(stage in expected for stage in PIPELINE)
    reused = {path.stem for path in (experiment.root.own / "reused").rglob("*.json")}
    assert not reused or mode in {"curated", "drafts"}, "older texts of the same tasks"
    paid = [row.gen_id for row in rows if row.mode != "copy" and row.gen_id not in kept | reused]
    assert sorted(paid) == sorted(experiment.counting.calls)
    before = tree(experiment.root)
    keys = experiment.keys()
    experiment.build()
    assert experiment.run() == experiment.requests() == 0
    assert before == tree(experiment.root)
    assert keys == experiment.keys()
    assert len(paid) == len(experiment.counting.calls)
