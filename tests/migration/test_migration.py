"""A whole store is moved: what changes, what stays, what is told, and the way back."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genid import is_gen_id
from genid_store.catalog import lookup
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.metadata import read_generation
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, MIGRATION, root_lock
from genid_store.migration import context as work
from genid_store.migration import execute as executing
from genid_store.migration import files, run, verify
from genid_store.migration import state_folder as own
from genid_store.migration.planfile import Plan, open_plan
from genid_store.migration.state import state_of
from genid_store.stages import PIPELINE
from migrationkit import Tree, differences, failures, small_store, tree
from storekit import FAULTS, FILES, ODDITIES, Store, make_store, v1_id


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone."""
    monkeypatch.setattr(files, "sync_filesystem", lambda path: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "store").mkdir()
    return DataRoot.open(small_store(tmp_path / "store"))


def _records(plan: Plan, kind: str = "generation", note: str | None = None) -> list[dict[str, Any]]:
    return [r for r in plan.records(kind) if note is None or r["note"] == note]


def _findings(root: DataRoot) -> Counter[str]:
    with StoreIndex.fresh(root) as index:
        return Counter(finding.kind.code for finding in audit(index).findings)


# -- the plan -------------------------------------------------------------------------------------
def test_planning_writes_nothing_but_the_plan(root: DataRoot) -> None:
    """Not even the times of the data root's folder change."""
    before = tree(root.path, inodes=True)
    plan = run.plan(root)
    assert [] == differences(before, tree(root.path, inodes=True))
    assert {"plan.jsonl", "mapping.csv", "summary.md"} == set(os.listdir(plan.folder))


def test_the_same_store_gives_the_same_plan(tmp_path: Path) -> None:
    """Byte for byte, wherever it lies and whenever it is made; another store another one."""
    plans = []
    for name in ("a", "b"):
        make_store(tmp_path / name, generations=100, faults=FAULTS)
        plans.append(run.plan(DataRoot.open(tmp_path / name)))
        os.utime(tmp_path / name / "gens")
    for name in ("plan.jsonl", "mapping.csv", "summary.md"):
        assert (plans[0].folder / name).read_bytes() == (plans[1].folder / name).read_bytes()
    assert plans[0].plan_id == plans[1].plan_id == run.plan(plans[0].root).plan_id
    os.unlink(next((tmp_path / "b" / "gens").rglob("raw.txt")))
    assert plans[0].plan_id != run.plan(plans[1].root).plan_id


def test_links_collisions_strays_and_reports_are_told(root: DataRoot) -> None:
    """Each as a note of the plan and a line of the summary."""
    folder = next(root.stage("draft").glob("d_*"))
    folder.with_name(folder.name.upper()).mkdir()
    plan = run.plan(root)
    told = {
        note: [record.get("path") for record in _records(plan, "note", note)]
        for note in ("symlink", "hard-link", "case-collision", "stray-entry", "report")
    }
    assert 3 == len(told["symlink"])
    assert "reports/latest" in told["symlink"]
    assert {"parsed.txt", "prompt.txt"} == {
        str(path)[-10:].strip("/") for path in told["hard-link"]
    }
    assert 1 == len(told["case-collision"])
    assert ["gens/draft/notes.txt"] == told["stray-entry"]
    assert ["reports/scores.csv"] == told["report"]
    summary = (plan.folder / "summary.md").read_text()
    for words in ("Symbolic links", "several names", "case only", "made again", "Duplicates"):
        assert words in summary


def test_what_stays_is_listed_with_its_reason(tmp_path: Path) -> None:
    """For every oddity and fault after which no id can be derived; all others move."""
    store = make_store(tmp_path / "store", generations=600, faults=FAULTS)
    plan = run.plan(DataRoot.open(store.path))
    found = {(record["stage"], record["old"]): record for record in _records(plan)}
    for made in store.generations:
        record = found[made.stage, made.gen_id]
        assert (made.v1 is None) == bool(record["reason"]), (made, record)
        assert is_gen_id(record["new"]) or record["reason"], record
    assert {
        "metadata-missing", "metadata-empty", "metadata-malformed", "orphan", "field-missing",
        "field-wrong", "field-unfit", "parent-stays",
    } <= {record["reason"] for record in found.values()}  # fmt: skip


def test_without_duplicates_the_new_ids_are_the_expected_ones(tmp_path: Path) -> None:
    """Those of the same tasks in a fresh deterministic cohort."""
    store = make_store(tmp_path / "store", generations=600)
    found = {
        record["old"]: record["new"] for record in _records(run.plan(DataRoot.open(store.path)))
    }
    counts = Counter(made.v1 for made in store.generations if made.v1)
    alone = [m for m in store.generations if m.v1 and counts[m.v1] == 1 and _alone(m, counts)]
    assert len(alone) > 50
    for made in alone:
        assert made.v1 == found[made.gen_id]


def _alone(made: Any, counts: Counter[str]) -> bool:
    above = made.parent
    return above is None or (counts[above.v1] == 1 and _alone(above, counts))


def test_new_ids_are_one_each(tmp_path: Path) -> None:
    """No two generations of a stage come to one name, moved or not."""
    store = make_store(tmp_path / "store", generations=600, faults=FAULTS)
    plan = run.plan(DataRoot.open(store.path))
    counts = Counter((record["stage"], record["new"]) for record in _records(plan))
    assert {1} == set(counts.values())


def test_duplicates_can_be_refused(root: DataRoot) -> None:
    """All groups are listed, and no plan is written."""
    with pytest.raises(StoreError, match="claim replicate 1") as refused:
        run.plan(root, duplicates="fail")
    assert 1 == len(refused.value.problems)
    assert not (root.own / "migrations").exists()


def test_a_plan_that_was_changed_is_refused(root: DataRoot) -> None:
    """Its name is the digest of its bytes."""
    plan = run.plan(root)
    data = plan.path.read_bytes()
    for changed in (data[:-5], data.replace(b'"v1"', b'"v2"'), b""):
        plan.path.write_bytes(changed)
        with pytest.raises(StoreError, match="changed or cut short"):
            open_plan(root, plan.plan_id)


# -- carried out ----------------------------------------------------------------------------------
def test_every_generation_recomputes_and_names_its_old_id(root: DataRoot) -> None:
    """The new metadata gives the new id; the old id and the plan are in it."""
    plan = run.migrate(root)
    assert "migrated" == state_of(plan)
    for record in _records(plan):
        found = read_generation(root, record["stage"], record["new"])
        if record["old"] == record["new"]:
            continue
        raw = found.raw
        assert (record["new"], record["old"]) == (raw["gen_id"], raw["previous_gen_id"])
        assert (plan.plan_id, record["replicate"]) == (raw["migration_plan"], raw["replicate"])
        fields: dict[str, Any] = {"template_id": found.template_id, "replicate": found.replicate}
        if record["stage"] == "draft":
            fields |= {"combo_id": found.combo_id, "llm_model_id": found.llm_model_id}
        else:
            fields["parent_gen_id"] = found.parent_gen_id
        if record["stage"] == "evaluation" or found.llm_model_id == "other":
            fields["llm_model_id"] = found.llm_model_id
        assert v1_id(record["stage"], fields) == record["new"]


def test_content_keeps_inode_bytes_times_and_permissions(root: DataRoot) -> None:
    """Content files are never opened for writing; rewritten ones keep times and permissions."""
    before = tree(root.path, inodes=True)
    plan = run.migrate(root)
    after = tree(root.path, inodes=True)
    for record in _records(plan):
        for name in record["files"]:
            old = before[f"gens/{record['stage']}/{record['old']}/{name}"]
            new = after[f"gens/{record['stage']}/{record['new']}/{name}"]
            if name in record["rewrite"]:
                assert old[:2] == new[:2], name
            else:
                assert old == new, name


def test_links_still_lead_to_their_content(root: DataRoot) -> None:
    """Those inside gens/ are retargeted; hard links stay one file."""
    run.migrate(root)
    links = [path for path in root.gens.rglob("*") if path.is_symlink()]
    assert 2 == len(links)
    for link in links:
        assert "text of draft" in link.read_text()
    (prompt,) = root.gens.rglob("prompt.txt")
    assert prompt.samefile(prompt.with_name("parsed.txt"))


def test_memberships_manifests_and_selections_follow(root: DataRoot) -> None:
    """Members in their order under their new ids; manifests are marked as migrated."""
    old = {name: (root.cohorts / name / "membership.csv").read_text() for name in ("one", "two")}
    plan = run.migrate(root)
    mapping = {(record["stage"], record["old"]): record["new"] for record in _records(plan)}
    for name, text in old.items():
        rows = [line.split(",") for line in text.splitlines()[1:]]
        expected = [f"{stage},{mapping.get((stage, gen_id), gen_id)}" for stage, gen_id in rows]
        assert expected == (root.membership(name)).read_text().splitlines()[1:]
        manifest = json.loads(root.manifest(name).read_bytes())
        assert plan.plan_id == manifest["migrated"]["plan"]
        assert sum(manifest["migrated"]["from"]["draft"].values()) == sum(
            stage == "draft" for stage, _ in rows
        )
    selected = (root.tasks / "selected_essays.txt").read_text().splitlines()
    assert is_gen_id(selected[2].strip())
    assert ["# mine", "", "unknown"] == selected[:2] + selected[3:]


def test_old_and_new_ids_resolve_afterwards(root: DataRoot) -> None:
    """To the one generation that each names."""
    old_names = {(s, p.name) for s in PIPELINE for p in root.stage(s).iterdir()}
    plan = run.migrate(root)
    with StoreIndex.fresh(root) as index:
        for record in _records(plan):
            if record["old"] == record["new"]:
                continue
            names = [record["new"]]
            if not any((s, record["old"]) in _new_names(plan) for s in PIPELINE):
                names.append(record["old"])  # else it is another generation's name now
            for name in names:
                found = [match.generation.gen_id for match in lookup.resolve(index, name)]
                assert [record["new"]] == found, (name, record)
    assert old_names


def _new_names(plan: Plan) -> set[tuple[str, str]]:
    return {(record["stage"], record["new"]) for record in _records(plan)}


def test_migrating_twice_is_migrating_once(root: DataRoot) -> None:
    """The second time there is nothing to move, and nothing is written."""
    run.migrate(root)
    after = tree(root.path, inodes=True)
    again = run.migrate(root)
    assert (0, 0, "planned") == (*(again.totals()[k] for k in ("moves", "files")), state_of(again))
    assert [] == differences(after, tree(root.path, inodes=True))


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["oddities", "faults"])
def test_the_audit_has_no_new_finding(tmp_path: Path, faults: tuple[str, ...]) -> None:
    """Afterwards there is no more of any finding than before, and no duplicate."""
    store = make_store(tmp_path / "store", generations=600, faults=faults)
    root = DataRoot.open(store.path)
    before = _findings(root)
    run.migrate(root)
    after = _findings(root)
    assert Counter() == after - before
    assert before["duplicate"] > 0 == after["duplicate"]
    run.rollback(root)
    assert before == _findings(root)


# -- and back -------------------------------------------------------------------------------------
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    generations=st.sampled_from([20, 60, 150]),
    seed=st.integers(0, 1000),
    oddities=st.sets(st.sampled_from(ODDITIES)),
    faults=st.sets(st.sampled_from(FAULTS)),
    content=st.sets(st.sampled_from(FILES)),
    selection=st.sampled_from(["essays", "drafts", None]),
)
def test_migrating_and_rolling_back_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory,
    generations: int,
    seed: int,
    oddities: set[str],
    faults: set[str],
    content: set[str],
    selection: str | None,
) -> None:
    """On the whole tree: names, bytes, times, permissions, even inodes."""
    store = make_store(
        tmp_path_factory.mktemp("store"),
        generations=generations,
        seed=seed,
        oddities=sorted(oddities),
        faults=sorted(faults),
        files=sorted(content),
        selection=selection,
    )
    root = DataRoot.open(store.path)
    before = tree(root.path, inodes=True)
    plan = run.migrate(root)
    assert _is_sound(root, store, plan, before)
    if state_of(plan) == "migrated":
        run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def _is_sound(root: DataRoot, store: Store, plan: Plan, before: Tree) -> bool:
    """Say whether as many files with the same contents, `metadata` aside, are there."""

    def contents(found: Tree) -> Counter[bytes]:
        return Counter(
            entry[2] for place, entry in found.items() if place.endswith(("raw.txt", "parsed.txt"))
        )

    return contents(before) == contents(tree(root.path)) and plan.totals()["generations"] >= len(
        store.generations
    )


def test_rolled_back_and_migrated_again_is_the_same(root: DataRoot) -> None:
    """The plan is the same one; each attempt keeps its journal."""
    first = run.migrate(root)
    after = tree(root.path)
    run.rollback(root)
    assert "rolled-back" == state_of(first)
    assert first == run.migrate(root)
    assert [] == differences(after, tree(root.path))
    assert (first.folder / "journal-1.jsonl").is_file()


def test_failed_generations_stay_failed_under_their_new_ids(root: DataRoot) -> None:
    """A record of a failure follows its generation, there and back."""
    before = failures(root.path)
    plan = run.migrate(root)
    (new,) = (r["new"] for r in _records(plan) if r["old"] == "e_1hand")
    assert {f"essay/{new}.json": before["essay/e_1hand.json"].replace("e_1hand", new)} == failures(
        root.path
    )
    run.rollback(root)
    assert before == failures(root.path)


def test_after_finalizing_there_is_no_way_back(root: DataRoot) -> None:
    """The originals are gone, the mapping is not, and a next migration may begin."""
    plan = run.migrate(root)
    run.finalize(root)
    with pytest.raises(StoreError, match="no open migration"):
        run.rollback(root)
    with pytest.raises(StoreError, match="is finalized"):
        run.rollback(root, plan.plan_id)
    assert not (plan.folder / "originals").exists()
    assert {"plan.jsonl", "mapping.csv", "journal.jsonl"} <= set(os.listdir(plan.folder))
    assert 0 == run.migrate(root).totals()["moves"]


def _use(root: DataRoot, plan: Plan, what: str) -> None:
    (draft,) = (r["new"] for r in _records(plan) if r["old"] == "chained")
    if what == "child":
        folder = root.stage("essay") / "later"
        folder.mkdir()
        fields = {"stage": "essay", "gen_id": "later", "parent_gen_id": draft, "template_id": "t"}
        (folder / "metadata.json").write_text(json.dumps(fields))
    elif what == "cohort":
        (root.cohorts / "later").mkdir()
        (root.cohorts / "later" / "membership.csv").write_text(f"stage,gen_id\ndraft,{draft}\n")
    elif what == "membership":
        root.membership("one").write_text("stage,gen_id\n")
    else:
        (root.stage("draft") / "chained").mkdir()
        (root.stage("draft") / "chained" / "metadata.json").write_text("{}")


@pytest.mark.parametrize("what", ["child", "cohort", "membership", "old folder"])
def test_a_store_that_was_used_since_is_not_rolled_back_unasked(root: DataRoot, what: str) -> None:
    """The error lists what would be lost or orphaned; --force goes back and keeps it aside."""
    before = tree(root.path)
    plan = run.migrate(root)
    _use(root, plan, what)
    after = tree(root.path)
    with pytest.raises(StoreError, match="used since the migration"):
        run.rollback(root)
    assert [] == differences(after, tree(root.path))
    run.rollback(root, force=True)
    found = tree(root.path)
    assert [] == differences({p: e for p, e in before.items() if "later" not in p and p in found
                              and not e[0].startswith("d")},
                             {p: e for p, e in found.items() if p in before
                              and not e[0].startswith("d")})  # fmt: skip
    displaced = plan.folder / "displaced"
    assert displaced.is_dir() == (what in ("membership", "old folder"))


# -- refusals -------------------------------------------------------------------------------------
def test_another_plan_than_the_one_looked_at_is_refused(root: DataRoot) -> None:
    """Nothing is changed then."""
    plan = run.plan(root)
    (root.stage("draft") / "chained" / "raw.txt").write_text("later")
    before = tree(root.path)
    with pytest.raises(StoreError, match="not what it was"):
        run.migrate(root, expected=plan.plan_id)
    assert [] == differences(before, tree(root.path))


def _membership_of_another_form(root: DataRoot) -> str:
    root.membership("one").write_text("gen_id\nx\n")
    return "cohorts/one/membership.csv"


def _metadata_behind_a_link(root: DataRoot) -> str:
    path = root.stage("draft") / "chained" / "metadata.json"
    path.rename(path.with_name("real.json"))
    path.symlink_to("real.json")
    return "gens/draft/chained/metadata.json"


def _unpublished_text(root: DataRoot) -> str:
    (root.own / "staging" / "draft" / "chained").mkdir(parents=True)
    return "gens/draft/chained"


@pytest.mark.parametrize(
    "spoil", [_membership_of_another_form, _metadata_behind_a_link, _unpublished_text]
)
def test_what_must_be_put_right_first_is_listed(root: DataRoot, spoil: Any) -> None:
    """As blockers of the plan; executing refuses with all of them and changes nothing."""
    place = spoil(root)
    before = tree(root.path, inodes=True)
    plan = run.plan(root)
    assert [place] == [record["path"] for record in _records(plan, "blocker")]
    with pytest.raises(StoreError, match="cannot be carried out") as refused:
        run.migrate(root)
    assert [place] == [problem.where for problem in refused.value.problems]
    assert [] == differences(before, tree(root.path, inodes=True))
    assert "planned" == state_of(plan)


@pytest.mark.parametrize("place", ["gens", "gens/essay", "cohorts", "2_tasks"])
def test_nothing_outside_the_data_root_is_written(
    root: DataRoot, tmp_path: Path, place: str
) -> None:
    """A folder that is a link out of it is refused, by name."""
    (root.path / place).rename(tmp_path / "outside")
    (root.path / place).symlink_to(tmp_path / "outside")
    before = tree(tmp_path / "outside", inodes=True)
    with pytest.raises(StoreError, match="out of the data root") as refused:
        run.migrate(root)
    assert any(problem.where.startswith(place) for problem in refused.value.problems)
    assert [] == differences(before, tree(tmp_path / "outside", inodes=True))


def test_a_cohort_that_lies_elsewhere_is_refused(root: DataRoot, tmp_path: Path) -> None:
    """Before anything changes."""
    (root.cohorts / "one").rename(tmp_path / "outside")
    (root.cohorts / "one").symlink_to(tmp_path / "outside")
    before = tree(root.path, inodes=True), tree(tmp_path / "outside", inodes=True)
    with pytest.raises(StoreError, match="cohorts/one: a symbolic link"):
        run.migrate(root)
    assert before == (tree(root.path, inodes=True), tree(tmp_path / "outside", inodes=True))


def test_a_folder_that_cannot_be_written_is_found_before_anything_changes(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named; nothing is changed."""
    before = tree(root.path, inodes=True)
    monkeypatch.setattr("os.access", lambda path, mode: "chained" not in str(path))
    with pytest.raises(StoreError, match=r"gens/draft/chained: the folder cannot be written"):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def test_a_read_only_data_root_is_refused(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's word and a remedy, by planning and executing alike."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(30, os.strerror(30), str(root.own / "migrations"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    for verb in (run.plan, run.migrate):
        with pytest.raises(StoreError, match="Read-only"):
            verb(root)


def test_a_disk_without_room_is_found_before_anything_changes(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan says how much it takes."""
    real = os.statvfs(root.path)
    full = os.statvfs_result((*real[:3], 1, 1, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match="not enough room"):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize("purpose", [BUILD, MIGRATION])
def test_a_build_or_another_migration_keeps_it_out(root: DataRoot, purpose: str) -> None:
    """While one of them holds the data root, nothing begins."""
    before = tree(root.path)
    with root_lock(root, purpose):
        for verb in (run.plan, run.migrate, run.resume, run.rollback, run.finalize):
            with pytest.raises(StoreError, match="in use"):
                _impatiently(verb, root)
    assert [] == differences(before, tree(root.path))


def _impatiently(verb: Any, root: DataRoot) -> None:
    with pytest.MonkeyPatch.context() as patch:
        real = root_lock
        patch.setattr(run, "root_lock", lambda root, purpose: real(root, purpose, wait=0.0))
        verb(root)


def test_an_unfinished_migration_keeps_builds_out(root: DataRoot) -> None:
    """Also when its process is dead: the error says how to go on or back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executing, "set_times", _die)
        with pytest.raises(KeyboardInterrupt):
            run.migrate(root)
    with pytest.raises(StoreError, match=r"--resume.*rollback"), root_lock(root, BUILD):
        pass
    with pytest.raises(StoreError, match="not finished"):
        run.plan(root)
    run.resume(root)
    with root_lock(root, BUILD):
        pass


def _die(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def test_a_difference_in_content_fails_verification(root: DataRoot) -> None:
    """The migration stays unfinished, names the file, and rolling back says so, too."""
    real = work.set_times
    plan = run.plan(root)
    (record,) = (r for r in _records(plan) if r["old"] == "chained")

    def spoil(going: Any, *, migrated: bool) -> None:
        (root.stage("draft") / record["new"] / "parsed.txt").write_text("another text")
        real(going, migrated=migrated)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executing, "set_times", spoil)
        with pytest.raises(StoreError, match=f"{record['new']}/parsed.txt"):
            run.migrate(root)
    assert "executing" == state_of(plan)
    with pytest.raises(StoreError, match=r"chained/parsed\.txt"):
        run.rollback(root)
    run.rollback(root, force=True)
    assert "rolled-back" == state_of(plan)


def test_metadata_that_changes_under_the_migration_stops_it(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not planned is not rewritten; going back keeps the change."""
    path = root.stage("draft") / "chained" / "metadata.json"
    real = own.wait_for_makers

    def meddle(root: DataRoot) -> None:
        path.write_bytes(path.read_bytes() + b"\n")
        real(root)

    with monkeypatch.context() as patch:
        patch.setattr(own, "wait_for_makers", meddle)
        with pytest.raises(StoreError, match="changed since the plan"):
            run.migrate(root)
    with pytest.raises(StoreError, match="chained/metadata"):
        run.rollback(root)
    run.rollback(root, force=True)
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EXDEV], ids=["no links", "two disks"])
def test_where_nothing_can_be_linked_originals_are_copied(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """No hard links, or `gens/` on a disk of its own: rolling back gives the same bytes, times and
    permissions."""
    before = tree(root.path)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    real = os.replace

    def within(source: Any, target: Any) -> None:
        if code == errno.EXDEV and (".genid/" in str(source)) != (".genid/" in str(target)):
            refuse()
        real(source, target)

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", within)
    run.migrate(root)
    run.rollback(root)
    assert [] == differences(before, tree(root.path))


def test_metadata_that_somebody_spoils_meanwhile_is_a_problem_that_is_told(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification names the file; rolling back gives the store as it was."""
    before = tree(root.path)

    def spoil(work: work.Work, advance: Any) -> Any:
        moved = next(step for step in work.steps if step.moves)
        with open(f"{work.new(moved)}/metadata.json", "wb") as file:
            file.write(b"{")
        return verify.verify_migrated(work, advance)

    monkeypatch.setattr(executing, "verify_migrated", spoil)
    with pytest.raises(StoreError, match="the new metadata does not say"):
        run.migrate(root)
    run.rollback(root)
    assert [] == differences(before, tree(root.path))
