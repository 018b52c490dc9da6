"""Builds under attack: links out of the root, full disks, crashes at any step, rivals, locales."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from genid_store.cohort.build import Built, build_cohort
from genid_store.cohort.prepare import Options, prepare
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout
from hardening_kit import (
    HANGS,
    attempt,
    disk_full,
    environment,
    faulty,
    killed,
    need_linux_root,
    sample,
    tree,
    without_own,
    without_privileges,
)

COHORT = "c1"
TABLES = {
    "1_raw/draft_templates.csv": "template_id,generator,active\nd-1,llm,true\ngröße-2,llm,false\n",
    "1_raw/essay_templates.csv": "template_id,generator,active\ne-1,copy,true\n",
    "1_raw/evaluation_templates.csv": "template_id\nv-1\n",
    "1_raw/llm_models.csv": "id,for_generation,for_evaluation\nm-1,true,true\nm-2,true,false\n",
    "1_raw/concepts_metadata.csv": "concept_id,name,active\nc-1,Ideé İ,true\nc-2,Two,true\n",
    "1_raw/replication_config.csv": "stage,replicates\ndraft,2\nessay,1\nevaluation,2\n",
}


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A data root with tables and nothing else."""
    return make_root(tmp_path / "root")


def make_root(folder: Path) -> DataRoot:
    for name, text in TABLES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return DataRoot.open(folder)


def built(root: DataRoot) -> Built:
    return build_cohort(root, Options(rollout=Rollout.parse("on"), cohort_id=COHORT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed build leaves, less `.genid/` and the combos, which hold a time."""
    root = make_root(tmp_path_factory.mktemp("whole"))
    built(root)
    return product(root)


def product(root: DataRoot) -> dict[str, bytes]:
    """Return what a build made, apart from the time in the files of combos."""
    found = without_own(tree(root.path))
    return {name: data for name, data in found.items() if not name.endswith("combo_mappings.csv")}


# -- links that lead out ---------------------------------------------------------------------------
LINKS = (
    ".genid", "2_tasks", "cohorts", f"cohorts/{COHORT}", f"cohorts/{COHORT}/membership.csv",
    f"cohorts/{COHORT}/manifest.json", "combo_mappings.csv", "gens", "gens/draft", "gens/essay",
    "gens/evaluation", ".genid/tmp", ".genid/memberships", ".genid/lock", ".genid/lock-holder.json",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.parametrize("exists", [True, False], ids=["to something", "to nothing"])
def test_no_link_leads_a_build_out_of_the_data_root(
    root: DataRoot, tmp_path: Path, name: str, *, exists: bool
) -> None:
    """Whatever part of a data root is a link to the outside: a build writes nothing there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / "target"
    if exists and "." in Path(name).name[1:]:
        target.write_bytes(b"not ours")
    elif exists:
        target.mkdir()
    link = root.path / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    before = tree(outside)
    attempt(StoreError, lambda: built(root))
    assert before == tree(outside)


def test_a_generation_that_is_a_link_out_is_refused(root: DataRoot, tmp_path: Path) -> None:
    """Metadata is not created in a folder outside that a generation's name links to."""
    gen_id = built(root).plan.rows[0].gen_id
    folder = root.generation("draft", gen_id)
    shutil.rmtree(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.symlink_to(outside)
    with pytest.raises(StoreError, match="outside the data root"):
        built(root)
    assert {} == tree(outside)


@pytest.mark.parametrize("cohort_id", ["..", "../x", "a/b", "/x", "", ".", "-x", "x\0y", "x" * 256])
def test_no_cohort_id_leads_out_of_the_data_root(root: DataRoot, cohort_id: str) -> None:
    """A cohort id that is not a safe path segment is refused and nothing is written."""
    before = tree(root.path.parent)
    with pytest.raises(StoreError):
        build_cohort(root, Options(rollout=Rollout.OFF, cohort_id=cohort_id))
    assert before == tree(root.path.parent)


# -- crashes and full disks ------------------------------------------------------------------------
def steps_of_a_build(folder: Path) -> int:
    root = make_root(folder)
    with faulty(root.path, 0, disk_full) as seen:
        built(root)
    return len(seen)


def test_a_full_disk_at_any_step_leaves_no_torn_file(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """After ENOSPC at any step: an error that says so, whole files alone; a rebuild completes."""
    for at in sample(steps_of_a_build(tmp_path / "count"), 40):
        root = make_root(tmp_path / f"at-{at}")
        with faulty(root.path, at, disk_full):
            _, error = attempt(StoreError, partial(built, root))
        left = product(root)
        if error is None:  # it failed where that does no harm: cleaning up, a folder that is there
            assert whole == left
        else:
            assert os.strerror(errno.ENOSPC) in str(error)
        assert [] == [name for name in left if left[name] != whole.get(name, left[name])], at
        built(root)
        assert whole == product(root), at
        assert not list(root.path.rglob("*.tmp"))


def test_a_build_killed_at_any_step_is_completed_by_the_next(
    tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """After SIGKILL at any step no file is torn, and the next build leaves what an undisturbed one
    does, without leftovers."""
    for at in sample(steps_of_a_build(tmp_path / "count"), 40):
        root = make_root(tmp_path / f"at-{at}")
        assert killed(partial(built, root), root.path, at)
        left = product(root)
        strange = {name for name in left if left[name] != whole.get(name, b"")}
        assert all(Path(name).name.startswith(".") for name in strange), strange
        built(root)
        assert whole == {n: d for n, d in product(root).items() if not Path(n).name.startswith(".")}
        assert [] == [*(root.temporary.iterdir() if root.temporary.exists() else ())]


def test_a_read_only_data_root_is_refused_in_words(root: DataRoot) -> None:
    """Without the right to write, a build says where and what to do, and changes nothing."""
    need_linux_root()
    before = tree(root.path)
    for folder in [root.path, *(path for path in root.path.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    done = in_a_process(root.path, unprivileged=True)
    assert (1, before) == (done.returncode, tree(root.path))
    assert done.stderr.startswith("refused: ")
    assert os.strerror(errno.EACCES) in done.stderr


# -- several at once -------------------------------------------------------------------------------
SCRIPT = """
import sys
from genid_store.cohort.build import build_cohort
from genid_store.cohort.prepare import Options
from genid_store.errors import StoreError
from genid_store.ids.rollout import Rollout
from genid_store.fs.layout import DataRoot
try:
    root = DataRoot.open(sys.argv[1])
    report = build_cohort(root, Options(rollout=Rollout.parse("on"), cohort_id=sys.argv[2]))
except StoreError as error:
    sys.exit(f"refused: {error}")
print(sum(report.new.values()))
"""


def in_a_process(
    folder: Path, *, unprivileged: bool = False, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), COHORT],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
        env=environment(environ),
        preexec_fn=without_privileges if unprivileged else None,
    )


def started(folder: Path, cohort: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), cohort],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_builds_at_once_give_what_one_gives(root: DataRoot, whole: dict[str, bytes]) -> None:
    """Three builds of one cohort at once: each is done, and every member was created once."""
    builds = [started(root.path, COHORT) for _ in range(3)]
    answers = [one.communicate(timeout=HANGS) for one in builds]
    assert [0, 0, 0] == [one.returncode for one in builds], answers
    members = sum(name.startswith("gens/") and name.endswith(".json") for name in whole)
    assert sorted([0, 0, members]) == sorted(int(out) for out, _ in answers)
    assert whole == product(root)


def test_builds_of_different_cohorts_share_their_generations(
    root: DataRoot, whole: dict[str, bytes]
) -> None:
    """Two cohorts over the same tasks, built at once with the flag on, have the same members."""
    builds = [started(root.path, name) for name in (COHORT, "c2")]
    answers = [one.communicate(timeout=HANGS) for one in builds]
    assert [0, 0] == [one.returncode for one in builds], answers
    memberships = {root.membership(name).read_bytes() for name in (COHORT, "c2")}
    assert {whole[f"cohorts/{COHORT}/membership.csv"]} == memberships


# -- surroundings ----------------------------------------------------------------------------------
SURROUNDINGS = {
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "C, no UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "far east": {"TZ": "Pacific/Kiritimati"},
    "far west": {"TZ": "Etc/GMT+12"},
    "no such zone": {"TZ": "Nowhere/Nothing"},
    "hash seed": {"PYTHONHASHSEED": "4711"},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_build_is_the_same_in_every_surrounding(
    root: DataRoot, whole: dict[str, bytes], name: str
) -> None:
    """Locale, time zone and hash seed have no part in any byte that a build writes."""
    done = in_a_process(root.path, environ=SURROUNDINGS[name])
    assert 0 == done.returncode, done.stderr
    assert whole == product(root)


@pytest.mark.parametrize("clock", [0.0, -1e9, 2e10, float(2**31)])
def test_a_build_needs_no_right_clock(
    root: DataRoot, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    """A clock that stands still, before 1970 or far ahead, changes nothing but a recorded time."""
    monkeypatch.setattr("time.time", lambda: clock)
    monkeypatch.setattr("time.monotonic", lambda: clock)
    built(root)
    assert whole == product(root)


# -- size ------------------------------------------------------------------------------------------
def test_ten_thousand_selected_essays_are_planned(root: DataRoot) -> None:
    """An evaluation-only cohort over a selection of 10,000 lines has two evaluations of each."""
    for number in range(10_000):
        folder = root.generation("essay", f"essay-{number}")
        folder.mkdir(parents=True)
        folder.joinpath("metadata.json").write_text(
            f'{{"stage": "essay", "gen_id": "essay-{number}", "parent_gen_id": "p",'
            ' "combo_id": "combo", "template_id": "t", "llm_model_id": "m"}',
            encoding="utf-8",
        )
    lines = ["# mode: evaluation-only", *(f"essay-{number}" for number in range(10_000))]
    root.tasks.mkdir(exist_ok=True)
    root.tasks.joinpath("selected_essays.txt").write_text("\n".join(lines), encoding="utf-8")
    prepared = prepare(root, Options(rollout=Rollout.parse("on"), cohort_id=COHORT))
    assert {"draft": 0, "essay": 0, "evaluation": 20_000} == prepared.plan.counts()
