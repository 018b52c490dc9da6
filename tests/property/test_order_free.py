"""Law: neither the order of arguments nor spelling has a part in an id (SPEC 1.3, 2.1)."""

from hypothesis import given
from hypothesis import strategies as st

from genid import canonical_bytes, gen_id, normalize_component
from signature_kit import WHITE, WITH_REVISION, Fields, components, signature, tasks


@given(tasks(), st.data())
def test_arguments_come_in_any_order(task: tuple[str, Fields], data: st.DataObject) -> None:
    """A shuffled call constructs an equal signature with the same bytes."""
    stage, fields = task
    names = data.draw(st.permutations(sorted(fields)))
    shuffled = WITH_REVISION[stage](**{name: fields[name] for name in names})
    assert signature(task) == shuffled
    assert canonical_bytes(signature(task)) == canonical_bytes(shuffled)


@given(tasks(components), st.text(WHITE, max_size=3), st.text(WHITE, max_size=3))
def test_case_and_outer_white_space_are_no_part_of_identity(
    task: tuple[str, Fields], head: str, tail: str
) -> None:
    """Spelling every component in upper case with white space around changes nothing."""
    stage, fields = task
    spelled = {
        name: f"{head}{value.upper()}{tail}"
        if isinstance(value, str) and not name.endswith("_gen_id")
        else value
        for name, value in fields.items()
    }
    assert gen_id(signature(task)) == gen_id(WITH_REVISION[stage](**spelled))


@given(tasks())
def test_normalizing_twice_is_normalizing_once(task: tuple[str, Fields]) -> None:
    """A signature made from another's fields equals it; components are what the helper gives."""
    made = signature(task)
    assert made == WITH_REVISION[task[0]](**made.fields())
    for name, value in task[1].items():
        if isinstance(value, str) and not name.endswith("_gen_id"):
            assert made.fields()[name] == normalize_component(value)
