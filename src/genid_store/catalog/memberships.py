"""Which generations the cohorts name: the one reader of membership.csv.

Takes what hosts and spreadsheets leave: a byte order mark, either line end, further columns in any
order, blank lines. Refuses a row whose stage is unknown or whose id cannot be a folder's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from itertools import chain
from typing import Final

from attrs import evolve, frozen

from genid_store.catalog import findings
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import parse_csv
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import SEGMENT, DataRoot, is_segment
from genid_store.stages import Member, stage_names

_COLUMNS: Final = ("stage", "gen_id")
_REMEDY: Final = "rebuild the cohort, or restore the kept file from .genid/"


@frozen(kw_only=True)
class Memberships:
    """The members of every cohort, each once, in the order of the rows, and what is wrong.

    Rows that are wrong are left out; a cohort whose file cannot be read is not in `members`.
    """

    members: dict[str, tuple[Member, ...]]
    problems: tuple[Problem, ...]

    def cohorts_of(self) -> dict[tuple[str, str], list[str]]:
        """Return the cohorts that name each member, in order of their ids."""
        found: dict[tuple[str, str], list[str]] = {}
        for cohort, members in self.members.items():
            for member in members:
                found.setdefault(member, []).append(cohort)
        return found

    def by_stage(self) -> dict[str, list[str]]:
        """Return the members of all cohorts by stage, each once."""
        found: dict[str, list[str]] = {stage: [] for stage in stage_names()}
        for stage, gen_id in dict.fromkeys(chain.from_iterable(self.members.values())):
            found[stage].append(gen_id)
        return found

    def every(self) -> set[tuple[str, str]]:
        """Return the members of all cohorts. StoreError: a file is damaged, so some are unknown."""
        if self.problems:
            raise StoreError("the members of all cohorts cannot be listed", self.problems)
        return {member for members in self.members.values() for member in members}


def cohort_ids(root: DataRoot) -> list[str]:
    """Return the names below `cohorts/` that a cohort can have, sorted."""
    try:
        return sorted(name for name in os.listdir(root.cohorts) if is_segment(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_memberships(root: DataRoot) -> Memberships:
    """Read cohorts/*/membership.csv, cohort ids in order; a cohort without one has no entry."""
    members: dict[str, tuple[Member, ...]] = {}
    problems: list[Problem] = []
    for cohort_id in cohort_ids(root):
        found = _read(root, cohort_id, problems)
        if found is not None:
            members[cohort_id] = found
    return Memberships(members=members, problems=tuple(problems))


def read_membership(root: DataRoot, cohort_id: str) -> tuple[Member, ...]:
    """Return the members of a cohort in file order, each once; none where there is no file.

    Raises:
        StoreError: lists what is wrong with the file, or the cohort id is not a path segment.
    """
    problems: list[Problem] = []
    members = _read(root, cohort_id, problems)
    if problems:
        raise StoreError("the membership cannot be used", problems)
    return members or ()


def parse_membership(data: bytes, where: str, problems: list[Problem]) -> tuple[Member, ...]:
    """Return the members that the bytes of a membership.csv name, in order and each once.

    `where` is the file's path as messages show it; what is wrong is appended to `problems`.
    """
    stages = stage_names()
    plain = _plain(data, stages)
    if plain is not None:
        return plain
    found: list[Problem] = []
    members: dict[Member, None] = {}
    for line in parse_csv(where, data, _COLUMNS, found):
        stage, gen_id = line["stage"], line["gen_id"]
        if stage not in stages:
            remedy = f"use one of {', '.join(stages)}"
            found.append(_problem(line.where("stage"), "is not a stage", remedy, stage))
        elif not is_segment(gen_id):
            found.append(_problem(line.where("gen_id"), "cannot be an id", _REMEDY, gen_id))
        else:
            members[Member(stage, gen_id)] = None
    problems += (evolve(problem, code=findings.MEMBERSHIP_MALFORMED) for problem in found)
    return tuple(members)


def _plain(data: bytes, stages: Collection[str]) -> tuple[Member, ...] | None:
    """Return what a file names that is as we write it, as nearly all are; None where it takes a
    closer look, which would say the same."""
    row = f"(?:{'|'.join(map(re.escape, stages))}),{SEGMENT.pattern}\n"
    if re.fullmatch(f"stage,gen_id\n(?:{row})*".encode(), data) is None:
        return None
    rows = data.decode("ascii").split("\n")[1:-1]
    return tuple(dict.fromkeys(Member(*row.split(",")) for row in rows))


def _read(root: DataRoot, cohort_id: str, problems: list[Problem]) -> tuple[Member, ...] | None:
    """Return a cohort's members, None where there is no file or it cannot be read."""
    path = root.membership(cohort_id)
    where = root.relative(path)
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = f"cannot be read: {error.strerror or type(error).__name__}"
        found = _problem(where, reason, "make it readable, or restore it")
        problems.append(evolve(found, code=findings.MEMBERSHIP_UNREADABLE))
        return None
    return parse_membership(data, where, problems)


def _problem(where: str, message: str, remedy: str, *value: object) -> Problem:
    if value:
        return Problem(where=where, message=message, remedy=remedy, value=value[0])
    return Problem(where=where, message=message, remedy=remedy)
