"""Damaged tables, flags, selections and metadata: only documented errors, each with its place."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genid_store.catalog.metadata import inspect_generation, parse_metadata
from genid_store.cohort.inputs.selection import read_selection
from genid_store.cohort.inputs.tables import read_tables
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.ids.rollout import FLAG, SCHEME, Rollout
from genid_store.migration.references import rewrite_selection
from genid_store.stages import PIPELINE
from hardening_kit import (
    DEEP,
    attempt,
    damaged,
    fuzzed,
    json_damaged,
    json_values,
    nasty_texts,
)

TABLES = {
    "draft_templates.csv": b"template_id,generator,active\nd-1,llm,true\nd-2,LLM,FALSE\n",
    "essay_templates.csv": b"template_id,generator,active\ne-1,,true\ne-2,copy,FALSE\n",
    "evaluation_templates.csv": b'template_id,note\nv-1,"a, b"\n',
    "llm_models.csv": b"id,for_generation,for_evaluation,model\nm-1,true,false,vendor/m\n",
    "concepts_metadata.csv": b"concept_id,name,active\nc-1,One,true\nc-2,Two,true\n",
    "replication_config.csv": b"stage,replicates\ndraft,1\nessay,2\nevaluation,3\n",
}
METADATA = {
    "stage": "draft",
    "gen_id": "x",
    "origin_cohort_id": "c",
    "mode": "llm",
    "template_id": "t",
    "combo_id": "combo",
    "parent_gen_id": "p",
    "llm_model_id": "m",
    "replicate": 1,
}


def tables_root(folder: Path) -> DataRoot:
    """Return a data root with sound raw tables."""
    for name, data in TABLES.items():
        path = folder / "1_raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "2_tasks").mkdir(exist_ok=True)
    return DataRoot.open(folder)


# -- the flag --------------------------------------------------------------------------------------
FLAGS = st.one_of(
    nasty_texts,
    st.lists(
        st.sampled_from(
            ["draft", "essay", "evaluation", "Draft ", " ESSAY", "", "off", "1", "drafts"]
        ),
        max_size=4,
    ).map(",".join),
    st.sampled_from(
        ["on", "OFF", " yes\n", "No", "TRUE", "0", "1 ", "\uff4f\uff4e", "ON\u0130", "tru"]
    ),
)


def plainly(flag: str) -> tuple[str, ...] | None:
    """Return the stages that a flag asks for, by the grammar's own words; None for a wrong one."""
    if not flag.isascii():
        return None
    words = [word.strip(" \t\n\r\f\v").lower() for word in flag.split(",")]
    if words in ([""], ["0"], ["false"], ["no"], ["off"]):
        return ()
    if words in (["1"], ["true"], ["yes"], ["on"]):
        return PIPELINE
    covered = tuple(stage for stage in PIPELINE if stage in words)
    sound = set(words) <= set(PIPELINE) and covered == PIPELINE[: len(covered)]
    return covered if sound else None


@fuzzed()
@given(flag=FLAGS)
def test_a_flag_is_one_of_the_grammar_or_an_error(flag: str) -> None:
    """No text but the accepted ones is ever taken for a state, least of all for off."""
    rollout, error = attempt(StoreError, lambda: Rollout.parse(flag))
    assert plainly(flag) == (None if rollout is None else rollout.stages)
    if error is not None:
        assert [FLAG] == [problem.where for problem in error.problems]
        assert all(stage in error.problems[0].remedy for stage in PIPELINE)


@fuzzed()
@given(text=nasty_texts | st.sampled_from(["v1", " V1", "Phase-1", "phase_1", "v2", "v1,phase-1"]))
def test_a_scheme_is_one_of_two_or_an_error_also_when_off(text: str) -> None:
    """A wrong scheme stops everything even where the flag is off."""
    folded = text.strip(" \t\n\r\f\v").lower() if text.isascii() else text
    expected = {"": "v1", "v1": "v1", "phase-1": "phase-1"}.get(folded)
    rollout, error = attempt(StoreError, lambda: Rollout.parse("off", text))
    assert expected == (None if rollout is None else rollout.scheme)
    if error is not None:
        assert [SCHEME] == [problem.where for problem in error.problems]


# -- raw tables ------------------------------------------------------------------------------------
@fuzzed(share=2)
@given(name=st.sampled_from(sorted(TABLES)), data=st.data())
def test_a_damaged_table_is_read_or_refused_with_places(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    """Bytes changed anywhere give tables, or one error whose every problem has a place."""
    root = tables_root(tmp_path)
    (root.raw / name).write_bytes(data.draw(damaged(TABLES[name])))
    _, error = attempt(StoreError, lambda: read_tables(root))
    if error is not None:
        assert error.problems
        for problem in error.problems:
            assert problem.where.startswith(f"1_raw/{name}")
            assert problem.message
            assert problem.remedy


@fuzzed()
@given(cells=st.lists(st.lists(nasty_texts, max_size=5), max_size=5), quote=st.booleans())
def test_a_table_of_any_cells_is_read_or_refused(
    tmp_path: Path, cells: list[list[str]], quote: bool
) -> None:
    """Rows of any cells, quoted or not, give rows with distinct ids or the documented error."""
    root = tables_root(tmp_path)
    mark = '"' if quote else ""
    rows = "\n".join(",".join(f"{mark}{cell}{mark}" for cell in row) for row in cells)
    text = f"template_id,generator,active\n{rows}\n".encode("utf-8", "surrogatepass")
    (root.raw / "draft_templates.csv").write_bytes(text)
    tables, error = attempt(StoreError, lambda: read_tables(root))
    if error is not None:
        assert error.problems
    if tables is not None:
        ids = [template.template_id for template in tables.templates["draft"]]
        assert len(ids) == len(set(ids))


# -- selection files -------------------------------------------------------------------------------
SELECTION_LINES = st.one_of(
    nasty_texts,
    st.sampled_from(["# mode: evaluation-only", "# mode:", "#mode : x", "#", "# fill-up"]),
    st.sampled_from(["# skip-existing-evaluations", "6mnl1prnb7hitkpc\r", "\ufeff", "x" * 10_000]),
)


@fuzzed()
@given(
    lines=st.lists(SELECTION_LINES, max_size=6),
    name=st.sampled_from(["selected_essays.txt", "selected_drafts.txt"]),
)
def test_a_selection_file_is_understood_or_refused(
    tmp_path: Path, lines: list[str], name: str
) -> None:
    """Whatever lines a selection file has: safe ids come out of it, or one error with the lines."""
    root = tables_root(tmp_path)
    for path in root.tasks.iterdir():
        path.unlink()
    (root.tasks / name).write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    selection, error = attempt(StoreError, lambda: read_selection(root))
    if error is not None:
        assert error.problems
        assert all(problem.where.startswith(f"2_tasks/{name}") for problem in error.problems)
    if selection is not None:
        assert selection.chosen
        assert all(is_segment(one.gen_id) for one in selection.chosen)


@fuzzed()
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["", " ", "\t", "\ufeff", "# ", "\u2028", "\x0b", "\x1c"]),
            st.sampled_from(["6mnl1prnb7hitkpc", "e_sq5klak2lljyyom", "kept", "", "fill-up"]),
            st.sampled_from(["", " ", "\r", "\x85", "\x0c", " # why"]),
        ).map("".join),
        max_size=5,
    ),
    mark=st.sampled_from(["", "\ufeff"]),
)
@example(lines=["6mnl1prnb7hitkpc", "kept"], mark="\ufeff")
def test_a_migrated_selection_names_the_same_generations(
    tmp_path: Path, lines: list[str], mark: str
) -> None:
    """Whatever a selection file looks like: after a migration it is read as the same choice."""
    moved = {"6mnl1prnb7hitkpc": "e_new1", "e_sq5klak2lljyyom": "e_new2"}
    root = tables_root(tmp_path)
    file = root.tasks / "selected_essays.txt"
    file.write_bytes((mark + "\n".join(lines)).encode())
    before, _ = attempt(StoreError, lambda: read_selection(root))
    if before is not None:
        file.write_bytes(rewrite_selection(file.read_bytes(), moved))
        after = read_selection(root)
        named = [moved.get(one.gen_id, one.gen_id) for one in before.chosen]
        assert (before.mode, named) == (after.mode, [one.gen_id for one in after.chosen])


def test_a_selection_of_ten_thousand_lines_is_read(tmp_path: Path) -> None:
    """10,000 ids, each named twice, come out once each and in order."""
    root = tables_root(tmp_path)
    ids = [f"essay-{number}" for number in range(10_000)]
    (root.tasks / "selected_essays.txt").write_text("\n".join([*ids, *ids]), encoding="utf-8")
    assert ids == [one.gen_id for one in read_selection(root).chosen]


def test_every_bad_line_of_a_long_selection_is_listed(tmp_path: Path) -> None:
    """Of 10,000 bad lines each is in the error, with its number."""
    root = tables_root(tmp_path)
    text = "\n".join(f"../{number}" for number in range(10_000))
    (root.tasks / "selected_essays.txt").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        read_selection(root)
    assert [f"2_tasks/selected_essays.txt:{number}" for number in range(1, 10_001)] == [
        problem.where for problem in caught.value.problems
    ]


# -- metadata --------------------------------------------------------------------------------------
@fuzzed(share=2)
@given(
    stage=st.sampled_from(PIPELINE),
    data=st.one_of(
        damaged(json.dumps(METADATA).encode()),
        json_damaged(METADATA),
        json_values.map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=40),
        st.just(DEEP),
    ),
)
def test_metadata_is_never_silently_wrong(stage: str, data: bytes) -> None:
    """Reading never raises; every field is what the file says, or None."""
    found = parse_metadata(stage, "x", data, "gens/x/metadata.json")
    for name in ("parent_gen_id", "combo_id", "origin_cohort_id", "mode"):
        value = getattr(found, name)
        assert value is None or value == found.raw[name]
    assert found.template_id in (
        None,
        found.raw.get("template_id"),
        found.raw.get(f"{stage}_template"),
    )
    assert found.llm_model_id in (None, found.raw.get("llm_model_id"), found.raw.get("model_id"))
    assert found.replicate is None or 1 <= found.replicate < 2**31
    assert found.replicate is None or float(found.raw["replicate"]) == found.replicate
    if not found.raw:
        assert found.problems or data.strip() == b"{}"
    for flaw in found.problems:
        assert flaw.where.startswith("gens/x/metadata.json")
        str(flaw).encode()  # a message can be printed, whatever was in the file


@pytest.mark.parametrize("gen_id", ["..", "a/b", "", ".", "-x", "\0", "x" * 256, "é", "a\nb"])
def test_no_id_leads_a_read_out_of_the_store(tmp_path: Path, gen_id: str) -> None:
    """An id that is not a safe path segment is refused before a path is made of it."""
    with pytest.raises(StoreError):
        inspect_generation(DataRoot.open(tmp_path), "draft", gen_id)
