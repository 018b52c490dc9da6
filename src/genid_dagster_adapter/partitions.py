"""The dynamic partition sets, one for each stage and one for cohorts, and who has keys in them.

Dagster accepts any string as a dynamic key, and fails if two processes add one concurrently; both
are handled here. Names of sets are global to an instance, so data roots may share them. One more
set records each data root: its identity, which moves with it, and its path. Before a key of no
cohort is deleted, the cohorts of every recorded data root are read.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from itertools import chain
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
from genid_store.stages import Member, stage_names

#: Keys per call, below SQLite's limit of bound variables (32,766 in its usual builds).
CHUNK: Final = 10_000
#: Takes the place of a stage to name the set of cohorts; it cannot be a stage's name.
COHORTS: Final = ".cohorts"
#: The set of the data roots with keys in the others, without the prefix.
_ROOTS: Final = "genid_data_roots"
_ATTEMPTS: Final = 30
#: What SQLite and PostgreSQL say if another process holds a lock.
_LOCKED: Final = ("database is locked", "deadlock")


def partition_set(stage: str, prefix: str = "") -> str:
    """Return the name of a stage's partition set, or that of COHORTS; `prefix` keeps two adapters
    on one instance apart."""
    return f"{prefix}cohorts" if stage == COHORTS else f"{prefix}{stage}_gens"


def partitions_def(stage: str, prefix: str = "") -> dg.DynamicPartitionsDefinition:
    """Return the partitions definition of a stage, or of COHORTS."""
    return dg.DynamicPartitionsDefinition(name=partition_set(stage, prefix))


def registered(instance: dg.DagsterInstance, stage: str, *, prefix: str = "") -> list[str]:
    """Return a stage's keys in the order of registration, which Dagster uses for ranges."""
    return list(instance.get_dynamic_partitions(partition_set(stage, prefix)))


def register(
    instance: dg.DagsterInstance, stage: str, keys: Sequence[str], *, prefix: str = ""
) -> int:
    """Add the keys that a stage's partition set lacks; return how many it lacked. If two processes
    add the same key concurrently, both count it.

    StoreError: lists the keys that cannot be partition keys, and nothing is added.
    """
    if problems := refused_keys(stage, keys):
        raise StoreError("partition keys were refused; none was registered", problems)
    return add_keys(instance, partition_set(stage, prefix), keys)


def is_key(key: str) -> bool:
    """Return whether this can be a partition key. Dagster writes a range of keys with `...`."""
    return is_segment(key) and "..." not in key


def refused_keys(stage: str, keys: Iterable[str]) -> list[Problem]:
    """Return a problem for each of the keys of a stage, or of COHORTS, that cannot be one."""
    where, message = f"{stage.lstrip('.')} partition", "it cannot be a partition key"
    remedy = "use 1 to 255 of A-Z a-z 0-9 . _ -, begin with a letter, digit or _, without ..."
    refused = [key for key in keys if not is_key(key)]
    return [Problem(where=where, message=message, value=key, remedy=remedy) for key in refused]


def add_keys(instance: dg.DagsterInstance, name: str, keys: Sequence[str]) -> int:
    """Add the keys that a partition set lacks, in order; return how many it lacked. Retries if
    another process adds one of them concurrently, or holds the database."""
    added = 0
    for attempt in range(_ATTEMPTS):
        try:
            existing = set(instance.get_dynamic_partitions(name))
            new = [key for key in dict.fromkeys(keys) if key not in existing]
            for start in range(0, len(new), CHUNK):
                instance.add_dynamic_partitions(name, new[start : start + CHUNK])
                added += len(new[start : start + CHUNK])
            break
        except Exception as error:
            if not _lost_a_race(error) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * min(attempt + 1, 10)))  # noqa: S311 - only apart
    return added


def _lost_a_race(error: Exception) -> bool:
    """Return whether a retry helps: another process added a key, or holds the database."""
    return any(
        isinstance(cause, IntegrityError)
        or (isinstance(cause, OperationalError) and any(text in str(cause) for text in _LOCKED))
        for cause in causes(error)
    )


@frozen
class Owner:
    """A data root as an instance remembers it."""

    identity: str
    path: Path

    def __str__(self) -> str:
        return f"{self.identity} {self.path}"

    def exists(self) -> bool | None:
        """Return whether the data root is still at its path, None if an OS error hides it."""
        try:
            return _identity(DataRoot(self.path)) == self.identity
        except OSError:
            return None

    def has_moved_to(self, root: DataRoot) -> bool:
        """Return whether the data root is no longer at its path, and is `root`."""
        return self.exists() is False and Owner(self.identity, root.path).exists() is True


def record_owner(instance: dg.DagsterInstance, root: DataRoot, prefix: str) -> None:
    """Record a data root before it gets keys, and forget where it was before it was moved.
    StoreError: its identity cannot be read or written."""
    with guarded(root):
        owner = Owner(_identity(root, create=True), root.path)
    add_keys(instance, prefix + _ROOTS, [str(owner)])
    moved = [str(one.path) for one in owners(instance, prefix) if one.has_moved_to(root)]
    forget_roots(instance, moved, prefix)


def owners(instance: dg.DagsterInstance, prefix: str) -> list[Owner]:
    """Return the recorded data roots."""
    pairs = (key.partition(" ") for key in instance.get_dynamic_partitions(prefix + _ROOTS))
    return [Owner(identity, Path(path)) for identity, _, path in pairs]


def forget_roots(
    instance: dg.DagsterInstance, paths: Sequence[str], prefix: str, *, dry_run: bool = False
) -> None:
    """Remove the records of data roots that no longer exist, so that no one owns their keys.
    StoreError: no missing data root is recorded at one of the paths, and nothing is removed."""
    gone = [owner for owner in owners(instance, prefix) if not owner.exists()]
    known = [str(owner.path) for owner in gone]
    remedy = f"give one of {', '.join(known)}" if known else "every recorded data root exists"
    message = "is not a recorded data root that no longer exists"
    unknown = [Problem(where=p, message=message, remedy=remedy) for p in paths if p not in known]
    if unknown:
        raise StoreError("there is nothing to forget", unknown)
    for owner in gone:
        if str(owner.path) in paths and not dry_run:
            instance.delete_dynamic_partition(prefix + _ROOTS, str(owner))


def members_elsewhere(
    instance: dg.DagsterInstance, root: DataRoot, prefix: str, forgotten: Sequence[str] = ()
) -> tuple[set[Member], list[Problem]]:
    """Return the members of the other recorded data roots, and why some may be missing: one does
    not exist (and is not `forgotten`) or is being migrated, or a membership is damaged."""
    members: set[Member] = set()
    problems: list[Problem] = []
    known = {*stage_names()}
    for owner in owners(instance, prefix):
        where, other = str(owner.path), DataRoot(owner.path)
        gone = not owner.exists()
        if other.path == root.path or owner.has_moved_to(root) or (gone and where in forgotten):
            continue
        if gone:
            message = "this data root has keys in the same partition sets, and is not there"
            remedy = "mount it, sync it from where it is now, or forget it"
            ways = (f"forget={where}",)
            problems.append(Problem(where=where, message=message, remedy=remedy, ways=ways))
        elif block := blocked(other):
            problems.append(Problem(where=where, message=block.reason, remedy=block.remedy))
        else:
            memberships = read_memberships(other, any_stage=True)
            for stage, gen_id in chain.from_iterable(memberships.members.values()):
                # A stage that is not defined here may be a typing error for any that is.
                members.update(Member(one, gen_id) for one in ({stage} & known or known))
            problems += (
                evolve(problem, where=f"{where}/{problem.where}")
                for problem in memberships.problems
            )
    return members, problems


def _identity(root: DataRoot, *, create: bool = False) -> str:
    """Return the identity of a data root, "" if it has none and `create` is not set. OSError: it
    cannot be read or written."""
    path = root.own / "identity"
    if create:
        root.own.mkdir(exist_ok=True)
        create_exclusive(path, uuid4().hex.encode())
    try:
        return read_bytes(path, limit=100).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
