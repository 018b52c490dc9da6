"""Names and texts that nothing could be made of are refused by the build; other tables are named
by what is wrong with them."""

from pathlib import Path

import pytest

from cohort_kit import OFF, ON, built, make_root, put_draft, write_table
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import resolve
from genid_store.catalog.renamed import read_renamed
from genid_store.config import read_config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from hardening_kit import IN_ITS_PLACE, attempt

TEMPLATE_COLUMNS = ["template_id", "generator", "active"]


def with_template(folder: Path, template_id: str) -> DataRoot:
    """Return tables whose one draft template has this id."""
    root = make_root(folder)
    write_table(root.path, "draft_templates.csv", [TEMPLATE_COLUMNS, [template_id, "llm", "true"]])
    return root


def refusal(root: DataRoot) -> str:
    """Assert that a build is refused, and return why."""
    _, error = attempt(StoreError, lambda: built(root, ON))
    assert error is not None
    assert error.problems
    assert not root.gens.exists() or not any(root.gens.rglob("*.json"))
    return str(error)


@pytest.mark.parametrize("template_id", ["story/v1", "../x", "/x", "a" * 252, "a" * 255, "a" * 300])
def test_a_template_that_can_have_no_file(tmp_path: Path, template_id: str) -> None:
    """Its row is named."""
    assert "draft_templates.csv:2:template_id" in refusal(with_template(tmp_path, template_id))


@pytest.mark.parametrize("template_id", ["..", ".hidden", "a+b", "gpt:4", "a" * 238, "a" * 251])
def test_a_template_with_an_unusual_name(tmp_path: Path, template_id: str) -> None:
    """Whatever can be a file's name is one, also beside names that are no safe folder's."""
    root = with_template(tmp_path, template_id)
    path = root.template("draft", template_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("write", "utf-8")
    assert path.parent == root.path / "templates" / "draft"
    assert built(root, ON).plan.rows


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("café".encode("latin-1"), "0xe9"),
        ("write".encode("utf-16"), "UTF-16"),
        ("write".encode("utf-16-le"), "UTF-16"),
        ("write".encode("utf-16-be"), "UTF-16"),
        ("write".encode("utf-32"), "UTF-32"),
        (b"wr\0ite", "NUL"),
    ],
)
def test_a_template_that_is_no_text(tmp_path: Path, data: bytes, word: str) -> None:
    """The file and what is wrong with it are named before anything is written."""
    root = with_template(tmp_path, "story")
    path = root.template("draft", "story")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    told = refusal(root)
    assert "templates/draft/story.txt" in told
    assert word in told


@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_a_template_that_is_no_file(tmp_path: Path, put: object) -> None:
    """A pipe, a socket, a device, a link to nowhere: named at once, and nothing waits."""
    root = with_template(tmp_path, "story")
    path = root.template("draft", "story")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    put(path)  # type: ignore[operator]
    assert "templates/draft/story.txt" in refusal(root)


def test_a_template_that_is_damaged_later(tmp_path: Path) -> None:
    """A rebuild that adds no member does not look at it."""
    root = with_template(tmp_path, "story")
    built(root, ON)
    path = root.template("draft", "story")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff")
    assert built(root, ON).plan.rows


@pytest.mark.parametrize("length", [231, 238, 250, 255])
def test_a_member_whose_id_is_too_long(tmp_path: Path, length: int) -> None:
    """Our own files beside it would have no name: refused, with the id."""
    root = make_root(tmp_path)
    put_draft(root, "g" * length)
    root.tasks.mkdir(exist_ok=True)
    (root.tasks / "selected_drafts.txt").write_text("g" * length + "\n", "utf-8")
    _, error = attempt(StoreError, lambda: built(root, OFF))
    assert error is not None
    assert "longer than 230" in str(error)


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
@pytest.mark.parametrize("table", ["draft_templates.csv", "llm_models.csv"])
def test_another_separator_is_named(tmp_path: Path, table: str, separator: str, name: str) -> None:
    """Also in a table of which one column is needed."""
    root = make_root(tmp_path)
    path = root.raw / table
    path.write_text(path.read_text("utf-8").replace(",", separator), "utf-8")
    assert name in refusal(root)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_of_the_configuration_is_named(tmp_path: Path, encoding: str) -> None:
    """The encoding, and not a codec's words."""
    root = make_root(tmp_path)
    (root.path / "genid.toml").write_bytes("[combos]\nk_max = 2\n".encode(encoding))
    with pytest.raises(StoreError, match="is UTF-16 or UTF-32"):
        read_config(root)


@pytest.mark.parametrize("put", IN_ITS_PLACE)
def test_a_configuration_that_is_no_file(tmp_path: Path, put: object) -> None:
    """Named by its place in the data root, without a number of the system."""
    root = make_root(tmp_path)
    path = root.path / "genid.toml"
    path.unlink(missing_ok=True)
    put(path)  # type: ignore[operator]
    with pytest.raises(StoreError) as refused:
        read_config(root)
    assert "Errno" not in str(refused.value)
    assert str(root.path) not in str(refused.value)


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfe", b"stage,old,new\nd,\0,x\n", b"stage,old,new\nd," + b"x" * 200_000]
)
def test_a_damaged_record_of_what_was_renamed(tmp_path: Path, data: bytes) -> None:
    """It is an error of its file: ids that it may hide are never taken for unknown ones."""
    root = make_root(tmp_path)
    path = root.own / "renamed" / "m.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"\.genid/renamed/m\.csv.*restore the file"):
        read_renamed(root)
    with pytest.raises(StoreError), StoreIndex.fresh(root) as index:
        resolve(index, "an_id_from_before")
