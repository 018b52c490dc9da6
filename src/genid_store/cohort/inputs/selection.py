"""The selection files: the existing essays or drafts that a cohort starts from, and its mode.

Refuses two selection files, a selection file without ids, an unknown mode, a directive where it
has no meaning, and lines that are not a generation id. An id that is named twice counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from attrs import evolve, frozen

from genid_store.cohort.inputs.combos import SELECTED_COMBOS
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import read_text
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot, is_segment


class CohortMode(StrEnum):
    """What a cohort is planned from."""

    CARTESIAN = "cartesian"
    ESSAYS = "curated essays"
    DRAFTS = "selected drafts"
    EVALUATIONS = "evaluation-only"


@frozen
class Chosen:
    """One generation id in a selection file, and its place, `file:line`."""

    gen_id: str
    where: str


@frozen(kw_only=True)
class Selection:
    """What the selection file asks for; `file` is its path, None if there is none.

    `fill_up` is set in the evaluation-only mode alone.
    """

    mode: CohortMode = CohortMode.CARTESIAN
    chosen: tuple[Chosen, ...] = ()
    fill_up: bool = False
    file: str | None = None

    @property
    def stage(self) -> str:
        """The stage of the named generations."""
        return "draft" if self.mode is CohortMode.DRAFTS else "essay"


_ESSAYS: Final = "selected_essays.txt"
_DRAFTS: Final = "selected_drafts.txt"
#: The names of the files by which an operator selects.
_FILES: Final = (_ESSAYS, _DRAFTS, SELECTED_COMBOS)
_MODES: Final = {"evaluation-only": CohortMode.EVALUATIONS}
_FILL_UP: Final = frozenset({"skip-existing-evaluations", "fill-up", "fillup"})
_MODE: Final = re.compile(r"mode\s*:\s*(.*)", re.ASCII | re.IGNORECASE)
#: The letters of each directive -> its spelling.
_DIRECTIVES: Final = {
    "modeevaluationonly": "mode: evaluation-only",
    "evaluationonly": "mode: evaluation-only",
    "skipexisting": "skip-existing-evaluations",
    "skipexistingevaluations": "skip-existing-evaluations",
    "fillup": "fill-up",
}
_CLOSE: Final = 0.85  # the similarity from which two texts may differ by a typing error
_WHITE_SPACE: Final = " \t\r\f\v"


def read_selection(root: DataRoot) -> Selection:
    """Return what the selection file of a data root asks for; without one, a cartesian cohort.

    StoreError: both files exist, a file name resembles theirs, or the one that exists has problems,
    all of which are listed.
    """
    _refuse_similar_names(root)
    essays, drafts = root.tasks / _ESSAYS, root.tasks / _DRAFTS
    existing = [path for path in (essays, drafts) if is_there(path)]
    if not existing:
        return Selection()
    problems: list[Problem] = []
    if len(existing) > 1:
        remedy = "keep one of them: a cohort starts from essays or from drafts"
        for path in existing:
            where = root.relative(path)
            problems.append(Problem(where=where, message="one of two selections", remedy=remedy))
        raise StoreError("two selection files exist", problems)
    text = read_text(root, existing[0], problems)
    file = root.relative(existing[0])
    selection = parse_selection(text or "", file, problems, drafts=existing[0] == drafts)
    if problems:
        raise StoreError("the selection cannot be used", problems)
    return selection


def parse_selection(
    text: str, file: str, problems: list[Problem], *, drafts: bool = False
) -> Selection:
    """Return the selection that the text of a selection file asks for.

    Problems are appended to `problems`; if there are any, the result must not be used.
    """
    mode = CohortMode.DRAFTS if drafts else CohortMode.ESSAYS
    selection = Selection(mode=mode, file=file)
    chosen: dict[str, Chosen] = {}
    fill_up = ""
    for number, raw in enumerate(text.split("\n"), start=1):
        line, where = raw.strip(_WHITE_SPACE), f"{file}:{number}"
        if line.startswith("#"):
            comment = line[1:].strip(_WHITE_SPACE)
            problems.extend(_near_miss(comment, where))
            selection = _with_mode(selection, comment, where, problems)
            fill_up = where if comment.lower() in _FILL_UP else fill_up
        elif line and is_segment(line):
            chosen.setdefault(line, Chosen(line, where))
        elif line:
            problems.append(_not_an_id(line, where))
    selection = evolve(selection, chosen=tuple(chosen.values()), fill_up=bool(fill_up))
    if not problems:  # an invalid line may be what the selection seems to lack
        problems.extend(_contradictions(selection, fill_up))
    return selection


def _near_miss(comment: str, where: str) -> Iterator[Problem]:
    """Yield a problem for a comment that resembles a directive, since it would be ignored."""
    if _MODE.fullmatch(comment) or comment.lower() in _FILL_UP:
        return
    close = [
        directive
        for part in (comment, re.split("[:=]", comment)[0])  # `# fill-up: true`
        for directive in get_close_matches(_letters(part), _DIRECTIVES, n=1, cutoff=_CLOSE)
    ]
    if close:
        remedy = f"write `# {_DIRECTIVES[close[0]]}`, or word the comment differently"
        message = "is nearly a directive and would be ignored"
        yield Problem(where=where, value=comment, message=message, remedy=remedy)


def _refuse_similar_names(root: DataRoot) -> None:
    """Refuse files whose name resembles that of a selection file, since they would be ignored.

    StoreError: there are such files.
    """
    try:
        names = sorted(path.name for path in root.tasks.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    problems = [
        Problem(
            where=root.relative(root.tasks / name),
            value=name,
            message="is nearly the name of a selection file and would be ignored",
            remedy=f"call it {file}, or move it out of {root.relative(root.tasks)}/",
        )
        for name in names
        if (file := _resembled(name)) is not None
    ]
    if problems:
        raise StoreError("is this the selection?", problems)


def _resembled(name: str) -> str | None:
    """Return the selection file whose name this one resembles, also with its words swapped.

    Backup copies of editors do not count: their extensions are not those of a selection.
    """
    # A space at the end, or a character that is not shown at all, is in no listing of a folder.
    seen = "".join(character for character in name if character.isprintable() and character != " ")
    stem, _, suffix = seen.partition(".")
    if name in _FILES or suffix.lower() not in ("", "txt", "txt.txt", "csv", "csv.csv"):
        return None
    letters = _letters(stem)
    # Sorted letters are equal if the words are in another order: `essays_selected.txt`.
    for file in _FILES:
        wanted = _letters(file.partition(".")[0])
        close = get_close_matches(letters, [wanted], cutoff=_CLOSE)
        if sorted(letters) == sorted(wanted) or (close and abs(len(letters) - len(wanted)) <= 1):
            return file
    return None


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _with_mode(
    selection: Selection, comment: str, where: str, problems: list[Problem]
) -> Selection:
    """Return the selection, in the mode that a comment sets if it is a mode directive."""
    match = _MODE.fullmatch(comment)
    if match is None:
        return selection
    mode = _MODES.get(match[1].lower())
    if mode is None or selection.mode is CohortMode.DRAFTS:
        modes = "" if selection.mode is CohortMode.DRAFTS else f" or write {', '.join(_MODES)}"
        message = f"is not a mode that {selection.file} can set"
        remedy = f"remove the line{modes}"
        problems.append(Problem(where=where, value=match[1], message=message, remedy=remedy))
        return selection
    return evolve(selection, mode=mode)


def _contradictions(selection: Selection, fill_up: str) -> Iterator[Problem]:
    """Yield what makes no sense as a whole; `fill_up` is the place of that directive, if any."""
    if fill_up and selection.mode is not CohortMode.EVALUATIONS:
        message = "filling up exists in the evaluation-only mode alone"
        remedy = "remove the line, or add `# mode: evaluation-only` to selected_essays.txt"
        yield Problem(where=fill_up, message=message, remedy=remedy)
    if not selection.chosen:
        message = f"names no {selection.stage}"
        remedy = f"write one {selection.stage} id a line, or remove the file for a cartesian cohort"
        yield Problem(where=str(selection.file), message=message, remedy=remedy)


def _not_an_id(line: str, where: str) -> Problem:
    remedy = "write one id a line: 1 to 255 of A-Z a-z 0-9 . _ -, not beginning with . or -"
    return Problem(where=where, value=line, message="is not a generation id", remedy=remedy)
