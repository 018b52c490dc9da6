"""A chain of stages that a user declares: question -> answer -> grade, beside the pipeline's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULE = """
from typing import NewType
from genid import Signature

QuestionId = NewType("QuestionId", str)
AnswerId = NewType("AnswerId", str)
GradeId = NewType("GradeId", str)
RevisionId = NewType("RevisionId", str)

class Question(Signature[QuestionId], stage="question", prefix="q"):
    subject: str
    replicate: int

class Answer(Signature[AnswerId], stage="answer", prefix="a"):
    question_id: QuestionId
    llm_model_id: str
    replicate: int

class Grade(Signature[GradeId], stage="grade", prefix="g"):
    answer_id: AnswerId
    rubric: str
    replicate: int
    llm_model_id: str | None = None

class Revision(Signature[RevisionId], stage="revision", prefix="r"):
    editor_id: str
    replicate: int
    before: RevisionId | None = None
"""


def _run(folder: Path, *words: object, code: int = 0) -> Any:
    """Run a command in a process of its own: stages stay declared for good."""
    environment = {name: value for name, value in os.environ.items() if name != "GENID_STAGES"}
    done = subprocess.run(
        [sys.executable, "-m", "genid_store", *map(str, words), "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert code == done.returncode, done.stderr
    return json.loads(done.stdout)


def _stages(folder: Path, *words: object, code: int = 0) -> Any:
    return _run(folder, "--stages", "chain.py", *words, code=code)


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A data root with one generation of each stage, and the ids by stage."""
    (tmp_path / "chain.py").write_text(MODULE)
    question = {"subject": "moats", "replicate": 1}
    ids = {"question": _derived(tmp_path, "question", question)}
    answer = {"question_id": ids["question"], "llm_model_id": "m1", "replicate": 1}
    ids["answer"] = _derived(tmp_path, "answer", answer)
    grade = {"answer_id": ids["answer"], "rubric": "Depth", "replicate": 2}
    ids["grade"] = _derived(tmp_path, "grade", grade)
    for stage, fields in (("question", question), ("answer", answer), ("grade", grade)):
        _write(tmp_path, stage, ids[stage], fields)
    (tmp_path / "cohorts" / "one").mkdir(parents=True)
    lines = "".join(f"{stage},{gen_id}\n" for stage, gen_id in ids.items())
    (tmp_path / "cohorts" / "one" / "membership.csv").write_text(f"stage,gen_id\n{lines}")
    return tmp_path, ids


def _derived(folder: Path, stage: str, fields: dict[str, Any]) -> str:
    options = [
        part
        for name, value in fields.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    return str(_stages(folder, "derive", stage, *options)["gen_id"])


def _write(folder: Path, stage: str, gen_id: str, fields: dict[str, Any]) -> None:
    path = folder / "gens" / stage / gen_id
    path.mkdir(parents=True)
    document = {"stage": stage, "gen_id": gen_id, "origin_cohort_id": "one", "mode": "llm"}
    (path / "metadata.json").write_text(json.dumps({**document, **fields}))
    (path / "parsed.txt").write_text("text")


def test_the_text_of_an_id_shows_the_stage_where_it_is_declared(
    chain: tuple[Path, dict[str, str]],
) -> None:
    folder, ids = chain
    shown = _stages(folder, "explain", ids["question"])
    assert ("v1", "question") == (shown["family"], shown["stage"])
    assert "foreign" == _run(folder, "explain", ids["question"])["family"]


def test_a_chain_is_explained_from_its_metadata(chain: tuple[Path, dict[str, str]]) -> None:
    """Fields, expected id, parents and children, by full id and by prefix."""
    folder, ids = chain
    [found] = _stages(folder, "explain", ids["grade"][:12], "--data-root", folder)["generations"]
    grade = found["generation"]
    assert ("grade", ids["grade"], True) == (grade["stage"], grade["gen_id"], grade["recomputes"])
    assert {"v1": ids["grade"], "phase-1": None} == grade["expected"]
    assert (ids["answer"], "Depth") == (grade["parent_gen_id"], grade["others"]["rubric"])
    assert ["answer", "question"] == [one["stage"] for one in found["ancestors"]]
    [question] = _stages(folder, "explain", ids["question"], "--data-root", folder)["generations"]
    assert [ids["answer"]] == [one["gen_id"] for one in question["children"]]


def test_two_of_a_chain_part_where_their_fields_differ(chain: tuple[Path, dict[str, str]]) -> None:
    folder, ids = chain
    fields = {"answer_id": ids["answer"], "rubric": "breadth", "replicate": 2}
    other = _derived(folder, "grade", fields)
    _write(folder, "grade", other, fields)
    found = _stages(folder, "explain", ids["grade"], other, "--data-root", folder)
    assert [{"field": "rubric", "a": "depth", "b": "breadth"}] == found["cause"]["differences"]
    assert ["question", "answer", "grade"] == [level["stage"] for level in found["levels"]]


def test_a_sound_chain_is_sound_and_faults_are_found(chain: tuple[Path, dict[str, str]]) -> None:
    folder, ids = chain
    assert _stages(folder, "report", "--data-root", folder)["report"]["cohorts"]
    audited = _stages(folder, "store", "audit", "--data-root", folder)
    assert audited["sound"], audited["findings"]
    assert {"question": 1, "answer": 1, "grade": 1} == {
        stage: count for stage, count in audited["content"].items() if count
    }
    path = folder / "gens" / "answer" / ids["answer"] / "metadata.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "question_id": "q_gone", "llm_model_id": 3}))
    found = _stages(folder, "store", "audit", "--data-root", folder, code=1)["findings"]
    place = f"gens/answer/{ids['answer']}/metadata.json"
    assert {
        ("orphan", f"{place}:question_id"),
        ("field-wrong", f"{place}:llm_model_id"),
    } == {(one["code"], one["where"]) for one in found}


def test_an_optional_parent_of_a_wrong_type_is_not_an_absent_one(tmp_path: Path) -> None:
    """Its metadata is named as wrong, and the generation is not taken for the first revision."""
    (tmp_path / "chain.py").write_text(MODULE)
    (tmp_path / "cohorts" / "one").mkdir(parents=True)
    (tmp_path / "cohorts" / "one" / "membership.csv").write_text(
        "stage,gen_id\nrevision,first\nrevision,odd\n"
    )
    fields = {"editor_id": "ed", "replicate": 1}
    _write(tmp_path, "revision", "first", {**fields, "gen_id": "first"})
    _write(tmp_path, "revision", "odd", {**fields, "gen_id": "odd", "before": 5})
    found = _stages(tmp_path, "store", "audit", "--data-root", tmp_path, code=1)["findings"]
    wrong = ("field-wrong", "gens/revision/odd/metadata.json:before")
    assert [wrong] == [(one["code"], one["where"]) for one in found]
    report = _stages(tmp_path, "report", "--data-root", tmp_path)["report"]
    revisions = next(one for one in report["stages"] if one["stage"] == "revision")
    shown = [revisions[name]["first"] for name in ("has_v1", "other_v1", "without_v1")]
    assert [[], ["first"], ["odd"]] == shown
    assert [("revision", "field-wrong")] == [
        (one["stage"], one["reason"]) for one in report["without_v1"]
    ]


def test_another_process_without_the_stages_rebuilds_the_index_and_back(
    chain: tuple[Path, dict[str, str]],
) -> None:
    """An index of other stages is not taken for one of these."""
    folder, ids = chain
    _stages(folder, "explain", ids["grade"], "--data-root", folder)
    _run(folder, "explain", ids["grade"], "--data-root", folder, code=1)
    [grade] = _stages(folder, "explain", ids["grade"], "--data-root", folder)["generations"]
    assert ids["grade"] == grade["generation"]["gen_id"]


def test_a_module_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused = _run(tmp_path, "--stages", "nowhere.py", "explain", "q_x", code=1)
    assert "nowhere.py" in refused["problems"][0]["message"]


@pytest.mark.parametrize("name", ["mode", "origin_cohort_id", "adopted_from"])
def test_a_field_that_is_a_key_of_our_own_is_refused(tmp_path: Path, name: str) -> None:
    """metadata.json has one value a key: a field of that name would be written over."""
    (tmp_path / "own.py").write_text(MODULE.replace("rubric: str", f"{name}: str"))
    (tmp_path / "gens" / "grade" / "g1").mkdir(parents=True)
    error = _run(tmp_path, "--stages", "own.py", "store", "audit", "--data-root", ".", code=1)
    (problem,) = error["problems"]
    assert "the stage grade" == problem["where"]
    assert name in problem["message"]


COMPARING = """
from typing import NewType
from genid import DraftId, Signature

PairId = NewType("PairId", str)

class Pair(Signature[PairId], stage="pair", prefix="p"):
    left: DraftId
    right: DraftId
    replicate: int
"""


def test_a_second_reference_to_what_moves_is_refused_before_a_migration(tmp_path: Path) -> None:
    """The migration would not follow it. One to what stays is no obstacle."""
    (tmp_path / "chain.py").write_text(COMPARING)
    task = {"combo_id": "c", "template_id": "t", "llm_model_id": "m"}
    stays = _derived(tmp_path, "draft", {**task, "replicate": 1})
    _write(tmp_path, "draft", stays, {**task, "replicate": 1})
    _write(tmp_path, "draft", "moves", {**task, "replicate": 2})
    for left, right, blocked in (("moves", stays, 0), (stays, "moves", 1)):
        pair = {"left": left, "right": right, "replicate": 1}
        _write(tmp_path, "pair", _derived(tmp_path, "pair", pair), pair)
        found = _stages(tmp_path, "store", "migrate", "--data-root", ".", code=blocked)
        assert blocked == found["blockers"], found


REVISING = """
from typing import NewType
from genid import Signature

RevisionId = NewType("RevisionId", str)

class Revision(Signature[RevisionId], stage="revision", prefix="r"):
    before: RevisionId | None = None
    combo_id: str
    replicate: int
"""
LOOKING = """
import json, sys
from chain import Revision
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import DataRoot

with StoreIndex.fresh(DataRoot.open("."), persist="persist" in sys.argv) as index:
    print(json.dumps({one.gen_id: one.expected["v1"] for one in index.iter("revision")}))
"""


def _revise(folder: Path, gen_id: str, before: str | None) -> None:
    """Write a revision as one that is a while old: it is not read again for being new."""
    path = folder / "gens/revision" / gen_id / "metadata.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"stage": "revision", "gen_id": gen_id, "combo_id": "c", "replicate": 1}
    path.write_text(json.dumps(fields if before is None else {**fields, "before": before}))
    os.utime(path, (1_700_000_000, 1_700_000_000))


def _expected(folder: Path, *words: str) -> Any:
    command = [sys.executable, "-c", LOOKING, *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_stage_that_is_its_own_parent_has_expected_ids(tmp_path: Path) -> None:
    """Those of the task, from the first of a chain on, which has no parent."""
    (tmp_path / "chain.py").write_text(REVISING)
    first = _derived(tmp_path, "revision", {"combo_id": "c", "replicate": 1})
    second = _derived(tmp_path, "revision", {"before": first, "combo_id": "c", "replicate": 1})
    for gen_id, before in (("b-first", None), ("a-second", "b-first"), ("orphan", "nobody")):
        _revise(tmp_path, gen_id, before)
    assert {"b-first": first, "a-second": second, "orphan": None} == _expected(tmp_path)
    for made, stored in ((first, "b-first"), (second, "a-second")):
        [found] = _stages(tmp_path, "explain", made, "--data-root", ".")["generations"]
        assert stored == found["generation"]["gen_id"]
        assert made == found["fresh"]["gen_id"]


def test_expected_ids_of_a_long_chain_and_of_a_circle(tmp_path: Path) -> None:
    """However long; and one that has become a circle has none, with an index from before too."""
    (tmp_path / "chain.py").write_text(REVISING)
    names = [f"n{number:04}" for number in range(1_100, 0, -1)]
    for gen_id, before in zip(names, [None, *names], strict=False):
        _revise(tmp_path, gen_id, before)
    ids = _expected(tmp_path, "persist")
    assert len(names) == len(set(ids.values()) - {None})
    _revise(tmp_path, names[0], names[2])
    assert dict.fromkeys(ids) == _expected(tmp_path, "persist")
    found = _stages(tmp_path, "explain", names[0], "--data-root", ".")["generations"][0]
    assert [names[2], names[1]] == [above["gen_id"] for above in found["ancestors"]]


def test_what_a_long_chain_or_a_circle_has_without_a_cohort_is_found(tmp_path: Path) -> None:
    """However long. What a member was made from is needed, from the first on; an orphan's v1 id
    names its task, which is no member's."""
    (tmp_path / "chain.py").write_text(REVISING)
    long, short = [f"n{number:04}" for number in range(1_100)], ["m0", "m1", "m2", "m3"]
    for names, before in ((long, None), (short, None), (["c0", "c1"], "c1")):
        for gen_id, above in zip(names, [before, *names], strict=False):
            _revise(tmp_path, gen_id, above)
    lost = {"before": short[0], "combo_id": "c", "replicate": 7}
    orphan = _derived(tmp_path, "revision", lost)
    _write(tmp_path, "revision", orphan, {**lost, "before": "gone", "origin_cohort_id": "c"})
    (tmp_path / "gens/revision" / orphan / "parsed.txt").write_text("text")
    (tmp_path / "cohorts/c").mkdir(parents=True)
    (tmp_path / "cohorts/c/membership.csv").write_text("stage,gen_id\nrevision,m2\n")
    found = _stages(tmp_path, "store", "audit", "--data-root", ".", code=1)["findings"]
    alone = [one["ids"][0] for one in found if one["code"] == "generation-without-membership"]
    unneeded = sorted([*long, "c0", "c1", "m3", orphan])
    assert unneeded == sorted(gen_id for _, gen_id in alone)


DECLARING = """
from chain import Revision
from genid import gen_id
from genid_store import Store

above = []
for replicate in (1, 2, 3):
    before = gen_id(above[-1]) if above else None
    above.append(Revision(before=before, combo_id="c", replicate=replicate))
Store.open(".").declare("c", above)
"""


def test_a_run_makes_a_chain_from_its_first_on(tmp_path: Path) -> None:
    """In one run, over the texts that it makes; the first needs no parent, but a wrong one is not
    an absent one."""
    (tmp_path / "chain.py").write_text(REVISING)
    (tmp_path / "genid.toml").write_text('[stages]\nmodule = "chain"\n')
    host = 'def call(request):\n    return f"{request.parent_text or str()}x"\n'
    (tmp_path / "host.py").write_text(host)
    subprocess.run([sys.executable, "-c", DECLARING], cwd=tmp_path, check=True)
    words = ("cohort", "run", "--data-root", ".", "--cohort-id", "c")
    assert 3 == _run(tmp_path, *words, "--dry-run")["total_calls"]
    assert 3 == _run(tmp_path, *words, "--generate", "host.py:call")["calls"]
    texts = [path.read_text() for path in tmp_path.glob("gens/revision/*/parsed.txt")]
    assert ["x", "xx", "xxx"] == sorted(texts)
    path = tmp_path / "gens/revision/wrong/metadata.json"
    path.parent.mkdir()
    path.write_text('{"stage": "revision", "gen_id": "wrong", "combo_id": "c", "before": 7}')
    with (tmp_path / "cohorts/c/membership.csv").open("a") as file:
        file.write("revision,wrong\n")
    record = _run(tmp_path, *words, "--generate", "host.py:call", code=1)
    assert (0, ["wrong"]) == (record["calls"], [one["gen_id"] for one in record["blocked"]])
