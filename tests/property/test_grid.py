"""Law: a grid's ids are those of its cells' signatures, in the order of nested loops."""

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from genid import Draft, Essay, Grid, gen_id, normalize_component
from signature_kit import WITH_REVISION, fields_of, replicates, spelled

components = st.lists(spelled, min_size=1, max_size=3, unique_by=normalize_component)


def axes_of(stage: str) -> st.SearchStrategy[dict[str, list[Any]]]:
    """Draw the axes of a stage: parents as that stage takes them, components in any spelling."""
    axes: dict[str, Any] = {
        "template_id": components,
        "replicate": st.lists(replicates, min_size=1, max_size=3, unique=True),
    }
    if stage == "revision":
        some = fields_of(stage)
        return st.fixed_dictionaries(
            {
                "draft_gen_id": st.lists(
                    some.map(lambda fields: fields["draft_gen_id"]), max_size=3, unique=True
                ),
                "previous_gen_id": st.lists(
                    some.map(lambda fields: fields.get("previous_gen_id")), max_size=3, unique=True
                ),
                "note": components,
                "replicate": axes["replicate"],
            }
        )
    if stage == "draft":
        axes |= {"combo_id": components, "llm_model_id": components}
    else:
        parents = fields_of(stage).map(lambda fields: fields["parent_gen_id"])
        axes["parent_gen_id"] = st.lists(parents, max_size=3, unique=True)
        axes["llm_model_id"] = components if stage == "evaluation" else st.just([None])
    if stage == "essay":
        axes["llm_model_id"] |= st.lists(
            st.none() | spelled, max_size=3, unique_by=lambda m: m and normalize_component(m)
        )
    return st.fixed_dictionaries(axes)


@given(st.sampled_from(sorted(WITH_REVISION)), st.data())
def test_a_grid_is_the_product_of_its_axes(stage: str, data: st.DataObject) -> None:
    """Every id, every cell and their number, twice over."""
    axes = data.draw(axes_of(stage))
    cls = WITH_REVISION[stage]
    names = list(cls.__annotations__)
    cells = [dict(zip(names, c, strict=True)) for c in product(*(axes[name] for name in names))]
    signatures = [cls(**cell) for cell in cells]
    grid: Grid[Any] = Grid(cls, **axes)
    assert len(cells) == len(grid)
    for _ in range(2):
        assert [gen_id(signature) for signature in signatures] == list(grid)
        assert [
            tuple(getattr(signature, name) for name in names) for signature in signatures
        ] == list(grid.cells())


@given(axes_of("draft"), components)
def test_a_grid_can_feed_its_childrens(axes: dict[str, list[Any]], templates: list[str]) -> None:
    """Essays over a grid of drafts are essays over the drafts' ids."""
    drafts = Grid(Draft, **axes)
    essays = Grid(Essay, parent_gen_id=drafts, template_id=templates, replicate=[1, 2])
    listed = Grid(Essay, parent_gen_id=list(drafts), template_id=templates, replicate=[1, 2])
    assert list(listed) == list(essays)
    assert list(listed.cells()) == list(essays.cells())
    assert len(listed) == len(essays)
