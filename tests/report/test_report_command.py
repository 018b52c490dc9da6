"""`genid report`: a page whatever the store holds, 2 where there is no store to read."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from genid_store.cli import run
from hardening_kit import _device, _loop, _pipe, _unix_socket
from report_kit import hostile_store, hostile_tables
from storekit import Store, make_store


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No flag, no Dagster instance, and a working directory of the test's own."""
    for name in ("DAGSTER_HOME", "DD_DETERMINISTIC_GEN_IDS", "DD_GEN_ID_SCHEME", "GENID_DATA_ROOT"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


def report(root: Path, *arguments: str) -> int:
    return run(["report", "--data-root", str(root), *arguments])


def tree(root: Path) -> dict[str, str]:
    """Return every file outside `.genid/` with the digest of its content."""
    files = (path for path in root.rglob("*") if path.is_file() and ".genid" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_report_is_written_and_changes_nothing(
    mixed: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Findings or not, the status is 0, the page is report.html here, the store is as it was."""
    before = tree(mixed.path)
    assert 0 == report(mixed.path)
    page = Path("report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "wrote report.html\n" in capsys.readouterr().out
    assert before == tree(mixed.path)


def test_out_names_the_page_and_json_prints_the_numbers(
    mixed: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json prints one document; a page is written besides where --out names one."""
    assert 0 == report(mixed.path, "--json")
    document = json.loads(capsys.readouterr().out)
    assert (None, []) == (document["page"], os.listdir())
    Path("sub").mkdir()
    assert 0 == report(mixed.path, "--out", "sub/page.html", "--json")
    again = json.loads(capsys.readouterr().out)
    assert "sub/page.html" == again["page"]
    assert Path("sub/page.html").stat().st_size > 10_000
    numbers = document["report"]
    assert len(numbers["cohorts"]) == 10
    assert (
        sum(stage["made"]["count"] + stage["waiting"]["count"] for stage in numbers["stages"]) > 300
    )
    assert all(numbers["stages"][0][name]["count"] for name in ("has_v1", "other_v1", "without_v1"))
    assert numbers["without_v1"]
    assert numbers["coverage"]["missing"]["first"]
    assert numbers["coverage"]["columns"][0]["partial"]["first"]


@pytest.mark.parametrize("flag", ["draft", "<script>window.pwned=1</script>"])
def test_a_wrong_flag_is_reported_not_refused(
    mixed: Store, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    """A report is no build: it says that the flag is no state, and never takes it for off."""
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", flag)
    assert 0 == report(mixed.path)
    page = Path("report.html").read_text("utf-8")
    assert ("The flag here is <strong>draft</strong>" in page) == (flag == "draft")
    assert ("DD_DETERMINISTIC_GEN_IDS is not understood" in page) == (flag != "draft")
    assert "<script" not in page


def test_broken_tables_are_told_in_the_page(tmp_path: Path) -> None:
    """Tables that cannot be used leave the rest of the report standing."""
    store = make_store(tmp_path / "data", generations=200)
    (store.path / "1_raw" / "llm_models.csv").write_text("id\n\n")
    (store.path / "1_raw" / "concepts_metadata.csv").unlink()
    assert 0 == report(store.path)
    page = Path("report.html").read_text("utf-8")
    assert "the raw tables cannot be used" in page
    assert "1_raw/concepts_metadata.csv" in page
    assert "V1 ids per stage" in page


def test_a_root_with_tables_alone_is_reported(tmp_path: Path) -> None:
    """Before the first cohort the page says what the tables would make."""
    store = make_store(tmp_path / "data", generations=200, selection=None)
    root = tmp_path / "fresh"
    root.mkdir()
    (store.path / "1_raw").rename(root / "1_raw")
    assert 0 == report(root)
    assert "not built yet" in Path("report.html").read_text("utf-8")


def test_hostile_text_comes_through_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers are one JSON document also where names are no Unicode text."""
    root = hostile_store(tmp_path / "data")
    hostile_tables(root, broken=False)
    assert 0 == report(root, "--json")
    out = capsys.readouterr().out
    out.encode("utf-8")
    assert json.loads(out)["report"]["stages"]


def test_a_missing_root_an_empty_one_and_a_file_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is nothing to report on, the message says what to give."""
    file = tmp_path / "file"
    file.write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    for root, status in ((tmp_path / "gone", 2), (empty, 1), (file, 2)):
        assert status == report(root)
        assert "--data-root" in capsys.readouterr().err
    assert [] == os.listdir()


def test_generations_that_cannot_be_listed_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where gens/draft belongs leaves nothing to report on."""
    (tmp_path / "data" / "gens").mkdir(parents=True)
    (tmp_path / "data" / "gens" / "draft").write_text("")
    assert 1 == report(tmp_path / "data")
    assert "gens/draft" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_named(
    mixed: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """--out below a file is refused with the reason, and not with a temporary file's name."""
    Path("file").write_text("")
    assert 1 == report(mixed.path, "--out", "file/page.html")
    assert "file: File exists; something else has that name" in capsys.readouterr().err


def test_a_page_takes_the_place_of_no_pipe_socket_or_folder_of_the_system(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page is put in place by renaming, which would end what is no file: it is refused first."""
    (tmp_path / "data" / "gens").mkdir(parents=True)
    for put in (_pipe, _unix_socket):
        put(path := tmp_path / put.__name__)
        mode = os.lstat(path).st_mode
        assert 2 == report(tmp_path / "data", "--out", str(path))
        assert "is not a file; name one" in capsys.readouterr().err
        assert mode == os.lstat(path).st_mode
    for put in (_device, _loop):
        put(path := tmp_path / put.__name__)
        assert 2 == report(tmp_path / "data", "--out", str(path))
        assert path.is_symlink()
    for name in ("/dev/genid.html", "/proc/self/genid.html", "/sys/genid.html"):
        assert 2 == report(tmp_path / "data", "--out", name)
        assert "is in a folder of the system" in capsys.readouterr().err


def test_a_page_takes_the_place_of_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paid texts, tables and settings are not overwritten, under whatever name they are given;
    and no page gets among them."""
    root = make_store(tmp_path / "data", generations=60, oddities=()).path
    (root / ".genid").mkdir(exist_ok=True)
    (root / "genid.toml").write_text("# mine\n")
    text = next(root.glob("gens/draft/*/parsed.txt"))
    (tmp_path / "link").symlink_to(text)
    (tmp_path / "short").symlink_to(text.parent)
    (root / "2_tasks").rename(tmp_path / "tasks")
    (root / "2_tasks").symlink_to(tmp_path / "tasks")
    before = tree(root)
    pages = [
        *(text, tmp_path / "link", tmp_path / "short" / "parsed.txt", root / "genid.toml"),
        next(root.glob("cohorts/*/membership.csv")),
        *(root / name / "new.html" for name in (".genid", "gens/draft", "1_raw", "2_tasks")),
        tmp_path / "tasks" / "new.html",
    ]
    for page in pages:
        assert 2 == report(root, "--out", str(page)), page
        assert "name another" in capsys.readouterr().err
    monkeypatch.chdir(text.parent)
    assert 2 == report(root)
    assert before == tree(root)


def test_a_page_is_written_through_a_link(tmp_path: Path) -> None:
    """The link stays, wherever it leads; a former page and an empty file are replaced."""
    root = make_store(tmp_path / "data", generations=60, oddities=()).path
    Path("link.html").symlink_to(tmp_path / "page.html")
    for _ in range(2):
        assert 0 == report(root, "--out", "link.html")
        assert Path("link.html").is_symlink()
    Path("empty.html").touch()
    assert 0 == report(root, "--out", "empty.html")
    assert Path("empty.html").read_text()[:100] == (tmp_path / "page.html").read_text()[:100]


def test_a_dagster_home_that_is_none_is_told_in_the_page(
    mixed: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that does not answer is no reason to fail."""
    monkeypatch.setenv("DAGSTER_HOME", str(mixed.path / "nowhere"))
    assert 0 == report(mixed.path)
    assert "DAGSTER_HOME" in Path("report.html").read_text("utf-8")


def test_registered_partitions_are_compared_with_memberships(tmp_path: Path) -> None:
    """With an instance, keys that no cohort names are among the findings."""
    from genid_dagster_adapter.instance import open_instance
    from genid_dagster_adapter.partitions import register
    from genid_store.fs.layout import DataRoot

    store = make_store(tmp_path / "data", generations=200, oddities=())
    with open_instance(DataRoot.open(store.path)) as instance:
        register(instance, "draft", ["d_nobodys"])
    assert 0 == report(store.path)
    page = Path("report.html").read_text("utf-8")
    assert "d_nobodys" in page
    assert 'id="partition-without-membership"' in page


def test_a_prefix_of_the_partition_sets_is_looked_under(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the report and by the audit; another one's sets are nobody's findings here."""
    from genid_dagster_adapter.instance import open_instance
    from genid_dagster_adapter.partitions import register
    from genid_store.fs.layout import DataRoot

    store = make_store(tmp_path / "data", generations=60, oddities=())
    with open_instance(DataRoot.open(store.path)) as instance:
        register(instance, "draft", ["d_nobodys"], prefix="texts_")
        register(instance, "draft", ["d_anothers"])
    assert 0 == report(store.path, "--partition-prefix", "texts_")
    page = Path("report.html").read_text("utf-8")
    assert (True, False) == ("d_nobodys" in page, "d_anothers" in page)
    command = ["store", "audit", "--data-root", str(store.path), "--partition-prefix", "texts_"]
    capsys.readouterr()
    assert 1 == run([*command, "--json"])
    shown = capsys.readouterr().out
    assert (True, False) == ("d_nobodys" in shown, "d_anothers" in shown)


def test_what_the_audit_finds_is_next_before_a_text_under_another_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run would leave the members that the findings concern. Duplicates may stay."""
    root = tmp_path / "data"
    assert 0 == run(["init", str(root)])
    words = ["--data-root", str(root), "--cohort-id", "c"]
    host = ["--generate", f"{root}/generator.py:offline"]
    (root / "genid.toml").unlink()
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "off")
    assert 0 == run(["cohort", "run", *words, *host])
    monkeypatch.setenv("DD_DETERMINISTIC_GEN_IDS", "on")
    assert 0 == run(["cohort", "build", *words])
    assert 0 == report(root)
    assert "next: genid cohort run --dry-run " in capsys.readouterr().out
    assert 0 == run(["cohort", "run", *words, "--reuse-only"])
    draft = next(root.glob("gens/draft/d_*"))
    draft.rename(draft.with_name(draft.name.upper()))
    assert 0 == report(root)
    said = capsys.readouterr().out
    assert "members whose text is under another id   1\n" in said
    assert "next: genid store audit " in said
    assert 1 == run(["store", "audit", "--json", "--data-root", str(root)])
    codes = json.loads(capsys.readouterr().out)["counts"]
    assert {"folder-mismatch", "orphan", "member-without-generation"} == codes.keys()


def test_slots_without_a_text_are_no_fault_in_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that drops members leaves slots of no cohort, for which nothing was paid: the verdict
    says so, and the essays in them want no evaluation."""
    root = tmp_path / "data"
    assert 0 == run(["init", str(root)])
    build = ["cohort", "build", "--cohort-id", "c", "--data-root", str(root)]
    assert 0 == run(build)
    (root / "1_raw" / "concepts_metadata.csv").write_text("concept_id,name,active\nnew,New,true\n")
    with (root / "1_raw" / "evaluation_templates.csv").open("a") as table:
        table.write("depth-v1,llm,true\n")
    assert 0 == run([*build, "--write-combos"])
    assert 0 == report(root)
    said = capsys.readouterr().out
    assert "sound but for 6 empty slots of no cohort, for which nothing was paid; tasks" in said
    assert "tasks still to be paid for: 8." in said
    assert "evaluations that no build has planned    0\n" in said
    folder = next(path for path in (root / "gens" / "draft").iterdir())
    (folder / "metadata.json").write_text("{}")
    assert 0 == report(root)
    assert "The store is not sound: " in capsys.readouterr().out
