"""Which generations the cohorts name: every membership.csv of a store, read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from genid_store.catalog.audit import kinds as findings
from genid_store.catalog.metadata import Flaw, flaw
from genid_store.fs.layout import DataRoot, is_segment, read_at_once
from genid_store.stages import stage_names

_COLUMNS: Final = ["stage", "gen_id"]


@frozen(kw_only=True)
class Memberships:
    """The members of every cohort, in the order of the rows, and what is wrong with the files.

    Rows that are wrong are no members; a cohort whose file cannot be read is not in `members`.
    """

    members: dict[str, tuple[tuple[str, str], ...]]
    problems: tuple[Flaw, ...]

    @property
    def malformed(self) -> tuple[tuple[str, str], ...]:
        """The problems as (place, what is wrong there and what to do about it)."""
        return tuple((one.where, f"{one.message}; {one.remedy}") for one in self.problems)

    def cohorts_of(self) -> dict[tuple[str, str], list[str]]:
        """Return the cohorts that name each (stage, id), in order of their ids."""
        found: dict[tuple[str, str], list[str]] = {}
        for cohort, members in self.members.items():
            for member in dict.fromkeys(members):
                found.setdefault(member, []).append(cohort)
        return found


def read_memberships(root: DataRoot) -> Memberships:
    """Read cohorts/*/membership.csv, cohort ids in order; a cohort without one has no members."""
    members: dict[str, tuple[tuple[str, str], ...]] = {}
    problems: list[Flaw] = []
    for cohort in _cohorts(root):
        path = root.membership(cohort)
        where = root.relative(path)
        try:
            text = read_at_once(path).decode("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            why = f"cannot be read: {error.strerror or type(error).__name__}"
            problems.append(flaw(where, findings.MEMBERSHIP_UNREADABLE, message=why))
            continue
        except UnicodeDecodeError as error:
            problems.append(_malformed(where, f"is no UTF-8: {error}"))
            continue
        rows: list[tuple[str, str]] = []
        for place, row in _rows(text):
            if isinstance(row, str):
                problems.append(_malformed(f"{where}:{place}", row))
            else:
                rows.append(row)
        members[cohort] = tuple(rows)
    return Memberships(members=members, problems=tuple(problems))


def _malformed(where: str, message: str) -> Flaw:
    return flaw(where, findings.MEMBERSHIP_MALFORMED, message=message)


def _cohorts(root: DataRoot) -> list[str]:
    try:
        return sorted(path.name for path in root.cohorts.iterdir() if is_segment(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _rows(text: str) -> Iterator[tuple[int, tuple[str, str] | str]]:
    """Yield the line of each row and the row, or what is wrong with it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, None)
        if header != _COLUMNS:
            yield 1, f"the columns are {header}, not stage,gen_id"
            return
        for row in reader:
            if row:
                yield reader.line_num, _row(row)
    except csv.Error as error:
        yield reader.line_num, f"is no CSV: {error}"


def _row(row: list[str]) -> tuple[str, str] | str:
    if len(row) != len(_COLUMNS):
        return f"has {len(row)} cells, not 2"
    stage, gen_id = row
    if stage not in stage_names():
        return f"names the stage {stage!r}"
    if not is_segment(gen_id):
        return f"names the id {gen_id!r}, which can be no generation's"
    return stage, gen_id
