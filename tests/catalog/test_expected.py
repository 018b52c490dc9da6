"""Expected ids, families and recomputing, against ids that the test-suite derives anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from genid_store.catalog.expected import ExpectedIds, ParentIds, as_parent, derive_expected
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.metadata import Generation, parse_metadata, read_generation
from genid_store.fs.layout import DataRoot
from genid_store.stages import parent_stage
from storekit import Made, Store, legacy_id, v1_id


def _judged(store: Store) -> list[tuple[Made, Generation, ExpectedIds]]:
    root = DataRoot.open(store.path)
    known: dict[tuple[str, str | None], ParentIds] = {}
    result = []
    for made in store.generations:
        generation = read_generation(root, made.stage, made.gen_id)
        above = known.get((parent_stage(made.stage) or "", generation.parent_gen_id))
        verdict = derive_expected(generation, above)
        known[made.stage, made.gen_id] = as_parent(generation, verdict.v1, verdict.phase_1)
        result.append((made, generation, verdict))
    return result


def test_expected_ids_are_those_of_a_fresh_cohort(mixed: Store) -> None:
    """Whatever family a generation and its ancestors have, the expected ids are the task's."""
    for made, _, verdict in _judged(mixed):
        assert (made.v1, made.phase_1) == (verdict.v1, verdict.phase_1), made


def test_every_documented_way_of_minting_recomputes(small: Store) -> None:
    """v1, phase-1, bare and prefixed legacy ids with every salt recompute; foreign ones never."""
    families = {"prefixed": "legacy"}
    for made, _, verdict in _judged(small):
        expected = (families.get(made.family, made.family), made.family != "foreign")
        assert expected == (verdict.family, verdict.recomputes), made


def test_a_phase_1_shape_that_nothing_explains_is_unverifiable() -> None:
    """It is a state: the verdict has no problem."""
    generation = Generation(
        stage="draft", gen_id="d_5ezrffv9uf3lr37d", combo_id="c", template_id="t",
        llm_model_id="m", replicate=1, origin_cohort_id="x",
    )  # fmt: skip
    verdict = derive_expected(generation, None)
    assert ("unverifiable", False, ()) == (verdict.family, verdict.recomputes, verdict.problems)


def test_published_phase_1_ids_recompute() -> None:
    """The ids that a real experiment published are phase-1 where the metadata is theirs."""
    generation = Generation(
        stage="draft", gen_id="d_5ezrffv9uf3lr37d", combo_id="combo_v1_85128e4e5ef3",
        template_id="creative-synthesis-v10", llm_model_id="gemini_25_pro", replicate=1,
    )  # fmt: skip
    verdict = derive_expected(generation, None)
    assert ("phase-1", True) == (verdict.family, verdict.recomputes)
    assert "d_5ezrffv9uf3lr37d" == verdict.phase_1


def test_a_v1_id_of_other_fields_is_a_problem_with_the_right_id(mixed: Store) -> None:
    """The problem carries the id that the fields come to."""
    [(made, verdict)] = [
        (made, verdict)
        for made, _, verdict in _judged(mixed)
        if made.oddity == "v1 id of other fields"
    ]
    assert ["id-not-recomputed"] == [flaw.code for flaw in verdict.problems]
    assert made.gen_id != verdict.problems[0].value


@pytest.mark.parametrize("model", ["mü", "inner space"])
def test_an_essay_that_repeats_a_model_that_no_id_can_have_is_judged(
    tmp_path: Path, model: str
) -> None:
    """Its draft's own field is at fault; the essay's id is of other fields, no more than that."""
    fields = {"template_id": "t", "llm_model_id": model, "replicate": 1}
    essay = v1_id("essay", {"parent_gen_id": "d_other", "template_id": "t", "replicate": 9})
    for stage, gen_id, above in (
        ("draft", "hand-made", {"combo_id": "c"}),
        ("essay", essay, {"parent_gen_id": "hand-made"}),
    ):
        path = tmp_path / "gens" / stage / gen_id / "metadata.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"stage": stage, "gen_id": gen_id, **above, **fields}))
    with StoreIndex.fresh(DataRoot.open(tmp_path), persist=False) as index:
        found = [one.problems for stage in ("draft", "essay") for one in index.iter(stage)]
    assert [["field-unfit"], ["id-not-recomputed"]] == [
        [problem.code for problem in problems] for problems in found
    ]


def test_an_essay_by_a_model_of_its_own_has_it_in_its_id() -> None:
    """The model counts where it is not the draft's, after folding; phase-1 cannot tell it."""
    above = ParentIds(v1="d_x", phase_1="d_y", task_id="t", llm_model_id=" GPT ", replicate=1)
    fields: dict[str, Any] = {
        "stage": "essay",
        "gen_id": "x",
        "parent_gen_id": "p",
        "template_id": "t",
    }
    same = derive_expected(Generation(**fields, llm_model_id="gpt", replicate=1), above)
    other = derive_expected(Generation(**fields, llm_model_id="claude", replicate=1), above)
    none = derive_expected(Generation(**fields, replicate=1), above)
    assert same == none
    assert same.v1 != other.v1
    assert (True, None) == (same.phase_1 is not None, other.phase_1)


def test_an_optional_field_of_a_wrong_type_is_not_an_absent_one() -> None:
    """No id is derived, and the problem names the field: what it stands for is not known."""
    fields = {"stage": "essay", "gen_id": "x", "parent_gen_id": "p", "template_id": "t"}
    parent = ParentIds("d_2pkyzevzpngrcb4vm9d9j2b1mk", None, None, "m", 1)
    found = []
    for model in ({}, {"llm_model_id": 5}):
        data = json.dumps({**fields, "replicate": 1, **model}).encode()
        generation = parse_metadata("essay", "x", data, "there")
        problems = [one.where for one in generation.problems]
        found.append((derive_expected(generation, parent).v1 is None, problems))
    assert [(False, []), (True, ["there:llm_model_id"])] == found


def test_an_orphan_has_no_expected_id(mixed: Store) -> None:
    """Without its ancestors a generation's task is not known."""
    orphans = [verdict for made, _, verdict in _judged(mixed) if made.oddity == "parent gone"]
    assert orphans
    assert {(None, None)} == {(verdict.v1, verdict.phase_1) for verdict in orphans}


def test_a_parent_whose_name_shows_another_stage_still_leads_to_an_expected_id() -> None:
    """A hand-made draft may be called v_something: its children's expected ids do not use that."""
    above = ParentIds(v1="d_x", phase_1="d_y", task_id="t", llm_model_id="m", replicate=1)
    generation = Generation(
        stage="essay", gen_id="hand-made", parent_gen_id="v_draft", template_id="t", replicate=1
    )
    assert None is not derive_expected(generation, above).v1


@pytest.mark.parametrize("salt", ["rep2", "fill2", "fill2-1", "fill2-3"])
def test_every_salt_of_filling_up_recomputes(salt: str) -> None:
    """An evaluation added by filling up has one of several salts."""
    generation = Generation(
        stage="evaluation", gen_id=legacy_id("evaluation", "e__t__m", "c", salt), parent_gen_id="e",
        template_id="t", llm_model_id="m", replicate=2, origin_cohort_id="c",
    )  # fmt: skip
    assert derive_expected(generation, None).recomputes


@pytest.mark.parametrize(
    "scenario",
    ["cartesian_real_tables", "cartesian_replicated", "curated_essays", "evaluation_fill_up"],
)
def test_ids_that_the_existing_pipeline_made_recompute(shared: Path, scenario: str) -> None:
    """Every generation that it seeded in a golden cohort has the legacy id of its metadata."""
    folder = shared / "golden" / scenario / "expected" / "off_files"
    if not folder.is_dir():
        pytest.skip(f"{scenario} has no seeded files")
    with StoreIndex.fresh(DataRoot.open(folder), persist=False) as index:
        found = index.sql(
            "SELECT family, recomputes, count(*), count(v1) FROM generation GROUP BY 1, 2"
        )
    [(family, recomputes, count, derived)] = found
    assert ("legacy", 1) == (family, recomputes)
    if "cartesian" in scenario:
        assert count == derived
