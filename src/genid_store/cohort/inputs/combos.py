"""Combos: the combinations of concepts that a cohort is about, and the catalogue of all of them.

The operator's `2_tasks/selected_combo_mappings.csv` is used unchanged. If it does not exist, one
combo is made of the first active concepts. The catalogue `combo_mappings.csv` is append-only: a
combo id that it has with other concepts or parameters is refused.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import asdict, field, frozen

from genid_store.cohort.inputs.tables import Concept
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import Line, dump_csv, read_csv
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot

COLUMNS: Final = ("combo_id", "version", "concept_id", "description_level", "k_max", "created_at")
VERSION: Final = "v1"
#: The defaults of the existing pipeline's experiment configuration.
K_MAX: Final = 6
DESCRIPTION_LEVEL: Final = "paragraph"
#: The operator's selection, in `2_tasks/`.
SELECTED_COMBOS: Final = "selected_combo_mappings.csv"


@frozen(kw_only=True)
class Combo:
    """One combination of concepts, with the text of `k_max` as in the file.

    The order of the concepts, the place in the file and the time do not count for equality.
    """

    combo_id: str
    version: str
    concept_ids: frozenset[str]
    description_level: str
    k_max: str
    created_at: str = field(default="", eq=False)
    where: str = field(default="", eq=False)


def combo_id(concept_ids: Iterable[str], description_level: str, k_max: int) -> str:
    """Return a combo's id: `combo_v1_` and 12 hex digits of SHA-256 of its parts."""
    joined = "|".join([*sorted(concept_ids), description_level, str(k_max)])
    return f"combo_v1_{hashlib.sha256(joined.encode('utf-8')).hexdigest()[:12]}"


def make_combo(
    concepts: Sequence[Concept],
    *,
    k_max: int | None,
    description_level: str | None,
    now: datetime,
) -> Combo:
    """Return the combo of the first `k_max` active `concepts`, or of all if there are fewer.

    The existing pipeline's defaults stand for None.

    StoreError: `k_max` is below 1, the description level is blank, or no concept is active.
    """
    k_max = K_MAX if k_max is None else k_max
    description_level = DESCRIPTION_LEVEL if description_level is None else description_level
    problems = []
    if k_max < 1:
        remedy = "take 1 concept or more"
        problems.append(Problem(where="k_max", value=k_max, message="is below 1", remedy=remedy))
    if not description_level.strip():
        where, remedy = "description_level", "name a level, e.g. paragraph"
        problems.append(Problem(where=where, value="", message="is blank", remedy=remedy))
    if not concepts:
        where = "1_raw/concepts_metadata.csv"
        problems.append(Problem(where=where, message="no concept is active", remedy="activate one"))
    if problems:
        raise StoreError("no combo can be made", problems)
    chosen = frozenset(concept.concept_id for concept in concepts[:k_max])
    return Combo(
        combo_id=combo_id(chosen, description_level, k_max),
        version=VERSION,
        concept_ids=chosen,
        description_level=description_level,
        k_max=str(k_max),
        created_at=now.isoformat(timespec="seconds"),
    )


def read_selected(root: DataRoot) -> tuple[Combo, ...] | None:
    """Return the combos of the operator's selection in file order, None if there is no file.

    StoreError: lists the problems of the file.
    """
    return _read(root, selected_path(root), "the selected combos cannot be used")


def read_catalogue(root: DataRoot) -> tuple[Combo, ...]:
    """Return the combos of the catalogue in file order, none if there is no file.

    StoreError: lists the problems of the file.
    """
    return _read(root, root.combo_mappings, "the catalogue of combos cannot be used") or ()


def new_to(catalogue: Sequence[Combo], combos: Sequence[Combo]) -> tuple[Combo, ...]:
    """Return the `combos` that the catalogue lacks.

    StoreError: lists every combo that the catalogue has with other concepts or parameters.
    """
    known = {combo.combo_id: combo for combo in catalogue}
    problems = [
        Problem(
            where=combo.where or "selected_combo_mappings",
            value=combo.combo_id,
            message=f"is another combo at {known[combo.combo_id].where}",
            remedy="give this combination an id of its own; the catalogue is never rewritten",
        )
        for combo in combos
        if known.get(combo.combo_id, combo) != combo
    ]
    if problems:
        raise StoreError("the selected combos contradict the catalogue", problems)
    return tuple(combo for combo in combos if combo.combo_id not in known)


def selected_path(root: DataRoot) -> Path:
    """Return the path of the operator's selection of combos."""
    return root.tasks / SELECTED_COMBOS


def dump(combos: Iterable[Combo]) -> bytes:
    """Return combos as a CSV file, one row for each concept in alphabetical order."""
    return dump_csv([COLUMNS, *_rows(combos, COLUMNS)]).encode()


def appended(catalogue: bytes, combos: Iterable[Combo]) -> bytes:
    """Return the catalogue's bytes with combos appended, in the columns of its header.

    An empty catalogue gets the standard header.
    """
    if not catalogue:
        return dump(combos)
    # Hosts add and reorder columns; the new rows follow the header that the file has.
    header = next(csv.reader(io.StringIO(catalogue.decode("utf-8-sig"), newline="")))
    between = b"" if catalogue.endswith(b"\n") else b"\n"
    return catalogue + between + dump_csv(_rows(combos, header)).encode()


def _rows(combos: Iterable[Combo], columns: Sequence[str]) -> Iterator[list[str]]:
    for combo in combos:
        for concept in sorted(combo.concept_ids):
            cells = {**asdict(combo, recurse=False), "concept_id": concept}
            yield [cells.get(column, "") for column in columns]


def _read(root: DataRoot, path: Path, summary: str) -> tuple[Combo, ...] | None:
    if not is_there(path):
        return None
    problems: list[Problem] = []
    groups: dict[str, list[Line]] = {}
    for line in read_csv(root, path, COLUMNS[:-1], problems, optional=COLUMNS[-1:]):
        for column in ("combo_id", "concept_id"):
            if not line[column].strip():
                where = line.where(column)
                problems.append(Problem(where=where, message="is blank", remedy="give it an id"))
        groups.setdefault(line["combo_id"], []).append(line)
    combos = tuple(_combo(lines, problems) for lines in groups.values())
    if problems:
        raise StoreError(summary, problems)
    return combos


def _combo(lines: Sequence[Line], problems: list[Problem]) -> Combo:
    """Return the combo that the lines of one id describe.

    Lines that disagree about its parameters are appended to `problems`.
    """
    first = lines[0]
    for line in lines[1:]:
        for column in ("version", "description_level", "k_max"):
            if line[column] != first[column]:
                message = f"contradicts line {first.number}, where it is {first[column]!r}"
                remedy = "give all rows of one combo the same parameters"
                problems.append(line.problem(column, message, remedy))
    return Combo(
        combo_id=first["combo_id"],
        version=first["version"],
        concept_ids=frozenset(line["concept_id"] for line in lines),
        description_level=first["description_level"],
        k_max=first["k_max"],
        created_at=first.get("created_at") or "",
        where=first.where("combo_id"),
    )
