"""The same task is never paid for twice, in whichever state of the rollout it was made first."""

import errno
import itertools
import json
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cohort_kit import everything, make_root
from dagster_kit import write_templates
from genid import Draft, Essay, Signature, gen_id
from genid_store import Generated, Request, Rollout, Store, StoreError
from genid_store.catalog import findings
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index import reading as index_reading
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.metadata import read_generation
from genid_store.catalog.reused import Reused
from genid_store.cli import run as command
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs.files import read_with_status
from genid_store.fs.layout import DataRoot
from genid_store.generation.giving import _last_first, give_text, take_back
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked
from genid_store.generation.run import Done, plan_run, run_cohort
from genid_store.generation.status import states_of
from genid_store.generation.workload import blocked_members, left_by_limit
from genid_store.migration.run import migrate, rollback
from genid_store.stages import Member

OFF = Rollout.OFF
ON = Rollout.from_env({"DD_DETERMINISTIC_GEN_IDS": "on"})
DRAFTS = Rollout.from_env({"DD_DETERMINISTIC_GEN_IDS": "draft"})
ESSAYS = Rollout.from_env({"DD_DETERMINISTIC_GEN_IDS": "draft,essay"})
STATES = {"off": OFF, "draft": DRAFTS, "draft,essay": ESSAYS, "on": ON}


class Ledger:
    """A generator whose texts differ from call to call, and what was asked of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, request: Request) -> str:
        self.calls.append((request.stage, request.gen_id))
        return f"text {len(self.calls)} over {request.parent_text}"


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    found = make_root(tmp_path / "root", replicates=(1, 1, 2))
    write_templates(found)
    return found


def build(root: DataRoot, cohort_id: str, rollout: Rollout) -> None:
    build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))


def run(root: DataRoot, cohort_id: str, ledger: Callable[[Request], str], **asked: object) -> Done:
    return run_cohort(root, cohort_id, ledger, Asked(**asked))  # type: ignore[arg-type]


def drop(root: DataRoot, folders: str, key: str) -> None:
    """Write metadata again without one key, as a host does."""
    for path in root.gens.glob(f"{folders}/metadata.json"):
        metadata = json.loads(path.read_text())
        del metadata[key]
        path.write_text(json.dumps(metadata))


def texts(root: DataRoot) -> Counter[str]:
    return Counter(path.read_text() for path in root.gens.glob("*/*/parsed.txt"))


def test_the_chain_that_is_whole_is_reused(root: DataRoot) -> None:
    """Of two cohorts' texts of one task, the one whose descendants are there: nothing is paid."""
    ledger = Ledger()
    build(root, "autumn", OFF)
    done = run(root, "autumn", ledger, max_calls=2)
    left = left_by_limit(done.workload)
    assert len(read_membership(root, "autumn")) == len(done.outcomes) + len(left)
    build(root, "winter", OFF)
    run(root, "winter", ledger, pay_again=True)
    before = len(ledger.calls)
    build(root, "winter", ON)
    done = run(root, "winter", ledger)
    assert before == len(ledger.calls)
    assert all(one.complete for one in done.outcomes)
    assert 0 == run(root, "winter", ledger).workload.total_calls


def chain_of(root: DataRoot) -> tuple[Draft, Essay]:
    """Return the first draft and its first essay that is not a copy, as programs sign them."""
    (draft, *_) = [read_generation(root, *one) for one in read_membership(root, "b")]
    signed = Draft(
        combo_id=str(draft.combo_id),
        template_id=str(draft.template_id),
        llm_model_id=str(draft.llm_model_id),
        replicate=1,
    )
    essays = [one for one in read_membership(root, "b") if one.stage == "essay"]
    found = [read_generation(root, *one) for one in essays]
    above = next(one for one in found if one.parent_gen_id == draft.gen_id and one.mode != "copy")
    return signed, Essay(
        parent_gen_id=gen_id(signed), template_id=str(above.template_id), replicate=1
    )


@pytest.mark.parametrize("together", [False, True])
def test_the_text_that_most_was_made_from_is_taken_without_its_cohort_too(
    root: DataRoot, together: bool
) -> None:
    """A draft of its own, then a chain: one by one or all together, the chain's draft is read."""
    ledger = Ledger()
    build(root, "a", OFF)
    run(root, "a", ledger, max_calls=1)
    build(root, "b", OFF)
    run(root, "b", ledger, pay_again=True)
    before, store = len(ledger.calls), Store.open(root.path)
    draft, essay = chain_of(root)
    both: list[list[Signature[Any]]] = [[essay, draft]] if together else [[draft], [essay]]
    for asked in both:
        store.once_all(asked, ledger)
    assert before == len(ledger.calls)
    text = (root.generation(*read_membership(root, "b")[0]) / "parsed.txt").read_text()
    assert text == store.get(draft)


def test_a_planned_text_is_looked_at_again_before_it_is_given(root: DataRoot) -> None:
    """The draft was given another text since the run planned: its essay is not given what was made
    over the first."""
    ledger = Ledger()
    build(root, "a", OFF)
    run(root, "a", ledger, max_calls=1)
    build(root, "b", OFF)
    run(root, "b", ledger, pay_again=True)
    draft, essay = chain_of(root)
    build(root, "c", ON)
    plan = plan_run(root, "c", read_membership(root, "c"), Asked()).decider.plan
    late = Executor(root=root, generator=ledger, plan=plan)
    other = read_membership(root, "a")[0].gen_id
    give_text(root, Member("draft", str(gen_id(draft))), other, "t")
    before = len(ledger.calls)
    assert "made" == late.obtain("essay", str(gen_id(essay))).kind
    assert before + 1 == len(ledger.calls)


def test_what_was_paid_for_again_has_children_of_its_own(root: DataRoot) -> None:
    """A legacy essay over a draft that was paid for again is another text's: it is not held for one
    that is there."""
    ledger = Ledger()
    build(root, "a", OFF)
    run(root, "a", ledger)
    build(root, "b", OFF)
    drafts = [one for one in read_membership(root, "b") if one.stage == "draft"]
    run(root, "b", ledger, pay_again=True, max_calls=len(drafts))
    done = run(root, "b", ledger, reuse=True)
    assert all(one.complete for one in done.outcomes)
    assert 0 == run(root, "b", ledger).workload.total_calls


def test_two_members_of_one_task_are_one_call_in_the_plan_too(root: DataRoot) -> None:
    """A cohort that names a task under a legacy id and a deterministic one pays for it once."""
    ledger = Ledger()
    for cohort, rollout in (("a", OFF), ("b", ON)):
        build(root, cohort, rollout)
    both = [*read_membership(root, "a"), *read_membership(root, "b")]
    root.cohort("c").mkdir()
    lines = [f"{one.stage},{one.gen_id}" for one in both if one.stage == "draft"]
    root.membership("c").write_text("\n".join(["stage,gen_id", *lines]) + "\n")
    work = plan_run(root, "c", read_membership(root, "c"), Asked())
    run(root, "c", ledger)
    assert len(lines) // 2 == work.total_calls == len(ledger.calls)


def test_one_task_over_two_texts_is_two_calls_in_the_plan_too(root: DataRoot) -> None:
    """Two drafts of a task were paid for; an essay over each is made from another text."""
    ledger = Ledger()
    for cohort in "ab":
        build(root, cohort, OFF)
        run(root, cohort, ledger, pay_again=True, max_calls=2)
    both = [*read_membership(root, "a"), *read_membership(root, "b")]
    root.cohort("c").mkdir()
    lines = [f"{one.stage},{one.gen_id}" for one in both if one.stage != "evaluation"]
    root.membership("c").write_text("\n".join(["stage,gen_id", *lines]) + "\n")
    work = plan_run(root, "c", read_membership(root, "c"), Asked(pay_again=True))
    before = len(ledger.calls)
    run(root, "c", ledger, pay_again=True)
    assert work.total_calls == len(ledger.calls) - before > 0


def test_a_flag_that_was_forgotten_pays_nothing(
    root: DataRoot, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made with the flag on, asked for without it: refused before the first call, with what is
    there and three ways on; `reuse` and `pay_again` are two of them, which the command calls by its
    own names."""
    ledger = Ledger()
    build(root, "c", ON)
    run(root, "c", ledger)
    before = len(ledger.calls)
    build(root, "d", OFF)
    calls = rf"paid for a second time \({before} calls in all\)"
    with pytest.raises(StoreError, match=calls) as caught:
        run(root, "d", ledger)
    assert before == len(ledger.calls)
    assert "(reuse=True, pay_again=True)" in str(caught.value)
    arguments = ["--data-root", str(root.path), "--cohort-id", "d", "--reuse-only"]
    assert 1 == command(["cohort", "run", *arguments])
    said = capsys.readouterr().err
    assert ("(--reuse, --pay-again)" in said, "=True" in said) == (True, False)
    run(root, "d", ledger, reuse=True)
    assert before == len(ledger.calls)
    build(root, "e", OFF)
    run(root, "e", ledger, pay_again=True)
    assert 2 * before == len(ledger.calls)


@pytest.mark.parametrize("has_own", [True, False], ids=["known to genid", "a host's alone"])
def test_a_refused_run_does_not_build_its_cohort_either(
    root: DataRoot, tmp_path: Path, capsys: pytest.CaptureFixture[str], has_own: bool
) -> None:
    """Nothing is written, not even genid's own folder; with a way to go on, the cohort is built."""
    ledger = Ledger()
    build(root, "c", ON)
    run(root, "c", ledger)
    if not has_own:
        shutil.rmtree(root.own)

    def there() -> dict[str, bytes | None]:
        index = ".genid/index."  # a cache
        return {name: now for name, now in everything(root.path).items() if index not in name}

    before = there()
    (host := tmp_path / "host.py").write_text("def answer(request): raise AssertionError\n")
    arguments = ["--data-root", str(root.path), "--cohort-id", "new", "--generate"]
    assert 1 == command(["cohort", "run", *arguments, f"{host}:answer"])
    calls = f"paid for a second time ({len(ledger.calls)} calls in all)"
    assert calls in capsys.readouterr().err
    assert before == there()
    assert 0 == command(["cohort", "run", *arguments, f"{host}:answer", "--reuse"])
    assert len(read_membership(root, "new")) == len(read_membership(root, "c"))


@pytest.mark.parametrize("first", STATES)
@pytest.mark.parametrize("second", STATES)
def test_no_change_of_state_pays(tmp_path: Path, first: str, second: str) -> None:
    """A cohort made in one state and rebuilt in another costs nothing (legacy ones are asked for
    with `reuse`)."""
    root = make_root(tmp_path / "root", replicates=(1, 1, 2))
    write_templates(root)
    ledger = Ledger()
    build(root, "c", STATES[first])
    run(root, "c", ledger)
    before = len(ledger.calls)
    assert before > 0
    build(root, "c2" if "off" in (first, second) else "c", STATES[second])
    done = run(root, "c2" if "off" in (first, second) else "c", ledger, reuse=True)
    assert before == len(ledger.calls)
    assert all(one.complete for one in done.outcomes)


def test_legacy_evaluations_over_new_essays_are_reused_by_themselves(root: DataRoot) -> None:
    """Under `draft,essay` an evaluation keeps a legacy id and its text."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    before = len(ledger.calls)
    build(root, "c", ESSAYS)
    run(root, "c", ledger)
    assert before == len(ledger.calls)


def test_evaluations_without_a_number_are_reused_once_each(root: DataRoot) -> None:
    """Two evaluations of one cell whose metadata has no `replicate` are numbers 1 and 2."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    before = len(ledger.calls)
    drop(root, "evaluation/*", "replicate")
    build(root, "c", ON)
    run(root, "c", ledger)
    assert before == len(ledger.calls)
    members = [one for one in read_membership(root, "c") if one.stage == "evaluation"]
    found = {(root.generation(*one) / "parsed.txt").read_text() for one in members}
    assert len(members) == len(found)


@pytest.mark.parametrize("rewritten", [False, True])
def test_a_further_sample_is_paid_for(root: DataRoot, rewritten: bool) -> None:
    """Once evaluations without a number are numbers 1 and 2, number 3 is paid for, also
    where a host writes `metadata.json` again and our own record alone says whose a text is."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    drop(root, "evaluation/*", "replicate")
    build(root, "c", ON)
    run(root, "c", ledger)
    if rewritten:
        drop(root, "evaluation/v_*", "adopted_from")
    before = len(ledger.calls)
    config = root.raw / "replication_config.csv"
    config.write_text(config.read_text().replace("evaluation,2", "evaluation,3"))
    build(root, "d", ON)
    run(root, "d", ledger)
    members = [one for one in read_membership(root, "d") if one.stage == "evaluation"]
    assert before + len(members) // 3 == len(ledger.calls)
    found = {(root.generation(*one) / "parsed.txt").read_text() for one in members}
    assert len(members) == len(found)


def test_empty_evaluations_without_a_number_share_the_text_that_they_were_given(
    tmp_path: Path,
) -> None:
    """They are not samples: further numbers are paid for."""
    ledger = Ledger()
    store = Store.open(tmp_path)
    store.once(draft(), ledger)
    for name in ("loose1", "loose2"):
        folder = tmp_path / "gens" / "draft" / name
        folder.mkdir()
        metadata = {"stage": "draft", "gen_id": name, "combo_id": "c", "template_id": "t"}
        (folder / "metadata.json").write_text(json.dumps({**metadata, "llm_model_id": "m"}))
    (tmp_path / "cohorts" / "old").mkdir(parents=True)
    membership = "stage,gen_id\ndraft,loose1\ndraft,loose2\n"
    (tmp_path / "cohorts" / "old" / "membership.csv").write_text(membership)
    run(DataRoot.open(tmp_path), "old", ledger, reuse=True, reuse_only=True)
    assert 2 == len({Store.open(tmp_path).once(draft(number), ledger) for number in (2, 3)})
    assert 3 == len(ledger.calls)


def test_a_cohort_without_a_manifest_is_run_as_it_stands(root: DataRoot) -> None:
    """Its tables may have changed since: nothing is planned from them, nothing dropped."""
    ledger = Ledger()
    build(root, "c", ON)
    members = read_membership(root, "c")
    root.manifest("c").unlink()
    (root.raw / "essay_templates.csv").write_text("template_id\nanother\n")
    run(root, "c", ledger)
    assert members == read_membership(root, "c")


def test_a_reused_text_is_a_copy_and_taken_back_to_the_byte(root: DataRoot) -> None:
    """An in-place writer of one of the two does not change the other; `take_back` restores bytes,
    times and modes."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    build(root, "d", ON)
    before = _stamps(root)
    run(root, "d", ledger)
    legacy, new = (read_membership(root, one)[0] for one in ("c", "d"))
    paths = [root.generation(*one) / "parsed.txt" for one in (legacy, new)]
    assert paths[0].read_text() == paths[1].read_text()
    assert not os.path.samefile(*paths)
    taken, kept = take_back(root)
    assert (len(read_membership(root, "d")), []) == (len(taken), kept)
    assert before == _stamps(root)


def _stamps(root: DataRoot) -> dict[str, tuple[object, ...]]:
    return {
        path.relative_to(root.path).as_posix(): (
            path.stat().st_mode,
            path.stat().st_mtime_ns if path.is_dir() else path.read_bytes(),
        )
        for path in (root.gens, *root.gens.glob("*/*"), *root.gens.glob("*/*/*"))
        if path != root.gens
    }


def test_a_reused_text_that_something_was_made_from_stays(root: DataRoot) -> None:
    """Taking back never leaves a paid text without what it was made from."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger, max_calls=2)
    build(root, "d", ON)
    run(root, "d", ledger)
    _, kept = take_back(root)
    assert kept
    assert all((root.generation(one.stage, one.gen_id) / "parsed.txt").exists() for one in kept)


def test_texts_that_were_given_to_each_other_in_turn_have_an_order() -> None:
    """A removed text may come back from the id it was once given to: a circle of records."""
    given = {"a": "b", "b": "a", "c": "b", "d": "c"}
    records = [
        Reused(stage="draft", gen_id=one, source=of, task="t", metadata="", mtime_ns=0, files={})
        for one, of in given.items()
    ]
    assert ["d", "c"] == [one.gen_id for one in _last_first(records)][:2]


def test_a_child_is_reused_only_over_the_text_it_was_made_from(root: DataRoot) -> None:
    """A draft that was made again has essays of its own."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    draft = next(one for one in read_membership(root, "c") if one.stage == "draft")
    build(root, "d", ON)
    with StoreIndex.fresh(root) as index:
        expected = index.get(*draft)
    assert expected is not None
    (own := root.generation("draft", str(expected.expected["v1"]))).joinpath(
        "parsed.txt"
    ).write_text("another text")
    run(root, "d", ledger)
    essays = [one for one in read_membership(root, "d") if one.stage == "essay"]
    for essay in essays:
        metadata = json.loads((root.generation(*essay) / "metadata.json").read_text())
        if metadata["parent_gen_id"] == own.name:
            assert "another text" in (root.generation(*essay) / "parsed.txt").read_text()


@pytest.mark.parametrize("name", ["parsed.txt", "raw.txt"])
def test_a_link_to_a_text_that_is_not_there_is_neither_paid_nor_overwritten(
    root: DataRoot, name: str
) -> None:
    """A disk that is not mounted, content that was dropped."""
    ledger = Ledger()
    build(root, "c", ON)
    draft = read_membership(root, "c")[0]
    link = root.generation(*draft) / name
    link.symlink_to("/nowhere/at/all")
    run(root, "c", ledger)
    assert draft not in ledger.calls
    assert "/nowhere/at/all" == os.readlink(link)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "/annex/objects/SHA256E-s5--00.txt\n",
        "not what was made",
    ],
)
def test_nothing_is_paid_over_a_text_that_is_not_the_one(root: DataRoot, text: str) -> None:
    """A parent that is empty, a pointer, or not what its record says blocks its children."""
    ledger = Ledger()
    build(root, "c", ON)
    run(
        root, "c", ledger, max_calls=len([m for m in read_membership(root, "c") if m[0] == "draft"])
    )
    before = len(ledger.calls)
    for path in [*root.gens.glob("draft/*/parsed.txt"), *root.gens.glob("essay/*/parsed.txt")]:
        path.write_text(text)
    done = run(root, "c", ledger)
    assert before == len(ledger.calls)
    assert {"blocked"} == {one.label for one in done.workload.waiting.values()}
    reasons = {one.reason for one in blocked_members(done.workload)}
    assert all("parsed.txt" in one or "has no content" in one for one in reasons)


@pytest.mark.parametrize("what", ["parsed.txt", "[!m]*", "*", "."])
def test_what_was_made_from_a_text_that_is_out_of_reach_is_not_paid_for_again(
    root: DataRoot, what: str
) -> None:
    """Essays, copied ones too, whose text, whose files but metadata, whose files, or whose folder
    are links without a target; another cohort makes the copies again, and pays for nothing over
    them."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    build(root, "d", ON)
    before = len(ledger.calls)
    for folder in list(root.gens.glob("essay/[!e]*")):
        for path in [folder] if what == "." else list(folder.glob(what)):
            path.rename(root.path / f"{folder.name}-{path.name}")
            path.symlink_to("/nowhere/at/all")
    done = run(root, "d", ledger)
    assert before == len(ledger.calls)
    assert {"blocked"} == {one.kind for one in blocked_members(done.workload)}


def spoil(root: DataRoot, cohort_id: str, stage: str, change: Callable[[Path], object]) -> str:
    """Change the metadata of the first member of a stage; return its id."""
    member = next(one for one in read_membership(root, cohort_id) if one.stage == stage)
    change(root.generation(*member) / "metadata.json")
    return member.gen_id


def rewrite(path: Path, **changes: object) -> None:
    """Write metadata again with other values, and without those that are None now."""
    metadata = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in metadata.items() if v is not None}))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:20]),
    "a field is missing": lambda path: rewrite(path, template_id=None),
    "a field is of another type": lambda path: rewrite(path, template_id=7),
    "all but one field are missing": lambda path: rewrite(
        path, template_id=None, llm_model_id=None, replicate=None, gen_id=None
    ),
}


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
@pytest.mark.parametrize(
    ("first", "second", "cohort", "damage"),
    [
        *(("off", "on", "d", one) for one in DAMAGE),
        *(("on", "off", "d", one) for one in ("gone", "a field is missing")),
        *(("off", "off", "d", one) for one in ("gone", "a field is missing")),
        *(("off", "on", "c", one) for one in DAMAGE),
        *(("on", "off", "c", one) for one in ("gone", "a field is missing")),
    ],
)
def test_a_text_whose_task_the_metadata_does_not_tell_is_not_paid_for_again(
    root: DataRoot, first: str, second: str, cohort: str, damage: str, stage: str
) -> None:
    """Under another id its task, and what follows from it, is blocked with the reason, in another
    cohort and in the same one, whose former membership alone names it then; once the metadata is
    right again, everything is reused."""
    ledger = Ledger()
    build(root, "c", STATES[first])
    run(root, "c", ledger)
    before = len(ledger.calls)
    kept: list[tuple[Path, bytes]] = []

    def change(path: Path) -> None:
        kept.append((path, path.read_bytes()))
        DAMAGE[damage](path)

    gen_id = spoil(root, "c", stage, change)
    build(root, cohort, STATES[second])
    done = run(root, cohort, ledger, reuse=True)
    assert before == len(ledger.calls)
    reasons = [one.reason for one in blocked_members(done.workload)]
    assert any(gen_id in reason for reason in reasons), reasons
    kept[0][0].write_bytes(kept[0][1])
    done = run(root, cohort, ledger, reuse=True)
    assert before == len(ledger.calls)
    assert all(one.complete for one in done.outcomes)


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_a_member_whose_metadata_could_not_be_read_for_a_moment_is_not_paid_for(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The index did not see which task it belongs to, so no one is called for it."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    before = len(ledger.calls)
    build(root, "d", ON)
    (root.own / "index.sqlite").unlink()
    member = next(one for one in read_membership(root, "d") if one.stage == stage)
    read = read_with_status

    def refuse(path: str, **limit: int) -> object:
        if f"/{member.gen_id}/" in path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return read(path, **limit)

    with monkeypatch.context() as patched:
        patched.setattr(index_reading, "read_with_status", refuse)
        run(root, "d", ledger)
    assert before == len(ledger.calls)
    run(root, "d", ledger)
    assert before == len(ledger.calls)
    assert 0 == run(root, "d", ledger).workload.total_calls


def test_what_a_text_of_no_known_task_cannot_be_is_paid_for(root: DataRoot) -> None:
    """A legacy draft without its model is none of another template; one under a v1 id is what its
    id says, whatever happens to its metadata."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger, max_calls=1)
    spoil(root, "c", "draft", lambda path: rewrite(path, llm_model_id=None))
    build(root, "d", ON)
    run(root, "d", ledger)
    drafts = [one for one in read_membership(root, "d") if one.stage == "draft"]
    told = {one: read_generation(root, *one) for one in drafts}
    cells = {one: (found.combo_id, found.template_id) for one, found in told.items()}
    blocked = [one for one in drafts if not (root.generation(*one) / "parsed.txt").exists()]
    assert blocked == [one for one in drafts if cells[one] == cells[drafts[0]]]
    assert 1 < len(blocked) < len(drafts)


@pytest.mark.parametrize("lost", [{"combo_id": None}, {"replicate": "x"}, {"llm_model_id": None}])
def test_what_is_known_of_a_text_is_compared_as_ids_are_made(
    tmp_path: Path, lost: dict[str, object]
) -> None:
    """Upper case and spaces around a field make no other task (SPEC 1.3)."""
    folder = tmp_path / "gens" / "draft" / "old"
    folder.mkdir(parents=True)
    fields = {"combo_id": "C", "template_id": " T", "llm_model_id": "M", "replicate": 1}
    whole = {"stage": "draft", "gen_id": "old", **fields}
    (folder / "metadata.json").write_text(json.dumps(whole))
    rewrite(folder / "metadata.json", **lost)
    (folder / "parsed.txt").write_text("paid")
    with pytest.raises(StoreError, match="paid for already: the metadata of old"):
        Store.open(tmp_path).once(draft(), Ledger())
    other = Draft(combo_id="c", template_id="other", llm_model_id="m", replicate=1)
    assert "text 1 over None" == Store.open(tmp_path).once(other, Ledger())


def test_an_id_tells_the_task_where_no_metadata_does(tmp_path: Path) -> None:
    """One of either scheme, in a cohort or not."""
    for number, scheme in enumerate(("v1", "phase-1"), 1):
        name = str(gen_id(draft(number), scheme=scheme))  # type: ignore[arg-type]
        folder = tmp_path / "gens" / "draft" / name
        folder.mkdir(parents=True)
        (folder / "parsed.txt").write_text("paid")
    store = Store.open(tmp_path)
    assert "paid" == store.once(draft(1), Ledger())
    with pytest.raises(StoreError, match="paid for already"):
        store.once(draft(2), Ledger())
    assert "text 1 over None" == store.once(draft(3), Ledger())


def test_metadata_that_cannot_be_read_hides_nothing_where_no_text_is(tmp_path: Path) -> None:
    """A folder in the place of the file, and neither a text nor an answer beside it."""
    (tmp_path / "gens" / "draft" / "old" / "metadata.json").mkdir(parents=True)
    assert "text 1 over None" == Store.open(tmp_path).once(draft(), Ledger())


def test_an_index_that_is_lost_is_filled_before_anyone_pays(tmp_path: Path) -> None:
    """Another process was killed with it open: the next one to open it finds it empty."""
    ledger, store = Ledger(), Store.open(tmp_path)
    store.once(draft(), ledger)
    old = tmp_path / "gens/draft/old"
    (tmp_path / "gens/draft" / str(gen_id(draft()))).rename(old)
    rewrite(old / "metadata.json", gen_id="old")
    store.once(draft(2), ledger)  # reads the store, for as long as this object lives
    os.truncate(tmp_path / ".genid/index.use", 0)
    assert "text 1 over None" == store.once(draft(), ledger)
    assert 2 == len(ledger.calls)


def test_a_parent_that_cannot_be_read_holds_up_its_child_alone(tmp_path: Path) -> None:
    """Of several that are asked for together."""
    ledger, store = Ledger(), Store.open(tmp_path)
    drafts = [draft(number) for number in (1, 2)]
    store.once_all(drafts, ledger)
    path = tmp_path / "gens/draft" / str(gen_id(drafts[0])) / "metadata.json"
    path.unlink()
    path.symlink_to(path)
    essays = [Essay(parent_gen_id=gen_id(one), template_id="t", replicate=1) for one in drafts]
    with pytest.raises(StoreError, match="1 generation"):
        store.once_all(essays, ledger)
    assert (3, [essays[0]]) == (len(ledger.calls), store.missing(essays))


def test_a_text_is_not_given_to_the_task_that_wrong_metadata_names(tmp_path: Path) -> None:
    """Its v1 id is believed: metadata of another template does not make it that one's."""
    ledger, store = Ledger(), Store.open(tmp_path)
    store.once(draft(), ledger)
    other = Draft(combo_id="c", template_id="other", llm_model_id="m", replicate=1)
    rewrite(tmp_path / "gens/draft" / str(gen_id(draft())) / "metadata.json", template_id="other")
    assert "text 2 over None" == Store.open(tmp_path).once(other, ledger)


def test_a_failure_of_another_run_is_looked_at_under_the_lease(root: DataRoot) -> None:
    """Two concurrent runs need the same member and the answer is empty: one call."""
    build(root, "c", ON)
    member = read_membership(root, "c")[0]
    asked, go, calls = threading.Event(), threading.Event(), []

    def empty(request: Request) -> str:
        calls.append(request.gen_id)
        asked.set()
        go.wait(20)
        return ""

    outcomes = []
    asks = Asked(retry_failed=True)
    both = [Executor(root=root, generator=empty, asked=asks) for _ in range(2)]

    def obtain(executor: Executor) -> None:
        outcomes.append(executor.obtain(*member))

    threads = [threading.Thread(target=obtain, args=[one]) for one in both]
    threads[0].start()
    asked.wait(20)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join()
    assert [member.gen_id] == calls
    assert ["failed", "failed"] == [one.kind for one in outcomes]


def test_another_process_text_of_the_task_is_seen_under_the_lease(root: DataRoot) -> None:
    """A plan reuses a text that another run has made since planning."""
    ledger = Ledger()
    build(root, "c", ON)
    phase = Rollout.from_env({"DD_DETERMINISTIC_GEN_IDS": "on", "DD_GEN_ID_SCHEME": "phase-1"})
    build(root, "d", phase)
    mine, other = (read_membership(root, one)[0] for one in ("c", "d"))
    from genid_store.generation.reuse import plan_reuse

    with StoreIndex.fresh(root) as index:
        late = Executor(root=root, generator=ledger, plan=plan_reuse(index, [other]))
        first = Executor(root=root, generator=ledger, plan=plan_reuse(index, [mine]))
    assert "made" == first.obtain(*mine).kind
    outcome = late.obtain(*other)
    assert ("adopted", mine.gen_id) == (outcome.kind, outcome.reason)
    assert 1 == len(ledger.calls)


def test_an_answer_that_was_written_aside_is_found(root: DataRoot) -> None:
    """Killed between the last file and the rename: the next run publishes it and calls no one."""
    ledger = Ledger()
    build(root, "c", ON)
    member = read_membership(root, "c")[0]
    aside = root.own / "staging" / "draft" / f".{member.gen_id}.4711-00c0ffee"
    aside.mkdir(parents=True)
    for name in ("parsed.txt", "raw.txt", ".DS_Store"):
        (aside / name).write_text("paid")
    outcome = Executor(root=root, generator=ledger).obtain(*member)
    assert ("reused", []) == (outcome.kind, ledger.calls)
    assert "paid" == (root.generation(*member) / "parsed.txt").read_text()
    assert not aside.exists()


def test_a_helper_that_outlives_the_run_holds_no_lease(root: DataRoot) -> None:
    """A generator that forks: the child keeps nothing, so the next run does not wait for it."""
    build(root, "c", ON)
    member = read_membership(root, "c")[0]
    pids: list[int] = []

    def forking(request: Request) -> str:
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
        pids.append(pid)
        raise ValueError("no answer")

    try:
        Executor(root=root, generator=forking).obtain(*member)
        retry = Asked(retry_failed=True)
        outcome = Executor(root=root, generator=Ledger(), asked=retry).obtain(*member)
        assert "made" == outcome.kind
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


# -- the library -----------------------------------------------------------------------------------
def draft(number: int = 1) -> Draft:
    return Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=number)


def test_once_pays_once_and_reads_afterwards(tmp_path: Path) -> None:
    """In any object, at any time; an essay's request has its draft's text, in any order given."""
    ledger = Ledger()
    essay = Essay(parent_gen_id=gen_id(draft()), template_id="t", replicate=1)
    found = Store.open(tmp_path / "data").once_all([essay, draft()], ledger)
    assert ["text 2 over text 1 over None", "text 1 over None"] == found
    again = Store.open(tmp_path / "data")
    assert found[1] == again.once(draft(), ledger)
    assert found[0] == again.get(essay)
    assert [draft(2)] == again.missing([draft(), draft(2), essay])
    assert 2 == len(ledger.calls)


def test_an_open_store_looks_again_after_a_rollback(root: DataRoot) -> None:
    """What is back under its old id is not paid for again by a store that was open before."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    before = len(ledger.calls)
    members = [one for one in read_membership(root, "c") if one.stage == "draft"]
    raw = read_generation(root, *members[0]).raw
    names = ("combo_id", "template_id", "llm_model_id", "replicate")
    fields = {name: raw[name] for name in names}
    migrate(root)
    store = Store.open(root.path)
    store.once(draft(), ledger)
    rollback(root)
    store.once(Draft(**fields), ledger)
    assert before + 1 == len(ledger.calls)


def test_an_async_callable_runs_on_one_loop(tmp_path: Path) -> None:
    """Several calls are in flight concurrently, on one event loop."""
    import asyncio

    loops: set[int] = set()
    flying = itertools.count(1)
    together: list[int] = []

    async def call(request: Request) -> str:
        loops.add(id(asyncio.get_running_loop()))
        together.append(next(flying))
        while len(together) < 3:
            await asyncio.sleep(0)
        return "text"

    store = Store.open(tmp_path)
    assert ["text"] * 3 == store.once_all([draft(n) for n in (1, 2, 3)], call, concurrency=3)
    assert 1 == len(loops)


def test_an_async_callable_may_ask_for_another_text_in_a_thread_of_its_own(tmp_path: Path) -> None:
    """On the loop's thread it would wait for itself: that is refused, and nothing is paid for."""
    import asyncio

    store = Store.open(tmp_path)

    async def other(request: Request) -> str:
        return "other"

    async def blocking(request: Request) -> str:
        return store.once(draft(2), other)

    async def waiting(request: Request) -> str:
        return "over " + await asyncio.to_thread(store.once, draft(2), other)

    with pytest.raises(StoreError, match="to_thread"):
        store.once(draft(), blocking)
    assert "over other" == store.once(draft(), waiting)


def test_what_was_never_begun_has_no_text_either(tmp_path: Path) -> None:
    """After an answer of a wrong type no other call is made, in no later step, and all that is
    missing is counted."""
    asked: list[str] = []

    def call(request: Request) -> Any:
        asked.append(request.stage)
        return {"text": "x"} if request.fields["template_id"] == "t" else "text"

    store = Store.open(tmp_path)
    made = Draft(combo_id="c", template_id="sound", llm_model_id="m", replicate=1)
    store.once(made, call)
    essay = Essay(parent_gen_id=gen_id(made), template_id="t", replicate=1)
    wanted: list[Signature[Any]] = [*(draft(number) for number in range(1, 9)), essay]
    with pytest.raises(StoreError, match=r"^no text for 9 generations") as refused:
        store.once_all(wanted, call, concurrency=1)
    assert ["draft", "draft"] == asked
    why = "it was not begun, because an earlier answer of the callable was not a text"
    assert 8 == sum(why in str(one) for one in refused.value.problems)
    told = str(refused.value.problems[0])
    assert "; it was paid for: write gens/draft/" in told
    remedy = "a retry gives the callable that text as `request.unparsed_text`"
    assert told.endswith(f"by hand from raw.txt, or retry it; {remedy} (retry_unparsed=True)")


def test_a_run_that_an_answer_stopped_says_why(root: DataRoot) -> None:
    """Of each member that it did not begin; those are no failures of the run, nor of the next."""
    build(root, "c", ON)
    run(root, "c", Ledger(), max_calls=3)
    done = run_cohort(root, "c", lambda request: 7, Asked(), concurrency=1)  # type: ignore[arg-type, return-value]
    left = {one.reason for one in blocked_members(done.workload, stopped=done.stopped)}
    why = "it was not begun, because an earlier answer of the callable was not a text"
    assert f"{why}; fix that, and run again" in left
    states = states_of(root, done.workload.members).values()
    assert (1, 0) == (list(states).count("unparsed"), list(states).count("failed"))


def test_once_says_what_has_no_text(tmp_path: Path) -> None:
    """The reason of each, and nothing is written for a child whose parent is not there."""
    store = Store.open(tmp_path)
    orphan = Essay(parent_gen_id=gen_id(draft(9)), template_id="t", replicate=1)
    with pytest.raises(StoreError, match="has no content"):
        store.once(orphan, Ledger())
    assert not (tmp_path / "gens" / "essay").exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Generated(text="paid", parsed=""), "is empty"),
        (Generated(text="paid", parsed=" \n"), "is empty"),
        (Generated(text="version https://git-lfs.github.com/spec/v1\n"), "is a pointer"),
        (Generated(text="paid", unparsed=""), "gives no reason"),
    ],
)
def test_an_answer_without_a_parsed_form_to_build_upon_is_unparsed(
    tmp_path: Path, answer: Generated, reason: str
) -> None:
    """The raw text is kept, and given to the callable when it is asked to parse it again."""
    store = Store.open(tmp_path)
    path = f"gens/draft/{gen_id(draft())}/parsed.txt"
    rest = f"it was paid for: write {path} by hand from raw.txt, or retry it; a retry gives the"
    with pytest.raises(StoreError, match=rf"unparsed: .*{reason}.*; {rest} callable that"):
        store.once(draft(), lambda request: answer)
    again = store.once(draft(), lambda one: f"again {one.unparsed_text}", retry_unparsed=True)
    assert f"again {answer.text}" == again


@pytest.mark.parametrize(
    "text", [b"", b" \n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"\xff"]
)
def test_once_never_answers_with_what_was_not_generated(tmp_path: Path, text: bytes) -> None:
    """An empty file, a pointer and bytes that are not a text are refused, and no one is called."""
    ledger, store = Ledger(), Store.open(tmp_path)
    store.once(draft(), ledger)
    (tmp_path / "gens" / "draft" / str(gen_id(draft())) / "parsed.txt").write_bytes(text)
    for ask in (store.get, lambda one: store.once(one, ledger), lambda one: store.missing([one])):
        with pytest.raises(StoreError, match=r"parsed\.txt"):
            ask(draft())
    assert 1 == len(ledger.calls)


def test_once_pays_for_nothing_whose_metadata_is_of_another_task(tmp_path: Path) -> None:
    """A text that is there is still returned: its id says what it is, and the audit reports the
    metadata."""
    ledger, store = Ledger(), Store.open(tmp_path)
    folder = tmp_path / "gens" / "draft" / str(gen_id(draft()))
    store.once(draft(), ledger)
    other = json.loads((folder / "metadata.json").read_text()) | {"combo_id": "other"}
    (folder / "metadata.json").write_text(json.dumps(other))
    assert "text 1 over None" == store.once(draft(), ledger)
    for path in {*folder.iterdir()} - {folder / "metadata.json"}:
        path.unlink()
    with pytest.raises(StoreError, match=r"metadata\.json: describes another .*'other'"):
        store.once(draft(), ledger)
    assert 1 == len(ledger.calls)


def test_once_all_makes_what_it_can_and_names_each_other_one(tmp_path: Path) -> None:
    """A damaged text is one of them, and holds up nothing else."""
    store, many = Store.open(tmp_path), [draft(number) for number in range(1, 31)]
    store.once(many[0], Ledger())
    (tmp_path / "gens" / "draft" / str(gen_id(many[0])) / "parsed.txt").write_bytes(b"\xff")

    def call(request: Request) -> str:
        if request.fields["replicate"] == 2:
            return "text"
        raise RuntimeError("no answer")

    with pytest.raises(StoreError, match="29 generation") as caught:
        store.once_all(many, call)
    assert 29 == len(caught.value.problems)
    assert {one.ways for one in caught.value.problems[1:]} == {("retry_failed",)}
    assert "text" == store.get(many[1])


def test_once_all_makes_what_does_not_hang_on_a_damaged_text(tmp_path: Path) -> None:
    """An essay over it is named with the reason; drafts and other essays are made."""
    store = Store.open(tmp_path)
    store.once_all([draft(1), draft(2)], Ledger())
    (tmp_path / "gens" / "draft" / str(gen_id(draft(1))) / "parsed.txt").write_text("")
    essays = [
        Essay(parent_gen_id=gen_id(draft(number)), template_id="t", replicate=1)
        for number in (1, 2)
    ]
    with pytest.raises(StoreError, match="1 generation") as caught:
        store.once_all([*essays, draft(3)], Ledger())
    assert f"essay {gen_id(essays[0])}" == caught.value.problems[0].where
    assert [essays[0]] == store.missing([*essays, draft(3)])


@pytest.mark.parametrize(
    ("signature", "call", "options", "error"),
    [
        ("draft", len, {}, TypeError),
        (None, len, {}, TypeError),
        (7, None, {}, TypeError),
        (7, len, {"concurrency": 0}, ValueError),
        (7, len, {"concurrency": "2"}, ValueError),
        (7, len, {"concurrency": True}, ValueError),
    ],
)
def test_once_refuses_what_is_no_argument_before_anything_happens(
    tmp_path: Path, signature: Any, call: Any, options: dict[str, Any], error: type[Exception]
) -> None:
    """With a TypeError or ValueError that says what was expected, and nothing on record."""
    store = Store.open(tmp_path)
    with pytest.raises(error, match="expected"):
        store.once(draft() if signature == 7 else signature, call, **options)
    assert "text 1 over None" == store.once(draft(), Ledger())


@pytest.mark.parametrize("template_id", ["t" * 255, "../../outside", "..", "a|b"])
def test_once_needs_no_template_of_any_name(tmp_path: Path, template_id: str) -> None:
    """A template's id is part of the task; whether a file has its name matters to cohorts alone."""
    one = Draft(combo_id="c", template_id=template_id, llm_model_id="m", replicate=1)
    assert "text 1 over None" == Store.open(tmp_path).once(one, Ledger())


def test_once_refuses_a_callable_that_asks_for_a_template_without_a_file(tmp_path: Path) -> None:
    """It would send an empty prompt; once the file is there, a retry makes it."""
    store = Store.open(tmp_path)
    with pytest.raises(StoreError, match=r"templates/draft/t\.txt: is missing"):
        store.once(draft(), lambda request: f"an answer to {request.template_text}")
    path = store.root.template("draft", "t")
    path.parent.mkdir(parents=True)
    path.write_text("this")
    assert "an answer to this" == store.once(
        draft(), lambda request: f"an answer to {request.template_text}", retry_failed=True
    )


def test_an_essay_may_name_the_model_of_its_draft(tmp_path: Path) -> None:
    """Its id differs from that of one that names none, and is read; the task is the same."""
    ledger, store = Ledger(), Store.open(tmp_path)
    store.once(draft(), ledger)
    for model in ("m", "n", None):
        essay = Essay(
            parent_gen_id=gen_id(draft()), template_id="t", llm_model_id=model, replicate=1
        )
        assert store.once(essay, ledger) == store.get(essay)
    assert 3 == len(ledger.calls)


def test_once_takes_what_a_legacy_cohort_has_paid_for(root: DataRoot) -> None:
    """A store that a pipeline has filled under legacy ids answers for the same task."""
    ledger = Ledger()
    build(root, "c", OFF)
    run(root, "c", ledger)
    before = len(ledger.calls)
    member = read_membership(root, "c")[0]
    metadata = json.loads((root.generation(*member) / "metadata.json").read_text())
    names = ("combo_id", "template_id", "llm_model_id", "replicate")
    signature = Draft(**{name: metadata[name] for name in names})
    text = Store.open(root.path).once(signature, ledger)
    assert (root.generation(*member) / "parsed.txt").read_text() == text
    assert before == len(ledger.calls)


def _without_membership(root: DataRoot) -> set[tuple[str, str]]:
    with StoreIndex.fresh(root, persist=False) as index:
        found = audit(index).by_code().get(findings.GENERATION_WITHOUT_MEMBERSHIP, ())
    return {key for one in found for key in one.ids}


def test_a_text_that_a_member_may_be_given_is_not_offered_for_removal(root: DataRoot) -> None:
    """Nor is one without a number, or whose metadata is lost, which a run takes for a member's; nor
    what such a text was made from. A text of another task is, and the slots of no cohort."""
    build(root, "c", OFF)
    legacy = read_membership(root, "c")
    run(root, "c", Ledger())
    build(root, "c", ON)
    planned = read_membership(root, "c")
    assert set() == _without_membership(root)
    drop(root, "evaluation/[!v]*", "replicate")
    assert set() == _without_membership(root)
    for member in legacy:
        if member.stage != "evaluation":
            (root.generation(*member) / "parsed.txt").unlink()
            (root.generation(*member) / "raw.txt").unlink(missing_ok=True)
    assert set() == _without_membership(root)
    damaged, *_ = (member for member in legacy if member.stage == "evaluation")
    (root.generation(*damaged) / "metadata.json").write_text("{")
    assert set() == _without_membership(root)
    rows = [",".join(member) for member in planned if member.stage == "draft"]
    root.membership("c").write_text("\n".join(["stage,gen_id", *rows, ""]))
    others = {member for member in (*legacy, *planned) if member.stage == "evaluation"}
    assert others - {damaged} <= _without_membership(root)
