"""Why a stored generation has its id, and why two differ."""

import json

import pytest

from genid_store.catalog.explain import StoreDifference, diff_stored, explain_stored
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from storekit import Made, Store


def _get(index: StoreIndex, made: Made) -> Indexed:
    found = index.get(made.stage, made.gen_id)
    assert found is not None
    return found


def _diff(index: StoreIndex, a: Made, b: Made) -> StoreDifference:
    return diff_stored(index, _get(index, a), _get(index, b))


def _own(found: StoreDifference) -> list[tuple[str, list[str]]]:
    return [
        (level.stage, [one.field for one in level.differences])
        for level in found.levels
        if level.differences
    ]


def test_an_explanation_derives_the_expected_id(small: Store, index: StoreIndex) -> None:
    """Whatever the family; over the parent as written it is the id only for v1 ones."""
    for made in small.generations:
        found = explain_stored(index, _get(index, made))
        assert found.fresh is not None
        assert found.written is not None
        assert made.v1 == found.fresh.gen_id
        assert (made.family == "v1") == (made.gen_id == found.written.gen_id)
        depth = {"draft": 0, "essay": 1, "evaluation": 2}[made.stage]
        assert depth == len(found.ancestors)


def test_an_explanation_of_broken_metadata_has_no_derivation(small: Store) -> None:
    """Nothing is derived from what is not known."""
    from genid_store.fs.layout import DataRoot

    made = small.of(stage="draft")[0]
    (small.path / made.folder / "metadata.json").write_text("")
    with StoreIndex.fresh(DataRoot.open(small.path)) as index:
        found = explain_stored(index, _get(index, made))
        assert (None, None) == (found.written, found.fresh)
        assert ["metadata-empty"] == [flaw.code for flaw in found.generation.problems]
        [child, *_] = found.children
        assert None is explain_stored(index, child).fresh


def test_siblings_differ_in_their_own_fields(small: Store, index: StoreIndex) -> None:
    """Two evaluations of one essay part at the evaluation."""
    first, *others = [one for one in small.of(stage="evaluation") if one.cohort == "v1-2026"]
    other = next(one for one in others if one.task["template_id"] != first.task["template_id"])
    found = _diff(index, first, other)
    assert found.cause is not None
    assert ("evaluation", False) == (found.cause.stage, found.inherited)
    assert "template_id" in [one.field for one in found.cause.differences]


def test_children_that_differ_only_through_their_drafts_say_so(
    small: Store, index: StoreIndex
) -> None:
    """The deepest ancestor that differs is named, with its fields."""
    made = small.of(stage="draft", family="legacy")[0]
    essay = next(one for one in small.of(stage="essay") if one.parent is made)
    evaluation = next(one for one in small.of(stage="evaluation") if one.parent is essay)
    for one in (made, essay, evaluation):
        folder = small.path / one.folder
        document = json.loads((folder / "metadata.json").read_text())
        document["gen_id"] += "-twin"
        if one is made:
            document["template_id"] = "another-template"
        else:
            document["parent_gen_id"] += "-twin"
        twin = folder.with_name(f"{folder.name}-twin")
        twin.mkdir()
        (twin / "metadata.json").write_text(json.dumps(document))
    index.refresh()
    twin_of = index.get("evaluation", f"{evaluation.gen_id}-twin")
    assert twin_of is not None
    found = diff_stored(index, _get(index, evaluation), twin_of)
    assert found.inherited
    assert [("draft", ["template_id"])] == _own(found)


def test_one_task_under_two_ids_differs_in_how_the_ids_were_made(
    small: Store, index: StoreIndex
) -> None:
    """No field differs: the families or the cohorts do."""
    draft = small.of(stage="draft", family="legacy")[0]
    other = next(o for o in small.generations if o.v1 == draft.v1 and o.family == "v1")
    found = _diff(index, draft, other)
    assert (True, None, []) == (found.same_task, found.cause, _own(found))
    assert ["family", "origin_cohort_id"] == [one.field for one in found.minting]


def test_spelling_that_identity_ignores_is_no_difference(small: Store, index: StoreIndex) -> None:
    """Case and white space at the ends are no part of identity."""
    made = small.of(stage="draft")[0]
    folder = small.path / made.folder
    document = json.loads((folder / "metadata.json").read_text())
    document.update(gen_id="spelled", template_id=f" {document['template_id'].upper()} ")
    twin = folder.with_name("spelled")
    twin.mkdir()
    (twin / "metadata.json").write_text(json.dumps(document))
    index.refresh()
    spelled = index.get("draft", "spelled")
    assert spelled is not None
    assert diff_stored(index, _get(index, made), spelled).same_task


@pytest.mark.parametrize("stages", [("draft", "essay"), ("essay", "evaluation")])
def test_generations_of_two_stages_are_no_same_task(
    small: Store, index: StoreIndex, stages: tuple[str, str]
) -> None:
    """A generation and its own parent share their ancestors and are not the same."""
    child = small.of(stage=stages[1])[0]
    assert child.parent is not None
    found = _diff(index, child.parent, child)
    assert (False, False, None) == (found.same_task, found.inherited, found.cause)
