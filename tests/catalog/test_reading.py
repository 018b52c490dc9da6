"""Rows of the index: the short way through plain documents, held against records of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genid import V1, Draft
from genid.schemes import phase_1_id
from genid_store.catalog.expected import ParentIds, derive, derive_expected, facts_of
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.reading import Reader
from genid_store.catalog.metadata import parse_metadata
from genid_store.fs.layout import DataRoot
from genid_store.ids import legacy
from storekit import Store

_PLAIN = {
    "combo_id": "c",
    "template_id": "t",
    "llm_model_id": "m",
    "parent_gen_id": "p",
    "replicate": 1,
    "origin_cohort_id": "cohort-1",
    "mode": "llm",
}
_DRAFT = Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=1)
_TASK = legacy.evaluation_task("p", "t", "m")
_NAMES = (
    V1.derive(_DRAFT),
    phase_1_id(_DRAFT),
    legacy.reserve_gen_id("draft", "c__t__m", "cohort-1", None),
    legacy.reserve_gen_id("evaluation", _TASK, "cohort-1", "fill1"),
    f"v_{legacy.reserve_gen_id('evaluation', _TASK, 'cohort-1', None)[:13]}",
    "d_5ezrffv9uf3lr37d",
    "e_0123456789abcdefghjkmnpqrs",
    "hand-made.1",
)
_VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [*("t", "T ", "m", "x|y", "sp ace", "é", "", "d_abc", "fill1"), None, 0, 1, 2, 1.0, True, []]
)
_PARENTS = st.sampled_from(
    [
        None,
        ParentIds(v1=None, phase_1=None, task_id=None, llm_model_id=None, replicate=1),
        ParentIds(v1="p", phase_1="p", task_id="c__t__m", llm_model_id="m", replicate=2),
        ParentIds(v1="e_x", phase_1=None, task_id="c__t__m", llm_model_id="M", replicate=1),
        ParentIds(v1="e_x", phase_1="e_y", task_id=None, llm_model_id="other", replicate=None),
    ]
)


_CHANGES = st.dictionaries(
    st.sampled_from([*_PLAIN, "previous_gen_id", "model_id", "more"]), _VALUES, max_size=2
)
_STAGES = st.sampled_from(["draft", "essay", "evaluation"])


@given(stage=_STAGES, name=st.sampled_from(_NAMES), changes=_CHANGES)
def test_a_plain_document_says_what_its_record_does(
    stage: str, name: str, changes: dict[str, Any]
) -> None:
    """Whatever id and fields: the same facts, the same for the signature, or a record is made."""
    reader = Reader("root", stage, lambda _: None)
    data = json.dumps({**_PLAIN, "stage": stage, "gen_id": name, **changes}).encode()
    assert reader._plain(name, data) in (None, reader._recorded(name, data))


@given(
    stage=_STAGES,
    every=st.lists(st.tuples(st.sampled_from(_NAMES), _CHANGES, _PARENTS), min_size=1, max_size=5),
)
def test_many_have_the_ids_that_each_has_alone(
    stage: str, every: list[tuple[str, dict[str, Any], ParentIds | None]]
) -> None:
    """Whatever ids, fields and parents stand beside one another."""
    found, alone = [], []
    for name, changes, parent in every:
        data = json.dumps({**_PLAIN, "stage": stage, "gen_id": name, **changes}).encode()
        one = parse_metadata(stage, name, data, "metadata.json")
        above = None if stage == "draft" else parent
        found.append((facts_of(one), one.signature_fields(), above))
        alone.append(derive_expected(one, above))
    facts, values, parents = zip(*found, strict=True)
    assert alone == derive(facts, values, parents)


@pytest.mark.usefixtures("settled")
def test_an_index_of_records_is_the_same(mixed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for a store with everything in it, parents and children together."""
    root, rows = DataRoot.open(mixed.path), "SELECT * FROM generation ORDER BY stage, gen_id"
    with StoreIndex.fresh(root, persist=False) as index:
        found = index.sql(rows)
    monkeypatch.setattr(Reader, "_plain", lambda *given: None)
    with StoreIndex.fresh(root, persist=False) as index:
        assert found == index.sql(rows)


@pytest.mark.usefixtures("settled")
def test_nothing_takes_a_record_that_need_not(
    small: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the first index of a large store would take half as long again."""

    def refuse(*_: object) -> None:
        raise AssertionError("a record was made")

    monkeypatch.setattr(Reader, "_recorded", refuse)
    with StoreIndex.fresh(DataRoot.open(small.path)) as index:
        assert len(small.generations) == index.count()
