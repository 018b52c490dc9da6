"""A chain of stages that genid.toml names is at home in Dagster and in the command.

Each test runs in a process of its own, since stages stay declared for good.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHAIN = """
from typing import NewType
from genid import Signature

QuestionId = NewType("QuestionId", str)
AnswerId = NewType("AnswerId", str)

class Question(Signature[QuestionId], stage="question", prefix="q"):
    subject: str
    replicate: int

class Answer(Signature[AnswerId], stage="answer", prefix="a"):
    question_id: QuestionId
    llm_model_id: str
    replicate: int
"""
DECLARE = """
import sys
import genid
from chain import Answer, Question
from genid_store.store import Store

questions = [Question(subject=name, replicate=1) for name in ("tides", "moss")]
answers = [
    Answer(question_id=genid.gen_id(one), llm_model_id="m", replicate=1) for one in questions
]
Store.open("data").declare("exam", [*answers, *questions])
"""
PROJECT = """
import json
import dagster as dg
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import COHORTS, register
from genid_store.fs.layout import DataRoot

calls = []

def generate(request):
    calls.append(request.stage)
    return f"{request.parent_text or ''}{request.fields.get('subject', 'answered')} "

defs = build_definitions(data_root="data", generate=generate)
graph = defs.resolve_asset_graph()
question, answer = dg.AssetKey("question_generation"), dg.AssetKey("answer_generation")
with dg.DagsterInstance.ephemeral() as instance:
    register(instance, COHORTS, ["exam"])
    register_members(instance, DataRoot("data"), "exam")
    asked = dg.evaluate_automation_conditions(defs, instance)
    wanted = [len(asked.get_requested_partitions(key)) for key in (question, answer)]
    job = defs.resolve_job_def("genid_make_missing")
    done = [job.execute_in_process(partition_key="exam", instance=instance).success for _ in "12"]
    made = [len(instance.get_materialized_partitions(key)) for key in (question, answer)]
parents = sorted(key.to_user_string() for key in graph.get(answer).parent_keys)
print(json.dumps({"wanted": wanted, "done": done, "made": made, "calls": calls, "above": parents}))
"""
CHECKED = """
import json
import dagster as dg
from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.partitions import register
from genid_store.fs.layout import DataRoot

checks = dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks())
defs = dg.Definitions.merge(build_definitions(data_root="data"), dg.Definitions(jobs=[checks]))

def findings():
    job, tags = defs.resolve_job_def("checks"), {"genid/cohort_id": "exam"}
    found = job.execute_in_process(tags=tags, instance=instance).get_asset_check_evaluations()
    (one,) = (one for one in found if one.check_name == "partitions_are_members")
    return one.passed or str(one.metadata["members"].value)

with dg.DagsterInstance.ephemeral() as instance:
    before = findings()
    register_members(instance, DataRoot("data"), "exam")
    register(instance, "answer", ["a_nobody"])
    print(json.dumps([before, findings()]))
"""
ON_DISK = """
import dagster as dg
from pathlib import Path
from genid_dagster_adapter.partitions import register, registered
from genid_dagster_adapter.sync import sync
from genid_store.fs.layout import DataRoot

home = Path("home")
home.mkdir(exist_ok=True)
instance = dg.DagsterInstance.local_temp(str(home.absolute()))
data = DataRoot(Path("data").absolute())
"""
REGISTERED = f"""
import chain
{ON_DISK}
print(*(len(registered(instance, stage)) for stage in ("question", "answer")))
"""
PRUNED = f"""
import json
import subprocess
import sys
{ON_DISK}
chained = "import chain" + {ON_DISK!r} + "sync(instance, data)"
subprocess.run([sys.executable, "-W", "ignore", "-c", chained], check=True)
here = DataRoot(Path("here").absolute())
for root, cohort, rows in ((here, "c", "draft,d_here"), (data, "t", "drfat,d_typo")):
    root.cohort(cohort).mkdir(parents=True)
    root.membership(cohort).write_text("stage,gen_id\\n" + rows + "\\n")
register(instance, "draft", ["d_nobody", "d_typo"])
deleted = sync(instance, here, prune=True).deleted["draft"]
print(json.dumps([deleted, sorted(registered(instance, "draft"))]))
"""


def python(folder: Path, *words: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENID")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    """A folder with the chain, the host's project, and a data root with the cohort `exam`."""
    (tmp_path / "chain.py").write_text(CHAIN)
    (tmp_path / "project.py").write_text(PROJECT)
    (tmp_path / "host.py").write_text("def generate(request): return request.stage\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "genid.toml").write_text('[stages]\nmodule = "chain"\n')
    python(tmp_path, "-c", DECLARE)
    return tmp_path


def test_dagster_has_assets_of_the_chain(exam: Path) -> None:
    """Edges, automation, the job that makes what is missing, and free re-runs come with it."""
    found = json.loads(python(exam, "project.py").splitlines()[-1])
    assert found == {
        "wanted": [2, 0],
        "done": [True, True],
        "made": [2, 2],
        "calls": ["question"] * 2 + ["answer"] * 2,
        "above": ["question_generation"],
    }
    texts = {path.read_text() for path in (exam / "data/gens/answer").glob("*/parsed.txt")}
    assert texts == {"tides answered ", "moss answered "}


def test_the_command_finds_the_chain_too(exam: Path) -> None:
    """Without --stages: an id is derived, a run makes the cohort, and its status says so."""
    words = ("-m", "genid_store", "derive", "--data-root", "data", "question")
    gen_id = python(exam, *words, "--subject", "moss", "--replicate", "1").strip()
    assert (exam / "data/gens/question" / gen_id).is_dir()
    command = ("-m", "genid_store", "cohort")
    chosen = ("--cohort-id", "exam", "--data-root", "data", "--json")
    python(exam, *command, "run", *chosen, "--generate", "host.py:generate")
    found = json.loads(python(exam, *command, "status", *chosen))
    assert [found["stages"][stage]["made"] for stage in ("question", "answer")] == [2, 2]


def test_the_checks_look_at_the_chain(exam: Path) -> None:
    """A member that is not registered and a key of no cohort are named, whatever the stage is."""
    (exam / "checked.py").write_text(CHECKED)
    before, after = json.loads(python(exam, "checked.py").splitlines()[-1])
    assert before.count("is not a partition") == 4
    assert "is not a partition" not in str(after)
    assert "answer a_nobody is not a member of any cohort" in str(after)


def test_a_data_root_that_does_not_know_the_chain_can_be_pruned(exam: Path) -> None:
    """It has keys in the same instance, and those of the chain are neither a problem nor pruned. A
    row whose stage may be a typing error holds its key."""
    (exam / "pruned.py").write_text(PRUNED)
    deleted, kept = json.loads(python(exam, "pruned.py").splitlines()[-1])
    assert deleted == ["d_nobody"]
    assert kept == ["d_here", "d_typo"]
    found = python(exam, "-c", REGISTERED).split()
    assert found == ["2", "2"]
