"""Laws of planning, over any tables, selections and stores: pure, so without a disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from itertools import count

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort_kit import COHORT, STATES
from genid_store.catalog.metadata import Generation
from genid_store.cohort.compare import compare_plans
from genid_store.cohort.inputs.combos import Combo
from genid_store.cohort.inputs.selection import Chosen, CohortMode, Selection
from genid_store.cohort.inputs.tables import Model, RawTables, Template
from genid_store.cohort.planning.curated_essays import essay_numbers
from genid_store.cohort.planning.fill_up import numbered
from genid_store.cohort.planning.plan import plan_cohort
from genid_store.cohort.planning.records import Inputs, Plan
from genid_store.ids.parents import check_parents
from genid_store.ids.rollout import Rollout

STAGES = ("draft", "essay", "evaluation")


class MemoryView:
    """A store that is a list."""

    def __init__(self, generations: Collection[Generation]) -> None:
        self.by_id = {(one.stage, one.gen_id): one for one in generations}

    def get(self, stage: str, gen_id: str) -> Generation | None:
        return self.by_id.get((stage, gen_id))

    def has(self, stage: str, gen_id: str) -> bool:
        return (stage, gen_id) in self.by_id

    def evaluations_of(self, essay_gen_ids: Collection[str]) -> Iterator[Generation]:
        for (stage, _), one in sorted(self.by_id.items()):
            if stage == "evaluation" and one.parent_gen_id in essay_gen_ids:
                yield one


counts = st.integers(1, 3)
names = st.lists(st.sampled_from(["a", "b-1", "c_2", "d.x"]), min_size=1, max_size=3, unique=True)
rollouts = st.sampled_from(list(STATES.values()))


@st.composite
def tables(draw: st.DrawFn) -> RawTables:
    return RawTables(
        templates={
            stage: tuple(
                Template(template_id=f"{stage}-{name}", generator="llm", active=True, where=name)
                for name in draw(names)
            )
            for stage in STAGES
        },
        models=tuple(
            Model(
                llm_model_id=name, for_generation=True, for_evaluation=True, model=None, where=name
            )
            for name in draw(names)
        ),
        concepts=(),
        replicates={stage: draw(counts) for stage in STAGES},
    )


def inputs(raw: RawTables, rollout: Rollout, selection: Selection, combos: int = 0) -> Inputs:
    made = [
        Combo(
            combo_id=f"combo_{number}",
            version="v1",
            concept_ids=frozenset({"c"}),
            description_level="paragraph",
            k_max="2",
            where=str(number),
        )
        for number in range(combos)
    ]
    return Inputs(
        tables=raw, combos=tuple(made), selection=selection, rollout=rollout, cohort_id=COHORT
    )


def seeded(plan: Plan) -> list[Generation]:
    """Return the generations that a build of the plan would have made."""
    return [
        Generation(
            stage=row.stage,
            gen_id=row.gen_id,
            parent_gen_id=row.parent_gen_id,
            combo_id=row.combo_id,
            template_id=row.template_id,
            llm_model_id=row.llm_model_id,
            replicate=row.replicate,
            origin_cohort_id=row.origin_cohort_id,
        )
        for row in plan.rows
    ]


@settings(deadline=None, max_examples=60)
@given(raw=tables(), rollout=rollouts, combos=counts)
def test_a_cartesian_plan_is_complete_sound_and_the_same_again(
    raw: RawTables, rollout: Rollout, combos: int
) -> None:
    """Every cell once, ids unique, parents in the cohort; the store has no part in it."""
    given_inputs = inputs(raw, rollout, Selection(), combos)
    plan = plan_cohort(given_inputs, MemoryView([]))
    cells = {
        "draft": combos * len(raw.templates["draft"]) * len(raw.models) * raw.replicates["draft"]
    }
    cells["essay"] = cells["draft"] * len(raw.templates["essay"]) * raw.replicates["essay"]
    judged = len(raw.templates["evaluation"]) * len(raw.models) * raw.replicates["evaluation"]
    cells["evaluation"] = cells["essay"] * judged
    assert cells == plan.counts()
    assert len(plan.rows) == len({(row.stage, row.gen_id) for row in plan.rows})
    check_parents([row._asdict() for row in plan.rows], lambda _: False)
    assert plan == plan_cohort(given_inputs, MemoryView(seeded(plan)))


@settings(deadline=None, max_examples=60)
@given(raw=tables(), before=rollouts, after=rollouts)
def test_a_comparison_pairs_every_cell_with_itself(
    raw: RawTables, before: Rollout, after: Rollout
) -> None:
    """Between any two states of a cartesian cohort."""
    view = MemoryView([])
    old, new = (
        plan_cohort(inputs(raw, rollout, Selection(), 2), view) for rollout in (before, after)
    )
    changes = compare_plans(old, new, view).changes
    assert [row.gen_id for row in new.rows] == [one.new.gen_id for one in changes if one.new]
    assert all(one.old and one.new and one.old[4:] == one.new[4:] for one in changes)


@st.composite
def evaluations(draw: st.DrawFn, raw: RawTables) -> list[Generation]:
    """Evaluations of the essay `e` by other cohorts and this one, numbered anyhow."""
    cells = st.tuples(
        st.sampled_from([row.template_id for row in raw.templates["evaluation"]]),
        st.sampled_from([row.llm_model_id for row in raw.models]),
        st.none() | st.integers(1, 5),
        st.sampled_from(["earlier", "other", COHORT]),
    )
    return [
        Generation(
            stage="evaluation",
            gen_id=f"x{number}",
            parent_gen_id="e",
            combo_id="c",
            template_id=template,
            llm_model_id=model,
            replicate=replicate,
            origin_cohort_id=cohort,
        )
        for number, (template, model, replicate, cohort) in enumerate(
            draw(st.lists(cells, max_size=12))
        )
    ]


ESSAY = Generation(
    stage="essay",
    gen_id="e",
    parent_gen_id="d",
    combo_id="c",
    template_id="t",
    llm_model_id="m",
    replicate=1,
    origin_cohort_id="earlier",
)
FILL_UP = Selection(
    mode=CohortMode.EVALUATIONS, chosen=(Chosen("e", "f:1"),), fill_up=True, file="f"
)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), raw=tables(), rollout=rollouts)
def test_filling_up_gives_each_cell_what_it_lacks_and_can_be_repeated(
    data: st.DataObject, raw: RawTables, rollout: Rollout
) -> None:
    """Own evaluations come out again; a rebuild is the same, also with the flag flipped."""
    existing = data.draw(evaluations(raw))
    plan = plan_cohort(inputs(raw, rollout, FILL_UP), MemoryView([ESSAY, *existing]))
    ids = {one.gen_id for one in existing}
    own = {one.gen_id for one in existing if one.origin_cohort_id == COHORT}
    assert own == {row.gen_id for row in plan.rows} & ids
    there = Counter((one.template_id, one.llm_model_id) for one in existing)
    added = Counter(
        (row.template_id, row.llm_model_id) for row in plan.rows if row.gen_id not in ids
    )
    for template in raw.templates["evaluation"]:
        for model in raw.models:
            cell = (template.template_id, model.llm_model_id)
            assert max(0, raw.replicates["evaluation"] - there[cell]) == added[cell]
    view = MemoryView([ESSAY, *existing, *seeded(plan)])
    for again in (rollout, Rollout.OFF, Rollout.parse("on")):
        rebuilt = plan_cohort(inputs(raw, again, FILL_UP), view)
        assert {row.gen_id for row in plan.rows} == {row.gen_id for row in rebuilt.rows}
    assert [row.gen_id for row in plan.rows] == [
        row.gen_id for row in plan_cohort(inputs(raw, rollout, FILL_UP), view).rows
    ]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), raw=tables())
def test_deterministic_additions_take_the_lowest_numbers_that_are_free(
    data: st.DataObject, raw: RawTables
) -> None:
    """Cell by cell, an evaluation without a number counting as the lowest not otherwise taken."""
    existing = data.draw(evaluations(raw))
    on = Rollout.parse("on")
    plan = plan_cohort(inputs(raw, on, FILL_UP), MemoryView([ESSAY, *existing]))
    ids = {one.gen_id for one in existing}
    for template in raw.templates["evaluation"]:
        for model in raw.models:
            cell = (template.template_id, model.llm_model_id)
            taken = numbered(
                [one.replicate for one in existing if (one.template_id, one.llm_model_id) == cell]
            )
            new = [
                row.replicate
                for row in plan.rows
                if (row.template_id, row.llm_model_id) == cell and row.gen_id not in ids
            ]
            free = (number for number in count(1) if number not in taken)
            assert [next(free) for _ in new] == new


@given(st.lists(st.none() | st.integers(1, 9), max_size=12))
def test_absent_numbers_become_the_lowest_not_taken(replicates: list[int | None]) -> None:
    """Numbers that are there stay; the others are new, different, and as low as can be."""
    result = numbered(replicates)
    given_numbers = [number for number in replicates if number is not None]
    filled = [new for old, new in zip(replicates, result, strict=True) if old is None]
    assert given_numbers == [new for old, new in zip(replicates, result, strict=True) if old]
    free = (number for number in count(1) if number not in given_numbers)
    assert [next(free) for _ in filled] == filled


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 6)), max_size=8
    ),
    st.integers(1, 4),
)
def test_essay_numbers_keep_their_own_and_never_meet(
    sources: list[tuple[str, str, int]], wanted: int
) -> None:
    """Each source has its own first and `wanted` in all; within a slot no added number is used
    twice, or is any source's own."""
    tasks = [(slot, (slot, model, own), own) for slot, model, own in sources]
    result = essay_numbers(tasks, wanted)
    assert [own for _, _, own in sources] == [numbers[0] for numbers in result]
    assert {wanted} >= {len(numbers) for numbers in result}
    for slot in "ab":
        of_slot = {
            task: numbers
            for (at, task, _), numbers in zip(tasks, result, strict=True)
            if at == slot
        }
        added = [number for numbers in of_slot.values() for number in numbers[1:]]
        owns = {own for at, _, own in sources if at == slot}
        assert len(added) == len(set(added))
        assert owns.isdisjoint(added)
        assert set(range(1, max(added, default=0))) <= owns | set(added)


@settings(deadline=None, max_examples=60)
@given(raw=tables(), replicates=st.lists(st.integers(1, 4), min_size=1, max_size=4, unique=True))
def test_replicates_survive_a_curated_rebuild(raw: RawTables, replicates: list[int]) -> None:
    """Every selected essay is there again under its own number, and rebuilding changes nothing."""
    draft = evolve(ESSAY, stage="draft", gen_id="d", parent_gen_id=None, replicate=3)
    essays = [evolve(ESSAY, gen_id=f"e{number}", replicate=number) for number in replicates]
    chosen = tuple(Chosen(essay.gen_id, essay.gen_id) for essay in essays)
    selection = Selection(mode=CohortMode.ESSAYS, chosen=chosen, file="f")
    given_inputs = inputs(raw, Rollout.parse("on"), selection)
    plan = plan_cohort(given_inputs, MemoryView([draft, *essays]))
    rebuilt = [row.replicate for row in plan.rows if row.stage == "essay"]
    wanted = raw.replicates["essay"]
    assert replicates == rebuilt[::wanted]
    assert len(replicates) * wanted == len(set(rebuilt))
    assert [3] == [row.replicate for row in plan.rows if row.stage == "draft"]
    assert plan == plan_cohort(given_inputs, MemoryView([draft, *essays, *seeded(plan)]))
