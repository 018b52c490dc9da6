"""The format in another language: Node and @noble/hashes give the same ids and refusals.

`genid.mjs` beside this file is written from SPEC.md and shares no code with the package.
`make test` installs @noble/hashes below `build/node` where npm is present; GENID_NOBLE_HASHES
names another folder of the package.
"""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from genid import STAGES, GenIdError, canonical_bytes, explain, parse_v1
from genid._registry import registered
from signature_kit import add_revision

Node = Callable[..., dict[str, Any]]
Case = dict[str, Any]

# What a component may hold, white space and capitals at the ends included; what it may not.
_INSIDE = "!#$%&'()*+,-./0123456789:;<=>?@ABCXYZ[]^_`abcxyz{|}~"
_OUTSIDE = ['"', "\\", " ", "\t", "\x00", "\x7f", "é", "\u212a", "\ud7ff", ""]


@pytest.fixture(autouse=True, scope="module")
def a_further_stage() -> Iterator[None]:
    """A stage that a user adds, which `genid.mjs` knows too."""
    add_revision()
    yield
    del registered["revision"]


@pytest.fixture(scope="module")
def node(project: Path) -> Node:
    """Run `genid.mjs` over jobs and return its answers."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("Node is not installed: the format is not checked in another language")
    usual = project / "build" / "node" / "node_modules" / "@noble" / "hashes"
    package = Path(os.environ.get("GENID_NOBLE_HASHES", usual))
    if not (package / "blake3.js").is_file():
        pytest.skip(f"no @noble/hashes at {package}: npm install --prefix build/node @noble/hashes")

    def run(*, derive: Sequence[Case] = (), parse: Sequence[str] = ()) -> dict[str, Any]:
        script = Path(__file__).with_name("genid.mjs")
        jobs = json.dumps({"derive": list(derive), "parse": list(parse)})
        done = subprocess.run(
            [command, str(script), str(package)],
            input=jobs,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (0, "") == (done.returncode, done.stderr)
        answers: dict[str, Any] = json.loads(done.stdout)
        return answers

    return run


def check_vectors(node: Node, vectors: Sequence[Case]) -> None:
    """Assert that Node derives every vector and parses its id back to the same UUID."""
    assert vectors
    answers = node(derive=vectors, parse=[vector["gen_id"] for vector in vectors])
    steps = ("canonical", "blake3", "uuid", "gen_id")
    assert [{step: vector[step] for step in steps} for vector in vectors] == answers["derived"]
    assert [{key: vector[key] for key in ("stage", "uuid")} for vector in vectors] == answers[
        "parsed"
    ]


def test_node_derives_the_projects_own_vectors(node: Node, project: Path) -> None:
    """Every vector that the project publishes comes out of the JavaScript implementation."""
    path = project / "tests" / "genid" / "vectors.json"
    check_vectors(node, json.loads(path.read_text(encoding="utf-8")))


def test_node_derives_the_reference_vectors(node: Node, shared: Path) -> None:
    """Every reference vector comes out of the JavaScript implementation."""
    path = shared / "spec" / "vectors.json"
    check_vectors(node, json.loads(path.read_text(encoding="utf-8")))


def test_node_refuses_what_must_be_refused(node: Node, shared: Path) -> None:
    """Every refusal that JSON can carry to JavaScript is refused there, for the same field."""
    refusals = json.loads((shared / "spec" / "refusals.json").read_text(encoding="utf-8"))
    signatures = [
        case
        for case in refusals["signatures"]
        if not isinstance(case["fields"]["replicate"], float)
    ]  # 1.0 is 1 in JavaScript
    texts = [case["text"] for case in refusals["v1_texts"]]
    answers = node(derive=signatures, parse=texts)
    assert [{"refused": case["field"]} for case in signatures] == answers["derived"]
    assert [{"refused": "id"}] * len(texts) == answers["parsed"]


def test_node_and_python_agree_over_the_whole_accepted_domain(node: Node) -> None:
    """Random signatures of four stages, refused ones among them, get the same answer in both."""
    chance = random.Random(20_260_101)
    jobs = [_random_job(chance) for _ in range(3_000)]
    ours = [_answer(job) for job in jobs]
    refused = sum("refused" in answer for answer in ours)
    assert 200 < refused < 2_000  # both halves of the domain are looked at
    theirs = node(derive=jobs)["derived"]
    assert ours == [{"refused": True} if "refused" in answer else answer for answer in theirs]


def test_node_and_python_refuse_the_same_ids(node: Node) -> None:
    """A sound id with any one character replaced is read alike in both."""
    chance = random.Random(20_260_102)
    texts = []
    for _ in range(2_000):
        text = list(explain(_signature(_sound_job(chance))).gen_id)
        text[chance.randrange(len(text))] = chance.choice("0789abdehilouvxzABZ_-|é\n")
        texts.append("".join(text))
    assert [_parsed(text) for text in texts] == [
        {"refused": True} if "refused" in answer else answer
        for answer in node(parse=texts)["parsed"]
    ]


def _random_job(chance: random.Random) -> Case:
    job = _sound_job(chance)
    if chance.random() < 0.2:
        name = chance.choice([name for name in job["fields"] if name != "replicate"])
        text = job["fields"][name]
        place = chance.randrange(len(text) + 1)
        job["fields"][name] = text[:place] + chance.choice(_OUTSIDE) + text[place:]
    if chance.random() < 0.05:
        job["fields"]["replicate"] = chance.choice([0, -1, 2**31, None, "1"])
    return job


def _sound_job(chance: random.Random) -> Case:
    stage = chance.choice(["draft", "essay", "evaluation", "revision"])
    names = {
        "draft": ["combo_id", "template_id", "llm_model_id"],
        "essay": ["parent_gen_id", "template_id", *(["llm_model_id"] * chance.randrange(2))],
        "evaluation": ["parent_gen_id", "template_id", "llm_model_id"],
        "revision": [
            "draft_gen_id",
            *chance.sample(["previous_gen_id", "note"], chance.randrange(3)),
        ],
    }[stage]
    parents = {
        "essay": {"parent_gen_id": "d"}, "evaluation": {"parent_gen_id": "e"},
        "revision": {"draft_gen_id": "d", "previous_gen_id": "r"},
    }.get(stage, {})  # fmt: skip
    fields: dict[str, Any] = {name: _text(chance) for name in names}
    for name in names:
        if name in parents:
            fields[name] = chance.choice([f"{parents[name]}_", "", "x"]) + "0Ab-." * 3
    if stage == "draft":
        fields["combo_id"] = chance.choice(["", " \t\v", "\r\n\f"]) + fields["combo_id"]
    fields["replicate"] = chance.choice([1, 2, 3, 10, 2**31 - 1])
    return {"stage": stage, "fields": fields}


def _text(chance: random.Random) -> str:
    length = chance.choice([1, 2, 5, 30, 255])
    return "".join(chance.choices(_INSIDE, k=length))


def _signature(job: Case) -> Any:
    return STAGES[job["stage"]](**job["fields"])


def _answer(job: Case) -> Case:
    try:
        found = explain(_signature(job))
    except GenIdError:
        return {"refused": True}
    assert found.canonical.encode() == canonical_bytes(_signature(job))
    return {
        "canonical": found.canonical,
        "blake3": found.blake3,
        "uuid": str(found.uuid),
        "gen_id": found.gen_id,
    }


def _parsed(text: str) -> Case:
    try:
        found = parse_v1(text)
    except GenIdError:
        return {"refused": True}
    return {"stage": found.stage, "uuid": str(found.uuid)}
