"""The dynamic partition sets, one of each stage and one of cohorts: their keys, and whose they are.

Dagster accepts anything as a dynamic key, and of two processes that add one at once one fails. Both
are seen to here. Several data roots may share sets, whose names are global: one more set, our own
record, has a key for each, its identity, which moves with it, and its path. Before a key of no
cohort is deleted, the cohorts of every data root of the record are asked.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import dagster as dg
from attrs import evolve, frozen
from sqlalchemy.exc import IntegrityError, OperationalError

from genid_dagster_adapter.instance import causes
from genid_store.catalog.memberships import read_memberships
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import create_exclusive, guarded, read_bytes
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.fs.locks import blocked
from genid_store.stages import Member

#: Keys a call: below SQLite's limit of bound variables (32,766 as it is usually built).
CHUNK: Final = 10_000
_ATTEMPTS: Final = 30
#: What SQLite and PostgreSQL say of another process that holds what this one needs.
_HELD: Final = ("database is locked", "deadlock")
#: What the partition set of cohorts is asked for by; no stage is named so.
COHORTS: Final = ".cohorts"
_ROOTS: Final = ".data roots"
_SETS: Final = {COHORTS: "cohorts", _ROOTS: "genid_data_roots"}


def partition_set(stage: str, prefix: str = "") -> str:
    """Return the name of a stage's partition set, or that of COHORTS; `prefix` keeps two adapters
    on one instance apart (names are global to an instance)."""
    return f"{prefix}{_SETS.get(stage, f'{stage}_gens')}"


def partitions_def(stage: str, prefix: str = "") -> dg.DynamicPartitionsDefinition:
    """Return the partitions definition of a stage, or of COHORTS."""
    return dg.DynamicPartitionsDefinition(name=partition_set(stage, prefix))


def register(
    instance: dg.DagsterInstance, stage: str, keys: Sequence[str], *, prefix: str = ""
) -> int:
    """Add the keys that a stage's partition set (or COHORTS') lacks; return how many it lacked. Of
    two processes that add the same key at once both count it, and it is there once.

    StoreError: keys that cannot be partitions', all of them (`...` is how Dagster writes a range);
    nothing is added then.
    """
    problems = [
        Problem(
            where=f"{stage.lstrip('.')} partition",
            message="it cannot be a partition key",
            value=key,
            remedy="use 1 to 255 of A-Z a-z 0-9 . _ -, begin with a letter or digit, without ...",
        )
        for key in keys
        if not is_segment(key) or "..." in key
    ]
    if problems:
        raise StoreError("partition keys were refused; none was registered", problems)
    return add_keys(instance, partition_set(stage, prefix), keys)


def add_keys(instance: dg.DagsterInstance, name: str, keys: Sequence[str]) -> int:
    """Add the keys that a partition set lacks, in order; return how many it lacked. Where another
    process adds some at the same moment, or holds the database, it is tried again."""
    added = 0
    for attempt in range(_ATTEMPTS):
        try:
            have = set(instance.get_dynamic_partitions(name))
            new = [key for key in dict.fromkeys(keys) if key not in have]
            for start in range(0, len(new), CHUNK):
                instance.add_dynamic_partitions(name, new[start : start + CHUNK])
                added += len(new[start : start + CHUNK])
            break
        except Exception as error:
            if not _lost_a_race(error) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * min(attempt + 1, 10)))  # noqa: S311 - only apart
    return added


def registered(instance: dg.DagsterInstance, stage: str, *, prefix: str = "") -> list[str]:
    """Return a stage's keys in the order of their registration, which is Dagster's for ranges."""
    return list(instance.get_dynamic_partitions(partition_set(stage, prefix)))


def _lost_a_race(error: Exception) -> bool:
    """Say whether trying again helps: another process added a key, or holds the database."""
    return any(
        isinstance(one, IntegrityError)
        or (isinstance(one, OperationalError) and any(word in str(one) for word in _HELD))
        for one in causes(error)
    )


@frozen
class Owner:
    """A data root as an instance remembers it."""

    identity: str
    path: Path

    def __str__(self) -> str:
        return f"{self.identity} {self.path}"

    def is_there(self) -> bool | None:
        """Say whether the data root still lies there; None where nobody can tell."""
        try:
            return _identity(DataRoot(self.path)) == self.identity
        except OSError:
            return None


def record_owner(instance: dg.DagsterInstance, root: DataRoot, prefix: str) -> None:
    """Record that the data root has keys in the sets, before it gets any; forget where it lay
    before it was moved. StoreError: its identity cannot be read or written."""
    with guarded(root):
        mine = Owner(_identity(root, create=True), root.path)
    there = owners(instance, prefix)
    if mine not in there:
        add_keys(instance, partition_set(_ROOTS, prefix), [str(mine)])
    for other in there:
        if other.identity == mine.identity and other != mine and other.is_there() is False:
            forget_roots(instance, [str(other.path)], prefix)


def owners(instance: dg.DagsterInstance, prefix: str) -> list[Owner]:
    """Return the data roots of the record."""
    pairs = (
        key.partition(" ") for key in instance.get_dynamic_partitions(partition_set(_ROOTS, prefix))
    )
    return [Owner(identity, Path(path)) for identity, _, path in pairs]


def forget_roots(instance: dg.DagsterInstance, paths: Sequence[str], prefix: str) -> None:
    """Take data roots that are gone off the record, so that their keys are nobody's. StoreError:
    none that is gone lay at a path; nothing is taken off then."""
    gone = [one for one in owners(instance, prefix) if not one.is_there()]
    known = [str(one.path) for one in gone]
    remedy = "give one of " + (", ".join(known) or "none: none is gone")
    message = "no data root that is gone lay there"
    unknown = [
        Problem(where=path, message=message, remedy=remedy) for path in paths if path not in known
    ]
    if unknown:
        raise StoreError("there is nothing to forget", unknown)
    for one in gone:
        if str(one.path) in paths:
            instance.delete_dynamic_partition(partition_set(_ROOTS, prefix), str(one))


def members_elsewhere(
    instance: dg.DagsterInstance, root: DataRoot, prefix: str
) -> tuple[set[Member], list[Problem]]:
    """Return the members of the other data roots of the record, and why some are unknown: a data
    root is not there, is being migrated, or has a damaged membership."""
    found: set[Member] = set()
    problems: list[Problem] = []
    for one in owners(instance, prefix):
        if one.path == root.path:
            continue
        other, stopped = DataRoot(one.path), None
        if not one.is_there():
            message = "this data root has keys in the same partition sets, and is not there"
            remedy = "mount it, sync it from where it lies now, or forget it"
            where, ways = str(one.path), (f"forget={one.path}",)
            problems.append(Problem(where=where, message=message, remedy=remedy, ways=ways))
        elif stopped := blocked(other):
            where, message = str(one.path), stopped.reason
            problems.append(Problem(where=where, message=message, remedy=stopped.remedy))
        else:
            memberships = read_memberships(other)
            found.update(*memberships.members.values())
            problems += (
                evolve(problem, where=f"{one.path}/{problem.where}")
                for problem in memberships.problems
            )
    return found, problems


def _identity(root: DataRoot, *, create: bool = False) -> str:
    """Return what tells this data root from others, "" if it has none yet and none is made.

    OSError: it cannot be read or written.
    """
    path = root.own / "identity"
    if create:
        root.own.mkdir(exist_ok=True)
        create_exclusive(path, uuid4().hex.encode(), durable=True)
    try:
        return read_bytes(path, limit=100).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
