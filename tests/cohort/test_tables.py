"""The raw tables: what is read, and everything that is refused, with its place."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort_kit import COHORT, OFF, ON, TABLES, everything, make_root, select, write_table
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs.tables import provider_models, read_tables
from genid_store.cohort.prepare import prepare
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root")


def edit(root: DataRoot, name: str, old: str, new: str) -> None:
    path = root.raw / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def problems(root: DataRoot, rollout: Rollout = OFF) -> list[str]:
    """Return the places of all problems of one build, which must be refused without a trace."""
    return [problem.where for problem in refused(root, rollout)]


def refused(root: DataRoot, rollout: Rollout = OFF) -> tuple[Problem, ...]:
    """Return all problems of one build, which must be refused without a trace."""
    before = everything(root.path)
    with pytest.raises(StoreError) as caught:
        build_cohort(root, Options(rollout=rollout, cohort_id=COHORT))
    assert before == everything(root.path)
    return tuple(caught.value.problems)


def test_rows_are_read_in_table_order_with_their_defaults(root: DataRoot) -> None:
    """An empty generator is llm; flags are true or false in any case."""
    tables = read_tables(root)
    drafts = [(row.template_id, row.generator, row.active) for row in tables.templates["draft"]]
    assert [
        ("links-v1", "llm", True),
        ("links-v2", "llm", True),
        ("links-old", "llm", False),
    ] == drafts
    assert ["story-v1", "parsed-v1"] == [
        row.template_id for row in tables.active_templates("essay")
    ]
    assert ["writer_a", "writer_b"] == [row.llm_model_id for row in tables.generation_models]
    assert ["judge_a"] == [row.llm_model_id for row in tables.evaluation_models]
    assert ["tides", "echoes", "anvils"] == [row.concept_id for row in tables.active_concepts]
    assert {"draft": 1, "essay": 1, "evaluation": 2} == tables.replicates
    assert "copy" == tables.generator("essay", "parsed-v1")
    assert "1_raw/llm_models.csv:3:id" == tables.models[1].where


def test_only_an_essay_can_be_a_copy(root: DataRoot) -> None:
    """There is nothing that a draft or an evaluation could be copied from; all such templates are
    named at once, inactive ones too, since a selection can name theirs."""
    rows = [["template_id", "generator", "active"], ["a", "llm", "true"], ["b", " Copy", "false"]]
    for stage in ("draft", "essay", "evaluation"):
        write_table(root.path, f"{stage}_templates.csv", rows)
    assert [f"1_raw/{one}_templates.csv:3:generator" for one in ("draft", "evaluation")] == (
        problems(root)
    )


def test_without_an_active_column_all_templates_are_active(root: DataRoot) -> None:
    """And without a generator column all are llm, without a model column none has a name."""
    write_table(root.path, "draft_templates.csv", [["template_id"], ["a"], ["b"]])
    write_table(
        root.path,
        "llm_models.csv",
        [["id", "for_generation", "for_evaluation"], ["m", "true", "true"]],
    )
    tables = read_tables(root)
    assert [("a", "llm"), ("b", "llm")] == [
        (row.template_id, row.generator) for row in tables.active_templates("draft")
    ]
    assert tables.models[0].model is None


def test_a_byte_order_mark_crlf_blank_lines_and_quotes_are_fine(root: DataRoot) -> None:
    """What spreadsheets write is read; places still count lines of the file."""
    text = '\ufefftemplate_id,note,active\r\n\r\na,"x, ""y""\r\nz",true\r\nb,,false\r\n'
    (root.raw / "draft_templates.csv").write_bytes(text.encode())
    rows = read_tables(root).templates["draft"]
    assert [("a", True), ("b", False)] == [(row.template_id, row.active) for row in rows]
    assert "1_raw/draft_templates.csv:5:template_id" == rows[1].where


def test_every_problem_of_every_table_is_listed_at_once(root: DataRoot) -> None:
    """One error, file:line:column each."""
    (root.raw / "essay_templates.csv").unlink()
    write_table(root.path, "concepts_metadata.csv", [["concept_id", "active"], ["tides", "true"]])
    edit(root, "draft_templates.csv", "links-v2", " ")
    edit(root, "draft_templates.csv", "links-old", "links-v1")
    edit(root, "draft_templates.csv", "Links,llm", "Links,LLMs")
    edit(root, "llm_models.csv", "maker/writer-a,true,false", "maker/writer-a,yes,")
    write_table(
        root.path,
        "replication_config.csv",
        [["stage", "replicates"], ["draft", "0"], ["essay", "1"]],
    )
    assert [
        "1_raw/draft_templates.csv:3:template_id",
        "1_raw/draft_templates.csv:4:template_id",
        "1_raw/draft_templates.csv:2:generator",
        "1_raw/essay_templates.csv",
        "1_raw/llm_models.csv:2:for_generation",
        "1_raw/llm_models.csv:2:for_evaluation",
        "1_raw/concepts_metadata.csv:1:name",
        "1_raw/replication_config.csv:2:replicates",
    ] == problems(root)


@pytest.mark.parametrize(
    "count", ["", "0", "-1", "1.0", "1e3", "one", " 1", "\u0661", "01", "2147483648", "9" * 400]
)
def test_a_replicate_count_is_a_whole_number_from_1_up(root: DataRoot, count: str) -> None:
    """Anything else is refused, not converted."""
    rows = [["stage", "replicates"], ["draft", count], ["essay", "1"], ["evaluation", "1"]]
    write_table(root.path, "replication_config.csv", rows)
    assert ["1_raw/replication_config.csv:2:replicates"] == problems(root)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([["draft", "1"], ["essay", "1"]], ""),
        ([["draft", "1"], ["essay", "1"], ["evaluation", "1"], ["critique", "1"]], ":5:stage"),
        ([["draft", "1"], ["essay", "1"], ["evaluation", "1"], ["draft", "2"]], ":5:stage"),
        ([["draft", "1"], ["essay", "1"], ["Evaluation", "1"]], ":4:stage"),
        ([], ""),
    ],
)
def test_each_stage_has_one_replicate_count(
    root: DataRoot, rows: list[list[str]], place: str
) -> None:
    """A missing, unknown or repeated stage is named."""
    write_table(root.path, "replication_config.csv", [["stage", "replicates"], *rows])
    found = problems(root)
    assert f"1_raw/replication_config.csv{place}" == found[0]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"template_id,active\na,true\nb\xff,true\n", ":3"),
        (b"template_id,active\na\0,true\n", ":2"),
        (b'template_id,active\na,"true\n', ":2"),
        (b"template_id,active\na,true,more\n", ":2"),
        (b"active\ntrue\n", ":1:template_id"),
        (b"template_id,active,active\na,true,false\n", ":1:active"),
        (b"", ":1"),
        (b"template_id,active\n,,\n", ":2"),
    ],
)
def test_a_file_that_is_no_clean_table_is_refused(root: DataRoot, data: bytes, place: str) -> None:
    """Bytes, quotes, headers and cells that do not add up."""
    (root.raw / "draft_templates.csv").write_bytes(data)
    assert f"1_raw/draft_templates.csv{place}" == problems(root)[0]


def test_a_folder_in_a_tables_place_is_refused(root: DataRoot) -> None:
    """And named."""
    (root.raw / "llm_models.csv").unlink()
    (root.raw / "llm_models.csv").mkdir()
    assert ["1_raw/llm_models.csv"] == problems(root)


def test_table_ids_that_fold_to_one_are_found_before_anything_is_planned(root: DataRoot) -> None:
    """Active ids of one axis that differ by case or white space, where the stage is covered."""
    edit(root, "draft_templates.csv", "links-v2", "Links-V1")
    edit(root, "llm_models.csv", "writer_b", "writer_a ")
    edit(root, "evaluation_templates.csv", "style-v1", "NOVELTY-v1")
    assert [
        "1_raw/draft_templates.csv:3:template_id",
        "1_raw/llm_models.csv:3:id",
        "1_raw/evaluation_templates.csv:3:template_id",
    ] == problems(root, ON)
    assert 2 == len(problems(root, Rollout.parse("draft")))
    assert prepare(root, Options(rollout=OFF, cohort_id=COHORT)).plan.rows


def test_ids_that_fold_to_one_are_listed_beside_every_other_problem(root: DataRoot) -> None:
    """Of a repeated id only one is said, and of stages that the cohort does not make, nothing."""
    edit(root, "replication_config.csv", "essay,1", "essay,0")
    edit(root, "draft_templates.csv", "links-v2", "Links-V1")
    edit(root, "evaluation_templates.csv", "style-v1", "novelty-v1")
    evaluation = "1_raw/evaluation_templates.csv:3:template_id"
    count = "1_raw/replication_config.csv:3:replicates"
    draft = "1_raw/draft_templates.csv:3:template_id"
    assert [evaluation, count, draft] == problems(root, ON)
    assert [evaluation, count] == problems(root)
    select(root.path, "selected_essays.txt", ["an-essay"])
    assert [evaluation, count] == problems(root, ON)


def test_an_inactive_row_folds_with_nothing(root: DataRoot) -> None:
    """Only ids that are used can come to one id."""
    edit(root, "draft_templates.csv", "links-old", "LINKS-V1")
    assert prepare(root, Options(rollout=ON, cohort_id=COHORT)).plan.rows


def test_ids_that_no_signature_can_hold_are_named_where_the_stage_is_covered(
    root: DataRoot,
) -> None:
    """With the flag off they are what they always were."""
    edit(root, "essay_templates.csv", "story-v1", "história")
    edit(root, "llm_models.csv", "judge_a", "judge a")
    assert ["1_raw/essay_templates.csv:2:template_id", "1_raw/llm_models.csv:4:id"] == problems(
        root, ON
    )
    assert ["1_raw/essay_templates.csv:2:template_id"] == problems(
        root, Rollout.parse("draft,essay")
    )
    assert prepare(root, Options(rollout=Rollout.parse("draft"), cohort_id=COHORT)).plan.rows


def test_phase_1_refuses_the_bar_that_joins_its_parts(root: DataRoot) -> None:
    """v1 takes it for an ordinary character."""
    edit(root, "draft_templates.csv", "links-v2", "links|v2")
    assert ["1_raw/draft_templates.csv:3:template_id"] == problems(
        root, Rollout.parse("on", "phase-1")
    )
    assert prepare(root, Options(rollout=ON, cohort_id=COHORT)).plan.rows


def test_rows_and_metadata_keep_the_spelling_of_the_table(root: DataRoot) -> None:
    """Folding is for ids alone."""
    edit(root, "draft_templates.csv", "links-v2", "Links-V2")
    plan = prepare(root, Options(rollout=ON, cohort_id=COHORT)).plan
    assert "Links-V2" in {row.template_id for row in plan.rows if row.stage == "draft"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.sampled_from(sorted(TABLES)), data=st.binary(max_size=80) | st.text().map(str.encode)
)
def test_any_bytes_are_a_table_or_the_documented_error(
    root: DataRoot, name: str, data: bytes
) -> None:
    """Nothing else is ever raised."""
    path = root.raw / name
    before = path.read_bytes()
    path.write_bytes(data)
    with contextlib.suppress(StoreError):
        read_tables(root)
    path.write_bytes(before)


@pytest.mark.parametrize(
    "near", [str.title, str.upper, " {}".format, "{} ".format, "\t{}\u00a0".format]
)
@pytest.mark.parametrize(
    ("file", "column"),
    [
        *((f"1_raw/{stage}_templates.csv", "generator") for stage in PIPELINE),
        *((f"1_raw/{stage}_templates.csv", "active") for stage in PIPELINE),
        ("1_raw/essay_templates.csv", "template_id"),
        ("1_raw/llm_models.csv", "model"),
        ("1_raw/llm_models.csv", "for_generation"),
        ("1_raw/concepts_metadata.csv", "name"),
        ("1_raw/replication_config.csv", "replicates"),
        ("2_tasks/selected_combo_mappings.csv", "created_at"),
        ("2_tasks/selected_combo_mappings.csv", "k_max"),
    ],
)
def test_a_column_that_is_named_nearly_right_is_refused(
    root: DataRoot, file: str, column: str, near: Callable[[str], str]
) -> None:
    """It would be ignored: a retired template would be planned, and a copy would be paid for."""
    path = root.path / file
    header, rows = path.read_text("utf-8").split("\n", 1)
    cells = [near(cell) if cell == column else cell for cell in header.split(",")]
    path.write_text("\n".join([",".join(cells), rows]), "utf-8")
    (problem,) = refused(root)
    assert (f"{file}:1", near(column)) == (problem.where, problem.value)
    assert f"write {column}" in problem.remedy


def test_a_run_reads_no_model_names_from_a_column_named_nearly_right(root: DataRoot) -> None:
    """Each request would go to the table's own id instead."""
    edit(root, "llm_models.csv", "id,model", "id, Model")
    with pytest.raises(StoreError, match="write model"):
        provider_models(root)


def test_further_columns_are_the_hosts(root: DataRoot) -> None:
    """Also those whose names are similar."""
    before = read_tables(root)
    for path in root.raw.glob("*.csv"):
        header, *lines = path.read_text("utf-8").splitlines()
        lines = [f"{header},models,notes,is active", *(f"{line},a,,false" for line in lines)]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    assert before == read_tables(root)
