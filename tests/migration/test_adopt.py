"""Content that the store has of a member's task is given to it, and can be taken back."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import claim
from genid_store.fs.locks import BUILD, blocked, root_lock
from genid_store.generation import Maker, Request
from genid_store.migration import adopt as adopting
from genid_store.migration import adoption_plan, files, run
from genid_store.migration import state_folder as own
from genid_store.migration.adopt import adopt, undo
from genid_store.migration.adoption_state import close, unfinished
from migrationkit import Builder, differences, killed_at, tree
from storekit import make_store, v1_id

DRAFT = {"combo_id": "combo-a", "template_id": "dt", "llm_model_id": "m", "replicate": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone."""
    monkeypatch.setattr(files, "sync_filesystem", lambda path: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def _chain(made: Builder, tag: str, cohort: str, *, content: bool) -> tuple[str, str, str]:
    """Write a draft, an essay over it and an evaluation over that, with ids made by hand."""
    draft = made.draft(f"{tag}-d", cohort, content=content)
    essay = made.essay(f"{tag}-e", draft, cohort, content=content)
    return draft, essay, made.evaluation(f"{tag}-v", essay, cohort, content=content)


def _members(made: Builder, cohort: str) -> tuple[str, str, str]:
    """Write the same tasks under their v1 ids, without content."""
    draft = made.draft(v1_id("draft", DRAFT), cohort, content=False)
    task: dict[str, Any] = {"parent_gen_id": draft, "template_id": "et", "replicate": 1}
    essay = made.essay(v1_id("essay", task), draft, cohort, content=False)
    task = {"parent_gen_id": essay, "template_id": "vt", "llm_model_id": "j", "replicate": 1}
    return draft, essay, made.evaluation(v1_id("evaluation", task), essay, cohort, content=False)


def _memberships(made: Builder) -> DataRoot:
    for cohort, members in made.members.items():
        (made.root / "cohorts" / cohort).mkdir(parents=True)
        rows = "".join(f"{stage},{gen_id}\n" for stage, gen_id in members)
        (made.root / "cohorts" / cohort / "membership.csv").write_text(f"stage,gen_id\n{rows}")
    return DataRoot.open(made.root)


@pytest.fixture
def made(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "store")


def _adopted(found: adoption_plan.Adoption) -> dict[str, str]:
    return {one.gen_id: one.adopted_from for one in found.taken}


def test_members_get_the_content_of_their_task(made: Builder) -> None:
    """By hard link, with `adopted_from`; nothing is renamed."""
    old, new = _chain(made, "old", "one", content=True), _members(made, "two")
    root = _memberships(made)
    assert dict(zip(new, old, strict=True)) == _adopted(adopt(root))
    for stage, member, source in zip(("draft", "essay", "evaluation"), new, old, strict=True):
        mine, theirs = root.generation(stage, member), root.generation(stage, source)
        assert (mine / "parsed.txt").samefile(theirs / "parsed.txt")
        metadata = json.loads((mine / "metadata.json").read_bytes())
        assert (member, source) == (metadata["gen_id"], metadata["adopted_from"])
    with StoreIndex.fresh(root) as index:
        for stage, member in zip(("draft", "essay", "evaluation"), new, strict=True):
            found = index.get(stage, member)
            assert found is not None
            assert found.has_content


def test_taking_back_gives_the_tree_from_before(made: Builder) -> None:
    """Names, bytes, times, permissions, inodes."""
    _chain(made, "old", "one", content=True)
    _members(made, "two")
    root = _memberships(made)
    before = tree(root.path, inodes=True)
    adopt(root)
    assert 3 == len(undo(root))
    assert [] == differences(before, tree(root.path, inodes=True))
    with pytest.raises(StoreError, match="no adoption"):
        undo(root)


def test_a_dry_run_writes_nothing(made: Builder) -> None:
    """And says the same."""
    _chain(made, "old", "one", content=True)
    _members(made, "two")
    root = _memberships(made)
    before = tree(root.path, inodes=True)
    found = adopt(root, dry_run=True)
    assert [] == differences(before, tree(root.path, inodes=True))
    assert not root.own.exists()
    assert found.taken == adopt(root).taken


def test_adopting_again_does_nothing(made: Builder) -> None:
    """No member is adopted twice, and no second record is made."""
    _chain(made, "old", "one", content=True)
    _members(made, "two")
    root = _memberships(made)
    adopt(root)
    before = tree(root.path, inodes=True)
    assert (None, ()) == ((again := adopt(root)).adoption_id, again.taken)
    assert [] == differences(before, tree(root.path, inodes=True))
    assert 1 == len(os.listdir(root.own / "adoptions"))


def test_only_the_cohort_that_is_named(made: Builder) -> None:
    """Members of others stay as they are; an unknown cohort is an error."""
    _chain(made, "old", "one", content=True)
    _members(made, "two")
    root = _memberships(made)
    assert () == adopt(root, cohort_id="one").taken
    assert 3 == len(adopt(root, cohort_id="two").taken)
    with pytest.raises(StoreError, match="three"):
        adopt(root, cohort_id="three")


def test_of_several_the_first_claimant_gives(made: Builder) -> None:
    """With content, then by cohort, then by id."""
    made.draft("z", "a", content=False)
    made.draft("y", "b")
    made.draft("x", "c")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    assert {member: "y"} == _adopted(adopt(_memberships(made)))


def test_a_child_is_taken_only_with_the_text_it_was_made_from(made: Builder) -> None:
    """An essay over another duplicate's draft is not one over the adopted draft."""
    made.draft("a-draft", "a")
    second = made.draft("b-draft", "b")
    made.essay("b-essay", second, "b")
    draft, essay, _ = _members(made, "new")
    root = _memberships(made)
    found = adopt(root)
    assert {draft: "a-draft"} == _adopted(found)
    assert [essay] == [one.gen_id for one in found.skipped]
    text = root.generation("draft", "a-draft") / "parsed.txt"
    (root.generation("draft", "b-draft") / "parsed.txt").write_bytes(text.read_bytes())
    assert {essay: "b-essay"} == _adopted(adopt(root)), "the same text is as good"


def test_what_is_paid_for_itself_is_not_overwritten(made: Builder) -> None:
    """A member with raw.txt waits to be parsed."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    (made.root / "gens" / "draft" / member / "raw.txt").write_text("mine")
    found = adopt(_memberships(made))
    assert ((), [member]) == (found.taken, [one.gen_id for one in found.skipped])


def test_without_hard_links_content_is_copied(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And can be taken back all the same."""
    old, new = _chain(made, "old", "one", content=True), _members(made, "two")
    root = _memberships(made)
    before = tree(root.path)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr("os.link", refuse)
    adopt(root)
    mine = root.generation("essay", new[1]) / "parsed.txt"
    theirs = root.generation("essay", old[1]) / "parsed.txt"
    assert not mine.samefile(theirs)
    assert mine.read_bytes() == theirs.read_bytes()
    undo(root)
    assert [] == differences(before, tree(root.path))


def test_content_that_changed_since_is_not_taken_back(made: Builder) -> None:
    """What somebody wrote over the adopted file is theirs."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    adopt(root)
    path = root.generation("draft", member) / "parsed.txt"
    path.unlink()
    path.write_text("written by hand")
    undo(root)
    assert "written by hand" == path.read_text()


def test_the_last_copy_of_a_text_is_not_taken_back(made: Builder) -> None:
    """Where the source has gone, the adopted file is what was paid for."""
    old = made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    adopt(root)
    shutil.rmtree(root.generation("draft", old))
    assert [] == undo(root)
    assert (root.generation("draft", member) / "parsed.txt").is_file()


def test_a_folder_of_another_user_does_not_keep_the_store_closed(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its owner may set its time; the content is taken back all the same."""

    def refused(path: str, **times: object) -> None:
        raise PermissionError(errno.EPERM, "not yours", path)

    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    adopt(root)
    monkeypatch.setattr("os.utime", refused)
    assert [f"draft/{member}"] == undo(root)
    assert not (root.generation("draft", member) / "parsed.txt").exists()
    assert blocked(root) is None


def test_texts_that_wait_for_their_places_are_respected(made: Builder) -> None:
    """A member with one of its own adopts none; and nothing is taken back while one waits."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    waiting = root.own / "staging" / "draft" / member
    waiting.mkdir(parents=True)
    assert {} == _adopted(adopt(root))
    waiting.rmdir()
    assert {member: "old"} == _adopted(adopt(root))
    (root.own / "staging" / "essay" / "e1").mkdir(parents=True)
    before = tree(root.path)
    with pytest.raises(StoreError, match="cannot be taken back yet") as caught:
        undo(root)
    assert ["gens/essay/e1"] == [problem.where for problem in caught.value.problems]
    assert (None, []) == (blocked(root), differences(before, tree(root.path)))


def test_a_killed_adoption_is_finished_or_taken_back(tmp_path: Path) -> None:
    """At every change to the disk: the next one finishes it, or undo removes every trace; and
    until then nobody else touches the store."""
    for finish in (True, False):
        point, tripped, halves = 0, True, 0
        while tripped:
            point += 1
            made = Builder(tmp_path / f"{finish}-{point}")
            made.draft("old", "one")
            (made.root / "gens/draft/old/raw.txt").write_text("the answer")
            member = made.draft(v1_id("draft", DRAFT), "two", content=False)
            root = _memberships(made)
            root.own.mkdir()
            before = tree(root.path)
            with killed_at(point) as switch:
                adopt(root)
            tripped = switch.tripped
            folder = root.generation("draft", member)
            if any(unfinished(root)) and blocked(root):
                _check_closed(root, member)
                halves += (folder / "raw.txt").exists() and not (folder / "parsed.txt").exists()
            if finish:
                adopt(root)
                assert (folder / "parsed.txt").is_file()
                assert "adopted_from" in (folder / "metadata.json").read_text()
            else:
                with contextlib.suppress(StoreError):  # it had not begun
                    undo(root)
                assert [] == differences(before, tree(root.path)), point
            _check_open(root)
        assert halves


def test_a_killed_undoing_is_finished_by_the_next(tmp_path: Path) -> None:
    """At every change to the disk; adopting and all else is refused while it is half done, and the
    adoption before stays."""
    point, tripped, halves = 0, True, 0
    while tripped:
        point += 1
        made = Builder(tmp_path / str(point))
        made.draft("first", "one", combo_id="combo-b")
        made.draft(v1_id("draft", {**DRAFT, "combo_id": "combo-b"}), "two", content=False,
                   combo_id="combo-b")  # fmt: skip
        root = _memberships(made)
        adopt(root)
        made.draft("old", "one")
        (made.root / "gens/draft/old/raw.txt").write_text("the answer")
        draft = made.draft(v1_id("draft", DRAFT), "three", content=False)
        shutil.rmtree(root.cohorts)
        _memberships(made)
        before = tree(root.path)
        adopt(root)
        with killed_at(point) as switch:
            undo(root)
        tripped = switch.tripped
        if any(unfinished(root)) and blocked(root):
            with pytest.raises(StoreError, match=r"--undo. finishes it"):
                adopt(root)
            _check_closed(root, draft)
            halves += 1
            there = set(os.listdir(root.generation("draft", draft)))
            assert "parsed.txt" in there or {"metadata.json"} == there, "half an answer"
        if any(unfinished(root)) or [] != differences(before, tree(root.path)):
            undo(root)
        assert [] == differences(before, tree(root.path)), point
        adopt(root)
        _check_open(root)
    assert halves


def _check_closed(root: DataRoot, member: str) -> None:
    """Whatever would pay for a member with half of its files, or take its number, is refused."""
    with pytest.raises(StoreError, match="adopt"), root_lock(root, BUILD):
        pass
    for operation in (run.plan, run.migrate):
        with pytest.raises(StoreError, match="genid store adopt"):
            operation(root)
    maker = Maker(root=root, generator=_unpaid, pay_again=True)
    outcome = maker.make("draft", member)
    complete = (root.generation("draft", member) / "parsed.txt").exists()
    assert ("reused" if complete else "stopped") == outcome.kind
    assert complete or "genid store adopt" in outcome.reason


def _check_open(root: DataRoot) -> None:
    with root_lock(root, BUILD):
        assert blocked(root) is None


def _unpaid(request: Request) -> str:
    pytest.fail(f"{request.gen_id} was paid for")


def test_an_unfinished_adoption_keeps_a_migration_out_without_a_readable_block(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal tells of it too; the refusal names the way on, which is open then."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    with monkeypatch.context() as patch:
        patch.setattr(files, "take_place", _full_disk)
        with pytest.raises(StoreError, match="No space"):
            adopt(root)
    for damaged in ("{", None):
        path = root.own / "blocked.json"
        path.unlink() if damaged is None else path.write_text(damaged)
        for operation in (run.plan, run.migrate, run.finalize, run.rollback):
            with pytest.raises(StoreError, match="genid store adopt"):
                operation(root)
        _check_closed(root, member)
    adopt(root)
    assert (root.generation("draft", member) / "parsed.txt").is_file()
    _check_open(root)


def test_nothing_is_adopted_for_what_is_begun_meanwhile(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that takes a member while the adoption is planned makes it; nobody begins later."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    plan = adoption_plan.plan_adoption
    with contextlib.ExitStack() as running:

        def planned(*args: Any) -> adoption_plan.Adoption:
            found = plan(*args)
            if blocked(root) is None:
                running.enter_context(claim(root, "draft", member, threading.Event()))
            return found

        monkeypatch.setattr(adopting, "plan_adoption", planned)
        assert () == adopt(root).taken
    assert ["metadata.json"] == os.listdir(root.generation("draft", member))
    _check_open(root)


def test_taking_back_waits_for_what_is_being_made(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An essay that a run is paying for keeps the adopted draft that it is made from."""
    _chain(made, "old", "one", content=True)
    draft, _, _ = _members(made, "two")
    since = made.essay("since", draft, "two", template_id="another", content=False)
    root = _memberships(made)
    adopt(root)
    with claim(root, "essay", since, threading.Event()):
        impatient = functools.partial(own.wait_for_makers, limit=0.0)
        before = tree(root.path)
        with monkeypatch.context() as patch:
            patch.setattr(own, "wait_for_makers", impatient)
            with pytest.raises(StoreError, match="being made"):
                undo(root)
        assert [] == differences(before, tree(root.path))
    _check_open(root)

    def answered(root: DataRoot) -> None:
        assert blocked(root) is not None, "another one could begin"
        (root.generation("essay", since) / "parsed.txt").write_text("made from the draft")

    monkeypatch.setattr(own, "wait_for_makers", answered)
    undo(root)
    assert (root.generation("draft", draft) / "parsed.txt").is_file()
    _check_open(root)


def test_taking_back_what_gave_nothing_leaves_the_adoption_before(made: Builder) -> None:
    """An adoption that was killed before it began is not the one before it."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    adopt(root)
    close(root, "begin")
    assert [] == undo(root)
    _check_open(root)
    assert [f"draft/{member}"] == undo(root)


def _findings(root: DataRoot) -> dict[str, list[Problem]]:
    with StoreIndex.fresh(root, persist=False) as index:
        return audit(index).by_code()


def test_an_adopted_pair_is_one_generation_to_the_audit(made: Builder) -> None:
    """Neither a duplicate nor without membership, whichever of the two a cohort names."""
    old = _chain(made, "old", "one", content=True)
    _members(made, "two")
    root = _memberships(made)
    assert 3 == len(_findings(root)["duplicate"])
    adopt(root)
    assert {} == _findings(root)
    (root.cohorts / "one" / "membership.csv").write_text("stage,gen_id\n")
    assert {} == _findings(root)
    (root.generation("draft", old[0]) / "parsed.txt").unlink()
    (root.generation("draft", old[0]) / "parsed.txt").write_text("another sample")
    assert ["duplicate", "generation-without-membership"] == list(_findings(root))


def test_a_third_generation_of_the_task_is_a_duplicate(made: Builder) -> None:
    """The adopted pair counts once, and is named as what it is."""
    made.draft("old", "one")
    made.draft("other", "two")
    member = made.draft(v1_id("draft", DRAFT), "two", content=False)
    root = _memberships(made)
    adopt(root)
    (found,) = _findings(root)["duplicate"]
    assert {"old", "other", member} == {gen_id for _, gen_id in found.ids}
    assert found.message.startswith("2 generations")
    assert f"{member} (from old)" in found.message


def test_an_adopted_pair_migrates_as_one(made: Builder) -> None:
    """The member keeps its number, what it was adopted from stays, nobody is a new replicate; and
    the way back gives every byte."""
    old, new = _chain(made, "old", "one", content=True), _members(made, "two")
    root = _memberships(made)
    adopt(root)
    before = tree(root.path, inodes=True)
    plan = run.migrate(root)
    decided = {r["old"]: (r["new"], r["reason"]) for r in plan.records("generation")}
    assert {**{one: (one, "adopted") for one in old}, **{one: (one, "") for one in new}} == decided
    assert "## Adopted content" in (plan.folder / "summary.md").read_text()
    assert not plan.journal.exists(), "there is nothing to carry out"
    assert {} == _findings(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def test_children_of_what_was_adopted_follow_the_member(made: Builder) -> None:
    """Legacy essays and evaluations over an adopted draft get ids over the member."""
    draft, essay, evaluation = _chain(made, "old", "one", content=True)
    member = made.draft(v1_id("draft", DRAFT), "two", content=False)
    root = _memberships(made)
    adopt(root)
    before = tree(root.path, inodes=True)
    run.migrate(root)
    task: dict[str, Any] = {"parent_gen_id": member, "template_id": "et", "replicate": 1}
    new_essay = v1_id("essay", task)
    task = {"parent_gen_id": new_essay, "template_id": "vt", "llm_model_id": "j", "replicate": 1}
    new_evaluation = v1_id("evaluation", task)
    metadata = json.loads((root.generation("essay", new_essay) / "metadata.json").read_bytes())
    assert (member, essay) == (metadata["parent_gen_id"], metadata["previous_gen_id"])
    assert root.generation("evaluation", new_evaluation).is_dir()
    assert {} == _findings(root)
    rows = (root.cohorts / "one" / "membership.csv").read_text().splitlines()
    assert [f"draft,{draft}", f"essay,{new_essay}", f"evaluation,{new_evaluation}"] == rows[1:]
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))
    assert root.generation("evaluation", evaluation).is_dir()


def test_a_text_that_is_no_copy_any_more_is_a_replicate_of_its_own(made: Builder) -> None:
    """What somebody wrote over an adopted text is another sample, and is kept."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    adopt(root)
    path = root.generation("draft", member) / "parsed.txt"
    path.unlink()
    path.write_text("written by hand")
    run.migrate(root)
    metadata = json.loads((root.generation("draft", member) / "metadata.json").read_bytes())
    assert v1_id("draft", {**DRAFT, "replicate": 2}) == metadata["adopted_from"]


def test_a_build_keeps_it_out(made: Builder) -> None:
    """The data root's lock is taken."""
    made.draft("old")
    root = _memberships(made)
    with root_lock(root, "test"), pytest.raises(StoreError, match="in use"):
        adopt(root)


def test_on_a_mixed_store_only_seeded_members_are_adopted(tmp_path: Path) -> None:
    """Every adopted member was without content, of a deterministic family, and now has some."""
    store = make_store(tmp_path / "store", generations=600, oddities=())
    root = DataRoot.open(store.path)
    seeded = {made.gen_id for made in store.generations if made.state == "seeded"}
    found = adopt(root)
    assert {one.gen_id for one in found.taken} <= seeded
    assert not {one.adopted_from for one in found.taken} & seeded


def test_a_member_that_something_was_made_from_keeps_its_text(made: Builder) -> None:
    """Taking the adoption back would leave a paid essay without what it was made from."""
    _chain(made, "old", "one", content=True)
    draft, _, _ = _members(made, "two")
    root = _memberships(made)
    adopt(root)
    made.essay("since", draft, "two", template_id="another")
    left = undo(root)
    assert (root.generation("draft", draft) / "parsed.txt").is_file()
    assert {"essay", "evaluation"} == {one.partition("/")[0] for one in left}


def test_keeping_a_text_keeps_those_above_it(made: Builder) -> None:
    """An essay that an evaluation was made from keeps its text, so its draft has to as well."""
    _chain(made, "old", "one", content=True)
    draft, essay, evaluation = _members(made, "two")
    root = _memberships(made)
    adopt(root)
    made.evaluation("since", essay, "two", template_id="another")
    assert [f"evaluation/{evaluation}"] == undo(root)
    for stage, member in (("draft", draft), ("essay", essay)):
        assert (root.generation(stage, member) / "parsed.txt").is_file()
        assert "adopted_from" in (root.generation(stage, member) / "metadata.json").read_text()


def test_what_was_made_anew_keeps_the_text_above_it(made: Builder) -> None:
    """An adopted essay that was replaced since was made from the adopted draft."""
    _chain(made, "old", "one", content=True)
    draft, essay, _ = _members(made, "two")
    root = _memberships(made)
    adopt(root)
    path = root.generation("essay", essay) / "parsed.txt"
    path.unlink()
    path.write_text("another essay over the same draft")
    undo(root)
    assert (root.generation("draft", draft) / "parsed.txt").is_file()
    assert "another essay over the same draft" == path.read_text()


def test_an_adoption_that_stopped_looks_past_what_is_gone(
    made: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was renamed or moved away since does not stop every later adoption."""
    old, new = _chain(made, "old", "one", content=True), _members(made, "two")
    root = _memberships(made)
    write_new = files.write_new
    monkeypatch.setattr(files, "write_new", _full_disk)
    with pytest.raises(StoreError):
        adopt(root)
    monkeypatch.setattr(files, "write_new", write_new)
    root.generation("evaluation", old[2]).rename(root.path / "moved-away")
    adopt(root)
    assert (root.generation("essay", new[1]) / "parsed.txt").is_file()
    assert not (root.generation("evaluation", new[2]) / "parsed.txt").exists()


def _full_disk(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_number_is_not_given_to_two_adoptions(made: Builder) -> None:
    """Also where the record of an older one was moved away."""
    made.draft("old")
    member = made.draft(v1_id("draft", DRAFT), "new", content=False)
    root = _memberships(made)
    (root.own / "adoptions" / "00007").mkdir(parents=True)
    assert "00008" == adopt(root).adoption_id
    assert [f"draft/{member}"] == undo(root)


def test_a_membership_that_cannot_be_read_is_refused(made: Builder) -> None:
    """Rather than that its members count as none."""
    made.draft("old")
    root = _memberships(made)
    (root.cohorts / "one" / "membership.csv").write_text("id\nold\n")
    (root.cohorts / "notes.txt").write_text("no cohort")
    for cohort in (None, "one"):
        for dry_run in (True, False):
            with pytest.raises(StoreError, match="column is missing"):
                adopt(root, cohort_id=cohort, dry_run=dry_run)
