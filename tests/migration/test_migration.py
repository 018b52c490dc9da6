"""A whole store is moved: what changes, what stays, what is told, and the way back."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NewType

import attrs
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genid import Signature, is_gen_id
from genid._registry import registered
from genid_store.catalog import lookup
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.metadata import read_generation
from genid_store.catalog.renamed import read_renamed
from genid_store.errors import StoreError
from genid_store.fs import trees
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, MIGRATION, root_lock
from genid_store.migration import build as building
from genid_store.migration import run, swap
from genid_store.migration.planfile import Plan, open_plan
from genid_store.migration.rollback import AGAIN, CHANGED, IN_PLACE, REMOVED
from genid_store.migration.swap import read_swap
from genid_store.stages import PIPELINE
from migrationkit import Tree, differences, failures, small_store, tree
from storekit import FAULTS, FILES, ODDITIES, Store, make_store, v1_id

QuestionId = NewType("QuestionId", str)
_TASK = ("combo_id", "template_id", "llm_model_id", "replicate")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the disk's cache alone."""
    monkeypatch.setattr(trees, "sync_filesystem", lambda path: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    (tmp_path / "store").mkdir()
    return DataRoot.open(small_store(tmp_path / "store"))


def _records(plan: Plan, kind: str = "generation", note: str | None = None) -> list[dict[str, Any]]:
    if kind == "generation":
        return [
            attrs.asdict(entry, recurse=False) for entry in plan.entries() if entry.kind == kind
        ]
    return [r for r in plan.records(kind) if note is None or r["note"] == note]


def _findings(root: DataRoot) -> Counter[str]:
    with StoreIndex.fresh(root) as index:
        return Counter(str(finding.code) for finding in audit(index).findings)


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


def test_links_collisions_strays_and_reports_are_listed(root: DataRoot) -> None:
    """Each as a note of the plan and a line of the summary."""
    folder = next(root.stage("draft").glob("d_*"))
    folder.with_name(folder.name.upper()).mkdir()
    os.link(folder / "parsed.txt", root.stage("draft") / "chained" / "raw.txt")
    plan = run.plan(root)
    found = {
        note: [record.get("path") for record in _records(plan, "note", note)]
        for note in ("symlink", "shared-file", "case-collision", "stray-entry", "report")
    }
    assert 2 == len(found["symlink"])
    assert 1 == len(found["shared-file"])
    assert 1 == len(found["case-collision"])
    assert ["gens/draft/notes.txt"] == found["stray-entry"]
    assert ["reports/latest", "reports/scores.csv"] == found["report"]
    summary = (plan.folder / "summary.md").read_text()
    for words in ("Symbolic links", "share", "case only", "made again", "Duplicates"):
        assert words in summary


def test_the_counts_of_a_plan_add_up(tmp_path: Path) -> None:
    """Every generation moves, keeps its id, stays with a reason, or is merged."""
    store = make_store(tmp_path / "store", generations=300, faults=FAULTS)
    plan = run.plan(DataRoot.open(store.path))
    totals = plan.totals()
    what = Counter(line.split(",")[5] for line in (plan.folder / "mapping.csv").open())
    assert totals["generations"] == len(_records(plan)) == sum(what.values()) - 1
    for name in ("moves", "keeps", "stays", "merged"):
        assert totals[name] == what[name]
    assert totals["stays"] == sum(bool(r["reason"]) and r["reason"] != "empty-slot"
                                  for r in _records(plan))  # fmt: skip


def test_what_stays_is_listed_with_its_reason(tmp_path: Path) -> None:
    """For every oddity and fault after which no id can be derived; all others move."""
    store = make_store(tmp_path / "store", generations=600, faults=FAULTS)
    plan = run.plan(DataRoot.open(store.path))
    found = {(record["stage"], record["old"]): record for record in _records(plan)}
    for made in store.generations:
        record = found[made.stage, made.gen_id]
        assert (made.v1 is None) == (record["reason"] not in ("", "empty-slot")), (made, record)
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
    """No two generations of a stage come to one name, but for empty slots of one task."""
    store = make_store(tmp_path / "store", generations=600, faults=FAULTS)
    plan = run.plan(DataRoot.open(store.path))
    counts = Counter((r["stage"], r["new"]) for r in _records(plan) if r["reason"] != "empty-slot")
    assert {1} == set(counts.values())


@pytest.mark.parametrize(
    "change",
    [
        {"new": "../../../outside"}, {"old": ".."}, {"stage": "../x"}, {"files": {"../x": "1:"}},
        {"files": {"/etc/passwd": "1:"}}, {"files": 1}, {"rewrite": None}, {"none": None},
    ],
)  # fmt: skip
def test_a_crafted_plan_is_refused_where_it_is_used(root: DataRoot, change: dict[str, Any]) -> None:
    """Also where its name is the digest of its bytes; nothing outside is touched."""
    plan = run.migrate(root)
    lines = [json.loads(line) for line in plan.path.read_bytes().splitlines()]
    lines[1].update(change)
    data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in lines)
    crafted = Plan(root, blake3(data).hexdigest()[:16])
    plan.folder.rename(crafted.folder)
    crafted.path.write_bytes(data)
    swap = (crafted.folder / "swap.json").read_text()
    (crafted.folder / "swap.json").write_text(swap.replace(plan.plan_id, crafted.plan_id))
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match="plan cannot be used"):
        run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize(
    "place",
    [
        ["../outside", 1, 1],
        ["/outside", 1, 1],
        ["gens/../../outside", 1, 1],
        [".genid/migrations", 1, 1],
    ],
)
def test_a_crafted_journal_is_refused(root: DataRoot, place: list[Any]) -> None:
    """It names places that the migration cannot have written."""
    plan = run.migrate(root)
    document = json.loads((plan.folder / "swap.json").read_bytes())
    document["places"].append(place)
    (plan.folder / "swap.json").write_text(json.dumps(document))
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match="not a place of this migration"):
        run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize(
    "place",
    [
        "migrations", "migrations/{}", "migrations/{}/aside/gens/draft",
        "migrations/{}/aside/gens/draft/chained", "migrations/{}/aside/.genid/failures/essay",
        "failures/essay",
    ],
)  # fmt: skip
def test_a_link_in_our_folder_leads_nothing_out_of_the_data_root(
    root: DataRoot, tmp_path: Path, place: str
) -> None:
    """Going back through it is refused, whatever was changed and removed since."""
    plan = run.migrate(root)
    (root.generation("draft", _new(plan)["chained"]) / "metadata.json").write_text("{}")
    for record in (root.own / "failures/essay").iterdir():
        record.unlink()
    path = root.own / place.format(plan.plan_id)
    shutil.move(path, tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    before = tree(tmp_path / "outside", inodes=True)
    with pytest.raises(StoreError, match="out of the data root"):
        run.rollback(root)
    assert [] == differences(before, tree(tmp_path / "outside", inodes=True))


def test_a_journal_that_names_a_folder_outside_is_refused(root: DataRoot, tmp_path: Path) -> None:
    """Nor are times given to it."""
    plan = run.migrate(root)
    journal = plan.folder / "swap.json"
    document = json.loads(journal.read_bytes())
    document["times"]["../"] = [1, 1]
    journal.write_text(json.dumps(document))
    before = tmp_path.stat().st_mtime_ns
    with pytest.raises(StoreError, match="not a place of this migration"):
        run.rollback(root)
    assert before == tmp_path.stat().st_mtime_ns


def test_the_record_of_renamed_ids_is_not_written_through_a_link(
    root: DataRoot, tmp_path: Path
) -> None:
    """Before anything is planned."""
    (tmp_path / "outside").mkdir()
    (root.own / "renamed").symlink_to(tmp_path / "outside")
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match="out of the data root"):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))
    assert [] == os.listdir(tmp_path / "outside")


def test_all_places_of_a_rollback_are_checked_before_one_is_exchanged(
    root: DataRoot, tmp_path: Path
) -> None:
    """A link at the last one leaves the live tree whole."""
    plan = run.migrate(root)
    shutil.move(plan.folder / "aside/cohorts", tmp_path / "outside")
    (plan.folder / "aside/cohorts").symlink_to(tmp_path / "outside")
    before = tree(root.path)
    with pytest.raises(StoreError, match="out of the data root"):
        run.rollback(root)
    assert [] == differences(before, tree(root.path))
    assert "migrated" == read_swap(plan).state


def test_a_plan_that_was_changed_is_refused(root: DataRoot) -> None:
    """Its name is the digest of its bytes."""
    plan = run.plan(root)
    data = plan.path.read_bytes()
    for changed in (data[:-5], data.replace(b'"v1"', b'"v2"'), b""):
        plan.path.write_bytes(changed)
        with pytest.raises(StoreError, match="changed or cut short"):
            open_plan(root, plan.plan_id)


def test_a_plan_of_another_format_says_which_genid_goes_on(root: DataRoot) -> None:
    """It is neither damaged nor to be restored. Checkouts of one version may differ in the format,
    so that the version alone would not name one."""
    plan = run.migrate(root)
    data = plan.path.read_bytes().replace(b'"format":8', b'"format":7')
    crafted = Plan(root, blake3(data).hexdigest()[:16])
    plan.folder.rename(crafted.folder)
    crafted.path.write_bytes(data)
    refused = r"reads format 8; .* the genid that made it \(version \d\.\d\.\d, format 7\)"
    for verb in (run.resume, run.rollback, run.finish):
        with pytest.raises(StoreError, match=refused):
            verb(root)


# -- carried out ----------------------------------------------------------------------------------
def test_every_generation_recomputes_and_names_its_old_id(root: DataRoot) -> None:
    """The new metadata gives the new id; the old id and the plan are in it."""
    plan = run.migrate(root)
    assert "migrated" == read_swap(plan).state
    for record in _records(plan):
        found = read_generation(root, record["stage"], record["new"])
        if record["old"] == record["new"] or record["reason"]:
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


@pytest.mark.parametrize("target", ["{}", "../draft/{}/", "{root}/gens/draft/{}"])
def test_a_generation_that_is_a_link_to_another_follows_it(root: DataRoot, target: str) -> None:
    """There and back, to the byte; a link never moves by itself."""
    (old,) = root.gens.glob("draft/*/attempts")
    link = root.stage("draft") / "alias"
    link.symlink_to(target.format(old.parent.name, root=root.path))
    before = tree(root.path)
    plan = run.migrate(root)
    (new,) = (one["new"] for one in _records(plan) if one["old"] == old.parent.name)
    assert new != old.parent.name
    assert target.format(new, root=root.path).rstrip("/") == os.readlink(link).rstrip("/")
    assert (link / "attempts").is_dir()
    run.rollback(root)
    assert [] == differences(before, tree(root.path))


def test_memberships_and_selections_follow(root: DataRoot) -> None:
    """Members in their order under their new ids, whatever else the files hold; manifests name no
    generation and stay."""
    path = root.membership("two")
    text = path.read_text().replace("stage,gen_id", "stage,gen_id,note").replace("\n", ",x\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("note,x", "note").encode())
    path.chmod(0o600)
    old = {name: root.membership(name).read_bytes() for name in ("one", "two")}
    manifests = {name: root.manifest(name).read_bytes() for name in old}
    plan = run.migrate(root)
    new = {(record["stage"], record["old"]): record["new"] for record in _records(plan)}

    def follow(row: re.Match[str]) -> str:
        return f"{row[1]},{new.get((row[1], row[2]), row[2])}"

    for name, data in old.items():
        expected = re.sub("^([a-z]+),([^,\r\n]+)", follow, data.decode(), flags=re.MULTILINE)
        assert len(data) < len(expected)
        assert expected.encode() == root.membership(name).read_bytes()
        assert manifests[name] == root.manifest(name).read_bytes()
    assert 0o600 == path.stat().st_mode & 0o777
    selected = (root.tasks / "selected_essays.txt").read_text().splitlines()
    assert is_gen_id(selected[2].strip())
    assert ["# mine", "", "unknown"] == selected[:2] + selected[3:]


def test_a_table_of_the_hosts_follows_where_it_is_named(root: DataRoot) -> None:
    """There and back; without the option it is a report, which nobody changes."""
    table = root.path / "reports/scores.csv"
    before = table.read_text()
    run.migrate(root, tables=("reports/scores.csv",))
    draft, score = table.read_text().splitlines()[1].split(",")
    assert is_gen_id(draft)
    assert "7" == score
    run.rollback(root)
    assert before == table.read_text()
    for wrong in ("../outside.csv", "gens/x", ".genid/x", "/etc/passwd", "a/../b"):
        with pytest.raises(StoreError, match="cannot be rewritten"):
            run.plan(root, tables=(wrong,))
    assert ["reports/none.csv"] == [
        record["path"]
        for record in _records(run.plan(root, tables=("reports/none.csv",)), "blocker")
    ]


def test_old_ids_resolve_although_the_host_rewrites_metadata(root: DataRoot) -> None:
    """Our own record says what was renamed; rolled back, it says nothing more."""
    plan = run.migrate(root)
    (record,) = (r for r in _records(plan) if r["old"] == "chained")
    path = root.generation("draft", record["new"]) / "metadata.json"
    document = json.loads(path.read_bytes())
    del document["previous_gen_id"], document["migration_plan"]
    path.write_text(json.dumps(document))
    with StoreIndex.fresh(root) as index:
        (match,) = lookup.resolve(index, "chained")
        assert (record["new"], "previous") == (match.generation.gen_id, match.by)
    run.rollback(root)
    assert {} == read_renamed(root)


@pytest.mark.parametrize("name", ["prompt.txt", "parsed.txt", ".DS_Store"])
def test_an_empty_slot_that_has_the_id_of_a_text_gives_way(root: DataRoot, name: str) -> None:
    """Flag on, rebuild, migrate: the cohort's members are the paid texts."""
    fields = {"combo_id": "combo-d", "template_id": "dt", "llm_model_id": "m", "replicate": 1}
    (root.stage("draft") / v1_id("draft", fields)).rename(root.path / "elsewhere")
    slot = v1_id("draft", fields)
    (root.stage("draft") / slot).mkdir()
    (root.stage("draft") / slot / "metadata.json").write_text(
        json.dumps({"stage": "draft", "gen_id": slot, **fields})
    )
    (root.stage("draft") / slot / name).write_text("" if name == "parsed.txt" else "x")
    (root.cohorts / "rebuilt").mkdir()
    root.membership("rebuilt").write_text(f"stage,gen_id\ndraft,{slot}\n")
    before = tree(root.path, inodes=True)
    plan = run.migrate(root)
    assert 1 == plan.totals()["merged"]
    assert "text of draft chained\n" == (root.generation("draft", slot) / "parsed.txt").read_text()
    assert f"stage,gen_id\ndraft,{slot}\n" == root.membership("rebuilt").read_text()
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def test_texts_that_stay_live_under_two_ids_are_two_files(root: DataRoot) -> None:
    """Writing one of them over in place leaves the other alone."""
    first, second = sorted(root.stage("draft").iterdir())[:2]
    os.unlink(second / "parsed.txt")
    os.link(first / "parsed.txt", second / "parsed.txt")
    text = (first / "parsed.txt").read_text()
    plan = run.migrate(root)
    new = {record["old"]: record["new"] for record in _records(plan)}
    paths = [root.generation("draft", new[one.name]) / "parsed.txt" for one in (first, second)]
    paths[0].write_text("in place")
    assert ["in place", text] == [path.read_text() for path in paths]


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
    assert (0, 0, "planned") == (
        *(again.totals()[k] for k in ("moves", "files")),
        read_swap(again).state,
    )
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
    if read_swap(plan).state == "migrated":
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
    """The plan is the same one."""
    first = run.migrate(root)
    after = tree(root.path)
    run.rollback(root)
    assert "rolled-back" == read_swap(first).state
    assert first == run.migrate(root)
    assert [] == differences(after, tree(root.path))


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


def test_a_failure_follows_where_a_slot_of_the_right_id_is_there(root: DataRoot) -> None:
    """Flag on, rebuild, migrate: the member is still on record as asked for, there and back."""
    old = root.generation("draft", "chained")
    for made in old.iterdir():
        if made.name != "metadata.json":
            made.unlink()
    document = json.loads((old / "metadata.json").read_text())
    slot = v1_id("draft", {name: document[name] for name in _TASK})
    (root.stage("draft") / slot).rename(root.path / "elsewhere")
    (root.stage("draft") / slot).mkdir()
    metadata = json.dumps({**document, "gen_id": slot})
    (root.stage("draft") / slot / "metadata.json").write_text(metadata)
    (root.own / "failures/draft").mkdir(parents=True)
    (root.own / "failures/draft/chained.json").write_text("{}")
    before = tree(root.path, inodes=True)
    run.migrate(root)
    assert (root.own / f"failures/draft/{slot}.json").exists()
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def test_a_failure_that_is_over_is_over_after_rolling_back(root: DataRoot) -> None:
    """And a new one follows its generation."""
    plan = run.migrate(root)
    new = {record["old"]: record["new"] for record in _records(plan)}
    (root.own / "failures/essay" / f"{new['e_1hand']}.json").unlink()
    (root.own / "failures/draft").mkdir()
    failed = {"stage": "draft", "gen_id": new["chained"]}
    (root.own / "failures/draft" / f"{new['chained']}.json").write_text(json.dumps(failed))
    run.rollback(root)
    assert {"draft/chained.json": json.dumps({**failed, "gen_id": "chained"})} == failures(
        root.path
    )


def test_the_records_of_a_stage_that_is_no_longer_declared_are_no_damage(root: DataRoot) -> None:
    """A journal can be read by a process without the user's stages, as every later plan has to."""

    class Question(Signature[QuestionId], stage="question", prefix="q"):
        subject: str
        replicate: int

    fields = {"stage": "question", "gen_id": "asked", "subject": "s", "replicate": 1}
    for folder in (root.stage("question") / "asked", root.own / "failures/question"):
        folder.mkdir(parents=True)
    (root.stage("question") / "asked/metadata.json").write_text(json.dumps(fields))
    (root.own / "failures/question/asked.json").write_text("{}")
    plan = run.migrate(root)
    assert ".genid/failures/question" in [place.path for place in read_swap(plan).places]
    run.rollback(root)
    registered.pop("question")
    assert "rolled-back" == read_swap(plan).state
    assert run.plan(root).has_work()


def test_the_first_failure_of_a_store_follows_back_too(root: DataRoot) -> None:
    """Where the migration found no folder of such records; an undeclared stage's stay."""
    shutil.rmtree(root.own / "failures")
    plan = run.migrate(root)
    new = {record["old"]: record["new"] for record in _records(plan)}
    for stage in ("draft", "summary"):
        (root.own / "failures" / stage).mkdir(parents=True)
        record = root.own / "failures" / stage / f"{new['chained']}.json"
        record.write_text(json.dumps({"stage": stage, "gen_id": new["chained"]}))
    run.rollback(root)
    assert {
        "draft/chained.json": '{"stage": "draft", "gen_id": "chained"}',
        f"summary/{new['chained']}.json": json.dumps(
            {"stage": "summary", "gen_id": new["chained"]}
        ),
    } == failures(root.path)


_NOTES = ("README", "draft/note by hand.txt", "draft/-bad name.json", "draft/older/d.json")


def _write_notes(folder: Path, text: str) -> dict[str, str]:
    for path in (folder / name for name in _NOTES):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
    return dict.fromkeys(_NOTES, text)


def _read_notes(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in _NOTES if (folder / name).exists()}


@pytest.mark.parametrize("place", ["failures", "reused"])
def test_what_lies_beside_the_first_records_is_there_after_rolling_back(
    root: DataRoot, place: str
) -> None:
    """Where the migration found no such folder: files that are no records of ours are kept too."""
    folder = root.own / place
    shutil.rmtree(folder, ignore_errors=True)
    run.migrate(root)
    written = _write_notes(folder, "by hand")
    run.rollback(root)
    assert written == _read_notes(folder)


def test_what_lies_beside_the_records_goes_there_and_back(root: DataRoot) -> None:
    """It is live after migrating; what replaces it then is there after rolling back; a link to the
    folder of a stage's records is not in the way."""
    folder = root.own / "failures"
    written = _write_notes(folder, "by hand")
    (root.own / "drafts").mkdir()
    (folder / "summary").symlink_to(root.own / "drafts")
    (root.own / "drafts/one.json").write_text("{}")
    before = tree(root.path, inodes=True)
    run.migrate(root)
    assert written == _read_notes(folder)
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))
    run.migrate(root)
    replaced = _write_notes(folder, "replaced")
    run.rollback(root)
    assert replaced == _read_notes(folder)


@pytest.mark.parametrize("target", ["../essays", "{}/.genid/essays"])
def test_a_link_in_the_place_of_a_stages_records(root: DataRoot, target: str) -> None:
    """There before, the plan names it; put there since, it is in nobody's way back."""
    before, folder = failures(root.path), root.own / "failures/essay"

    def link() -> None:
        folder.rename(root.own / "essays")
        folder.symlink_to(target.format(root.path))

    link()
    assert [".genid/failures/essay"] == [r["path"] for r in _records(run.plan(root), "blocker")]
    folder.unlink()
    (root.own / "essays").rename(folder)
    run.migrate(root)
    link()
    run.rollback(root)
    assert before == failures(root.path)


def test_what_lies_beside_the_records_is_there_after_finishing(root: DataRoot) -> None:
    """Giving up the former tree takes nothing from the live one."""
    written = _write_notes(root.own / "failures", "by hand")
    run.migrate(root)
    run.finish(root)
    assert written == _read_notes(root.own / "failures")


def test_after_finishing_nothing_is_rolled_back(root: DataRoot) -> None:
    """The former tree is gone, the mapping is not, and a next migration may begin."""
    plan = run.migrate(root)
    after = tree(root.path, inodes=True)
    run.finish(root)
    with pytest.raises(StoreError, match="no open migration"):
        run.rollback(root)
    assert not (plan.folder / "aside").exists()
    assert {"plan.jsonl", "mapping.csv", "swap.json"} <= set(os.listdir(plan.folder))
    assert 0 == run.migrate(root).totals()["moves"]
    assert [] == differences(after, tree(root.path, inodes=True))


@pytest.mark.parametrize("place", ["chained/parsed.txt", "made-late/parsed.txt"])
def test_a_text_that_only_the_former_store_has_keeps_it_from_being_deleted(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A host that replaces or makes a file by a rename, once it was verified, writes it there."""
    real = swap.begin

    def begin(*args: Any, **kwargs: Any) -> Any:
        late = root.stage("draft") / place
        late.parent.mkdir(exist_ok=True)
        (root.path / "late").write_text("a better text")
        (root.path / "late").rename(late)
        return real(*args, **kwargs)

    monkeypatch.setattr(swap, "begin", begin)
    plan = run.migrate(root)
    former = Path(plan.aside(f"gens/draft/{place}"))
    with pytest.raises(StoreError, match="nothing else has") as refused:
        run.finish(root)
    assert [root.relative(former)] == [one.where for one in refused.value.problems]
    former.rename(root.path / "rescued")
    run.finish(root)
    assert "a better text" == (root.path / "rescued").read_text()


# -- what was made since --------------------------------------------------------------------------
def _new(plan: Plan) -> dict[str, str]:
    return {record["old"]: record["new"] for record in _records(plan)}


def test_what_was_made_since_is_taken_along(root: DataRoot) -> None:
    """Under its own id, with the ids of its parents and members led back."""
    before = tree(root.path)
    plan = run.migrate(root)
    draft = _new(plan)["chained"]
    folder = root.stage("essay") / "later"
    folder.mkdir()
    fields = {"stage": "essay", "gen_id": "later", "parent_gen_id": draft, "template_id": "t"}
    (folder / "metadata.json").write_text(json.dumps(fields))
    (folder / "raw.txt").write_text("paid")
    (root.cohorts / "later").mkdir()
    root.membership("later").write_text(f"stage,gen_id\ndraft,{draft}\nessay,later\n")
    (root.generation("essay", _new(plan)["e_1hand"]) / "raw.txt").write_text("paid, too")
    _, carried = run.rollback(root)
    found = tree(root.path)
    text = "gens/essay/e_1hand/raw.txt"
    assert {"gens/essay/later", "cohorts/later/membership.csv", text} == dict(carried).keys()
    assert {**fields, "parent_gen_id": "chained"} == json.loads(
        (folder / "metadata.json").read_text()
    )
    assert "paid" == (folder / "raw.txt").read_text()
    assert "paid, too" == (root.stage("essay") / "e_1hand" / "raw.txt").read_text()
    assert "stage,gen_id\ndraft,chained\nessay,later\n" == root.membership("later").read_text()
    old = {place: one for place, one in found.items() if place in before}
    assert [] == differences(_files(before), _files(old))


def _files(found: Tree) -> Tree:
    return {place: one for place, one in found.items() if not one[0].startswith("d")}


def test_what_a_host_changed_since_is_reported_and_kept(root: DataRoot) -> None:
    """Its membership and metadata with the ids led back, its texts as they are; the versions from
    before lie in the migration's folder."""
    plan = run.migrate(root)
    new = _new(plan)["chained"]
    folder = root.generation("draft", new)
    document = json.loads((folder / "metadata.json").read_text())
    with open(folder / "metadata.json", "w") as file:
        json.dump({**document, "host": "was here"}, file)
    with open(folder / "parsed.txt", "w") as file:
        file.write("in place")
    os.unlink(folder / "raw_metadata.json")
    (folder / "raw_metadata.json").write_text(json.dumps({"gen_id": new, "again": True}))
    root.membership("one").write_text(f"stage,gen_id\ndraft,{new}\n")
    _, carried = run.rollback(root)
    old = root.stage("draft") / "chained"
    assert {
        "gens/draft/chained/metadata.json": CHANGED,
        "gens/draft/chained/parsed.txt": IN_PLACE,
        "gens/draft/chained/raw_metadata.json": CHANGED,
        "cohorts/one/membership.csv": CHANGED,
    } == dict(carried)
    metadata = json.loads((old / "metadata.json").read_text())
    assert ("chained", "was here", None) == (
        metadata["gen_id"], metadata["host"], metadata.get("previous_gen_id")
    )  # fmt: skip
    assert "in place" == (old / "parsed.txt").read_text()
    assert {"gen_id": "chained", "again": True} == json.loads(
        (old / "raw_metadata.json").read_text()
    )
    assert "stage,gen_id\ndraft,chained\n" == root.membership("one").read_text()
    kept = plan.folder / "kept"
    assert {"gens/draft/chained/metadata.json", "gens/draft/chained/raw_metadata.json",
            "cohorts/one/membership.csv"} == {
        str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()
    }  # fmt: skip


def test_what_is_changed_again_after_a_rollback_was_stopped_goes_along(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last version is live, and what was kept first is still the one from before."""
    before = tree(root.path)
    plan = run.migrate(root)
    folder = root.generation("draft", _new(plan)["chained"])
    for version in ("first", "second"):
        document = json.loads((folder / "metadata.json").read_text())
        (folder / "metadata.json").write_text(json.dumps({**document, "host": version}))
        (folder / "parsed.txt").unlink()
        (folder / "parsed.txt").write_text(version)
        with root.membership("one").open("a") as file:
            file.write(f"draft,{version}\n")
        with monkeypatch.context() as patch:
            if version == "first":
                patch.setattr("genid_store.migration.swap.begin", _die)
                with pytest.raises(KeyboardInterrupt):
                    run.rollback(root)
            else:
                run.rollback(root)
    old, kept = root.stage("draft") / "chained", plan.folder / "kept"
    assert "second" == json.loads((old / "metadata.json").read_text())["host"]
    assert "second" == (old / "parsed.txt").read_text()
    assert "draft,first\ndraft,second\n" in root.membership("one").read_text()
    for place in ("gens/draft/chained/metadata.json", "gens/draft/chained/parsed.txt",
                  "cohorts/one/membership.csv"):  # fmt: skip
        assert before[place][2] == (kept / place).read_bytes()


def test_changed_metadata_whose_former_version_is_lost_is_led_back_all_the_same(
    root: DataRoot,
) -> None:
    """Its references name the ids from before, and what somebody has written into it stays; nothing
    is made up for the version that is gone."""
    plan = run.migrate(root)
    new = _new(plan)
    essay = next(
        e for e in plan.entries() if e.stage == "essay" and e.moves and e.parent in new.values()
    )
    path = root.generation("essay", essay.new) / "metadata.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "host": "was here"}))
    os.unlink(plan.aside(f"gens/essay/{essay.old}/metadata.json"))
    _, carried = run.rollback(root)
    assert [(f"gens/essay/{essay.old}/metadata.json", CHANGED)] == carried
    parent = next(old for old, moved in new.items() if moved == essay.parent)
    assert {**document, "host": "was here", "gen_id": essay.old, "parent_gen_id": parent} == (
        json.loads((root.generation("essay", essay.old) / "metadata.json").read_text())
    )
    assert not (plan.folder / "kept").exists()


def test_what_was_removed_since_is_there_again(root: DataRoot) -> None:
    """Rolling back loses no text, whoever removed it."""
    before = tree(root.path)
    plan = run.migrate(root)
    shutil.rmtree(root.generation("draft", _new(plan)["chained"]))
    root.membership("one").unlink()
    _, carried = run.rollback(root)
    assert {REMOVED} == {what for _, what in carried}
    assert [] == differences(before, tree(root.path))


def test_a_folder_that_stands_again_under_an_old_id_is_kept(root: DataRoot) -> None:
    """What it adds is taken along, what differs lies in the migration's folder."""
    plan = run.migrate(root)
    folder = root.stage("draft") / "chained"
    folder.mkdir()
    (folder / "metadata.json").write_text("{}")
    (folder / "raw.txt").write_text("paid")
    _, carried = run.rollback(root)
    assert [("gens/draft/chained", AGAIN)] == carried
    assert "chained" == json.loads((folder / "metadata.json").read_text())["gen_id"]
    assert "paid" == (folder / "raw.txt").read_text()
    assert "{}" == (plan.folder / "kept/again/draft/chained/metadata.json").read_text()


def test_an_entry_that_is_no_generation_and_was_changed_goes_along(root: DataRoot) -> None:
    """As a generation's files do; one that was replaced by a folder is there again, and the folder
    is kept."""
    notes = root.stage("draft") / "notes.txt"
    for version in ("file", "folder"):
        plan = run.migrate(root)
        notes.unlink()
        if version == "file":
            notes.write_text("changed")
        else:
            notes.mkdir()
            (notes / "inner.txt").write_text("inner")
        _, carried = run.rollback(root)
        assert [("gens/draft/notes.txt", CHANGED if version == "file" else AGAIN)] == carried
        assert "changed" == notes.read_text()
    kept = list(root.own.glob("migrations/*/kept/**/*.txt"))
    texts = {path.read_text() for path in kept if path.is_file()}
    assert {"no generation", "inner"} == texts
    assert (plan.folder / "kept/again/draft/notes.txt/inner.txt") in kept


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


def _generation_of_an_undeclared_stage(root: DataRoot) -> str:
    (root.gens / "summary" / "s_1").mkdir(parents=True)
    (root.gens / "summary" / "s_1" / "metadata.json").write_text('{"draft": "chained"}')
    (root.gens / ".trash" / "s_1").mkdir(parents=True)  # no stage's name, so nobody's
    (root.gens / ".trash" / "s_1" / "metadata.json").write_text("{}")
    return "gens/summary"


@pytest.mark.parametrize(
    "spoil",
    [
        _membership_of_another_form,
        _metadata_behind_a_link,
        _unpublished_text,
        _generation_of_an_undeclared_stage,
    ],
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
    assert "planned" == read_swap(plan).state


@pytest.mark.parametrize("parent", ["../x", "", "/", "..", "a b", "x\0", 5, None, ["d"]])
@pytest.mark.parametrize("stage", ["essay", "evaluation"])
def test_a_parent_that_is_no_id_keeps_one_generation_where_it_is(
    root: DataRoot, stage: str, parent: object
) -> None:
    """With its reason; all others move, and nothing has to be fixed first."""
    made = sorted(root.stage(stage).glob("0*"))[0]
    metadata = made / "metadata.json"
    document = {**json.loads(metadata.read_text()), "parent_gen_id": parent}
    metadata.write_text(json.dumps(document))
    plan = run.migrate(root)
    (stays,) = (one for one in plan.entries() if one.old == made.name)
    assert stays.reason in {"orphan", "field-missing", "field-wrong"}
    assert plan.totals()["moves"] > 5
    assert document == json.loads(metadata.read_text())


@pytest.mark.parametrize("place", ["gens", "gens/draft"])
@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_gens_that_is_no_folder_is_refused(
    root: DataRoot, tmp_path: Path, place: str, kind: str
) -> None:
    """As a disk that is not mounted: it is not a store with nothing to move."""
    (root.path / place).rename(tmp_path / "away")
    if kind == "file":
        (root.path / place).touch()
    else:
        (root.path / place).symlink_to(tmp_path / "nothing")
    with pytest.raises(StoreError, match=r"Not a directory|symbolic link"):
        run.migrate(root)


@pytest.mark.parametrize("place", ["gens", "gens/essay", "cohorts", "2_tasks", "cohorts/one"])
@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_what_lies_behind_a_symbolic_link_is_refused(
    root: DataRoot, tmp_path: Path, place: str, *, inside: bool
) -> None:
    """A folder that would be exchanged, or that a changed file lies in; nothing is written."""
    target = root.path / "moved" if inside else tmp_path / "outside"
    (root.path / place).rename(target)
    (root.path / place).symlink_to(target)
    before = tree(root.path, inodes=True), tree(target, inodes=True)
    promised = [record["path"] for record in _records(run.plan(root), "blocker")]
    with pytest.raises(StoreError, match="symbolic link") as refused:
        run.migrate(root)
    assert promised == [problem.where for problem in refused.value.problems]
    assert any(one.startswith(place) for one in promised)
    assert before == (tree(root.path, inodes=True), tree(target, inodes=True))


def test_a_stage_on_a_file_system_of_its_own_is_refused(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be renamed; the error names it."""
    real = trees.file_system_of
    mounted = str(root.stage("essay"))
    monkeypatch.setattr(
        trees, "file_system_of", lambda path: (-1, "") if path.startswith(mounted) else real(path)
    )
    before = tree(root.path, inodes=True)
    assert ["gens/essay"] == [one["path"] for one in _records(run.plan(root), "blocker")]
    with pytest.raises(StoreError, match="gens/essay: it is on another file system"):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def test_where_gens_is_a_mount_point_the_stages_are_exchanged_within_it(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is linked or renamed between `gens/` and `.genid/`; nothing is left in `gens/`."""
    real, gens = trees.file_system_of, str(root.gens)
    monkeypatch.setattr(
        trees, "file_system_of", lambda path: (-1, "") if path.startswith(gens) else real(path)
    )

    def check(name: str) -> None:
        call = getattr(os, name)

        def within(source: Any, target: Any, **rest: Any) -> Any:
            if str(source).startswith(gens) != str(target).startswith(gens):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            return call(source, target, **rest)

        monkeypatch.setattr(os, name, within)

    before = tree(root.path, inodes=True)
    for name in ("link", "rename", "replace"):
        check(name)
    run.migrate(root)
    assert 1 == len(list(root.gens.glob(".genid-*/draft")))
    with StoreIndex.fresh(root) as index:
        assert lookup.resolve(index, "chained")
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))
    run.migrate(root)
    run.finish(root)
    assert ["draft", "essay", "evaluation"] == sorted(os.listdir(root.gens))


def test_an_unreadable_gens_is_refused(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a store with nothing to move."""
    real = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).startswith(str(root.gens)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for verb in (run.plan, run.migrate):
        with pytest.raises(StoreError, match="Permission denied"):
            verb(root)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL])
def test_users_of_one_group_migrate_in_turn(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Times are not essential, and what is ours follows the umask."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(code, os.strerror(code))

    with suppress(PermissionError):  # another user's, where this one may give it away
        os.chown(root.stage("draft") / "chained" / "metadata.json", 12345, 12345)
    for name in ("utime", "chown", "fchown", "setxattr"):
        monkeypatch.setattr(os, name, refuse)
    if code == errno.EPERM:
        monkeypatch.setattr(os, "fchmod", refuse)
    umask = os.umask(0o002)
    try:
        plan = run.migrate(root)
        run.rollback(root)
        assert plan == run.migrate(root)
        run.finish(root)
    finally:
        os.umask(umask)
    for path in (plan.folder, *plan.folder.rglob("*"), root.own / "renamed"):
        assert (0o775 if path.is_dir() else 0o664) == path.stat().st_mode & 0o777, path


def test_a_folder_that_cannot_be_written_is_found_before_anything_changes(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named; nothing is changed."""
    before = tree(root.path, inodes=True)
    monkeypatch.setattr("os.access", lambda path, mode: "gens/essay" not in str(path))
    assert ["gens/essay"] == [one["path"] for one in _records(run.plan(root), "blocker")]
    with pytest.raises(StoreError, match=r"gens/essay: the folder cannot be written"):
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
    with pytest.raises(StoreError, match="not enough space"):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize("purpose", [BUILD, MIGRATION])
def test_a_build_or_another_migration_keeps_it_out(root: DataRoot, purpose: str) -> None:
    """While one of them holds the data root, nothing begins."""
    before = tree(root.path)
    with root_lock(root, purpose):
        for verb in (run.plan, run.migrate, run.resume, run.rollback, run.finish):
            with pytest.raises(StoreError, match="in use"):
                _impatiently(verb, root)
    assert [] == differences(before, tree(root.path))


def _impatiently(verb: Any, root: DataRoot) -> None:
    with pytest.MonkeyPatch.context() as patch:
        real = root_lock
        patch.setattr(run, "root_lock", lambda root, purpose: real(root, purpose, wait=0.0))
        verb(root)


def test_an_unfinished_exchange_keeps_builds_out(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its process is dead: the error says how to go on or back."""
    with monkeypatch.context() as patch:
        patch.setattr(trees, "exchange", _die)
        with pytest.raises(KeyboardInterrupt):
            run.migrate(root)
    with pytest.raises(StoreError, match="blocked") as refused, root_lock(root, BUILD):
        pass
    assert ("migration.run.resume()", "migration.run.rollback()") == refused.value.problems[0].ways
    with pytest.raises(StoreError, match="not finished"):
        run.plan(root)
    run.resume(root)
    with root_lock(root, BUILD):
        pass


@pytest.mark.parametrize("place", ["gens/essay", "cohorts/one/membership.csv"])
def test_an_exchange_that_is_refused_for_ever_is_rolled_back(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """As that of a file that may not be renamed: there is no way on, and there is one back."""
    real = os.rename

    def refuse(source: Any, target: Any) -> None:
        if str(root.path / place) in (str(source), str(target)):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source))
        real(source, target)

    before = tree(root.path, inodes=True)
    monkeypatch.setattr(trees, "exchange", lambda first, second: False)
    monkeypatch.setattr(os, "rename", refuse)
    for verb in (run.migrate, run.resume):
        with pytest.raises(StoreError, match="not permitted"):
            verb(root)
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))


def _die(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def _while_building(monkeypatch: pytest.MonkeyPatch, meddle: Callable[[], object]) -> None:
    """Let something happen to the store between the plan and what is built from it."""
    real = building.build

    def built(*args: Any) -> Any:
        meddle()
        return real(*args)

    monkeypatch.setattr(run, "build", built)


@pytest.mark.parametrize(
    "name", ["parsed.txt", "metadata.json", "raw_metadata.json", "added.txt", "../../one"]
)
def test_a_store_that_changes_under_the_migration_stops_it(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever file it is, and also where none is added or removed: the change stays as it is, and
    nothing else is changed."""
    path = root.stage("draft") / "chained" / name
    if name == "../../one":
        path = root.membership("one")

    def meddle() -> None:
        with open(path, "a") as file:
            file.write("\n")

    _while_building(monkeypatch, meddle)
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match=r"the plan was made|not as planned"):
        run.migrate(root)
    after = tree(root.path, inodes=True)
    assert {str(path.relative_to(root.path)), *([] if name != "added.txt" else
            ["gens/draft/chained"])} == {
        place for place in {*before, *after} if before.get(place) != after.get(place)
    }  # fmt: skip
    assert not list(root.own.glob("migrations/*/aside")), "nothing is left behind"
    with root_lock(root, BUILD):
        pass


@pytest.mark.parametrize(
    ("place", "data", "message"),
    [
        ("draft", b"{}", "no id can be derived"),
        ("essay", None, "it has gone since"),
        ("membership", b"stage,gen_id\n", "missing or too many"),
    ],
)
def test_what_is_not_built_as_planned_never_becomes_live(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, place: str, data: bytes | None, message: str
) -> None:
    """Each finding is named, and the live tree stays as it was."""
    real = building.build

    def spoiled(plan: Plan, advance: Any) -> Any:
        places = real(plan, advance)
        path = plan.aside("cohorts/one/membership.csv")
        if place != "membership":
            new = next(e.new for e in plan.entries() if e.stage == place and e.moves)
            path = plan.aside(f"gens/{place}/{new}/metadata.json")
        os.unlink(path)
        if data is not None:
            Path(path).write_bytes(data)
        return places

    monkeypatch.setattr(run, "build", spoiled)
    before = tree(root.path, inodes=True)
    with pytest.raises(StoreError, match=message):
        run.migrate(root)
    assert [] == differences(before, tree(root.path, inodes=True))


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK])
def test_where_nothing_can_be_linked_everything_is_copied(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """The same tree, and rolling back gives the one from before."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    before = tree(root.path, inodes=True)
    run.migrate(root)
    after = tree(root.path)
    run.rollback(root)
    monkeypatch.setattr(os, "link", refuse)
    run.migrate(root)
    assert [] == differences(after, tree(root.path))
    run.rollback(root)
    assert [] == differences(before, tree(root.path, inodes=True))
