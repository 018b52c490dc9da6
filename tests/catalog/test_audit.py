"""Every finding code: a store that has it, and one that has not; states are no findings."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from genid_store.catalog import findings
from genid_store.catalog.audit.audit import Audit, audit, audit_members
from genid_store.catalog.audit.references import references
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.fs.layout import DataRoot
from genid_store.generation.giving import give_text
from genid_store.stages import Member
from hardening_kit import command, need_linux_root
from storekit import FAULTS, ODDITIES, Store, make_store


def _audit(path: Path, partitions: dict[str, list[str]] | None = None) -> Audit:
    with StoreIndex.fresh(DataRoot.open(path), persist=False) as index:
        return audit(index, partitions=partitions)


@pytest.fixture
def sound(tmp_path: Path) -> Store:
    """A store with ids of all families and nothing wrong; its cohort `one` has every member."""
    store = make_store(
        tmp_path / "data",
        generations=150,
        oddities=(),
        files=("raw.txt", "parsed.txt", "raw_metadata.json"),
        cohorts=("legacy-2024-01", "prefixed-2024", "phase-1-2025", "v1-2026", "hand-made"),
        overlap=False,
    )
    shutil.rmtree(store.path / "cohorts")
    (store.path / "cohorts/one").mkdir(parents=True)
    members = [f"{made.stage},{made.gen_id}" for made in store.generations]
    text = "\n".join(["stage,gen_id", *members, ""])
    (store.path / "cohorts/one/membership.csv").write_text(text)
    return store


def test_a_sound_store_has_no_finding(sound: Store) -> None:
    """Legacy, foreign and seeded generations are states, and counted."""
    result = _audit(sound.path, {"draft": [], "essay": [], "evaluation": []})
    assert result.sound, result.findings
    total = sum(count.generations for count in result.families)
    assert len(sound.generations) == total
    assert {"one": total} == result.cohorts


def test_a_template_whose_file_could_have_no_name_has_not_drifted(sound: Store) -> None:
    """An id of 255 characters is valid (SPEC 1.4), but with `.txt` it is no name of a file."""
    folder = _content(sound)
    found = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").write_text(json.dumps({**found, "template_id": "t" * 255}))
    (folder / "raw_metadata.json").write_text(json.dumps({"genid": {"template_digest": "0" * 64}}))
    assert findings.CONTENT_DRIFT not in {found.code for found in _audit(sound.path).findings}


# -- one way to each code --------------------------------------------------------------------------
def _metadata(store: Store, of: str = "evaluation", **changes: object) -> Path:
    """Change fields of a hand-made generation's metadata (... takes one away)."""
    path = store.path / store.of(stage=of, family="foreign")[-1].folder / "metadata.json"
    found = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not ...}))
    return path


def _of_v1(store: Store) -> None:
    """Give a v1 evaluation another template than its id was made of."""
    path = store.path / store.of(stage="evaluation", family="v1")[-1].folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "template_id": "another"}))


def _unreadable(store: Store) -> None:
    _in_place_of(_metadata(store))


def _in_place_of(path: Path) -> None:
    """Put a folder where a file was: nobody can read it, the superuser neither."""
    path.unlink()
    path.mkdir()


def _twin(store: Store, name: str, **changes: object) -> None:
    """Copy a draft under another name, and name it in the cohort."""
    made = store.of(stage="draft")[0]
    folder = store.path / "gens/draft" / name
    found = json.loads((store.path / made.folder / "metadata.json").read_text())
    folder.mkdir()
    (folder / "metadata.json").write_text(json.dumps({**found, "gen_id": name, **changes}))
    with open(store.path / "cohorts/one/membership.csv", "a") as file:
        file.write(f"draft,{name}\n")


def _cycle(store: Store) -> None:
    essay = store.of(stage="essay", family="foreign")[0]
    assert essay.parent is not None
    path = store.path / essay.parent.folder / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "parent_gen_id": essay.gen_id}))


def _content(store: Store) -> Path:
    made = next(made for made in store.of(stage="evaluation") if made.state == "made")
    return store.path / made.folder


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _case_collision(store: Store) -> None:
    _twin(store, "case", replicate=8)
    _twin(store, "CASE", replicate=9)


def _drift(store: Store) -> None:
    for path in (store.path / "templates/evaluation").iterdir():
        _append(path, "changed")


_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def _dangling(store: Store) -> None:
    """Both texts become links to content that was dropped, as an annex leaves them."""
    folder = _content(store)
    for name in ("raw.txt", "parsed.txt"):
        (folder / name).unlink()
        (folder / name).symlink_to(store.path / "annex" / "dropped")


def _changed(store: Store) -> None:
    """The record has the digest of another text than there is now."""
    folder = _content(store)
    digest = blake3(b"as it was published").hexdigest()
    record = {"genid": {"digest": digest}}
    (folder / "parsed_metadata.json").write_text(json.dumps(record))


def _manifest(store: Store) -> Path:
    return store.path / "cohorts" / "one" / "manifest.json"


_WAYS: dict[str, Callable[[Store], object]] = {
    findings.METADATA_MISSING: lambda store: _metadata(store).unlink(),
    findings.METADATA_EMPTY: lambda store: _metadata(store).write_bytes(b""),
    findings.METADATA_MALFORMED: lambda store: _metadata(store).write_bytes(b"{"),
    findings.METADATA_UNREADABLE: _unreadable,
    findings.FIELD_MISSING: lambda store: _metadata(store, template_id=...),
    findings.FIELD_WRONG: lambda store: _metadata(store, replicate="three"),
    findings.FIELD_CONFLICT: lambda store: _metadata(store, model_id="another"),
    findings.FIELD_UNFIT: lambda store: _metadata(store, template_id="inner space"),
    findings.FOLDER_MISMATCH: lambda store: _metadata(store, gen_id="another"),
    findings.STAGE_MISMATCH: lambda store: _metadata(store, stage="summary"),
    findings.ID_NOT_RECOMPUTED: _of_v1,
    findings.ORPHAN: lambda store: _metadata(store, parent_gen_id="0000000000000000"),
    findings.PARENT_STAGE: lambda store: _metadata(
        store, parent_gen_id=store.of(stage="draft")[0].gen_id
    ),
    findings.CYCLE: _cycle,
    findings.DUPLICATE: lambda store: _twin(store, "twin"),
    findings.CASE_COLLISION: _case_collision,
    findings.UNDECLARED_STAGE: lambda store: shutil.copytree(
        store.path / "gens/draft", store.path / "gens/summary"
    ),
    findings.STRAY_ENTRY: lambda store: (store.path / "gens/draft/notes.txt").write_text("x"),
    findings.UNPARSED: lambda store: (_content(store) / "parsed.txt").unlink(),
    findings.CONTENT_DRIFT: _drift,
    findings.CONTENT_UNREACHABLE: _dangling,
    findings.CONTENT_FOREIGN: lambda store: (_content(store) / "parsed.txt").write_text(_POINTER),
    findings.CONTENT_CHANGED: _changed,
    findings.RECORD_MALFORMED: lambda store: (_content(store) / "raw_metadata.json").write_text(
        "["
    ),
    findings.MEMBERSHIP_UNREADABLE: lambda store: _in_place_of(
        store.path / "cohorts/one/membership.csv"
    ),
    findings.MEMBERSHIP_MALFORMED: lambda store: _append(
        store.path / "cohorts/one/membership.csv", "summary,x\n"
    ),
    findings.MANIFEST_MALFORMED: lambda store: _manifest(store).write_bytes(b"{"),
    findings.MEMBER_WITHOUT_GENERATION: lambda store: _append(
        store.path / "cohorts/one/membership.csv", "draft,not-there\n"
    ),
    findings.GENERATION_WITHOUT_MEMBERSHIP: lambda store: (
        store.path / "cohorts/one/membership.csv"
    ).write_text("stage,gen_id\n"),
    findings.PARTITION_WITHOUT_MEMBERSHIP: lambda store: None,
}


def test_no_remedy_names_a_command() -> None:
    """The library is used without the command: what to do is said in words."""
    remedies = [kind.remedy for kind in findings.KINDS.values()]
    assert [] == [one for one in remedies if re.search(r"genid |--[a-z]", one)]


@pytest.mark.parametrize("code", list(findings.KINDS))
def test_each_code_is_found_where_it_belongs_and_nowhere_else(sound: Store, code: str) -> None:
    """One fault makes findings of its code, with a place and a remedy, and of no other."""
    _WAYS[code](sound)
    partitions = {"draft": ["nobody's"]} if code == findings.PARTITION_WITHOUT_MEMBERSHIP else None
    result = _audit(sound.path, partitions)
    assert {code} == set(result.by_code())
    for finding in result.findings:
        assert finding.where
        assert finding.message
        assert findings.KINDS[code].remedy == finding.remedy


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"a": 1, "a": 2}', b"\0",
        b'{"rollout": null}', b'{"rollout": {"stages": ["draught"], "scheme": "v1"}}',
        b'{"rollout": {"stages": "on"}}', None,
    ],
)  # fmt: skip
def test_a_manifest_that_says_nothing_is_found(sound: Store, data: bytes | None) -> None:
    """Empty, no object, in another encoding, a key twice, a rollout that is none, a folder."""
    path = _manifest(sound)
    path.write_bytes(data or b"")
    if data is None:
        _in_place_of(path)
    [finding] = _audit(sound.path).findings
    assert (findings.MANIFEST_MALFORMED, "cohorts/one/manifest.json") == (
        finding.code,
        finding.where,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("parsed.txt", ""),
        ("parsed.txt", " \n"),
        ("parsed.txt", _POINTER),
        ("parsed.txt", "/annex/objects/SHA256E-s12345--4d7a.txt\n"),
    ],
)
def test_an_empty_or_unfetched_text_is_not_content(sound: Store, name: str, text: str) -> None:
    (_content(sound) / name).write_text(text)
    [finding] = _audit(sound.path).findings
    assert findings.CONTENT_FOREIGN == finding.code
    assert finding.where.endswith(name)


def test_an_answer_out_of_reach_beside_a_parsed_text_is_a_finding(sound: Store) -> None:
    """raw.txt was paid for, too: what an annex dropped of it is not gone unnoticed."""
    raw = _content(sound) / "raw.txt"
    raw.unlink()
    raw.symlink_to("dropped")
    (found,) = _audit(sound.path).findings
    where = raw.relative_to(sound.path).as_posix()
    assert (findings.CONTENT_UNREACHABLE, where) == (found.code, found.where)


def test_the_audit_of_a_cohort_is_the_part_of_the_audit_about_its_members(sound: Store) -> None:
    """The same findings, for the members asked for and the codes asked for alone."""
    _metadata(sound, parent_gen_id="0000000000000000")
    _dangling(sound)
    _drift(sound)
    whole = _audit(sound.path).findings
    ids = {key for finding in whole for key in finding.ids}
    assert 3 < len(ids)
    with StoreIndex.fresh(DataRoot.open(sound.path)) as index:
        codes = frozenset({findings.ORPHAN, findings.CONTENT_DRIFT, findings.CONTENT_UNREACHABLE})
        assert whole == audit_members(index, ids, codes=codes)
        some = set(sorted(ids)[:2])
        expected = tuple(finding for finding in whole if some.issuperset(finding.ids))
        assert expected == audit_members(index, some, codes=codes)
        assert () == audit_members(index, ids, codes=frozenset({findings.CYCLE}))


def test_a_store_with_everything_has_every_code_but_those_of_its_surroundings(
    mixed: Store,
) -> None:
    """Each oddity and fault of a large mixed store is found, on the ids that have it."""
    result = _audit(mixed.path)
    codes = {
        "gen_id not the folder's name": findings.FOLDER_MISMATCH,
        "metadata empty": findings.METADATA_EMPTY,
        "metadata truncated": findings.METADATA_MALFORMED,
        "metadata missing": findings.METADATA_MISSING,
        "parent gone": findings.ORPHAN,
        "metadata a list": findings.METADATA_MALFORMED,
        "key twice": findings.METADATA_MALFORMED,
        "metadata not UTF-8": findings.METADATA_MALFORMED,
        "field missing": findings.FIELD_MISSING,
        "field of the wrong type": findings.FIELD_WRONG,
        "field under two names": findings.FIELD_CONFLICT,
        "field unfit for an id": findings.FIELD_UNFIT,
        "stage not the folder's": findings.STAGE_MISMATCH,
        "v1 id of other fields": findings.ID_NOT_RECOMPUTED,
        "parent of the wrong stage": findings.PARENT_STAGE,
        "cycle": findings.CYCLE,
        "case collision": findings.CASE_COLLISION,
        "unparsed": findings.UNPARSED,
        "drift": findings.CONTENT_DRIFT,
        "record malformed": findings.RECORD_MALFORMED,
    }
    for oddity in (*ODDITIES, *FAULTS):
        for made in mixed.odd(oddity):
            found = {
                finding.code
                for finding in result.findings
                if (made.stage, made.gen_id) in finding.ids and finding.code != findings.DUPLICATE
            }
            if oddity in codes:
                assert codes[oddity] in found, (oddity, made)
            else:
                assert set() == found, (oddity, made)
    coerced = sum(
        len(mixed.odd(oddity)) for oddity in ODDITIES if oddity.startswith(("rep", "tem", "mod"))
    )
    assert coerced == sum(result.coerced.values())


def test_findings_are_for_sound_generations_only_where_tasks_are_shared(mixed: Store) -> None:
    """A generation without an oddity is in no finding but of duplicates or odd relatives."""
    result = _audit(mixed.path)
    allowed = {findings.DUPLICATE, findings.CASE_COLLISION, findings.GENERATION_WITHOUT_MEMBERSHIP}
    sound = {(made.stage, made.gen_id) for made in mixed.generations if not made.oddity}
    wrong = [
        finding
        for finding in result.findings
        if finding.code not in allowed and sound & set(finding.ids)
    ]
    assert [] == wrong


def _reuse(store: Store) -> Member:
    """Give a new legacy draft the text of the v1 draft of the same task; return the new one."""
    root, source = DataRoot.open(store.path), store.of(stage="draft", family="v1")[0]
    member, folder = Member("draft", "0reused0reused00"), store.path / source.folder
    (folder / "parsed.txt").write_text("a text")
    document = json.loads((folder / "metadata.json").read_text()) | {"gen_id": member.gen_id}
    root.generation(*member).mkdir()
    (root.generation(*member) / "metadata.json").write_text(json.dumps(document))
    give_text(root, member, source.gen_id, str(source.v1))
    return member


def test_a_copy_counts_as_its_source_even_if_a_host_drops_the_mark(sound: Store) -> None:
    """genid's own record of it remains: neither is a duplicate, nor without a cohort."""
    member = _reuse(sound)
    assert () == _audit(sound.path).findings
    path = sound.path / f"gens/draft/{member.gen_id}/metadata.json"
    document = json.loads(path.read_text())
    del document["adopted_from"]
    path.write_text(json.dumps(document))
    assert () == _audit(sound.path).findings


def test_a_damaged_record_of_a_copy_is_a_finding(sound: Store) -> None:
    """The rest of the store is audited all the same."""
    member = _reuse(sound)
    record = sound.path / f".genid/reused/draft/{member.gen_id}.json"
    record.write_text("{")
    found = _audit(sound.path).by_code()
    assert [f".genid/reused/draft/{member.gen_id}.json"] == [
        finding.where for finding in found[findings.RECORD_MALFORMED]
    ]
    assert findings.DUPLICATE in found


def test_duplicates_name_ids_cohorts_and_content(small: Store) -> None:
    """Every group of one task, with what each of its generations has."""
    result = _audit(small.path)
    groups: dict[str, set[str]] = {}
    for made in small.generations:
        groups.setdefault(str(made.v1), set()).add(made.gen_id)
    expected = {task: ids for task, ids in groups.items() if len(ids) > 1}
    found = result.by_code()[findings.DUPLICATE]
    assert expected == {
        finding.details["task"]: {one["gen_id"] for one in finding.details["generations"]}
        for finding in found
    }
    states = {made.gen_id: made for made in small.generations}
    for one in found[0].details["generations"]:
        made = states[one["gen_id"]]
        assert (made.cohort, made.state == "made") == (one["origin_cohort_id"], one["has_content"])
        assert made.cohort in one["cohorts"]


def test_a_cycle_through_three_generations_is_one_finding(sound: Store) -> None:
    """Its members are listed once, beginning with the least."""
    evaluation = sound.of(stage="evaluation")[0]
    assert evaluation.parent is not None
    draft = evaluation.parent.parent
    assert draft is not None
    path = sound.path / draft.folder / "metadata.json"
    found = {**json.loads(path.read_text()), "parent_gen_id": evaluation.gen_id}
    path.write_text(json.dumps(found))
    [finding] = _audit(sound.path).findings
    expected = [(one.stage, one.gen_id) for one in (draft, evaluation, evaluation.parent)]
    assert (findings.CYCLE, expected) == (finding.code, list(finding.ids))


def test_a_template_that_is_gone_tells_nothing(sound: Store) -> None:
    """Drift is said only where the text of now is known."""
    shutil.rmtree(sound.path / "templates")
    assert _audit(sound.path).sound


def test_partitions_are_looked_at_only_where_they_are_given(sound: Store) -> None:
    """Members' keys are no finding; others are, by stage."""
    made = sound.of(stage="draft")[0]
    [finding] = _audit(sound.path, {"draft": [made.gen_id], "essay": [made.gen_id]}).findings
    expected = (findings.PARTITION_WITHOUT_MEMBERSHIP, (("essay", made.gen_id),))
    assert expected == (finding.code, finding.ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gen_id,phase\n",
        "stage,gen_id\ndraft\n",
        "stage,gen_id\ndraft,../x\n",
        "stage,gen_id\ndraft,a,b\n",
        'stage,gen_id\ndraft,"a\n',
    ],
)
def test_memberships_that_cannot_be_read(sound: Store, text: str) -> None:
    """Each is a finding with its line; the members of other cohorts count."""
    (sound.path / "cohorts/two").mkdir()
    (sound.path / "cohorts/two/membership.csv").write_text(text)
    found = _audit(sound.path).findings
    assert {findings.MEMBERSHIP_MALFORMED} == {finding.code for finding in found}
    assert all(finding.where.startswith("cohorts/two/membership.csv") for finding in found)


@pytest.mark.parametrize("refused", ["cohorts/one/membership.csv", "gens/draft"])
def test_a_right_to_read_that_is_missing_is_told_as_that(sound: Store, refused: str) -> None:
    """With the remedy that helps, and without findings that only follow from it."""
    need_linux_root()
    (sound.path / refused).chmod(0)
    done = command("store", "audit", "--json", "--data-root", sound.path, unprivileged=True)
    document = json.loads(done.stdout)
    [problem] = document.get("findings") or document["problems"]
    assert refused == problem["where"]
    assert os.strerror(errno.EACCES) in problem["message"]
    assert "read" in problem["remedy"] or "missing permissions" in problem["remedy"]
    assert "write" not in problem["remedy"]


@pytest.mark.parametrize("words", [["cohort", "list"]])
def test_a_membership_that_cannot_be_read_is_told_everywhere(
    sound: Store, words: list[str]
) -> None:
    """With the remedy, by what lists cohorts and by what adopts for them."""
    need_linux_root()
    (sound.path / "cohorts/one/membership.csv").chmod(0)
    done = command(*words, "--data-root", sound.path, unprivileged=True)
    assert (
        "cohorts/one/membership.csv: cannot be read: Permission denied; make it readable"
        in done.stdout + done.stderr
    )
    assert "Errno" not in done.stdout + done.stderr


def test_content_that_cannot_be_looked_at_is_unknown(sound: Store) -> None:
    """Neither there nor missing, for people and for machines."""
    need_linux_root()
    folder = sound.path / sound.generations[0].folder
    folder.chmod(0)
    line = ["explain", folder.name, "--data-root", sound.path]
    done = command(*line, unprivileged=True)
    assert "unknown" in done.stdout
    machine = command(*line, "--json", unprivileged=True)
    assert '"looked": false' in machine.stdout
    assert '"content": null' in machine.stdout


def test_what_no_cohort_names_is_not_judged_where_a_membership_cannot_be_read(
    sound: Store,
) -> None:
    """It may be named there: neither generations nor keys are called nobody's."""
    (sound.path / "cohorts/two").mkdir()
    (sound.path / "cohorts/one/membership.csv").rename(sound.path / "cohorts/two/membership.csv")
    (sound.path / "cohorts/one/membership.csv").mkdir()
    lines = (sound.path / "cohorts/two/membership.csv").read_text().splitlines(keepends=True)
    (sound.path / "cohorts/two/membership.csv").write_text("".join(lines[:-1]))
    [finding] = _audit(sound.path, {"draft": ["nobody's"]}).findings
    assert findings.MEMBERSHIP_UNREADABLE == finding.code
    assert finding.message.endswith("not judged")


# -- reports ---------------------------------------------------------------------------------------
def test_the_document_lists_every_id_of_every_finding(mixed: Store) -> None:
    """As JSON, with codes and remedies."""
    result = _audit(mixed.path)
    read = json.loads(command("store", "audit", "--data-root", mixed.path, "--json").stdout)
    expected = [[list(one) for one in finding.ids] for finding in result.findings]
    assert expected == [finding["ids"] for finding in read["findings"]]
    assert not read["sound"]
    assert {code: len(found) for code, found in result.by_code().items()} == read["counts"]


def test_an_audit_writes_nothing(sound: Store) -> None:
    """With an index in memory the tree stays as it is."""
    before = {path: os.stat(path).st_mtime_ns for path in sorted(sound.path.rglob("*"))}
    _audit(sound.path)
    assert before == {path: os.stat(path).st_mtime_ns for path in sorted(sound.path.rglob("*"))}


def test_a_file_among_the_cohorts_is_no_cohort(sound: Store) -> None:
    """And no finding."""
    (sound.path / "cohorts" / "notes.txt").write_text("mine")
    assert _audit(sound.path).sound


def test_long_chains_of_wrong_parents_are_walked_once(tmp_path: Path) -> None:
    """One cycle with what leads into it: each generation's parent is asked for once or twice."""
    count = 300
    for at in range(count):
        folder = tmp_path / "gens" / "draft" / f"d{at:03d}"
        folder.mkdir(parents=True)
        above = f"d{(at + 1) % count:03d}" if at != 100 else "d050"
        document = {"stage": "draft", "gen_id": folder.name, "parent_gen_id": above}
        (folder / "metadata.json").write_text(json.dumps(document))
    asked: list[str] = []

    class Counting(StoreIndex):
        def find(self, gen_id: str) -> list[Indexed]:
            asked.append(gen_id)
            return super().find(gen_id)

    with Counting.fresh(DataRoot.open(tmp_path), persist=False) as index:
        found = list(references(index))
    (cycle,) = [one for one in found if one.code == findings.CYCLE]
    assert [("draft", f"d{at:03d}") for at in range(50, 101)] == list(cycle.ids)
    assert count - 51 == len([one for one in found if one.code == findings.PARENT_STAGE])
    assert len(asked) <= 2 * count
