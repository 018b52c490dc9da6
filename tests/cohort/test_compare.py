"""What another rollout state would change, member by member, without writing anything."""

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
    of,
    planned,
    put_draft,
    put_essay,
    put_evaluation,
    set_replicates,
)
from genid_store.cli import run
from genid_store.cohort.build import compare_with
from genid_store.cohort.compare import Comparison
from genid_store.cohort.prepare import Options
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout


def compared(root: DataRoot, before: Rollout, after: Rollout) -> Comparison:
    """Compare, and see that nothing at all was written."""
    there = everything(root.path)
    result = compare_with(root, Options(rollout=after, cohort_id=COHORT), before)
    assert there == everything(root.path)
    return result


@pytest.mark.parametrize("after", STATES.values(), ids=STATES)
def test_every_member_is_paired_with_itself(tmp_path: Path, after: Rollout) -> None:
    """Same fields on both sides, parents paired too, ids differing from the first covered stage."""
    root = make_root(tmp_path / "root", replicates=(2, 2, 2))
    result = compared(root, OFF, after)
    assert [row.gen_id for row in planned(root, after).rows] == [
        change.new.gen_id for change in result.changes if change.new
    ]
    partner = {}
    for change in result.changes:
        assert change.old is not None
        assert change.new is not None
        assert change.old[4:] == change.new[4:]
        partner[change.new.gen_id] = change.old.gen_id
        assert partner.get(change.new.parent_gen_id or "") == change.old.parent_gen_id
    counts = {"draft": 16, "essay": 64, "evaluation": 256}
    if not after.stages:
        counts = dict.fromkeys(counts, 0)
    elif after.stages == ("draft",):
        counts = {"draft": 16, "essay": 0, "evaluation": 0}
    assert counts == result.changed()


def test_it_says_which_ids_exist(tmp_path: Path) -> None:
    """Under either name."""
    root = make_root(tmp_path / "root")
    built(root)
    result = compared(root, OFF, ON)
    assert {(True, False)} == {(one.old_exists, one.new_exists) for one in result.changes}
    assert {(False, True)} == {
        (one.old_exists, one.new_exists) for one in compared(root, ON, OFF).changes
    }


def test_it_says_whose_text_a_member_can_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id that does not exist is not a new text."""
    root = make_root(tmp_path / "root")
    old = of(built(root).plan, "draft")[0].gen_id
    (root.generation("draft", old) / "raw.txt").write_text("text")
    (root.generation("draft", old) / "parsed.txt").write_text("text")
    held = {one.new.gen_id: one.new_held for one in compared(root, OFF, ON).changes if one.new}
    assert [(old,)] == [ids for ids in held.values() if ids]
    options = ["--data-root", str(root.path), "--cohort-id", COHORT, "--after", "on"]
    assert 0 == run(["cohort", "compare", *options])
    said = capsys.readouterr().out
    assert "\ntext under another id: 1 member; `genid cohort run`" in said
    assert f"does not exist\n  its text is there as {old}\n" in said


def test_curated_members_are_paired_by_their_sources(tmp_path: Path) -> None:
    """Also where replicates and models differ between the states, and where rows fold."""
    root = make_root(tmp_path / "root", replicates=(1, 2, 1), essays=["e1", "e2"])
    put_draft(root, "d1")
    put_draft(root, "d2", replicate=2)
    put_essay(root, "e1", "d1", replicate=4)
    put_essay(root, "e2", "d2")
    result = compared(root, OFF, ON)
    drafts = [change for change in result.changes if change.stage == "draft"]
    [folded] = of(planned(root), "draft")
    assert [(folded.gen_id, 1), (folded.gen_id, 2)] == [
        (change.old.gen_id, change.new.replicate) for change in drafts if change.old and change.new
    ]
    essays = [change for change in result.changes if change.stage == "essay"]
    assert [(1, 4), (2, 1), (1, 1), (2, 2)] == [
        (change.old.replicate, change.new.replicate)
        for change in essays
        if change.old and change.new
    ]
    evaluations = [change for change in result.changes if change.stage == "evaluation"]
    assert 8 == len(evaluations)
    assert all(change.old and change.new for change in evaluations)
    back = compared(root, ON, OFF)
    assert (14, 7) == (len(back.changes), sum(one.new is None for one in back.changes))
    assert all(one.old for one in back.changes)


def test_filled_up_members_that_exist_stay_and_the_others_are_paired(tmp_path: Path) -> None:
    """Own evaluations keep their ids; what is to be added is paired in order."""
    lines = ["# mode: evaluation-only", "# fill-up", "e1"]
    root = make_root(tmp_path / "root", essays=lines)
    put_draft(root, "d1")
    put_essay(root, "e1", "d1")
    built(root)
    set_replicates(root.path, 1, 1, 3)
    put_evaluation(root, "x1", "nobody")
    result = compared(root, OFF, ON)
    assert {"draft": 0, "essay": 0, "evaluation": 2} == result.changed()
    assert [3, 3] == [one.new.replicate for one in result.changes if one.changed and one.new]


def test_selected_drafts_are_paired_with_what_they_are_rebuilt_as(tmp_path: Path) -> None:
    """The kept draft on one side, the rebuilt one on the other."""
    root = make_root(tmp_path / "root", drafts=["d1", "d2"])
    put_draft(root, "d1")
    put_draft(root, "d2", replicate=5)
    changes = compared(root, OFF, Rollout.parse("draft")).changes
    assert ["d1", "d2"] == [one.old.gen_id for one in changes if one.stage == "draft" and one.old]
    assert all(one.old and one.new for one in changes)


def test_members_that_the_tables_do_not_plan_any_more_are_told(tmp_path: Path) -> None:
    """Those of the last build; after a build in another state nobody can tell."""
    root = make_root(tmp_path / "root", replicates=(2, 1, 1))
    members = {(row.stage, row.gen_id) for row in built(root, OFF).plan.rows}
    assert () == compared(root, OFF, ON).unplanned
    set_replicates(root.path, 1, 1, 1)
    left = {(row.stage, row.gen_id) for row in planned(root, OFF).rows}
    unplanned = compared(root, OFF, ON).unplanned
    assert members - left == set(unplanned)
    assert unplanned
    assert () == compared(root, ON, ON).unplanned


def test_an_unchanged_membership_is_told_of_too(tmp_path: Path) -> None:
    """Without the manifest, it may have been built in the state before, which plans none of it."""
    root = make_root(tmp_path / "root")
    members = [(row.stage, row.gen_id) for row in built(root, ON).plan.rows]
    root.manifest(COHORT).unlink()
    assert members == [*compared(root, OFF, ON).unplanned]
