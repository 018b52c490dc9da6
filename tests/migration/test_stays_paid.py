"""Migrating a store never makes a cohort pay for what it has, and rolling back restores it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from cohort_kit import COHORT, OFF, ON, built, set_replicates
from genid_store import Request
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.reused import find_all
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked
from genid_store.generation.run import plan_run, run_cohort
from genid_store.migration.run import migrate, plan, rollback
from hardening_kit import tree, without_own
from paid_kit import small_root


def pay(request: Request) -> str:
    return f"SCORE: 7 {request.gen_id}"


def calls(root: DataRoot, cohort: str = COHORT) -> int:
    return plan_run(root, cohort, read_membership(root, cohort), Asked()).total_calls


def texts(root: DataRoot, cohort: str) -> set[bytes]:
    members = read_membership(root, cohort)
    return {(root.generation(*one) / "parsed.txt").read_bytes() for one in members}


def leave(name: str, data: bytes) -> Callable[[DataRoot], None]:
    def change(root: DataRoot) -> None:
        for folder in root.gens.glob("*/[dev]_*"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("raw_metadata.json", b'{"error": "HTTP 429"}'),
        ("notes.md", b"ours"),
        ("drafts/old.txt", b"ours"),
        ("raw.txt", b"no score"),
    ],
)
def test_whatever_lies_in_an_empty_slot(tmp_path: Path, name: str, data: bytes) -> None:
    """The cohort keeps its texts, the slots what lies in them."""
    root = small_root(tmp_path)
    built(root, OFF)
    run_cohort(root, COHORT, pay, Asked())
    built(root, ON)
    leave(name, data)(root)
    before = without_own(tree(root.path))
    assert 0 == calls(root)
    migrate(root)
    assert 0 == calls(root)
    assert 5 == len([one for one in root.gens.rglob(name) if one.read_bytes() == data])
    rollback(root)
    assert before == without_own(tree(root.path))


def test_what_is_about_a_slot_itself_keeps_its_own_new_id(tmp_path: Path) -> None:
    """Its record of a reused text, and its row in a table of the host's; a second migration goes
    on from there."""
    root = small_root(tmp_path)
    for cohort in ("autumn", "winter"):
        build_cohort(root, Options(rollout=OFF, cohort_id=cohort))
        run_cohort(root, cohort, pay, Asked(reuse=True))
    (old,) = (one for one in read_membership(root, "winter") if one.stage == "draft")
    (root.generation(*old) / "parsed.txt").unlink()
    table = root.path / "costs.csv"
    table.write_text(f"id,usd\n{old.gen_id},1.00\n")
    before = without_own(tree(root.path))
    plan = migrate(root, tables=("costs.csv",))
    (slot,) = (one for one in plan.entries() if one.old == old.gen_id)
    assert slot.named not in (None, slot.new)
    assert slot.named in {one.gen_id for one in read_membership(root, "winter")}
    assert f"id,usd\n{slot.new},1.00\n" == table.read_text()
    assert slot.new in {one.gen_id for one in find_all(root)}
    rollback(root)
    assert before == without_own(tree(root.path))


def test_a_child_that_has_the_right_id_already_names_the_text(tmp_path: Path) -> None:
    """Its metadata named a slot of the same task, under its id from before."""
    root = small_root(tmp_path)
    build_cohort(root, Options(rollout=ON, cohort_id="new"))
    run_cohort(root, "new", pay, Asked())
    build_cohort(root, Options(rollout=OFF, cohort_id="old"))
    leave_notes = root.generation(*read_membership(root, "old")[0])
    (leave_notes / "notes.md").write_text("ours")
    essay = root.generation(*read_membership(root, "new")[1]) / "metadata.json"
    text = essay.read_text()
    essay.write_text(text.replace(read_membership(root, "new")[0].gen_id, leave_notes.name))
    migrate(root)
    assert text == essay.read_text()


def renumber(paths: Iterable[Path], number: int | None) -> None:
    """Put another `replicate` into metadata, or none."""
    for path in paths:
        metadata = json.loads(path.read_bytes())
        metadata.pop("replicate")
        path.write_text(
            json.dumps(metadata if number is None else metadata | {"replicate": number})
        )


def test_texts_without_a_number_fill_the_slots_of_another_cohort(tmp_path: Path) -> None:
    """As they do in a run before the migration."""
    root = small_root(tmp_path)
    set_replicates(root.path, 1, 1, 2)
    build_cohort(root, Options(rollout=OFF, cohort_id="autumn"))
    run_cohort(root, "autumn", pay, Asked())
    paid = texts(root, "autumn")
    renumber(root.gens.glob("evaluation/*/metadata.json"), None)
    build_cohort(root, Options(rollout=ON, cohort_id="winter"))
    before = without_own(tree(root.path))
    assert 0 == calls(root, "winter")
    migrate(root)
    assert 0 == calls(root, "winter")
    assert paid == texts(root, "winter")
    rollback(root)
    assert before == without_own(tree(root.path))


@pytest.mark.parametrize("number", [None, 1])
def test_metadata_that_lost_its_number_gets_it_again(tmp_path: Path, number: int | None) -> None:
    """Under the same id; no other key changes, a second migration has nothing to do, and rolling
    back keeps what the host writes there afterwards."""
    root = small_root(tmp_path)
    set_replicates(root.path, 1, 1, 2)
    built(root, ON)
    run_cohort(root, COHORT, pay, Asked())
    written = {path: json.loads(path.read_bytes()) for path in root.gens.rglob("metadata.json")}
    seconds = [path for path, was in written.items() if was["replicate"] == 2]
    renumber(seconds, number)
    before = without_own(tree(root.path))
    migrate(root)
    assert written == {path: json.loads(path.read_bytes()) for path in written}
    assert 0 == calls(root)
    assert not plan(root).has_work()
    rollback(root)
    assert before == without_own(tree(root.path))
    migrate(root)
    path = seconds[0]
    path.write_text(json.dumps({**written[path], "note": "ours"}))
    rollback(root)
    found = json.loads(path.read_bytes())
    assert ("ours", number) == (found["note"], found.get("replicate"))


def test_a_run_lends_no_text_whose_id_tells_another_number(tmp_path: Path) -> None:
    """It waits for the number, which a migration writes; then the first samples can be made."""
    root = small_root(tmp_path)
    set_replicates(root.path, 1, 1, 2)
    built(root, ON)
    run_cohort(root, COHORT, pay, Asked())
    for path in [*root.gens.glob("evaluation/*/metadata.json")]:
        if json.loads(path.read_bytes())["replicate"] == 1:
            shutil.rmtree(path.parent)
        else:
            renumber([path], None)
    build_cohort(root, Options(rollout=OFF, cohort_id="old"))
    work = plan_run(root, "old", read_membership(root, "old"), Asked(reuse=True))
    assert {"draft", "essay"} == {member.stage for member in work.adopted}
    assert {"possibly paid for"} == {one.label for one in work.waiting.values()}
    migrate(root)
    assert 2 == calls(root, "old")


def test_a_child_of_a_copy_is_led_to_what_stands_for_it(tmp_path: Path) -> None:
    """Its id is right already, and its metadata names the copy, which stays."""
    root = small_root(tmp_path)
    build_cohort(root, Options(rollout=OFF, cohort_id="old"))
    run_cohort(root, "old", pay, Asked(max_calls=1))
    build_cohort(root, Options(rollout=ON, cohort_id="new"))
    run_cohort(root, "new", pay, Asked(reuse=True))
    copied = read_membership(root, "old")[0].gen_id
    essay = root.generation(*read_membership(root, "new")[1]) / "metadata.json"
    text = essay.read_text()
    essay.write_text(text.replace(read_membership(root, "new")[0].gen_id, copied))
    migrate(root)
    assert json.loads(text) == json.loads(essay.read_text())


def test_a_chain_of_texts_wins_over_a_bare_draft(tmp_path: Path) -> None:
    """Of two cohorts' drafts, the one that the others' texts were made from keeps the number."""
    root = small_root(tmp_path)
    build_cohort(root, Options(rollout=OFF, cohort_id="autumn"))
    run_cohort(root, "autumn", pay, Asked(max_calls=1))
    build_cohort(root, Options(rollout=OFF, cohort_id="winter"))
    run_cohort(root, "winter", pay, Asked(pay_again=True))
    migrate(root)
    build_cohort(root, Options(rollout=ON, cohort_id="spring"))
    assert 0 == calls(root, "spring")


@pytest.mark.parametrize(
    "broken", [b"\0" * 300, b"version https://git-lfs.github.com/spec/v1\n", b"\xe9 text"]
)
def test_a_broken_text_does_not_stand_for_its_task(tmp_path: Path, broken: bytes) -> None:
    """Where another cohort has a good one."""
    root = small_root(tmp_path)
    for cohort in ("autumn", "winter"):
        build_cohort(root, Options(rollout=OFF, cohort_id=cohort))
        run_cohort(root, cohort, pay, Asked(pay_again=True))
    for stage, gen_id in read_membership(root, "autumn"):
        (root.generation(stage, gen_id) / "parsed.txt").write_bytes(broken)
        (root.generation(stage, gen_id) / "parsed_metadata.json").unlink()
    good = texts(root, "winter")
    migrate(root)
    build_cohort(root, Options(rollout=ON, cohort_id="spring"))
    assert 0 == calls(root, "spring")
    found = {
        (root.generation(*one) / "parsed.txt").read_bytes()
        for one in read_membership(root, "spring")
    }
    assert good == found
