"""What hosts, tools and disks do to texts between two runs costs no call and no text."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from cohort_kit import OFF, ON
from dagster_kit import lay, read
from genid import Draft
from genid_store import Request, Rollout, Store, StoreError
from genid_store.catalog.memberships import read_membership
from genid_store.catalog.reused import find_all
from genid_store.cli import run
from genid_store.cohort.build import Options, build_cohort
from genid_store.fs import leases, rescue, slots
from genid_store.fs.files import read_bytes, write_new
from genid_store.fs.layout import DataRoot
from genid_store.generation import failures, publish
from genid_store.generation.giving import take_back
from genid_store.generation.once import Executor
from genid_store.generation.records import Asked, Outcome
from genid_store.generation.run import Done, plan_run, run_cohort
from genid_store.generation.workload import blocked_members
from genid_store.migration import run as migration
from paid_kit import OutsideLedger, small_root

PHASE_1 = Rollout.parse("on", "phase-1")


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return small_root(tmp_path / "root")


@pytest.fixture
def ledger(tmp_path: Path) -> OutsideLedger:
    return OutsideLedger(tmp_path / "ledger")


def build(root: DataRoot, cohort_id: str, rollout: Rollout) -> None:
    build_cohort(root, Options(rollout=rollout, cohort_id=cohort_id))


def made(
    root: DataRoot, cohort_id: str, rollout: Rollout, answer: Callable[[Request], str]
) -> None:
    build(root, cohort_id, rollout)
    done = run_cohort(root, cohort_id, answer, Asked())
    assert all(one.complete for one in done.outcomes)


def texts(root: DataRoot) -> set[str]:
    return {path.read_text() for path in root.gens.glob("*/*/parsed.txt")}


# -- tools that link and move ----------------------------------------------------------------------
def _twins(root: DataRoot) -> None:
    """Make raw.txt and parsed.txt of each generation one file."""
    for path in root.gens.glob("*/*/parsed.txt"):
        path.with_name("raw.txt").unlink()
        os.link(path, path.with_name("raw.txt"))


def _one_file_a_text(root: DataRoot) -> None:
    """Make all files of the same bytes one file, across generations."""
    first: dict[bytes, Path] = {}
    for path in sorted(root.gens.glob("*/*/*.txt")):
        kept = first.setdefault(path.read_bytes(), path)
        if kept != path:
            path.unlink()
            os.link(kept, path)


def _moved_out(root: DataRoot) -> None:
    """Move the generations that were made first out of the data root, on the same disk."""
    outside = root.path.parent / "outside"
    for stage, gen_id in read_membership(root, "c"):
        (outside / stage).mkdir(parents=True, exist_ok=True)
        shutil.move(root.generation(stage, gen_id), outside / stage / gen_id)


def _linked_and_moved_out(root: DataRoot) -> None:
    _one_file_a_text(root)
    _moved_out(root)


def _texts_moved_out(root: DataRoot) -> None:
    """Move the texts alone."""
    for member in read_membership(root, "c"):
        for path in root.generation(*member).glob("*.txt"):
            path.unlink()


def _links_to_one_file(root: DataRoot) -> None:
    """Leave of all files of the same bytes the last one, and links to it."""
    last = {path.read_bytes(): path for path in sorted(root.gens.glob("*/*/*.txt"))}
    for path in sorted(root.gens.glob("*/*/*.txt")):
        if last[path.read_bytes()] != path:
            target = last[path.read_bytes()]
            path.unlink()
            path.symlink_to(target)


def _links_to_the_copies(root: DataRoot) -> None:
    """Make the folder that a text was copied from a link to its copy's."""
    for one in find_all(root):
        source = root.generation(one.stage, one.source)
        if not source.is_symlink():
            shutil.rmtree(source)
            source.symlink_to(one.gen_id)


@pytest.mark.parametrize(
    "tool",
    [
        *(_twins, _one_file_a_text, _moved_out, _linked_and_moved_out, _texts_moved_out),
        *(_links_to_one_file, _links_to_the_copies),
    ],
)
def test_taking_back_leaves_every_text_in_the_store(
    root: DataRoot, ledger: OutsideLedger, tool: Callable[[DataRoot], None]
) -> None:
    """A copy is what is read at its path beside what it was copied from, never a link count."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    made(root, "d", ON, answer)
    made(root, "e", PHASE_1, answer)
    before, calls = texts(root), len(ledger.calls())
    tool(root)
    assert before == texts(root)
    take_back(root)
    assert before == texts(root)
    take_back(root)
    run_cohort(root, "d", answer, Asked())
    run_cohort(root, "e", answer, Asked())
    assert (before, calls) == (texts(root), len(ledger.calls()))


@pytest.mark.parametrize("tool", [_twins, _one_file_a_text])
def test_rolling_back_leaves_every_text_in_the_store(
    root: DataRoot, ledger: OutsideLedger, tool: Callable[[DataRoot], None]
) -> None:
    """As taking back does, before the migration and after it."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    tool(root)
    before = Counter(path.read_text() for path in root.gens.glob("*/*/*.txt"))
    migration.migrate(root)
    tool(root)
    run_cohort(root, "c", answer, Asked())
    migration.rollback(root)
    run_cohort(root, "c", answer, Asked())
    assert before == Counter(path.read_text() for path in root.gens.glob("*/*/*.txt"))
    assert 4 == len(ledger.calls())


def test_of_a_chain_of_copies_all_are_taken_back(root: DataRoot, ledger: OutsideLedger) -> None:
    """Whichever was copied from whichever."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    before = set(root.gens.glob("*/*/parsed.txt"))
    made(root, "d", ON, answer)
    _moved_out(root)
    made(root, "e", PHASE_1, answer)
    shutil.copytree(root.path.parent / "outside", root.gens, dirs_exist_ok=True)
    assert [] == take_back(root)[1]
    assert before == set(root.gens.glob("*/*/parsed.txt"))


def test_the_flag_forgotten_after_a_migration_is_said_and_pays_nothing(
    root: DataRoot, ledger: OutsideLedger
) -> None:
    """A build says what it drops and what would be paid for again, and a run refuses that."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    migration.migrate(root)
    members, calls = read_membership(root, "c"), len(ledger.calls())
    done = build_cohort(root, Options(rollout=OFF, cohort_id="c"))
    assert set(members) == set(done.prepared.dropped)
    assert calls == sum(not one.is_copy for one in done.repeats)
    assert done.kept is not None
    with pytest.raises(StoreError, match="paid for a second time"):
        run_cohort(root, "c", answer, Asked())
    run_cohort(root, "c", answer, Asked(reuse=True))
    assert calls == len(ledger.calls())


# -- hosts that write ------------------------------------------------------------------------------
def _truncating(path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("the host's")


def _in_place(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"THE")


def _appending(path: Path) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write("\nmore")


@pytest.mark.parametrize("write", [_truncating, _in_place, _appending])
@pytest.mark.parametrize("name", ["raw.txt", "parsed.txt"])
def test_who_writes_a_copy_in_place_changes_no_other_text(
    root: DataRoot, ledger: OutsideLedger, name: str, write: Callable[[Path], None]
) -> None:
    """What was copied from is untouched, and what was written is not taken back."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    originals = [root.generation(*member) / name for member in read_membership(root, "c")]
    before = [path.read_bytes() for path in originals]
    made(root, "d", ON, answer)
    copies = [root.generation(*member) / name for member in read_membership(root, "d")]
    for path in copies:
        write(path)
    changed = [path.read_bytes() for path in copies]
    take_back(root)
    assert before == [path.read_bytes() for path in originals]
    assert changed == [path.read_bytes() for path in copies]


@pytest.mark.parametrize("lost", ["adopted_from", "replicate", "origin_cohort_id"])
def test_metadata_that_a_host_writes_again_pays_nothing(
    root: DataRoot, ledger: OutsideLedger, lost: str
) -> None:
    """Fields that its writer does not know are gone from evaluations; so are they after undoing."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    made(root, "d", ON, answer)
    calls = len(ledger.calls())
    for path in root.gens.glob("evaluation/*/metadata.json"):
        metadata = json.loads(path.read_text())
        metadata.pop(lost, None)
        path.write_text(json.dumps(metadata))
    build(root, "e", PHASE_1)
    for cohort in "cde":
        with contextlib.suppress(Exception):
            run_cohort(root, cohort, answer, Asked())
    take_back(root)
    for cohort in "cde":
        with contextlib.suppress(Exception):
            run_cohort(root, cohort, answer, Asked())
    assert calls == len(ledger.calls())


@pytest.mark.parametrize("damage", [None, "", "{", "[]"], ids=["gone", "empty", "cut", "a list"])
@pytest.mark.parametrize("rollout", [OFF, ON, PHASE_1], ids=["off", "on", "phase-1"])
def test_texts_whose_metadata_is_gone_are_not_paid_for_again(
    root: DataRoot, ledger: OutsideLedger, rollout: Rollout, damage: str | None
) -> None:
    """Their cohort names them, and nothing says of which tasks they are: another cohort waits until
    their own is built again, then has their texts, or is refused where it is legacy."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    calls = len(ledger.calls())
    kept = {path: path.read_bytes() for path in root.gens.glob("*/*/metadata.json")}
    for path in kept:
        path.unlink() if damage is None else path.write_text(damage)
    build(root, "d", rollout)
    (missing, *_) = (one for one in read_membership(root, "d") if one.stage == "draft")
    done = run_cohort(root, "d", answer, Asked(pay_again=True))
    assert calls == len(ledger.calls())
    assert "possibly paid for" == done.workload.waiting[missing].label
    assert {1} == {sum(one.gen_id == missing.gen_id for one in blocked(root, done))}
    if damage is None:
        build(root, "c", OFF)
    else:
        for path, data in kept.items():
            path.write_bytes(data)
    run_cohort(root, "d", answer, Asked(reuse=True))
    assert calls == len(ledger.calls())
    assert len(read_membership(root, "d")) == len(
        plan_run(root, "d", read_membership(root, "d"), Asked()).made
    )


def test_texts_without_metadata_are_safe_where_no_membership_can_be_read(
    root: DataRoot, ledger: OutsideLedger
) -> None:
    """Any of them may be a member of a cohort whose file is damaged."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    calls = len(ledger.calls())
    for path in root.gens.glob("*/*/metadata.json"):
        path.unlink()
    root.membership("c").unlink()
    root.membership("c").symlink_to("nowhere")
    build(root, "d", ON)
    run_cohort(root, "d", answer, Asked())
    assert calls == len(ledger.calls())


def blocked(root: DataRoot, done: Done) -> list[Outcome]:
    """Return what a run says it could not begin, each for want of that metadata."""
    found = blocked_members(done.workload)
    assert "does not say which task that is" in found[0].reason
    return found


# -- disks that fail for a moment ------------------------------------------------------------------
@contextlib.contextmanager
def unreadable(paths: set[str], code: int) -> Iterator[None]:
    """Let opening some files fail."""
    plain = os.open

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(path) in paths:
            raise OSError(code, os.strerror(code), path)
        return plain(path, *arguments, **options)

    with mock.patch.object(os, "open", opening):
        yield


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ESTALE, errno.EACCES])
@pytest.mark.parametrize("name", ["metadata.json", "parsed.txt", "parsed_metadata.json"])
def test_a_moment_in_which_files_cannot_be_read_pays_nothing(
    root: DataRoot, ledger: OutsideLedger, code: int, name: str
) -> None:
    """Neither in that moment nor afterwards, when the texts are found and reused."""
    answer = ledger.answering(root)
    made(root, "c", OFF, answer)
    calls = len(ledger.calls())
    build(root, "d", ON)
    (root.own / "index.sqlite").unlink()
    paths = {str(root.generation(*one) / name) for one in read_membership(root, "c")}
    with unreadable(paths, code):
        run_cohort(root, "d", answer, Asked())
    assert calls == len(ledger.calls())
    run_cohort(root, "d", answer, Asked())
    assert calls == len(ledger.calls())
    assert len(read_membership(root, "d")) == len(
        plan_run(root, "d", read_membership(root, "d"), Asked()).made
    )


# -- disks that are full right after a call --------------------------------------------------------
@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder that outlives a run and is not on the disk of the data root."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(rescue, "USUAL", (str(folder),))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "of the first run"))
    return folder


@contextlib.contextmanager
def full_after_calls() -> Iterator[None]:
    """Let no file of a generation be written below the data root."""

    def full(path: Path, data: bytes, **options: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with mock.patch.object(publish, "write_new", full):
        yield


def rescued_draft(root: DataRoot, answer: Callable[[Request], str], rollout: Rollout = ON) -> str:
    """Pay for a cohort's first text, which the disk does not take; return what the run says."""
    build(root, "c", rollout)
    with full_after_calls():
        done = run_cohort(root, "c", answer, Asked(), concurrency=1)
    (outcome,) = done.outcomes
    assert "failed" == outcome.kind
    return outcome.reason


@pytest.mark.parametrize("copied", [False, True], ids=["here", "on a bigger disk"])
def test_a_rescued_text_is_taken_up_wherever_its_root_is_by_then(
    root: DataRoot,
    ledger: OutsideLedger,
    kept: Path,
    copied: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The failure that is on record counts for nothing then, and neither does TMPDIR."""
    assert str(kept) in rescued_draft(root, ledger.answering(root))
    assert 1 == len(ledger.calls())
    if copied:
        root = DataRoot(shutil.copytree(root.path, tmp_path / "copy"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "of another run"))
    run_cohort(root, "c", ledger.answering(root), Asked())
    assert {1} == set(Counter(one.task for one in ledger.calls()).values())
    assert {one.text for one in ledger.calls()} <= texts(root)
    assert [] == list(kept.iterdir())
    assert frozenset() == failures.failed_ids(root, "draft")


def test_a_failure_that_the_disk_takes_no_record_of_is_shown_with_its_reason(
    root: DataRoot,
    kept: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command says where the text is, and not that it was not begun."""

    def full(*ignored: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    build(root, "c", ON)
    host = tmp_path / "host.py"
    host.write_text("def generate(request):\n    return 'paid'\n")
    arguments = ["--data-root", str(root.path), "--cohort-id", "c", "--concurrency", "1"]
    arguments += ["--generate", f"{host}:generate"]
    monkeypatch.setattr(failures, "record", full)
    with full_after_calls():
        assert 1 == run(["cohort", "run", *arguments, "--json"])
        shown = json.loads(capsys.readouterr().out)
        (failure,) = shown["failures"]
        assert f"takes the text from {kept}" in failure["reason"]
        assert (1, 1, False) == (shown["failed"], shown["failed_now"], failure["former_run"])
        counts = shown["stages"]["draft"]
        assert (1, 0) == (counts["failed"], counts["missing"])
        assert failure["gen_id"] not in {one["gen_id"] for one in shown["blocked"]}


def test_a_rescued_text_is_no_other_roots(
    root: DataRoot, ledger: OutsideLedger, kept: Path, tmp_path: Path
) -> None:
    """Two stores of the same tasks: each has what was made in it."""
    rescued_draft(root, ledger.answering(root))
    (first,) = ledger.calls()
    other = small_root(tmp_path / "other")
    made(other, "c", ON, ledger.answering(other))
    assert first.text not in texts(other)
    calls = len(ledger.calls())
    run_cohort(root, "c", ledger.answering(root), Asked())
    assert first.text in texts(root)
    assert 2 * (calls - 1) == len(ledger.calls())


def test_a_rescued_text_is_taken_up_under_its_own_id_alone(tmp_path: Path, kept: Path) -> None:
    """One id may begin as another does."""
    root = lay(tmp_path, "draft", "x")
    lay(tmp_path, "draft", "x-1")
    with full_after_calls():
        Executor(root=root, generator=lambda _: "of x-1").obtain("draft", "x-1")
    assert "made" == Executor(root=root, generator=lambda _: "of x").obtain("draft", "x").kind
    assert "reused" == Executor(root=root, generator=lambda _: "no").obtain("draft", "x-1").kind
    assert "of x" == read(tmp_path, "draft", "x", "parsed.txt")
    assert "of x-1" == read(tmp_path, "draft", "x-1", "parsed.txt")


def test_a_rescued_text_is_no_child_of_another_text(tmp_path: Path, kept: Path) -> None:
    """A parent is edited during the run: what was made from its former text stays as it is."""
    root = lay(tmp_path, "draft", "d")
    lay(tmp_path, "essay", "e", parent_gen_id="d")
    parsed = root.generation("draft", "d") / "parsed.txt"
    parsed.write_text("first")
    with full_after_calls():
        Executor(root=root, generator=lambda _: "of the first").obtain("essay", "e")
    parsed.write_text("second")
    assert "failed" == Executor(root=root, generator=lambda _: "no").obtain("essay", "e").kind
    parsed.write_text("first")
    assert "reused" == Executor(root=root, generator=lambda _: "no").obtain("essay", "e").kind


def test_a_rescued_text_that_cannot_be_read_now_ends_no_run(
    root: DataRoot, ledger: OutsideLedger, kept: Path
) -> None:
    """Nor is its task paid for again."""
    rescued_draft(root, ledger.answering(root))
    (first,) = ledger.calls()

    def broken(path: str | Path, **options: Any) -> bytes:
        if str(path).startswith(str(kept)):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read_bytes(path, **options)

    with mock.patch.object(publish, "read_bytes", broken):
        run_cohort(root, "c", ledger.answering(root), Asked())
    assert [first] == ledger.calls()
    run_cohort(root, "c", ledger.answering(root), Asked())
    assert first.text in texts(root)
    assert {1} == set(Counter(one.task for one in ledger.calls()).values())


def test_a_rescue_that_is_killed_leaves_no_part_of_a_text_to_publish(
    root: DataRoot, ledger: OutsideLedger, kept: Path
) -> None:
    """The call was in flight: its task is paid for again, and has a whole text."""

    def killed(path: str, data: bytes, **options: Any) -> None:
        if path.endswith("raw.txt"):
            write_new(path, data[:5])
            raise KeyboardInterrupt
        write_new(path, data, **options)

    build(root, "c", ON)
    with full_after_calls(), mock.patch.object(rescue, "write_new", killed):
        member = read_membership(root, "c")[0]
        with pytest.raises(KeyboardInterrupt):
            Executor(root=root, generator=ledger.answering(root)).obtain(*member)
    assert 1 == len(list(kept.iterdir()))
    run_cohort(root, "c", ledger.answering(root), Asked())
    whole = {one.text for one in ledger.calls()}
    assert {path.read_text() for path in root.gens.glob("*/*/raw.txt")} <= whole


def test_a_text_that_no_disk_takes_is_said_to_be_lost(
    root: DataRoot, ledger: OutsideLedger, kept: Path
) -> None:
    """It was paid for: it is a failure, and is only paid for again on request."""
    kept.rmdir()
    assert "is lost" in rescued_draft(root, ledger.answering(root))
    run_cohort(root, "c", ledger.answering(root), Asked())
    assert 1 == len(ledger.calls())


def test_a_rescued_text_holds_up_a_migration(
    root: DataRoot, ledger: OutsideLedger, kept: Path
) -> None:
    """Its id would change: as with one that waits in the data root."""
    rescued_draft(root, ledger.answering(root), OFF)
    with pytest.raises(StoreError, match=f"still waits in {kept}"):
        migration.migrate(root)
    run_cohort(root, "c", ledger.answering(root), Asked())
    migration.migrate(root)
    assert {one.text for one in ledger.calls()} <= texts(root)


# -- a data root that is unmounted or moved --------------------------------------------------------
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "gone"])
@pytest.mark.parametrize("answers", [True, False], ids=["returns", "raises"])
def test_a_root_that_vanishes_in_a_run_costs_the_call_in_flight_alone(
    tmp_path: Path, kept: Path, replaced: bool, answers: bool
) -> None:
    """Nothing else is begun, nothing is written in its place, and once it is back the next run has
    the text that was in flight. So it is if the root vanishes between two runs of one program."""
    root, away, asked = tmp_path / "root", tmp_path / "away", list[str]()
    store = Store.open(root)
    drafts = [
        Draft(combo_id="c", template_id="t", llm_model_id="m", replicate=n) for n in (1, 2, 3)
    ]

    def call(request: Request) -> str:
        asked.append(request.gen_id)
        if len(asked) > 1:
            return "later"
        root.rename(away)
        if replaced:
            root.mkdir()
        if not answers:
            raise ValueError("no answer")
        return "in flight"

    message = "another folder is in the place" if replaced else "No such file"
    with pytest.raises(StoreError, match=message):
        store.once_all(drafts, call, concurrency=1)
    with pytest.raises(StoreError, match=message):
        store.once(drafts[2], call)
    assert 1 == len(asked)
    assert replaced == root.exists()
    if replaced:
        assert [] == list(root.iterdir())
        root.rmdir()
    away.rename(root)
    texts = store.once_all(drafts, call)
    assert ["in flight" if answers else "later", "later", "later"] == texts
    assert 4 - answers == len(asked)


def test_a_root_that_vanishes_while_a_run_waits_for_another_one_is_left_alone(
    tmp_path: Path,
) -> None:
    """It is looked at again once the run has the task's lease."""
    root = lay(tmp_path / "root", "draft", "d")
    executor = Executor(root=root, generator=lambda request: pytest.fail("called"))
    real = leases._take

    def take(path: Path, **options: bool) -> int | None:
        descriptor = real(path, **options)
        if path.name == slots.folder_lease("d"):
            root.path.rename(tmp_path / "away")
            root.path.mkdir()
        return descriptor

    with mock.patch.object(leases, "_take", take):
        outcome = executor.obtain("draft", "d")
    assert "refused" == outcome.kind
    assert "another folder is in the place" in outcome.reason
    assert [] == list(root.path.iterdir())
