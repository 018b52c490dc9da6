"""The selection files: modes, directives, and everything that is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohort_kit import (
    COHORT,
    OFF,
    everything,
    make_root,
    put_draft,
    put_essay,
    put_evaluation,
    select,
)
from genid_store.cohort.build import Options, build_cohort
from genid_store.cohort.inputs.selection import CohortMode, Selection, parse_selection
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot

FILE = "2_tasks/selected_essays.txt"


def parsed(text: str, *, drafts: bool = False) -> Selection:
    problems: list[Problem] = []
    selection = parse_selection(text, FILE, problems, drafts=drafts)
    assert [] == problems
    return selection


def refused(text: str, *, drafts: bool = False) -> list[str]:
    problems: list[Problem] = []
    parse_selection(text, FILE, problems, drafts=drafts)
    return [problem.where for problem in problems]


def test_ids_are_read_in_order_each_once_with_their_lines() -> None:
    """Blank lines and comments are skipped, white space at the ends does not count."""
    selection = parsed("# by hand\n\n b1 \nA.2\n  # more\nb1\n_c-3")
    assert ["b1", "A.2", "_c-3"] == [chosen.gen_id for chosen in selection.chosen]
    assert [f"{FILE}:3", f"{FILE}:4", f"{FILE}:7"] == [chosen.where for chosen in selection.chosen]
    assert (CohortMode.ESSAYS, False) == (selection.mode, selection.fill_up)


def test_crlf_is_fine() -> None:
    """And no part of an id."""
    assert ["a", "b"] == [chosen.gen_id for chosen in parsed("a\r\nb\r\n").chosen]


@pytest.mark.parametrize(
    "line", ["# mode: evaluation-only", "#mode:evaluation-only", "#  MODE :  Evaluation-Only  "]
)
def test_the_mode_is_set_by_a_comment(line: str) -> None:
    """Anywhere in the file, in any case and spacing."""
    assert CohortMode.EVALUATIONS is parsed(f"a\n{line}\n").mode


@pytest.mark.parametrize("line", ["# skip-existing-evaluations", "# fill-up", "#FillUp"])
def test_filling_up_is_set_by_a_comment(line: str) -> None:
    """Under each of its names."""
    assert parsed(f"# mode: evaluation-only\n{line}\na\n").fill_up


@pytest.mark.parametrize(
    "line", ["# mode: evaluations", "# mode: cartesian", "# mode:", "# mode: evaluation only"]
)
def test_a_mode_that_does_not_exist_is_refused(line: str) -> None:
    """It would otherwise be a whole other cohort."""
    assert [f"{FILE}:2"] == refused(f"a\n{line}\n")


def test_directives_have_no_meaning_in_other_modes() -> None:
    """Filling up a curated cohort, or a mode for selected drafts, is refused."""
    assert [f"{FILE}:1"] == refused("# fill-up\na\n")
    assert [f"{FILE}:1"] == refused("# fill-up\na\n", drafts=True)
    assert [f"{FILE}:1"] == refused("# mode: evaluation-only\na\n", drafts=True)


@pytest.mark.parametrize("text", ["", "\n\n", "# only comments\n", "# mode: evaluation-only\n"])
def test_a_file_without_any_id_is_refused(text: str) -> None:
    """It would otherwise be the whole cartesian cohort."""
    assert [FILE] == refused(text)


BAD_IDS = {
    "path": "gens/essay/x",
    "backslash": "a\\b",
    "parent": "..",
    "parent path": "../x",
    "dot": ".hidden",
    "dash": "-x",
    "inner space": "a b",
    "comment behind": "abc # the best",
    "10,000 characters": "x" * 10_000,
    "umlaut": "ä",
    "separator": "a\u2028b",
    "vertical tab": "a\x0bb",
    "two": "a,b",
}


@pytest.mark.parametrize("line", BAD_IDS.values(), ids=BAD_IDS)
def test_a_line_that_is_no_id_is_refused_with_its_place(line: str) -> None:
    """All of them at once, the file's good lines notwithstanding."""
    assert [f"{FILE}:2", f"{FILE}:4"] == refused(f"good\n{line}\nfine\n{line}\n")


@given(st.text(alphabet=st.sampled_from("ab#mode: evaluation-only\nfill-up\r\t./")) | st.text())
def test_any_text_is_a_selection_or_a_list_of_problems(text: str) -> None:
    """Nothing is ever raised, and what is selected is safe."""
    problems: list[Problem] = []
    selection = parse_selection(text, FILE, problems)
    assert problems or all("/" not in chosen.gen_id for chosen in selection.chosen)


# -- against a store ------------------------------------------------------------------------------


def refusal(root: DataRoot) -> StoreError:
    """Build, and return the refusal, which leaves nothing behind."""
    before = everything(root.path)
    with pytest.raises(StoreError) as caught:
        build_cohort(root, Options(rollout=OFF, cohort_id=COHORT))
    assert before == everything(root.path)
    return caught.value


def test_two_selection_files_are_refused(tmp_path: Path) -> None:
    """Both are named."""
    root = make_root(tmp_path / "root", essays=["a"], drafts=["b"])
    places = [problem.where for problem in refusal(root).problems]
    assert ["2_tasks/selected_essays.txt", "2_tasks/selected_drafts.txt"] == places


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """With the line they stand in."""
    root = make_root(tmp_path / "root", essays=["a"])
    (root.tasks / "selected_essays.txt").write_bytes(b"a\nb\xff\n")
    assert [f"{FILE}:2"] == [problem.where for problem in refusal(root).problems]
    (root.tasks / "selected_essays.txt").write_bytes(b"a\0\n")
    assert [f"{FILE}:1"] == [problem.where for problem in refusal(root).problems]
    (root.tasks / "selected_essays.txt").unlink()
    (root.tasks / "selected_essays.txt").mkdir()
    assert [FILE] == [problem.where for problem in refusal(root).problems]


def test_unknown_ids_and_ids_of_another_stage_are_all_named(tmp_path: Path) -> None:
    """A draft's id where an essay's belongs says so."""
    lines = ["# mode: evaluation-only", "e1", "d1", "v1", "nobody"]
    root = make_root(tmp_path / "root", essays=lines)
    put_draft(root, "d1")
    put_essay(root, "e1", "d1")
    put_evaluation(root, "v1", "e1")
    messages = [str(problem) for problem in refusal(root).problems]
    assert [True] * 3 == [
        messages[0].startswith(f"{FILE}:3: is the id of a draft, not of an essay"),
        messages[1].startswith(f"{FILE}:4: is the id of an evaluation, not of an essay"),
        "gens/essay/nobody/metadata.json does not exist" in messages[2],
    ]
    select(root.path, "selected_essays.txt", ["d_5ezrffv9uf3lr37d"])
    assert "looks like the id of a draft and names no essay of the store" in str(refusal(root))
    (root.tasks / "selected_essays.txt").unlink()
    select(root.path, "selected_drafts.txt", ["e1"])
    assert "is the id of an essay, not of a draft" in str(refusal(root))


@pytest.mark.parametrize("data", [b"", b"  \n", b'{"stage": "essay"', b"[]", b"\xff", b"null"])
def test_metadata_that_cannot_be_read_is_refused_by_file(tmp_path: Path, data: bytes) -> None:
    """A source without readable metadata cannot be planned from."""
    root = make_root(tmp_path / "root", essays=["e1"])
    put_draft(root, "d1")
    put_essay(root, "e1", "d1")
    (root.gens / "essay" / "e1" / "metadata.json").write_bytes(data)
    assert ["gens/essay/e1/metadata.json"] == [problem.where for problem in refusal(root).problems]


def test_a_selection_of_10_000_lines_is_read(tmp_path: Path) -> None:
    """And its 9,999 unknown ids are all named."""
    root = make_root(tmp_path / "root", essays=["# mode: evaluation-only", "e1"])
    put_draft(root, "d1")
    put_essay(root, "e1", "d1")
    lines = ["# mode: evaluation-only", "e1", *(f"unknown-{n}" for n in range(9_999))]
    select(root.path, "selected_essays.txt", lines)
    assert 9_999 == len(refusal(root).problems)
