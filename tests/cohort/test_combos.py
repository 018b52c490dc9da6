"""Combos: their ids, the operator's selection, and the append-only catalogue."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import cohort_kit
from cohort_kit import (
    COHORT,
    COMBOS,
    OFF,
    everything,
    make_root,
    put_draft,
    select,
    tree,
    write_csv,
)
from genid_store.cohort.build import Built, Options, build_cohort
from genid_store.cohort.inputs import combos
from genid_store.cohort.prepare import prepare
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot

CONCEPTS = [
    "dearth-ai-discoveries",
    "default-mode-network",
    "economic-innovation-models",
    "economic-moat",
    "generator-verifier-gap",
]


def built(root: DataRoot, **options: Any) -> Built:
    """Build from the first two concepts, unless told otherwise."""
    return cohort_kit.built(root, **{"k_max": 2, **options})


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root", combos=False)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_the_combo_id_is_the_pipelines() -> None:
    """The worked example, in any order of the concepts."""
    assert "combo_v1_85128e4e5ef3" == combos.combo_id(CONCEPTS, "paragraph", 5)
    assert "combo_v1_85128e4e5ef3" == combos.combo_id(reversed(CONCEPTS), "paragraph", 5)


def test_without_a_selection_a_cartesian_build_writes_one_and_the_catalogue(
    root: DataRoot,
) -> None:
    """The first two active concepts at paragraph, one row each."""
    report = built(root)
    expected = combos.combo_id(["tides", "echoes"], "paragraph", 2)
    found = rows(combos.selected_path(root))
    assert ["echoes", "tides"] == [row["concept_id"] for row in found]
    parameters = {(row["combo_id"], row["version"], row["description_level"]) for row in found}
    assert {(expected, "v1", "paragraph")} == parameters
    assert {"2"} == {row["k_max"] for row in found}
    assert found == rows(root.combo_mappings)
    assert {expected} == {row.combo_id for row in report.plan.rows}
    assert [expected] == json.loads(root.manifest(COHORT).read_bytes())["combos"]
    assert {"combo_mappings.csv", "2_tasks/selected_combo_mappings.csv"} <= set(report.files)


def test_six_concepts_is_what_a_build_takes_by_itself(root: DataRoot) -> None:
    """As the existing pipeline's experiment configuration says."""
    cohort_kit.built(root)
    expected = combos.combo_id(["tides", "echoes", "anvils"], "paragraph", 6)
    assert {expected} == {row["combo_id"] for row in rows(root.combo_mappings)}


def test_how_many_concepts_and_at_which_level_are_options(root: DataRoot) -> None:
    """They are part of the combo id, also where fewer concepts are active than asked for."""
    built(root, k_max=7, description_level="sentence")
    expected = combos.combo_id(["tides", "echoes", "anvils"], "sentence", 7)
    assert {expected} == {row["combo_id"] for row in rows(root.combo_mappings)}


def test_the_operators_selection_is_used_as_it_stands(root: DataRoot) -> None:
    """It is not rewritten, its ids are not checked against the formula, file order counts."""
    path = combos.selected_path(root)
    write_csv(path, [COMBOS[0], COMBOS[3], *COMBOS[1:3]])
    before = path.read_bytes()
    report = built(root)
    assert before == path.read_bytes()
    assert not root.combo_mappings.exists()
    drafts = [row.combo_id for row in report.plan.rows if row.stage == "draft"]
    assert ["combo_v1_two", "combo_v1_one"] == list(dict.fromkeys(drafts))


def test_what_the_selection_does_not_let_a_build_apply_is_said(root: DataRoot) -> None:
    """What was asked for, of each combo that is of another kind; a default was not asked for."""
    write_csv(combos.selected_path(root), COMBOS)
    assert () == cohort_kit.built(root).plan.notices
    assert () == built(root).plan.notices
    notices = built(root, k_max=3, description_level="paragraph").plan.notices
    place = "2_tasks/selected_combo_mappings.csv"
    assert [f"{place}:2:combo_id", f"{place}:4:combo_id"] == [one.where for one in notices]
    assert "the selected combo has k_max 2, and 3 is not applied" == notices[0].message
    assert () == built(root, k_max=3, write_combos=True).plan.notices
    assert () == built(root, k_max=3).plan.notices


def test_other_modes_write_no_combos(root: DataRoot) -> None:
    """Only a cartesian cohort needs them."""
    select(root.path, "selected_drafts.txt", ["d1"])
    folder = root.gens / "draft" / "d1"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(
        '{"stage": "draft", "gen_id": "d1", "combo_id": "c", "template_id": "t",'
        ' "llm_model_id": "m"}'
    )
    built(root)
    assert not combos.selected_path(root).exists()
    assert ["c"] == json.loads(root.manifest(COHORT).read_bytes())["combos"]


def test_other_modes_do_not_depend_on_the_catalogue(root: DataRoot) -> None:
    """One that cannot be used is no reason to refuse them."""
    put_draft(root, "d1")
    select(root.path, "selected_drafts.txt", ["d1"])
    root.combo_mappings.write_text("combo_id\nx\n")
    assert built(root).plan.rows
    with pytest.raises(StoreError, match=r"combo_mappings\.csv:1:version"):
        built(root, write_combos=True)


def test_asked_for_the_selection_is_written_anew(root: DataRoot) -> None:
    """And a second time nothing changes, not even the time of creation."""
    write_csv(combos.selected_path(root), COMBOS)
    built(root, write_combos=True)
    expected = combos.combo_id(["tides", "echoes"], "paragraph", 2)
    assert {expected} == {row["combo_id"] for row in rows(combos.selected_path(root))}
    before = tree(root)
    built(root, write_combos=True)
    assert before == tree(root)


def test_the_catalogue_is_appended_to_in_the_columns_it_has(root: DataRoot) -> None:
    """What is there stays byte for byte, whatever its order of columns and last line."""
    old = b"k_max,combo_id,note,concept_id,version,description_level\n2,combo_x,hm,a,v1,paragraph"
    root.combo_mappings.write_bytes(old)
    built(root)
    data = root.combo_mappings.read_bytes()
    assert data.startswith(old + b"\n")
    new = combos.combo_id(["tides", "echoes"], "paragraph", 2)
    assert [f"2,{new},,echoes,v1,paragraph", f"2,{new},,tides,v1,paragraph"] == data[
        len(old) :
    ].decode().split()


@pytest.mark.parametrize(
    "change", [("tides", "echoes"), (",paragraph,", ",sentence,"), (",2,", ",3,"), (",v1,", ",v2,")]
)
def test_a_combo_id_with_other_concepts_or_parameters_is_refused(
    root: DataRoot, change: tuple[str, str]
) -> None:
    """The catalogue says what an id is, once and for all."""
    built(root)
    path = root.combo_mappings
    path.write_text(path.read_text().replace(*change))
    combos.selected_path(root).unlink()
    before = tree(root)
    with pytest.raises(StoreError, match=r"is another combo at combo_mappings\.csv:2:combo_id"):
        built(root)
    assert before == tree(root)


def test_an_operators_selection_may_not_contradict_the_catalogue_either(root: DataRoot) -> None:
    """Also though nothing would be appended."""
    write_csv(combos.selected_path(root), COMBOS)
    other = [COMBOS[0], ["combo_v1_one", "v1", "moats", "paragraph", "2", ""]]
    write_csv(root.combo_mappings, other)
    with pytest.raises(StoreError, match=r"selected_combo_mappings\.csv:2:combo_id"):
        built(root)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (["", "v1", "tides", "paragraph", "2", ""], ":5:combo_id"),
        (["combo_x", "v1", " ", "paragraph", "2", ""], ":5:concept_id"),
        (["combo_v1_two", "v1", "tides", "sentence", "2", ""], ":5:description_level"),
        (["combo_v1_two", "v1", "tides", "paragraph", "3", ""], ":5:k_max"),
    ],
)
def test_a_selection_that_contradicts_itself_is_refused(
    root: DataRoot, line: list[str], place: str
) -> None:
    """Blank ids, and rows of one combo that disagree."""
    write_csv(combos.selected_path(root), [*COMBOS, line])
    before = everything(root.path)
    with pytest.raises(StoreError) as caught:
        built(root)
    assert [f"2_tasks/selected_combo_mappings.csv{place}"] == [
        problem.where for problem in caught.value.problems
    ]
    assert before == everything(root.path)


def test_a_selection_of_no_combo_is_refused(root: DataRoot) -> None:
    """An empty cohort is never what was meant."""
    write_csv(combos.selected_path(root), COMBOS[:1])
    with pytest.raises(StoreError, match="selects no combo"):
        built(root)


@pytest.mark.parametrize("options", [{"k_max": 0}, {"description_level": " "}])
def test_options_that_make_no_combo_are_refused(root: DataRoot, options: dict[str, int]) -> None:
    """Nothing is written for them."""
    before = everything(root.path)
    with pytest.raises(StoreError, match=next(iter(options))):
        build_cohort(root, Options(rollout=OFF, cohort_id=COHORT, **options))  # type: ignore[arg-type]
    assert before == everything(root.path)


def test_without_an_active_concept_no_combo_is_made(root: DataRoot) -> None:
    """The table is named."""
    path = root.raw / "concepts_metadata.csv"
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(StoreError, match=r"concepts_metadata\.csv: no concept is active"):
        prepare(root, Options(rollout=OFF))


def test_a_selection_of_combos_that_the_concepts_outgrew_is_said(root: DataRoot) -> None:
    """A build uses the selection that a former one wrote, and names the concepts in it that are
    not active any more; with the active ones alone it says nothing."""
    assert () == built(root).plan.notices
    path = root.path / "1_raw" / "concepts_metadata.csv"
    path.write_text(path.read_text("utf-8").replace("tides", "waves"), encoding="utf-8")
    (notice,) = built(root).plan.notices
    assert ("2_tasks/selected_combo_mappings.csv:2:combo_id", True, ("write_combos",)) == (
        notice.where,
        notice.message.endswith("not active: tides"),
        notice.ways,
    )
