"""Making generations under attack: links out of the root, keys that are no ids, odd answers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid_store.fs.jsonfile import SIZE_LIMIT, read_json
from genid_store.fs.layout import DataRoot
from genid_store.generation.once import Executor
from genid_store.generation.pool import obtain_all
from genid_store.generation.records import Generated, Outcome, Request
from genid_store.generation.status import has_content, wanted_ids
from hardening_kit import NASTY_TEXTS, fuzzed, json_values, tree

UNSAFE = ["..", "../../evil", "/evil", "a/b", "", ".", "-x", "x\0y", "x" * 300, "\ud800", "a...b\n"]


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A data root with one draft to make, and an essay of it."""
    folder = tmp_path / "outer" / "root"
    seed(folder, "draft", "d1", combo_id="c", template_id="t", llm_model_id="m", replicate=1)
    seed(folder, "essay", "e1", parent_gen_id="d1", template_id="t", replicate=1)
    for stage in ("draft", "essay"):
        template = folder / "templates" / stage / "t.txt"
        template.parent.mkdir(parents=True)
        template.write_text("Write.", encoding="utf-8")
    return DataRoot.open(folder)


def seed(folder: Path, stage: str, gen_id: str, **fields: object) -> None:
    path = folder / "gens" / stage / gen_id / "metadata.json"
    path.parent.mkdir(parents=True)
    record = {"stage": stage, "gen_id": gen_id, "mode": "llm", **fields}
    path.write_text(json.dumps(record), encoding="utf-8")


def answer(_request: Request) -> str:
    return "text"


@pytest.mark.parametrize("gen_id", UNSAFE)
def test_a_key_that_is_no_id_fails_alone_and_writes_nothing(root: DataRoot, gen_id: str) -> None:
    """A partition key that anybody can add in Dagster's pages leads no write anywhere, is never
    wanted, and costs the others of its run nothing."""
    before = tree(root.path.parent.parent)
    assert not wanted_ids(root, "draft", [gen_id])
    outcomes: list[Outcome] = []
    maker = Executor(root=root, generator=answer)
    obtain_all(maker, "draft", [gen_id], outcomes.append)
    assert ["refused"] == [outcome.kind for outcome in outcomes]
    assert "segment" in outcomes[0].reason
    assert before == tree(root.path.parent.parent)
    obtain_all(maker, "draft", [gen_id, "d1"], outcomes.append)
    assert ["made", "refused"] == sorted(outcome.kind for outcome in outcomes[1:])


@pytest.mark.parametrize("parent", UNSAFE)
def test_a_parent_that_is_no_id_is_not_followed(root: DataRoot, parent: str) -> None:
    """An essay whose metadata names a path as its parent is not wanted and fails by itself."""
    seed(root.path, "essay", "e2", parent_gen_id=parent, template_id="t", replicate=1)
    assert not wanted_ids(root, "essay", ["e2"])
    outcome = Executor(root=root, generator=answer).obtain("essay", "e2")
    assert outcome.kind in ("refused", "blocked")
    assert not has_content(root, "essay", "e2")


@pytest.mark.parametrize("template", UNSAFE)
def test_a_template_that_is_no_name_is_not_read(root: DataRoot, template: str) -> None:
    """A template id that is a path reads no file outside `templates/` and calls nobody."""
    (root.path.parent / "evil.txt").write_text("secret", encoding="utf-8")
    (root.path / "templates" / "evil.txt").write_text("secret", encoding="utf-8")
    seed(root.path, "draft", "d2", combo_id="c", template_id=template, llm_model_id="m")
    calls: list[Request] = []

    def noting(request: Request) -> str:
        calls.append(request)
        return "text"

    assert "refused" == Executor(root=root, generator=noting).obtain("draft", "d2").kind
    assert [] == calls


@pytest.mark.parametrize(
    "name",
    [
        "gens/draft", "gens/draft/d1", ".genid", ".genid/staging", ".genid/leases",
        ".genid/staging/draft", ".genid/leases/draft", ".genid/failures",
    ],
)  # fmt: skip
@pytest.mark.parametrize("works", [True, False], ids=["made", "failing"])
def test_no_link_leads_a_text_out_of_the_data_root(
    root: DataRoot, tmp_path: Path, name: str, *, works: bool
) -> None:
    """Where a part of the data root is a link to the outside, nothing is written there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = root.path / name
    if link.exists():
        link.rename(outside / "target")
    else:
        (outside / "target").mkdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside / "target")
    before = tree(outside)

    def failing(_request: Request) -> str:
        raise ValueError("no")

    outcome = Executor(root=root, generator=answer if works else failing).obtain("draft", "d1")
    assert before == tree(outside)
    assert outcome.kind == ("failed" if not works and name == ".genid/failures" else "refused") or (
        works and name == ".genid/failures"
    )


def test_a_folder_in_the_place_of_a_text_fails_alone(root: DataRoot) -> None:
    """Where parsed.txt is a folder the generation fails by itself, with the reason."""
    (root.generation("draft", "d1") / "parsed.txt").mkdir()
    outcomes: list[Outcome] = []
    obtain_all(Executor(root=root, generator=answer), "draft", ["d1"], outcomes.append)
    assert ["refused"] == [outcome.kind for outcome in outcomes]


class _Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def _circular() -> dict[str, object]:
    circle: dict[str, object] = {}
    circle["circle"] = circle
    return circle


def _deep() -> dict[str, object]:
    inner: dict[str, object] = {}
    for _ in range(100_000):
        inner = {"deeper": inner}
    return inner


@pytest.mark.parametrize(
    "parameters",
    [
        _circular(),
        _deep(),
        {"what": _Unspeakable()},
        {"nan": float("nan")},
        {("a", 1): object()},
        {1: 1, "1": 2},
        {"half a pair": "\ud800", "\udfff": 1},
        {"digits": 10**5000},
        {"large": "x" * (SIZE_LIMIT + 1)},
        {"deeper than is read": [json.loads("[" * 300 + "]" * 300)]},
    ],
    ids=[
        *("circular", "deep", "no repr", "nan", "odd key", "keys twice", "no Unicode", "digits"),
        *("large", "too deep"),
    ],
)
def test_no_parameters_lose_a_paid_text(root: DataRoot, parameters: dict[str, object]) -> None:
    """Whatever a host passes as parameters: the text is on disk, and its record is JSON that our
    own reader takes."""

    def generate(_request: Request) -> Generated:
        return Generated(text="paid", parameters=parameters, usage=parameters)

    assert "made" == Executor(root=root, generator=generate).obtain("draft", "d1").kind
    folder = root.generation("draft", "d1")
    assert "paid" == (folder / "parsed.txt").read_text(encoding="utf-8")
    assert "genid" in read_json(folder / "raw_metadata.json")


@fuzzed()
@given(
    text=st.text(max_size=30) | st.sampled_from(NASTY_TEXTS),
    parsed=st.none() | st.text(max_size=30),
    prompt=st.none() | st.sampled_from(NASTY_TEXTS),
    parameters=st.none() | st.dictionaries(st.text(max_size=3), json_values, max_size=3),
)
def test_every_text_that_is_returned_is_on_disk(
    tmp_path_factory: pytest.TempPathFactory,
    text: str,
    parsed: str | None,
    prompt: str | None,
    parameters: dict[str, object] | None,
) -> None:
    """A text that was paid for is in raw.txt, byte for byte, unless there was nothing in it."""
    folder = tmp_path_factory.mktemp("root")
    seed(folder, "draft", "d1", combo_id="c", template_id="t", llm_model_id="m", replicate=1)
    (folder / "templates" / "draft").mkdir(parents=True)
    (folder / "templates" / "draft" / "t.txt").write_text("Write.", encoding="utf-8")

    def generate(_request: Request) -> Generated:
        return Generated(text=text, parsed=parsed, prompt=prompt, parameters=parameters)

    outcome = Executor(root=DataRoot.open(folder), generator=generate).obtain("draft", "d1")
    raw = folder / "gens" / "draft" / "d1" / "raw.txt"
    if text.strip():
        assert text.encode("utf-8", "surrogatepass") == raw.read_bytes()
        assert outcome.kind in ("made", "unparsed")
    else:
        assert ("failed", False) == (outcome.kind, raw.exists())
