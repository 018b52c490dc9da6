"""What a build writes, what it never touches, and what it leaves when it is stopped."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cohort_kit import (
    COHORT,
    OFF,
    ON,
    built,
    everything,
    make_root,
    metadata,
    of,
    planned,
    put_draft,
    select,
    set_replicates,
    tree,
    write_table,
)
from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Options, Prepared, build_cohort
from genid_store.cohort.planning.records import Row
from genid_store.cohort.seeding import metadata_bytes
from genid_store.errors import StoreError
from genid_store.fs import files, rescue
from genid_store.fs.layout import DataRoot
from genid_store.fs.leases import lease
from genid_store.fs.locks import MIGRATION, Block, block, root_lock, unblock
from genid_store.fs.slots import folder_lease
from genid_store.generation import failures
from genid_store.ids.rollout import Rollout
from genid_store.stages import Member


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return make_root(tmp_path / "root")


BUILD = """
import sys
from genid_store.cohort.build import Options, Prepared, build_cohort
from genid_store.ids.rollout import Rollout
from genid_store.fs.layout import DataRoot

def stop(done, total):
    if len(sys.argv) > 2:
        print("under way", flush=True)
        sys.stdin.readline()

options = Options(rollout=Rollout.parse("on"), cohort_id="test-cohort")
build_cohort(DataRoot.open(sys.argv[1]), options, progress=stop)
"""


def start(root: DataRoot, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root.path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- what is written ------------------------------------------------------------------------------


def test_a_build_reports_what_it_wrote(root: DataRoot) -> None:
    """Counts by stage, and the files other than metadata."""
    report = built(root, ON)
    assert {"draft": 8, "essay": 16, "evaluation": 64} == report.new
    assert {"draft": 0, "essay": 0, "evaluation": 0} == report.existing
    assert (f"cohorts/{COHORT}/membership.csv", f"cohorts/{COHORT}/manifest.json") == report.files
    again = built(root, ON)
    assert report.new == again.existing
    assert ((), None) == (again.files, again.kept)


def test_membership_lists_each_member_once_in_order(root: DataRoot) -> None:
    """Two columns, plain line ends."""
    report = built(root, ON)
    data = root.membership(COHORT).read_bytes()
    lines = [f"{row.stage},{row.gen_id}\n" for row in report.plan.rows]
    assert "".join(["stage,gen_id\n", *lines]).encode() == data
    assert tuple(Member(row.stage, row.gen_id) for row in report.plan.rows) == read_membership(
        root, COHORT
    )


@pytest.mark.parametrize("stage", ["draft", "essay", "evaluation"])
def test_metadata_is_what_the_json_module_would_write(stage: str) -> None:
    """Indent 2, non-ASCII kept, escapes where JSON needs them, keys in the contract's order."""
    row = Row(stage, "id", 'a "cohort"', "p", "çombo\\", "t\n\u2028", "m\x7f\x00", 3, "llm")
    document = json.loads(metadata_bytes(row))
    expected = json.dumps(document, indent=2, ensure_ascii=False).encode()
    assert expected == metadata_bytes(row)
    parent = {} if stage == "draft" else {"parent_gen_id": "p"}
    values = {"stage": stage, "gen_id": "id", "replicate": 3, "mode": "llm", **parent}
    assert values.items() <= document.items()
    order = {
        "draft": "stage gen_id origin_cohort_id mode template_id combo_id llm_model_id replicate",
        "essay": "stage gen_id origin_cohort_id mode template_id combo_id parent_gen_id "
        "llm_model_id replicate",
        "evaluation": "stage gen_id template_id llm_model_id parent_gen_id combo_id "
        "origin_cohort_id mode replicate",
    }
    assert order[stage].split() == list(document)


def test_metadata_that_exists_is_never_rewritten(root: DataRoot) -> None:
    """Neither another cohort's, nor an empty or broken one."""
    rows = planned(root, ON).rows
    contents = [b"", b"{", b'{"origin_cohort_id": "somebody"}']
    for row, data in zip(rows, contents, strict=False):
        folder = root.gens / row.stage / row.gen_id
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_bytes(data)
    report = built(root, ON)
    assert contents == [
        (root.gens / row.stage / row.gen_id / "metadata.json").read_bytes() for row in rows[:3]
    ]
    assert (3, 5) == (report.existing["draft"], report.new["draft"])


def test_a_folder_without_metadata_gets_it_and_keeps_what_it_has(root: DataRoot) -> None:
    """Content that is there already, or a folder that is empty."""
    first, second = planned(root, ON).rows[:2]
    for row in (first, second):
        (root.gens / row.stage / row.gen_id).mkdir(parents=True)
    (root.gens / first.stage / first.gen_id / "parsed.txt").write_text("paid for")
    built(root, ON)
    assert "paid for" == (root.gens / first.stage / first.gen_id / "parsed.txt").read_text()
    for row in (first, second):
        assert row.gen_id == metadata(root, row.stage, row.gen_id)["gen_id"]


def test_cohorts_share_deterministic_generations(root: DataRoot) -> None:
    """The second cohort seeds nothing, and the first one's metadata stays."""
    built(root, ON)
    before = tree(root)
    report = build_cohort(root, Options(rollout=ON, cohort_id="another"))
    assert {"draft": 0, "essay": 0, "evaluation": 0} == report.new
    assert before == {name: found for name, found in tree(root).items() if name in before}


def test_nothing_of_ours_lies_among_the_pipelines_files(root: DataRoot) -> None:
    """No temporary file stays, in its folders or in ours."""
    built(root, ON)
    assert not [name for name in tree(root) if "/." in name or name.endswith(".tmp")]
    assert [] == list(root.temporary.iterdir())
    assert {"lock", "tmp"} == {path.name for path in root.own.iterdir()}


# -- metadata that is rewritten -------------------------------------------------------------------

DRAFT = Rollout.parse("draft")


def parents(root: DataRoot, rollout: Rollout) -> tuple[set[str], set[str]]:
    """Build; return the drafts that are members, and those that the metadata of essays names."""
    members = built(root, rollout).plan.rows
    drafts = {row.gen_id for row in members if row.stage == "draft"}
    essays = [row.gen_id for row in members if row.stage == "essay"]
    return drafts, {metadata(root, "essay", one)["parent_gen_id"] for one in essays}


@pytest.mark.parametrize(
    "states",
    [
        (OFF, DRAFT),
        (DRAFT, OFF),
        (DRAFT, Rollout.parse("draft", "phase-1")),
        (OFF, DRAFT, Rollout.parse("draft,essay")),
        (DRAFT, Rollout.parse("draft,essay"), DRAFT, ON, OFF),
        (ON, OFF, DRAFT),
    ],
    ids=lambda states: " to ".join(f"{one.label} {one.scheme}" for one in states),
)
def test_every_essays_parent_is_a_draft_of_the_cohort_in_each_rollout_state(
    root: DataRoot, states: tuple[Rollout, ...]
) -> None:
    """Legacy essays keep their ids where drafts get others, so their metadata follows; a second
    build finds nothing to do."""
    for state in states:
        drafts, named = parents(root, state)
        assert drafts == named
        before = tree(root)
        assert 0 == built(root, state).rewritten
        assert before == tree(root)


def test_a_build_says_how_much_metadata_it_rewrote(root: DataRoot) -> None:
    """One file for each essay that nothing was made of; whose draft has a text already, too. What
    else the metadata says stays."""
    first = {row.gen_id: row for row in built(root).plan.rows}
    draft, *_ = (one for one, row in first.items() if row.stage == "draft")
    (root.generation("draft", draft) / "parsed.txt").write_text("paid for")
    essay = next(one for one, row in first.items() if row.parent_gen_id == draft)
    path = root.generation("essay", essay) / "metadata.json"
    path.write_text(json.dumps({**metadata(root, "essay", essay), "note": "mine"}))
    report = built(root, DRAFT)
    (row,) = (one for one in report.plan.rows if one.gen_id == essay)
    wanted = {**json.loads(metadata_bytes(row)), "note": "mine"}
    assert (16, 16, wanted) == (
        report.rewritten,
        report.existing["essay"],
        metadata(root, *row[:2]),
    )
    assert () == report.plan.notices


def batch_of(root: DataRoot, gen_id: str) -> None:
    (root.own / "batches").mkdir(exist_ok=True)
    (root.own / "batches" / "b_1.json").write_text(json.dumps({"members": {"t": gen_id}}))


def staged(root: DataRoot, name: str) -> None:
    (root.own / "staging" / "essay" / name).mkdir(parents=True)


def rescued(root: DataRoot, gen_id: str) -> None:
    rescue.rescue(rescue.name_store(root), "essay", gen_id, None, {"raw.txt": b"paid for"})


@pytest.mark.parametrize(
    "begin",
    [
        lambda root, one: (root.generation("essay", one) / "raw.txt").write_text("paid for"),
        lambda root, one: (root.generation("essay", one) / "prompt.txt").write_text("asked"),
        lambda root, one: failures.record(root, "essay", one, "no money"),
        staged,
        lambda root, one: staged(root, f".{one}.12-0123abcd"),
        rescued,
        batch_of,
    ],
    ids=["raw", "prompt", "failure", "staged", "aside", "rescued", "batch"],
)
def test_metadata_is_not_rewritten_where_something_was_begun(
    root: DataRoot,
    begin: Callable[[DataRoot, str], object],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It says what was begun; the build names it and says what to do."""
    monkeypatch.setattr(rescue, "USUAL", (str(tmp_path),))
    essay = of(built(root).plan, "essay")[0].gen_id
    before = metadata(root, "essay", essay)
    begin(root, essay)
    report = built(root, DRAFT)
    (notice,) = report.plan.notices
    assert f"gens/essay/{essay}/metadata.json" == notice.where
    assert (15, before) == (report.rewritten, metadata(root, "essay", essay))


def test_metadata_is_not_rewritten_while_a_run_makes_it(root: DataRoot) -> None:
    """The run has read it."""
    essay = of(built(root).plan, "essay")[0].gen_id
    with lease(root, "essay", folder_lease(essay), threading.Event()):
        report = built(root, DRAFT)
    assert ["a run is making it" in one.message for one in report.plan.notices] == [True]
    assert (15, 1) == (report.rewritten, built(root, DRAFT).rewritten)


@pytest.mark.parametrize("now", [b"", b"{", b"not readable"])
def test_metadata_is_not_rewritten_from_what_cannot_be_read(root: DataRoot, now: bytes) -> None:
    """It changed after the plan was made: a host is writing it, or the disk fails for a moment."""
    essay = of(built(root).plan, "essay")[0].gen_id
    path = root.generation("essay", essay) / "metadata.json"
    before = path.read_bytes()

    def interfere(prepared: Prepared) -> None:
        path.unlink()
        path.symlink_to("nowhere") if now == b"not readable" else path.write_bytes(now)

    options = Options(rollout=DRAFT, cohort_id=COHORT)
    if now == b"not readable":
        with pytest.raises(StoreError, match="target is not there"):
            build_cohort(root, options, announce=interfere)
        path.unlink()
    else:
        report = build_cohort(root, options, announce=interfere)
        assert (now, 1) == (path.read_bytes(), len(report.plan.notices))
    path.write_bytes(before)
    assert built(root, DRAFT).rewritten
    assert not built(root, DRAFT).rewritten


def test_metadata_of_a_made_essay_and_of_another_task_stays(root: DataRoot) -> None:
    """The first is right for its text; the second is named."""
    made, other = (row.gen_id for row in of(built(root).plan, "essay")[:2])
    (root.generation("essay", made) / "parsed.txt").write_text("paid for")
    path = root.generation("essay", other) / "metadata.json"
    path.write_bytes(path.read_bytes().replace(b'"replicate": 1', b'"replicate": 2'))
    before = [metadata(root, "essay", one) for one in (made, other)]
    report = built(root, DRAFT)
    assert before == [metadata(root, "essay", one) for one in (made, other)]
    assert [f"gens/essay/{other}/metadata.json"] == [one.where for one in report.plan.notices]


@pytest.mark.parametrize("rollout", [OFF, ON], ids=["off", "on"])
def test_another_generator_of_a_template_is_taken_where_nothing_was_made(
    root: DataRoot, rollout: Rollout
) -> None:
    """A copy that is to be generated, and back; what is made stays what it is."""
    copy = [row.gen_id for row in of(built(root, rollout).plan, "essay") if row.mode == "copy"]
    (root.generation("essay", copy[0]) / "parsed.txt").write_text("the draft")
    table = root.raw / "essay_templates.csv"
    for old, new in (("copy", "llm"), ("llm", "copy")):
        table.write_text(table.read_text().replace(f"parsed-v1,{old}", f"parsed-v1,{new}"))
        assert len(copy) - 1 == built(root, rollout).rewritten
        modes = [metadata(root, "essay", one)["mode"] for one in copy]
        assert ["copy", *[new] * (len(copy) - 1)] == modes


# -- rebuilding -----------------------------------------------------------------------------------


def test_a_rebuild_that_drops_members_says_which_and_keeps_the_old_membership(
    root: DataRoot,
) -> None:
    """Every former membership is kept under its own number; metadata stays where it is."""
    built(root)
    first = root.membership(COHORT).read_bytes()
    templates = root.raw / "essay_templates.csv"
    templates.write_text(templates.read_text().replace("copy,true", "copy,false"))
    report = built(root)
    assert {"essay": 8, "evaluation": 32} == {
        stage: sum(member.stage == stage for member in report.prepared.dropped)
        for stage in ("essay", "evaluation")
    }
    assert f".genid/memberships/{COHORT}/0001.csv" == report.kept
    assert first == (root.path / str(report.kept)).read_bytes()
    set_replicates(root.path, 1, 1, 1)
    assert f".genid/memberships/{COHORT}/0002.csv" == built(root).kept
    for member in report.prepared.dropped:
        assert member.gen_id == metadata(root, *member)["gen_id"]


def test_a_rebuild_that_only_adds_keeps_nothing(root: DataRoot) -> None:
    """There is nothing to go back to."""
    built(root, ON)
    set_replicates(root.path, 1, 1, 3)
    report = built(root, ON)
    assert ((), None) == (report.prepared.dropped, report.kept)
    assert {"draft": 0, "essay": 0, "evaluation": 32} == report.new


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"gen_id\nx\n",
        b"stage,gen_id\nx,y\n",
        b"stage,gen_id\ndraft,../x\n",
        b"\xff",
        b'"',
    ],
)
def test_a_membership_that_cannot_be_read_is_kept_and_replaced(root: DataRoot, data: bytes) -> None:
    """The plan does not depend on it: it is reported."""
    built(root)
    root.membership(COHORT).write_bytes(data)
    report = built(root)
    assert data == (root.path / str(report.kept)).read_bytes()
    assert report.plan.notices
    assert len(report.plan.rows) == len(read_membership(root, COHORT))


def test_a_rebuild_in_another_rollout_state_says_what_changes(root: DataRoot) -> None:
    """Old and new id of every member, from the state that the manifest records."""
    built(root)
    report = built(root, Rollout.parse("draft,essay"))
    assert report.prepared.rollout_changed
    assert report.changes is not None
    assert ("off", "draft,essay") == (report.changes.before.label, report.changes.after.label)
    assert {"draft": 8, "essay": 16, "evaluation": 64} == report.changes.changed()
    assert 88 == len(report.prepared.dropped)
    again = built(root, Rollout.parse("draft,essay"))
    assert (False, None) == (again.prepared.rollout_changed, again.changes)


def test_a_former_state_that_cannot_be_planned_any_more_is_not_compared(tmp_path: Path) -> None:
    """A notice says why; the membership shows what is dropped all the same."""
    root = make_root(tmp_path / "root")
    built(root, ON)
    path = root.raw / "draft_templates.csv"
    path.write_text(path.read_text().replace("links-v2", "no signature holds this"))
    report = built(root)
    assert (True, None) == (report.prepared.rollout_changed, report.changes)
    assert 88 == len(report.prepared.dropped)
    (notice,) = report.plan.notices
    assert f"cohorts/{COHORT}/manifest.json" == notice.where
    assert "no signature holds this" in notice.message


def test_a_manifest_that_cannot_be_read_is_replaced(root: DataRoot) -> None:
    """And the build says that it could not compare."""
    built(root)
    root.manifest(COHORT).write_bytes(b"{")
    report = built(root)
    assert (True, None) == (report.prepared.rollout_changed, report.changes)
    assert "the manifest does not give it" in report.plan.notices[0].message
    assert b"combos" in root.manifest(COHORT).read_bytes()


def test_what_killed_writers_left_is_swept_by_the_next_build(root: DataRoot) -> None:
    """Exactly their temporary files, although nothing else is to be written."""
    built(root)
    folders = {"membership.csv": root.cohort(COHORT), "manifest.json": root.cohort(COHORT)}
    folders |= {"combo_mappings.csv": root.path, "lock-holder.json": root.own}
    ours = [folder / f".{name}.123-0123abcd.tmp" for name, folder in folders.items()]
    others = [
        root.cohort(COHORT) / name
        for name in (
            ".membership.csv.tmp", ".membership.csv.x-0123abcd.tmp",
            ".membership.csv.1-0123ABCD.tmp",
            "membership.csv.1-0123abcd.tmp", ".notes.csv.1-0123abcd.tmp", ".membership.csv.swp",
        )
    ]  # fmt: skip
    for path in (*ours, *others):
        path.write_text("half a fi")
    assert () == built(root).files
    assert [] == [path for path in ours if path.exists()]
    assert others == [path for path in others if path.exists()]


def test_a_folder_that_leads_out_of_the_data_root_is_not_swept(root: DataRoot) -> None:
    """Nothing is deleted behind a symbolic link."""
    built(root)
    away = root.path.parent / "away"
    root.cohort(COHORT).rename(away)
    root.cohort(COHORT).symlink_to(away)
    left = away / ".membership.csv.1-0123abcd.tmp"
    left.write_text("half a fi")
    assert () == built(root).files
    assert left.exists()


def test_metadata_for_a_folder_that_is_there_leaves_nothing_beside_it(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the build is killed in between: what it had aside lies where it is swept."""
    row = planned(root).rows[0]
    folder = root.generation(row.stage, row.gen_id)
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    monkeypatch.setattr("shutil.rmtree", lambda *args, **kwargs: None)  # killed before it tidies up
    built(root)
    assert metadata_bytes(row) == (folder / "metadata.json").read_bytes()
    assert {"metadata.json", "notes.txt"} == set(os.listdir(folder))


# -- roots and links ------------------------------------------------------------------------------


def test_a_data_root_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    """By name."""
    with pytest.raises(StoreError, match="does not exist"):
        DataRoot.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is not a folder"):
        DataRoot.open(tmp_path / "file")


def test_an_empty_data_root_lists_all_it_lacks(tmp_path: Path) -> None:
    """The six tables; nothing is made there."""
    with pytest.raises(StoreError) as caught:
        built(DataRoot.open(tmp_path))
    assert 6 == len(caught.value.problems)
    assert {} == everything(tmp_path)


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_what_the_system_refuses_is_said_with_its_remedy(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A read-only or full disk; building again goes on from there."""

    real = files.write_new

    def fail(path: Path, data: bytes, **options: Any) -> None:
        if "/.genid/tmp/" in str(path):
            raise OSError(code, os.strerror(code), path)
        real(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_new", fail)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            built(root, ON)
    assert caught.value.problems[0].where.startswith("gens/draft/d_")
    assert not root.membership(COHORT).exists()
    assert [] == list(root.temporary.iterdir())
    assert 88 == sum(built(root, ON).new.values())


def test_metadata_is_made_in_place_where_a_folder_cannot_be_moved_there(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.genid/` on another file system than `gens/`, or a folder that has appeared meanwhile."""

    def fail(source: str, target: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        report = built(root, ON)
    for row in report.plan.rows:
        assert row.gen_id == metadata(root, row.stage, row.gen_id)["gen_id"]
    assert () == built(root, ON).files


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_root_is_refused(root: DataRoot) -> None:
    """By its permissions."""
    root.path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="missing permissions"):
            built(root, ON)
    finally:
        root.path.chmod(0o700)


@pytest.mark.parametrize(
    "name",
    [
        "gens",
        "gens/draft",
        "cohorts",
        f"cohorts/{COHORT}",
        ".genid",
        ".genid/tmp",
        ".genid/memberships",
    ],
)
def test_no_symbolic_link_leads_a_write_out_of_the_data_root(
    root: DataRoot, tmp_path: Path, name: str
) -> None:
    """The link and where it leads are named, and nothing is written there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link = root.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of the data root"):
        built(root, ON)
    assert [] == list(outside.iterdir())


def test_no_generations_folder_leads_out_of_the_data_root(root: DataRoot, tmp_path: Path) -> None:
    """A member's folder that is such a link is refused before anything is written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    row = planned(root, ON).rows[0]
    (root.gens / "draft").mkdir(parents=True)
    (root.gens / "draft" / row.gen_id).symlink_to(outside)
    before = everything(root.path)
    with pytest.raises(StoreError, match=row.gen_id):
        built(root, ON)
    assert before == everything(root.path)
    assert [] == list(outside.iterdir())


def test_a_file_in_a_generations_place_is_refused_before_anything_is_written(
    root: DataRoot,
) -> None:
    """It is named."""
    row = planned(root, ON).rows[5]
    (root.gens / "draft").mkdir(parents=True)
    (root.gens / "draft" / row.gen_id).write_text("")
    before = everything(root.path)
    with pytest.raises(StoreError, match=f"gens/draft/{row.gen_id}: is not a folder"):
        built(root, ON)
    assert before == everything(root.path)


@pytest.mark.parametrize(
    "name", ["1_raw/llm_models.csv", "2_tasks/selected_essays.txt", "combo_mappings.csv"]
)
def test_a_pipe_in_a_files_place_is_refused(root: DataRoot, name: str) -> None:
    """Reading it would never end."""
    path = root.path / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(StoreError, match=f"{name}: cannot be read: not a regular file"):
        built(root, ON)


# -- at once, and stopped half-way ----------------------------------------------------------------


def test_two_builds_at_once_make_one_cohort(root: DataRoot) -> None:
    """Both succeed; together they wrote what one writes."""
    processes = [start(root) for _ in range(3)]
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert (0, "") == (process.returncode, error)
    before = tree(root)
    assert () == built(root, ON).files
    assert before == tree(root)


def test_a_killed_build_is_finished_by_the_next_one(root: DataRoot, tmp_path: Path) -> None:
    """SIGKILL while metadata is written: no membership yet, every file whole, no litter after."""
    set_replicates(root.path, 2, 2, 4)
    process = start(root, "stop")
    assert process.stdout is not None
    assert "under way\n" == process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not root.membership(COHORT).exists()
    seeded = {name: found for name, found in tree(root).items() if name.startswith("gens/")}
    assert 100 == len(seeded)
    for name, (data, _) in seeded.items():
        assert name.split("/")[2] == json.loads(data)["gen_id"]
    built(root, ON)
    assert [] == list(root.temporary.iterdir())
    after = tree(root)
    assert seeded.items() <= after.items()
    fresh = make_root(tmp_path / "fresh", replicates=(2, 2, 4))
    built(fresh, ON)
    assert {name: data for name, (data, _) in tree(fresh).items()} == {
        name: data for name, (data, _) in after.items()
    }


def test_a_build_keeps_out_of_a_migrations_way(root: DataRoot) -> None:
    """While one runs, and while one is interrupted."""
    with root_lock(root, MIGRATION), pytest.raises(StoreError, match="held by migration"):
        built(root, ON)
    with root_lock(root, MIGRATION):
        block(root, Block(by=MIGRATION, reason="was interrupted", remedy="resume it"))
    before = tree(root)
    with pytest.raises(StoreError, match="was interrupted; resume it"):
        built(root, ON)
    assert before == tree(root)
    unblock(root)
    assert built(root, ON).files


def test_a_large_selection_is_built(tmp_path: Path) -> None:
    """A selection file of 10,000 lines, of which 200 are generations."""
    lines = [*(f"d{n}" for n in range(200)), *["# comment"] * 9_800]
    root = make_root(tmp_path / "root", drafts=lines)
    for n in range(200):
        put_draft(root, f"d{n}", combo_id=f"combo-{n}")
    write_table(root.path, "evaluation_templates.csv", [["template_id"], ["novelty-v1"]])
    report = built(root, OFF)
    assert {"draft": 200, "essay": 400, "evaluation": 800} == report.plan.counts()
    select(root.path, "selected_drafts.txt", reversed(lines))
    assert 1_400 == len(built(root).plan.rows)


MEMORY = """
import resource, sys
from genid_store.cohort.build import Options, Prepared, build_cohort
from genid_store.ids.rollout import Rollout
from genid_store.fs.layout import DataRoot

options = Options(rollout=Rollout.parse("on"), cohort_id="test-cohort")
report = build_cohort(DataRoot.open(sys.argv[1]), options)
print(len(report.plan.rows), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.long
def test_a_cohort_of_100_000_rows_builds_in_bounded_memory() -> None:
    """Below 400 MB for planning and writing together."""
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=fast) as folder:
        root = make_root(Path(folder, "root"), replicates=(10, 20, 15))
        process = subprocess.run(
            [sys.executable, "-c", MEMORY, str(root.path)],
            capture_output=True,
            text=True,
            check=True,
        )
    rows, megabytes = map(int, process.stdout.split())
    assert rows == 2 * 2 * 2 * 10 * (1 + 2 * 20 * (1 + 2 * 15))
    assert megabytes < 400
