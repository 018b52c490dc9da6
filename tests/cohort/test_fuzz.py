"""Any bytes in any file that a build reads: a cohort or the documented error, nothing else."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cohort_kit import COHORT, OFF, ON, built, make_root, planned, put_draft, put_essay, tree
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs import combos
from genid_store.cohort.inputs.selection import read_selection
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout

CSV = st.lists(
    st.sampled_from(
        [*combos.COLUMNS, "stage", "gen_id", *'," é\0', "draft", "essay", "x", "../x", "1", "e1"]
    )
    | st.text(max_size=3)
).map(",".join)
BYTES = st.binary(max_size=60) | st.lists(CSV, max_size=5).map("\n".join).map(str.encode)
quick = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60
)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root")


@quick
@given(data=BYTES)
def test_any_selection_of_combos_and_any_catalogue_is_read_or_refused(
    root: DataRoot, data: bytes
) -> None:
    """Nothing but StoreError, and what is read can be written again."""
    combos.selected_path(root).write_bytes(data)
    root.combo_mappings.write_bytes(data)
    with contextlib.suppress(StoreError):
        read = combos.read_selected(root) or ()
        combos.new_to(combos.read_catalogue(root), read)
        combos.appended(data, read)


@quick
@given(data=BYTES)
def test_any_membership_is_read_or_refused(root: DataRoot, data: bytes) -> None:
    """Its members are safe path segments of known stages."""
    root.membership(COHORT).parent.mkdir(parents=True, exist_ok=True)
    root.membership(COHORT).write_bytes(data)
    with contextlib.suppress(StoreError):
        for member in read_membership(root, COHORT):
            assert root.gens in (root.generation(*member)).parents


@quick
@given(data=BYTES)
def test_any_selection_file_is_read_or_refused(root: DataRoot, data: bytes) -> None:
    """Its ids are safe path segments."""
    (root.tasks / "selected_essays.txt").write_bytes(data)
    with contextlib.suppress(StoreError):
        for chosen in read_selection(root).chosen:
            assert root.gens in root.generation("essay", chosen.gen_id).parents


@quick
@given(
    fields=st.dictionaries(
        st.sampled_from(["combo_id", "template_id", "llm_model_id", "replicate", "parent_gen_id"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=1),
    ),
    on=st.booleans(),
)
def test_any_fields_of_a_source_give_a_plan_or_the_documented_error(
    root: DataRoot, fields: dict[str, Any], on: bool
) -> None:
    """Curated from an essay and a draft whose metadata says anything."""
    shutil.rmtree(root.gens, ignore_errors=True)
    draft = {key: value for key, value in fields.items() if key != "parent_gen_id"}
    put_draft(root, "d1", **draft)
    put_essay(root, "e1", **{"parent": "d1", **fields})
    (root.tasks / "selected_essays.txt").write_text("e1\n")
    with contextlib.suppress(StoreError):
        assert planned(root, ON if on else OFF).rows


@pytest.mark.parametrize(
    "text", ["combo one", "ünïcode", 'quo"te', "a,b", "x" * 300, "=cmd()", "<script>", "a|b", "\\"]
)
def test_odd_ids_of_tables_are_built_while_the_flag_is_off(root: DataRoot, text: str) -> None:
    """They are texts like any other, and reach neither a path nor a foreign line of a file."""
    path = root.raw / "draft_templates.csv"
    quoted = '"' + text.replace('"', '""') + '"'
    path.write_text(path.read_text().replace("links-v2", quoted), encoding="utf-8")
    report = built(root)
    assert text in {row.template_id for row in report.plan.rows}
    before = tree(root)
    assert () == built(root).files
    assert before == tree(root)
    with contextlib.suppress(StoreError):
        build_cohort(root, Options(rollout=Rollout.parse("on", "phase-1"), cohort_id="other"))
