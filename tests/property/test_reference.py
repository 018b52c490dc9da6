"""Law: the core agrees with an independent slow reference, and refuses in good order."""

from hypothesis import given
from hypothesis import strategies as st

import slow_reference
from genid import PHASE_1, Problem, SignatureError, canonical_bytes, gen_id
from signature_kit import CLASSES, PLAIN, WITH_REVISION, Fields, fields_of, signature, tasks


@given(tasks())
def test_bytes_and_ids_are_those_of_the_reference(task: tuple[str, Fields]) -> None:
    """rfc8785 + blake3 + uuid + typeid come to the same, spelled any way."""
    made = signature(task)
    assert slow_reference.canonical(*task) == canonical_bytes(made)
    assert slow_reference.gen_id(*task) == gen_id(made)


_no_bars = st.text(PLAIN.replace("|", ""), min_size=1, max_size=30)


@given(
    tasks(_no_bars, CLASSES).filter(
        lambda task: task[0] != "essay" or not task[1].get("llm_model_id")
    )
)
def test_phase_1_is_that_of_the_reference(task: tuple[str, Fields]) -> None:
    """Every signature that phase-1 can express has the reference's id under it."""
    if "|" not in task[1].get("parent_gen_id", ""):
        assert slow_reference.phase_1(*task) == gen_id(signature(task), PHASE_1)


_anything = st.one_of(
    st.text(max_size=300), st.none(), st.booleans(), st.floats(), st.integers(), st.binary()
)


@given(st.sampled_from(sorted(WITH_REVISION)), st.data())
def test_a_field_is_accepted_as_it_should_be_or_refused_by_name(
    stage: str, data: st.DataObject
) -> None:
    """Whatever a field holds: an id of the reference, or an error with that field's place."""
    fields = data.draw(fields_of(stage))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(_anything)
    problems: tuple[Problem, ...] = ()
    made = None
    try:
        made = WITH_REVISION[stage](**fields)
    except SignatureError as error:
        problems = error.problems
    assert made is not None or [f"{stage}.{name}"] == [problem.place for problem in problems]
    assert made is None or slow_reference.gen_id(stage, fields) == gen_id(made)
