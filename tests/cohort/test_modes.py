"""The modes of a cohort in every rollout state: which rows, in which order, under which ids."""

import re
from pathlib import Path

import pytest

from cohort_kit import (
    COHORT,
    OFF,
    ON,
    STATES,
    built,
    everything,
    make_root,
    metadata,
    of,
    planned,
    put,
    put_draft,
    put_essay,
    put_evaluation,
    select,
    set_replicates,
    tree,
)
from genid import Draft, DraftId, Essay, gen_id, is_gen_id
from genid_store.cohort.planning.curated_essays import essay_numbers
from genid_store.cohort.planning.records import Plan
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids import legacy
from genid_store.ids.rollout import Rollout

DRAFTS_ON = Rollout.parse("draft")
ESSAYS_ON = Rollout.parse("draft,essay")


def refusal(root: DataRoot, rollout: Rollout = OFF) -> StoreError:
    """Build, and return the refusal, which leaves nothing behind."""
    before = everything(root.path)
    with pytest.raises(StoreError) as caught:
        built(root, rollout)
    assert before == everything(root.path)
    return caught.value


def places(error: StoreError) -> list[str]:
    return [problem.where for problem in error.problems]


def numbers(plan: Plan, stage: str) -> list[int]:
    return [row.replicate for row in of(plan, stage)]


@pytest.fixture
def store(tmp_path: Path) -> DataRoot:
    """A store with three drafts and four essays, replicates and models not all the first's."""
    root = make_root(tmp_path / "root")
    put_draft(root, "d1")
    put_draft(root, "d2", replicate=2)
    put_draft(root, "d3", combo_id="combo_v1_two", template_id="links-old", replicate=None)
    put_essay(root, "e1", "d1")
    put_essay(root, "e2", "d2", replicate=3)
    put_essay(root, "e3", "d3", combo_id="combo_v1_two", template_id="parsed-v1")
    put_essay(root, "e4", "d3", combo_id="combo_v1_two", llm_model_id="writer_b")
    return root


# -- cartesian ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_a_cartesian_cohort_is_the_product_in_table_order(tmp_path: Path, rollout: Rollout) -> None:
    """Drafts, then essays of each draft, then evaluations of each essay; parents follow."""
    plan = planned(make_root(tmp_path / "root", replicates=(2, 1, 1)), rollout)
    assert {"draft": 16, "essay": 32, "evaluation": 64} == plan.counts()
    assert ["draft"] * 16 + ["essay"] * 32 + ["evaluation"] * 64 == [row.stage for row in plan.rows]
    drafts = [
        (row.combo_id, row.template_id, row.llm_model_id, row.replicate)
        for row in of(plan, "draft")
    ]
    assert [
        (combo, template, model, replicate)
        for combo in ("combo_v1_one", "combo_v1_two")
        for template in ("links-v1", "links-v2")
        for model in ("writer_a", "writer_b")
        for replicate in (1, 2)
    ] == drafts
    for parents, children in (("draft", "essay"), ("essay", "evaluation")):
        expected = [row.gen_id for row in of(plan, parents) for _ in range(2)]
        assert expected == [row.parent_gen_id for row in of(plan, children)]
    assert ["llm", "copy"] * 16 == [row.mode for row in of(plan, "essay")]
    assert {COHORT} == {row.origin_cohort_id for row in plan.rows}
    assert () == plan.folded
    for row in plan.rows:
        v1 = rollout.covers(row.stage) and rollout.scheme == "v1"
        assert v1 == is_gen_id(row.gen_id)


def test_legacy_essays_of_deterministic_drafts_are_named_by_their_drafts_fields(
    tmp_path: Path,
) -> None:
    """Essay ids do not change when only drafts are switched on; their parents do."""
    root = make_root(tmp_path / "root", replicates=(2, 2, 1))
    off, on = planned(root), planned(root, DRAFTS_ON)
    assert [row.gen_id for row in of(off, "essay")] == [row.gen_id for row in of(on, "essay")]
    assert {row.gen_id for row in of(off, "draft")}.isdisjoint(
        row.gen_id for row in of(on, "draft")
    )


def test_tasks_that_legacy_ids_cannot_tell_apart_fold_and_are_counted(tmp_path: Path) -> None:
    """With the flag off as ever; where essays alone are still legacy, an error that lists them."""
    root = make_root(tmp_path / "root")
    mapping = root.tasks / "selected_combo_mappings.csv"
    mapping.write_text(mapping.read_text().replace("combo_v1_two", "combo_v1_one__links"))
    templates = root.raw / "draft_templates.csv"
    templates.write_text(templates.read_text().replace("links-v2", "links__links-v1"))
    plan = planned(root)  # combo_v1_one + links__links-v1 is combo_v1_one__links + links-v1
    assert {"draft": 6, "essay": 12, "evaluation": 48} == plan.counts()
    assert 2 == len(plan.folded)
    assert len(plan.rows) == len({(row.stage, row.gen_id) for row in plan.rows})
    error = refusal(root, DRAFTS_ON)
    assert 4 == len(error.problems)
    assert "different tasks have the same id" in str(error)
    assert {"draft": 8, "essay": 16, "evaluation": 64} == planned(root, ESSAYS_ON).counts()


def test_a_stage_without_an_active_row_is_noticed(tmp_path: Path) -> None:
    """The cohort is built without it."""
    root = make_root(tmp_path / "root")
    path = root.raw / "evaluation_templates.csv"
    path.write_text(path.read_text().replace("true", "false"))
    plan = planned(root)
    assert {"draft": 8, "essay": 16, "evaluation": 0} == plan.counts()
    assert ["1_raw/evaluation_templates.csv"] == [notice.where for notice in plan.notices]


# -- curated essays -------------------------------------------------------------------------------


def test_with_the_flag_off_a_curated_cohort_is_numbered_as_ever(store: DataRoot) -> None:
    """The draft takes the essay's model and replicate 1; essays are numbered from 1."""
    set_replicates(store.path, 1, 2, 1)
    select(store.path, "selected_essays.txt", ["e2", "e4"])
    plan = planned(store)
    assert ["draft", "essay", "essay"] * 2 == [row.stage for row in plan.rows][:6]
    first, second = of(plan, "draft")
    assert ("links-v1", "writer_a", 1) == (first.template_id, first.llm_model_id, first.replicate)
    assert ("links-old", "writer_b", 1) == (
        second.template_id,
        second.llm_model_id,
        second.replicate,
    )
    assert [1, 2, 1, 2] == numbers(plan, "essay")
    task = legacy.essay_task(legacy.draft_task("combo_v1_one", "links-v1", "writer_a"), "story-v1")
    assert [legacy.reserve_gen_id("essay", task, COHORT, salt) for salt in ("rep1", "rep2")] == [
        row.gen_id for row in of(plan, "essay")
    ][:2]
    assert [row.gen_id for row in of(plan, "essay") for _ in range(2)] == [
        row.parent_gen_id for row in of(plan, "evaluation")
    ]


def test_with_the_flag_off_an_essay_without_a_model_has_its_drafts(store: DataRoot) -> None:
    """And the draft keeps its own then."""
    put_essay(store, "e5", "d1", llm_model_id=None)
    select(store.path, "selected_essays.txt", ["e5"])
    assert {"writer_a"} == {row.llm_model_id for row in planned(store).rows[:2]}


@pytest.mark.parametrize("rollout", [ESSAYS_ON, ON], ids=["essay", "all"])
def test_a_curated_rebuild_keeps_what_the_sources_were(store: DataRoot, rollout: Rollout) -> None:
    """Drafts their model and replicate, essays their replicate and a model of their own."""
    select(store.path, "selected_essays.txt", ["e2", "e3", "e4"])
    plan = planned(store, rollout)
    [second, third] = of(plan, "draft")
    assert ("writer_a", 2) == (second.llm_model_id, second.replicate)
    assert ("writer_a", 1) == (third.llm_model_id, third.replicate)
    expected = gen_id(
        Draft(
            combo_id="combo_v1_two", template_id="links-old", llm_model_id="writer_a", replicate=1
        )
    )
    assert expected == third.gen_id
    assert [("story-v1", 3), ("parsed-v1", 1), ("story-v1", 1)] == [
        (row.template_id, row.replicate) for row in of(plan, "essay")
    ]
    assert ["llm", "copy", "llm"] == [row.mode for row in of(plan, "essay")]
    own = Essay(
        parent_gen_id=DraftId(third.gen_id),
        template_id="story-v1",
        replicate=1,
        llm_model_id="writer_b",
    )
    last = of(plan, "essay")[-1]
    assert (gen_id(own), "writer_b") == (last.gen_id, last.llm_model_id)
    assert ["draft", "essay", "draft", "essay", "essay"] == [row.stage for row in plan.rows][:5]


def test_a_model_that_differs_by_case_alone_is_the_drafts_own(store: DataRoot) -> None:
    """Compared after normalization, kept in its own spelling."""
    put_essay(store, "e5", "d1", llm_model_id=" Writer_A")
    select(store.path, "selected_essays.txt", ["e5"])
    draft, essay = planned(store, ESSAYS_ON).rows[:2]
    inherited = Essay(parent_gen_id=DraftId(draft.gen_id), template_id="story-v1", replicate=1)
    assert (gen_id(inherited), " Writer_A") == (essay.gen_id, essay.llm_model_id)


def test_phase_1_cannot_tell_an_essay_of_another_model_and_lists_all(store: DataRoot) -> None:
    """Every such essay with its file."""
    put_essay(store, "e5", "d1", llm_model_id="writer_b")
    select(store.path, "selected_essays.txt", ["e1", "e4", "e5"])
    error = refusal(store, Rollout.parse("on", "phase-1"))
    assert [
        "gens/essay/e4/metadata.json:llm_model_id",
        "gens/essay/e5/metadata.json:llm_model_id",
    ] == places(error)


@pytest.mark.parametrize(
    ("owns", "wanted", "expected"),
    [
        ([1], 3, [[1, 2, 3]]),
        ([5], 2, [[5, 1]]),
        ([2], 3, [[2, 1, 3]]),
        ([1, 2], 2, [[1, 3], [2, 4]]),
        ([3, 1], 2, [[3, 2], [1, 4]]),
        ([1, 1], 2, [[1, 2], [1, 2]]),
    ],
)
def test_essays_keep_their_number_and_then_take_the_lowest_unused(
    owns: list[int], wanted: int, expected: list[list[int]]
) -> None:
    """By any row of the draft and template; sources of one task are one."""
    assert expected == essay_numbers([("slot", own, own) for own in owns], wanted)


def test_numbers_are_free_in_another_slot() -> None:
    """Another draft or template counts for itself; another model in the same slot does not."""
    assert [[1, 2], [1, 2]] == essay_numbers([("a", 1, 1), ("b", 2, 1)], 2)
    assert [[1, 2], [1, 3]] == essay_numbers([("a", 1, 1), ("a", 2, 1)], 2)


def folded_into(plan: Plan) -> list[tuple[str, str]]:
    """Return the folded generations that a plan's notices name, and what each folds into."""
    found = ((one, re.search(r"the member of (\S+),", one.message)) for one in plan.notices)
    return [(one.where, match[1]) for one, match in found if match is not None]


def test_replicates_survive_a_curated_rebuild(store: DataRoot) -> None:
    """Two replicates of one slot stay two, and are filled up without meeting."""
    put_essay(store, "e5", "d1", replicate="2")
    set_replicates(store.path, 1, 2, 1)
    select(store.path, "selected_essays.txt", ["e1", "e5"])
    plan = planned(store, ON)
    assert [1, 3, 2, 4] == numbers(plan, "essay")
    assert 1 == len(of(plan, "draft"))
    assert () == plan.folded


def test_replicates_that_fold_with_the_flag_off_are_counted(store: DataRoot) -> None:
    """Two replicates rebuilt as the first, and two drafts rebuilt as one."""
    put_essay(store, "e5", "d1", replicate=2)
    select(store.path, "selected_essays.txt", ["e1", "e5", "e2"])
    plan = planned(store)
    assert (1, 1) == (len(of(plan, "draft")), len(of(plan, "essay")))
    assert [("essay", "e1", "e5"), ("draft", "d1", "d2"), ("essay", "e1", "e2")] == [
        (fold.stage, fold.kept, fold.folded) for fold in plan.folded
    ]


def test_legacy_essays_that_fold_over_deterministic_drafts_are_an_error(store: DataRoot) -> None:
    """Their rows would have different parents under one id."""
    select(store.path, "selected_essays.txt", ["e1", "e2"])
    assert ["essay e2"] == places(refusal(store, DRAFTS_ON))


def test_two_samples_of_one_task_are_one_row_and_are_reported(store: DataRoot) -> None:
    """A deterministic id is the task's; the second sample is named."""
    put_draft(store, "d1b")
    put_essay(store, "e1b", "d1b")
    select(store.path, "selected_essays.txt", ["e1", "e1b"])
    plan = planned(store, ON)
    assert (1, 1) == (len(of(plan, "draft")), len(of(plan, "essay")))
    assert [("draft", "d1b"), ("essay", "e1b")] == [
        (fold.stage, fold.folded) for fold in plan.folded
    ]
    assert [("draft d1b", "d1"), ("essay e1b", "e1")] == folded_into(plan)


def test_each_selected_generation_that_folds_is_named_once(store: DataRoot) -> None:
    """In the build's notices, whichever the state and however many replicates it has."""
    put_essay(store, "e1b", "d1")
    put_essay(store, "e5", "d1", replicate=2)
    set_replicates(store.path, 1, 3, 1)
    select(store.path, "selected_essays.txt", ["e1", "e1b", "e5"])
    assert [("essay e1b", "e1"), ("essay e5", "e1")] == folded_into(planned(store))
    assert [("essay e1b", "e1")] == folded_into(planned(store, ON))


@pytest.mark.parametrize("rollout", [OFF, ON], ids=["off", "on"])
def test_everything_that_keeps_essays_from_being_rebuilt_is_listed(
    tmp_path: Path, rollout: Rollout
) -> None:
    """Ids that name nothing, missing fields with their files, drafts that are gone with where they
    were expected."""
    lines = ["a", "b", "c", "d", "e", "nobody"]
    root = make_root(tmp_path / "root", essays=lines)
    put_draft(root, "d1", combo_id=None, template_id=None)
    put_draft(root, "d2", llm_model_id=None)
    put_essay(root, "a", "d1")
    put_essay(root, "b", "d2", llm_model_id=None)
    put_essay(root, "c", "gone")
    put_essay(root, "d", "../../1_raw")
    put(root, "essay", "e", template_id=5)
    error = refusal(root, rollout)
    assert [
        "2_tasks/selected_essays.txt:6",
        "gens/draft/d1/metadata.json:combo_id",
        "gens/draft/d1/metadata.json:template_id",
        "gens/draft/d2/metadata.json:llm_model_id",
        "gens/essay/c/metadata.json:parent_gen_id",
        "gens/essay/d/metadata.json:parent_gen_id",
        "gens/essay/e/metadata.json:parent_gen_id",
        "gens/essay/e/metadata.json:template_id",
    ] == places(error)
    assert "expected at gens/draft/gone/metadata.json" in str(error)
    assert "2_tasks/selected_essays.txt:3" in str(error)


def test_a_wrong_replicate_matters_only_where_it_is_kept(store: DataRoot) -> None:
    """With the flag off essays are numbered anew anyway, and the flaw is a notice."""
    put_essay(store, "e5", "d1", replicate="many")
    select(store.path, "selected_essays.txt", ["e5"])
    assert ["gens/essay/e5/metadata.json:replicate"] == [
        notice.where for notice in planned(store).notices
    ]
    assert ["gens/essay/e5/metadata.json:replicate"] == places(refusal(store, ON))


def test_fields_of_the_store_that_no_signature_can_hold_are_listed(store: DataRoot) -> None:
    """The file and the field of each."""
    put_draft(store, "d5", template_id="two words")
    put_essay(store, "e5", "d5", template_id="naïve")
    put_essay(store, "e6", "d1", template_id="naïve")
    select(store.path, "selected_essays.txt", ["e5", "e6"])
    assert ["gens/draft/d5/metadata.json:template_id"] == places(refusal(store, ON))
    select(store.path, "selected_essays.txt", ["e6"])
    assert ["gens/essay/e6/metadata.json:template_id"] == places(refusal(store, ON))
    assert planned(store).rows


def test_oddities_are_read_leniently_and_the_rest_is_noticed(store: DataRoot) -> None:
    """Older names of fields are read; a foreign gen_id in the metadata is reported."""
    put(
        store,
        "draft",
        "d5",
        combo_id="combo_v1_one",
        draft_template="links-v2",
        model_id="writer_b",
        replicate=3.0,
    )
    put(
        store,
        "essay",
        "E5",
        parent_gen_id="d5",
        essay_template="story-v1",
        model_id="writer_b",
        replicate="2",
    )
    path = store.gens / "essay" / "E5" / "metadata.json"
    path.write_text(path.read_text().replace('"gen_id": "E5"', '"gen_id": "e5"'))
    select(store.path, "selected_essays.txt", ["E5"])
    plan = planned(store, ON)
    draft, essay = plan.rows[:2]
    assert ("links-v2", "writer_b", 3) == (draft.template_id, draft.llm_model_id, draft.replicate)
    assert ("story-v1", "writer_b", 2) == (essay.template_id, essay.llm_model_id, essay.replicate)
    assert ["gens/essay/E5/metadata.json:gen_id"] == [notice.where for notice in plan.notices]


# -- selected drafts ------------------------------------------------------------------------------


def test_with_the_flag_off_selected_drafts_keep_their_ids(store: DataRoot) -> None:
    """Essays follow the cartesian rule, the draft's replicate included."""
    select(store.path, "selected_drafts.txt", ["d2", "d3"])
    set_replicates(store.path, 9, 2, 1)
    plan = planned(store)
    assert ["d2", "d3"] == [row.gen_id for row in of(plan, "draft")]
    assert {"earlier"} == {row.origin_cohort_id for row in of(plan, "draft")}
    assert {"draft": 2, "essay": 8, "evaluation": 16} == plan.counts()
    task = legacy.essay_task(legacy.draft_task("combo_v1_one", "links-v1", "writer_a"), "story-v1")
    expected = [legacy.reserve_gen_id("essay", task, COHORT, salt) for salt in ("rep2-1", "rep2-2")]
    assert expected == [row.gen_id for row in of(plan, "essay")][:2]
    before = metadata(store, "draft", "d2")
    built(store)
    assert before == metadata(store, "draft", "d2")


def test_where_drafts_are_covered_selected_ones_are_rebuilt(store: DataRoot) -> None:
    """From their own fields; the rows are this cohort's."""
    select(store.path, "selected_drafts.txt", ["d2", "d3"])
    plan = planned(store, DRAFTS_ON)
    expected = Draft(
        combo_id="combo_v1_one", template_id="links-v1", llm_model_id="writer_a", replicate=2
    )
    first = of(plan, "draft")[0]
    assert (gen_id(expected), COHORT, 2) == (first.gen_id, first.origin_cohort_id, first.replicate)
    assert ["story-v1", "parsed-v1"] * 2 == [row.template_id for row in of(plan, "essay")]


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_a_cohort_over_selected_drafts_builds_in_every_state(
    store: DataRoot, rollout: Rollout
) -> None:
    """The same rows, parents following, and a second build writes nothing."""
    select(store.path, "selected_drafts.txt", ["d1", "d2", "d3"])
    report = built(store, rollout)
    assert {"draft": 3, "essay": 6, "evaluation": 24} == report.plan.counts()
    before = tree(store)
    assert () == built(store, rollout).files
    assert before == tree(store)


def test_drafts_of_one_task_fold_their_essays_with_the_flag_off(store: DataRoot) -> None:
    """Their legacy essays cannot be told apart; under deterministic ids the drafts are one."""
    put_draft(store, "d1b")
    select(store.path, "selected_drafts.txt", ["d1", "d1b"])
    off = planned(store)
    assert {"draft": 2, "essay": 2, "evaluation": 8} == off.counts()
    assert ["essay", "essay"] == [fold.stage for fold in off.folded]
    on = planned(store, ON)
    assert {"draft": 1, "essay": 2, "evaluation": 8} == on.counts()
    assert [("draft", "d1", "d1b")] == [(one.stage, one.kept, one.folded) for one in on.folded]


def test_drafts_that_lack_a_field_are_all_named(store: DataRoot) -> None:
    """In every state, with the line that selects them."""
    put_draft(store, "d5", combo_id=None, replicate=0)
    put_draft(store, "d6", llm_model_id=None)
    select(store.path, "selected_drafts.txt", ["d5", "d1", "d6"])
    for rollout in (OFF, ON):
        assert [
            "gens/draft/d5/metadata.json:combo_id",
            "gens/draft/d5/metadata.json:replicate",
            "gens/draft/d6/metadata.json:llm_model_id",
        ] == places(refusal(store, rollout))


# -- evaluation-only ------------------------------------------------------------------------------

ONLY = "# mode: evaluation-only"


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_an_evaluation_only_cohort_has_evaluations_alone(store: DataRoot, rollout: Rollout) -> None:
    """Over the essays as they stand, in their order."""
    select(store.path, "selected_essays.txt", [ONLY, "e3", "e1"])
    plan = planned(store, rollout)
    assert {"draft": 0, "essay": 0, "evaluation": 8} == plan.counts()
    assert ["e3"] * 4 + ["e1"] * 4 == [row.parent_gen_id for row in plan.rows]
    assert ["combo_v1_two"] * 4 + ["combo_v1_one"] * 4 == [row.combo_id for row in plan.rows]
    assert rollout.covers("evaluation") == all(row.gen_id.startswith("v_") for row in plan.rows)


def test_an_essay_without_a_combo_cannot_be_evaluated(store: DataRoot) -> None:
    """Nor its draft has one: its file is named; what the plan does not need may be missing."""
    put_essay(store, "e5", "gone", combo_id=None)
    put_essay(store, "e6", "gone", template_id=None, llm_model_id=None)
    select(store.path, "selected_essays.txt", [ONLY, "e5", "e6"])
    assert ["gens/essay/e5/metadata.json:combo_id"] == places(refusal(store))
    select(store.path, "selected_essays.txt", [ONLY, "e6"])
    plan = planned(store)
    assert 4 == len(plan.rows)
    assert ["gens/essay/e6/metadata.json:template_id"] == [one.where for one in plan.notices]


def test_an_essay_whose_id_shows_another_stage_is_no_parent_of_deterministic_ids(
    store: DataRoot,
) -> None:
    """Such ids are named with their files; legacy evaluations of them are what they were."""
    for name in ("d_story", "v_story"):
        put_essay(store, name, "d1")
    select(store.path, "selected_essays.txt", [ONLY, "d_story", "e1", "v_story"])
    assert [
        "gens/essay/d_story/metadata.json:gen_id",
        "gens/essay/v_story/metadata.json:gen_id",
    ] == places(refusal(store, ON))
    assert 12 == len(planned(store).rows)


def test_an_id_of_another_family_is_resolved_where_the_store_lacks_it(store: DataRoot) -> None:
    """The hook is asked for what is not there, and for nothing else."""
    from genid_store.cohort.build import Options
    from genid_store.cohort.prepare import prepare

    asked = []

    def resolve(stage: str, gen_id: str) -> str | None:
        asked.append((stage, gen_id))
        return {"old-name": "e1", "gone": "also-gone"}.get(gen_id)

    select(store.path, "selected_essays.txt", [ONLY, "old-name", "e1", "e2"])
    options = Options(rollout=OFF, cohort_id=COHORT)
    plan = prepare(store, options, resolve=resolve).plan
    assert ["e1", "e2"] == list(dict.fromkeys(row.parent_gen_id for row in plan.rows))
    assert [("essay", "old-name")] == asked
    select(store.path, "selected_essays.txt", [ONLY, "gone", "nobody"])
    with pytest.raises(StoreError) as caught:
        prepare(store, options, resolve=resolve)
    assert 2 == len(caught.value.problems)


# -- filling up -----------------------------------------------------------------------------------

FILL = [ONLY, "# fill-up"]


def fill(root: DataRoot, essay: str, *replicates: object, **fields: object) -> None:
    """Lay evaluations of other cohorts with the given replicates (None: without one)."""
    for number, replicate in enumerate(replicates):
        of_cell = "-".join(str(value).strip() for value in fields.values())
        put_evaluation(root, f"x{number}-{essay}-{of_cell}", essay, replicate=replicate, **fields)


def novelty(plan: Plan) -> list[int]:
    return [row.replicate for row in plan.rows if row.template_id == "novelty-v1"]


@pytest.mark.parametrize(
    ("existing", "off", "on"),
    [
        ([], [1, 2, 3], [1, 2, 3]),
        ([1], [2, 3], [2, 3]),
        ([3], [2, 3], [1, 2]),
        ([1, 3], [3], [2]),
        ([1, 1], [3], [2]),
        ([2, 2, 2], [], []),
        ([None], [2, 3], [2, 3]),
        ([None, None], [3], [3]),
        ([None, 1], [3], [3]),
        ([None, 2], [3], [3]),
        ([2, None], [3], [3]),
        ([7, 7], [3], [1]),
        (["2", 3.0], [3], [1]),
        ([1, 2, 3, 4], [], []),
    ],
)
def test_filling_up_takes_the_lowest_free_numbers_where_evaluations_are_covered(
    store: DataRoot, existing: list[object], off: list[int], on: list[int]
) -> None:
    """With the flag off, from the count of existing ones up; gaps, repeats, absent numbers."""
    set_replicates(store.path, 1, 1, 3)
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    fill(store, "e1", *existing)
    assert off == novelty(planned(store))
    assert on == novelty(planned(store, ON))


def test_a_text_under_two_ids_fills_one_place(store: DataRoot) -> None:
    """Also where each was given the other's in turn; with the flag off all count, as ever."""
    set_replicates(store.path, 1, 1, 3)
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    put_evaluation(store, "one", "e1", adopted_from="again")
    put_evaluation(store, "again", "e1", adopted_from="one")
    put_evaluation(store, "two", "e1", replicate=2)
    assert [] == novelty(planned(store))
    assert [3] == novelty(planned(store, ON))


def test_filling_up_says_what_it_found(store: DataRoot) -> None:
    """Added rows, fully covered essays, missing cells."""
    select(store.path, "selected_essays.txt", [*FILL, "e1", "e2"])
    for template in ("novelty-v1", "style-v1"):
        fill(store, "e1", 1, 2, template_id=template)
    fill(store, "e2", 1)
    fill_up = planned(store, ON).fill_up
    assert fill_up is not None
    assert (3, ("e1",)) == (fill_up.added, fill_up.covered_essays)
    assert [("e2", "novelty-v1", 1, 1), ("e2", "style-v1", 0, 2)] == [
        (cell.essay_gen_id, cell.template_id, cell.others, cell.added) for cell in fill_up.missing
    ]


@pytest.mark.parametrize("rollout", STATES.values(), ids=STATES)
def test_a_fill_up_cohort_can_be_rebuilt(store: DataRoot, rollout: Rollout) -> None:
    """Its own evaluations are its members and come out again, in the same order."""
    set_replicates(store.path, 1, 1, 3)
    select(store.path, "selected_essays.txt", [*FILL, "e1", "e2"])
    fill(store, "e1", 2, None)
    first = built(store, rollout)
    before = tree(store)
    second = built(store, rollout)
    assert [row.gen_id for row in first.plan.rows] == [row.gen_id for row in second.plan.rows]
    assert before == tree(store)
    assert second.plan.fill_up is not None
    assert (0, 10) == (second.plan.fill_up.added, len(second.plan.rows))


def test_a_fill_up_cohort_keeps_its_members_when_the_flag_is_flipped(store: DataRoot) -> None:
    """Nothing is paid twice: own evaluations count whatever their family is."""
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    first = built(store)
    second = built(store, ON)
    assert [row.gen_id for row in first.plan.rows] == [row.gen_id for row in second.plan.rows]
    assert {"draft": 0, "essay": 0, "evaluation": 0} == second.new


def test_more_replicates_add_to_a_fill_up_cohort(store: DataRoot) -> None:
    """What is lacking now is added to what the cohort has."""
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    first = built(store, ON)
    set_replicates(store.path, 1, 1, 4)
    second = built(store, ON)
    assert () == second.prepared.dropped
    assert {row.gen_id for row in first.plan.rows} < {row.gen_id for row in second.plan.rows}
    assert [1, 2, 3, 4] == novelty(second.plan)


def test_a_legacy_id_that_is_taken_falls_back_to_the_fill_salts(store: DataRoot) -> None:
    """fill{r}, then fill{r}-1 and on."""
    set_replicates(store.path, 1, 1, 1)
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    task = legacy.evaluation_task("e1", "novelty-v1", "judge_a")
    for salt in (None, "fill1"):
        taken = legacy.reserve_gen_id("evaluation", task, COHORT, salt)
        put_evaluation(store, taken, "another-essay")
    expected = legacy.reserve_gen_id("evaluation", task, COHORT, "fill1-1")
    assert expected == planned(store).rows[0].gen_id


def test_spelling_is_folded_where_evaluations_are_covered(store: DataRoot) -> None:
    """There a differently spelled evaluation is of the same cell; with the flag off it is not."""
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    fill(store, "e1", 1, template_id=" Novelty-V1", llm_model_id="JUDGE_A")
    assert [2] == novelty(planned(store, ON))
    assert [1, 2] == novelty(planned(store))


def test_evaluations_that_cannot_be_read_are_reported_and_never_overwritten(
    store: DataRoot,
) -> None:
    """Their ids are not free, and what they are evaluations of is unknown."""
    select(store.path, "selected_essays.txt", [*FILL, "e1"])
    first = planned(store, ON).rows[0]
    folder = store.gens / "evaluation" / first.gen_id
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_bytes(b"")
    plan = planned(store, ON)
    assert [2, 3] == novelty(plan)
    assert [f"gens/evaluation/{first.gen_id}/metadata.json"] == [
        notice.where for notice in plan.notices
    ]
