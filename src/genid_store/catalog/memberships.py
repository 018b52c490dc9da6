"""The members of cohorts: the only reader of membership.csv.

Accepts what hosts and spreadsheets write: a byte order mark, either line ending, extra columns in
any order, blank lines. Refuses a row whose stage is unknown or whose id cannot name a folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from genid_store.catalog import findings
from genid_store.catalog.findings import finding
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import parse_csv
from genid_store.fs.files import listed, read_bytes
from genid_store.fs.layout import SEGMENT, DataRoot, is_segment
from genid_store.stages import Member, stage_names

_COLUMNS: Final = ("stage", "gen_id")
_REMEDY: Final = "rebuild the cohort, or restore the kept file from .genid/"


@frozen(kw_only=True)
class Memberships:
    """The members of every cohort, each once and in file order, and the problems of the files.

    Invalid rows are left out, and so is a cohort whose file cannot be read.
    """

    members: dict[str, tuple[Member, ...]]
    problems: tuple[Problem, ...]

    def cohorts_of(self) -> dict[tuple[str, str], list[str]]:
        """Return the ids of the cohorts that name each member, sorted."""
        cohorts: dict[tuple[str, str], list[str]] = {}
        for cohort_id, members in self.members.items():
            for member in members:
                cohorts.setdefault(member, []).append(cohort_id)
        return cohorts

    def by_stage(self) -> dict[str, list[str]]:
        """Return the members of all cohorts by stage, each once."""
        gen_ids: dict[str, list[str]] = {stage: [] for stage in stage_names()}
        for stage, gen_id in dict.fromkeys(chain.from_iterable(self.members.values())):
            gen_ids[stage].append(gen_id)
        return gen_ids

    def every(self) -> set[tuple[str, str]]:
        """Return the members of all cohorts.

        StoreError: a file is damaged, so some members are unknown.
        """
        if self.problems:
            raise StoreError("the members of all cohorts cannot be listed", self.problems)
        return {member for members in self.members.values() for member in members}


def cohort_ids(root: DataRoot) -> list[str]:
    """Return the names in `cohorts/` that are valid cohort ids, sorted."""
    try:
        return sorted(name for name in os.listdir(root.cohorts) if is_segment(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_new_cohort_id(root: DataRoot, cohort_id: str) -> None:
    """Refuse an id that differs only in case from that of an existing cohort, or has `...`.

    Both would have the same folder on a file system that ignores case. With `...`, Dagster writes
    a range of partition keys.

    StoreError: there is such a cohort, or there is no cohort with this id and it has `...`.
    """
    same = [other for other in cohort_ids(root) if other.lower() == cohort_id.lower()]
    if "..." in cohort_id and cohort_id not in same:
        message, remedy = "has `...`, which no partition key in Dagster may have", "give another id"
        summary = "the cohort id cannot be used"
        raise StoreError.of(summary, "cohort id", message, remedy, value=cohort_id)
    if same and cohort_id not in same:
        summary, where = "the cohort id is taken", f"cohorts/{same[0]}"
        message = "differs from the new cohort's id in upper and lower case only"
        remedy = f"give the id of the existing one ({same[0]}), or a different one"
        raise StoreError.of(summary, where, message, remedy, value=cohort_id)


def read_memberships(root: DataRoot, *, any_stage: bool = False) -> Memberships:
    """Read every cohorts/*/membership.csv, sorted by cohort id; skip cohorts without one.
    `any_stage` accepts stages that are not defined in this process, as another data root may have.
    """
    members: dict[str, tuple[Member, ...]] = {}
    problems: list[Problem] = []
    for cohort_id in cohort_ids(root):
        of_cohort = _read(root, root.membership(cohort_id), problems, any_stage=any_stage)
        if of_cohort is not None:
            members[cohort_id] = of_cohort
    return Memberships(members=members, problems=tuple(problems))


def kept_memberships(root: DataRoot, cohort_id: str = "") -> Path:
    """Return the folder that keeps a cohort's former memberships, or that of all cohorts."""
    return root.own / "memberships" / cohort_id


def read_former(root: DataRoot) -> Memberships:
    """Read every membership that a build replaced, by the paths of the files that keep them.
    OSError: a folder of them cannot be listed."""
    problems: list[Problem] = []
    paths = [path for folder in listed(kept_memberships(root)) for path in listed(folder, ".csv")]
    members = {str(path): _read(root, path, problems, any_stage=True) or () for path in paths}
    return Memberships(members=members, problems=tuple(problems))


def read_membership(root: DataRoot, cohort_id: str) -> tuple[Member, ...]:
    """Return the members of a cohort in file order, each once; none if it has no file.

    StoreError: the file has problems, all of which are listed, or the cohort id is not a path
    segment.
    """
    problems: list[Problem] = []
    members = _read(root, root.membership(cohort_id), problems)
    if problems:
        raise StoreError("the membership cannot be used", problems)
    return members or ()


def parse_membership(
    data: bytes, where: str, problems: list[Problem], *, any_stage: bool = False
) -> tuple[Member, ...]:
    """Return the members that the bytes of a membership.csv name, in file order and each once.

    `where` is the file's path as messages show it. Problems are appended to `problems`.
    """
    stages = stage_names()
    plain = _plain(data, stages)
    if plain is not None:
        return plain
    malformed: list[Problem] = []
    members: dict[Member, None] = {}
    for line in parse_csv(where, data, _COLUMNS, malformed):
        stage, gen_id = line["stage"], line["gen_id"]
        if stage not in stages and not (any_stage and is_segment(stage)):
            remedy = f"use one of {', '.join(stages)}"
            malformed.append(line.problem("stage", "is not a stage", remedy))
        elif not is_segment(gen_id):
            malformed.append(line.problem("gen_id", "cannot be an id", _REMEDY))
        else:
            members[Member(stage, gen_id)] = None
    problems += (evolve(problem, code=findings.MEMBERSHIP_MALFORMED) for problem in malformed)
    return tuple(members)


def dump_membership(members: Iterable[tuple[str, str]]) -> bytes:
    """Return the membership.csv that a build writes for these (stage, id)."""
    return "\n".join([",".join(_COLUMNS), *map(",".join, members), ""]).encode()


def _plain(data: bytes, stages: Collection[str]) -> tuple[Member, ...] | None:
    """Return the members of a file in the exact form that a build writes, else None.

    The CSV parser gives the same members. This is faster, and nearly every file has that form.
    """
    row = f"(?:{'|'.join(map(re.escape, stages))}),{SEGMENT.pattern}\n"
    if re.fullmatch(f"stage,gen_id\n(?:{row})*".encode(), data) is None:
        return None
    rows = data.decode("ascii").split("\n")[1:-1]
    return tuple(dict.fromkeys(Member(*row.split(",")) for row in rows))


def _read(
    root: DataRoot, path: Path, problems: list[Problem], *, any_stage: bool = False
) -> tuple[Member, ...] | None:
    """Return the members in a file, None if it does not exist or cannot be read."""
    where = root.relative(path)
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"cannot be read: {error.strerror or type(error).__name__}"
        problems.append(finding(findings.MEMBERSHIP_UNREADABLE, where, message=message))
        return None
    return parse_membership(data, where, problems, any_stage=any_stage)
