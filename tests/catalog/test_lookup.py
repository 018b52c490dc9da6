"""Problem generations by any id, and planned ids both ways."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from dagster_kit import lay, write
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import (
    chain,
    children,
    duplicates,
    perhaps_same_task,
    resolve,
    same_task,
    stored_id,
    with_expected,
)
from genid_store.catalog.metadata import Generation
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from storekit import Made, Store, make_store, v1_id


def _ids(matches: object) -> set[tuple[str, str]]:
    assert isinstance(matches, tuple)
    return {(match.generation.stage, match.generation.gen_id) for match in matches}


def test_every_full_id_of_every_family_resolves(small: Store, index: StoreIndex) -> None:
    """The folder's name, and the expected id under each scheme where no folder has that name."""
    by_v1: dict[str | None, list[Made]] = {}
    for made in small.generations:
        by_v1.setdefault(made.v1, []).append(made)
    folders = {made.gen_id for made in small.generations}
    for made in small.generations:
        assert {(made.stage, made.gen_id)} == _ids(resolve(index, made.gen_id))
        for text in (made.v1, made.phase_1):
            if text is not None and text not in folders:
                same = {(one.stage, one.gen_id) for one in by_v1[made.v1]}
                assert same == _ids(resolve(index, text))


@pytest.mark.parametrize("length", [6, 10, 15])
def test_an_unambiguous_prefix_resolves(small: Store, index: StoreIndex, length: int) -> None:
    """Six characters are enough where they fit one generation."""
    made = small.of(stage="evaluation", family="legacy")[3]
    [match] = resolve(index, made.gen_id[:length])
    assert (made.gen_id, "prefix") == (match.generation.gen_id, match.by)


def test_a_prefix_of_an_expected_id_resolves(tmp_path: Path) -> None:
    """Also where no folder has the id."""
    store = make_store(tmp_path / "data", generations=400, oddities=(), files=())
    tasks = Counter(made.v1 for made in store.generations)
    single = next(made for made in store.of(family="legacy") if tasks[made.v1] == 1)
    assert single.v1 is not None
    with StoreIndex.fresh(DataRoot.open(store.path)) as index:
        assert {(single.stage, single.gen_id)} == _ids(resolve(index, single.v1[:14]))


def test_an_ambiguous_prefix_lists_the_candidates(small: Store, index: StoreIndex) -> None:
    """Every candidate is named, up to ten."""
    for name in ("same-prefix-1", "same-prefix-2"):
        shutil.copytree(small.path / small.generations[0].folder, small.path / "gens/draft" / name)
    index.refresh()
    with pytest.raises(StoreError, match=r"draft same-prefix-1, draft same-prefix-2 "):
        resolve(index, "same-prefix")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0123456789abcdef", "names no generation of this store"),
        ("abcde", "too short for a prefix"),
        ("../../etc/passwd", "cannot be an id of any family"),
        ("a" * 10_000, "cannot be an id of any family"),
        ("", "cannot be an id of any family"),
        ("nul\0", "cannot be an id of any family"),
    ],
)
def test_what_names_nothing_is_refused(index: StoreIndex, text: str, reason: str) -> None:
    """Unknown, too short, or no id at all."""
    with pytest.raises(StoreError, match=reason):
        resolve(index, text)


def test_a_full_id_is_never_taken_for_a_prefix(small: Store, index: StoreIndex) -> None:
    """A folder whose name begins like another's is found by its own name."""
    longer = small.generations[0].gen_id + "x"
    shutil.copytree(small.path / small.generations[0].folder, small.path / "gens/draft" / longer)
    index.refresh()
    [match] = resolve(index, small.generations[0].gen_id)
    assert (small.generations[0].gen_id, "id") == (match.generation.gen_id, match.by)


def test_an_id_from_before_a_migration_resolves(small: Store, index: StoreIndex) -> None:
    """The generation is found under its old id and under its new one."""
    made = small.of(stage="draft", family="legacy")[0]
    assert made.v1 is not None
    folder = small.path / made.folder
    document = json.loads((folder / "metadata.json").read_text())
    changed = {**document, "gen_id": "d_new", "previous_gen_id": made.gen_id}
    (folder / "metadata.json").write_text(json.dumps(changed))
    folder.rename(folder.with_name("d_new"))
    index.refresh()
    assert {("draft", "d_new")} == _ids(resolve(index, made.gen_id))
    assert {("draft", "d_new")} == _ids(resolve(index, made.gen_id[:9]))
    assert "d_new" == stored_id(index, "draft", made.gen_id)
    assert None is stored_id(index, "essay", made.gen_id)


def test_the_look_up_of_selection_files_accepts_either_family(
    small: Store, index: StoreIndex
) -> None:
    """A legacy or a deterministic id finds the generation; of duplicates, one with content."""
    for made in small.of(stage="essay"):
        assert made.v1 is not None
        assert made.gen_id == stored_id(index, "essay", made.gen_id)
        chosen = stored_id(index, "essay", made.v1)
        same = [one for one in small.generations if one.v1 == made.v1]
        assert chosen in {one.gen_id for one in same}
        if any(one.state == "made" for one in same) and made.v1 not in {o.gen_id for o in same}:
            assert "made" == next(one.state for one in same if one.gen_id == chosen)
    assert None is stored_id(index, "essay", "unknown-id")


def test_the_chain_and_the_children(small: Store, index: StoreIndex) -> None:
    """Up to the draft, and one step down."""
    evaluation = small.of(stage="evaluation")[0]
    assert evaluation.parent is not None
    assert evaluation.parent.parent is not None
    found = index.get("evaluation", evaluation.gen_id)
    assert found is not None
    expected = [evaluation.gen_id, evaluation.parent.gen_id, evaluation.parent.parent.gen_id]
    assert expected == [one.gen_id for one in chain(index, found)]
    draft = index.get("draft", expected[2])
    assert draft is not None
    assert expected[1] in {one.gen_id for one in children(index, draft)}
    assert [] == children(index, found)


def test_duplicates_are_the_other_generations_of_the_task(small: Store, index: StoreIndex) -> None:
    """In the order of preference: content, then v1, then cohort, then id."""
    draft = small.of(stage="draft", family="legacy")[0]
    found = index.get("draft", draft.gen_id)
    assert found is not None
    others = duplicates(index, found)
    same = {one.gen_id for one in small.generations if one.v1 == draft.v1} - {draft.gen_id}
    assert same == {one.gen_id for one in others}
    keys = [(one.family != "v1", not one.has_content, one.origin_cohort_id) for one in others]
    assert sorted(keys, key=str) == keys


def test_none_is_missed_of_those_whose_task_is_there_more_than_once(tmp_path: Path) -> None:
    """Looked for in one go, as one by one: with a number, without one, and after one went."""
    root = DataRoot(tmp_path)
    spelled: dict[str, int | None] = {"d1": 1, "d2": 2, "d3": 1, "d4": None, "d5": 5}
    for name, replicate in spelled.items():
        lay(tmp_path, "draft", name, replicate=replicate)
    lay(tmp_path, "draft", "other", template_id="another")
    with StoreIndex.fresh(root) as index:

        def one_by_one() -> set[str]:
            return {one.gen_id for one in index.iter("draft") if same_task(index, one)}

        def at_once() -> set[str]:
            return {gen_id for _, gen_id in perhaps_same_task(index)}

        assert {"d1", "d3", "d4"} == one_by_one() == at_once()
        write(tmp_path, "draft", "d4", "parsed.txt", "text")
        assert one_by_one() <= at_once() == {*spelled}
        assert "d2" not in one_by_one()
        write(tmp_path, "draft", "d3", "parsed.txt", "text")
        assert "d2" in one_by_one()


def _planned(made: Made) -> Generation:
    """Return what a plan says of a generation before it is made."""
    draft = made
    while draft.parent is not None:
        draft = draft.parent
    return Generation(
        stage=made.stage,
        gen_id=made.gen_id,
        parent_gen_id=None if made.parent is None else made.parent.gen_id,
        combo_id=draft.task["combo_id"],
        template_id=made.task["template_id"],
        llm_model_id=made.task["llm_model_id"] or draft.task["llm_model_id"],
        replicate=made.task["replicate"],
        origin_cohort_id=made.cohort,
        mode=made.mode,
    )


def test_planned_ids_have_deterministic_ones_without_a_store(small: Store, tmp_path: Path) -> None:
    """Legacy ids that exist only as a plan have deterministic ones, one each."""
    cohort = [made for made in small.generations if made.cohort == "legacy-2024-01"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with StoreIndex.fresh(DataRoot.open(empty)) as index:
        found = with_expected(index, map(_planned, cohort))
    for made in cohort:
        assert made.v1 is not None
        assert {"v1": made.v1, "phase-1": made.phase_1} == found[made.stage, made.gen_id].expected
    assert len(cohort) == len(found) == len({one.expected["v1"] for one in found.values()})


def test_planned_rows_over_stored_parents_are_judged(small: Store, index: StoreIndex) -> None:
    """An evaluation-only plan has its parents in the store, and shows what work it repeats."""
    planned = small.of(stage="evaluation", family="legacy")
    found = with_expected(index, map(_planned, planned))
    for made in planned:
        one = found["evaluation", made.gen_id]
        expected = {"v1": made.v1, "phase-1": made.phase_1}
        assert (expected, True) == (one.expected, one.recomputes)
        assert made.v1 is not None
        assert made.gen_id in {one.gen_id for one in index.by_expected("v1", made.v1)}


def test_v1_ids_of_the_kit_are_the_projects() -> None:
    """The generator of the test stores derives the published example."""
    task = {"combo_id": "combo_v1_85128e4e5ef3", "llm_model_id": "gemini_25_pro",
            "replicate": 1, "template_id": "creative-synthesis-v10"}  # fmt: skip
    assert "d_2pkyzevzpngrcb4vm9d9j2b1mk" == v1_id("draft", task)
