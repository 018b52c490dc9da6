"""Which data roots have keys in the partition sets of one prefix: our own record on the instance.

Names of partition sets are global to an instance, so several data roots may share them. The record
is a partition set of its own, with a key for each data root: its identity, which lies in it and
moves with it, and its path. Before a key of no cohort is deleted, the cohorts of every data root of
the record are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import dagster as dg
from attrs import evolve, frozen

from genid_dagster_adapter.partitions import add_keys
from genid_store.catalog.memberships import Member, read_memberships
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import create_exclusive, guarded, read_bytes
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import blocked

_IDENTITY: Final = "identity"


@frozen
class Owner:
    """A data root as an instance remembers it."""

    identity: str
    path: Path

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
        add_keys(instance, _record(prefix), [_key(mine)])
    for other in there:
        if other.identity == mine.identity and other != mine and other.is_there() is False:
            forget(instance, [str(other.path)], prefix)


def owners(instance: dg.DagsterInstance, prefix: str) -> list[Owner]:
    """Return the data roots of the record."""
    pairs = (key.partition(" ") for key in instance.get_dynamic_partitions(_record(prefix)))
    return [Owner(identity, Path(path)) for identity, _, path in pairs]


def forget(instance: dg.DagsterInstance, paths: Sequence[str], prefix: str) -> None:
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
            instance.delete_dynamic_partition(_record(prefix), _key(one))


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
            remedy = f"mount it, sync it from where it lies now, or --forget {one.path}"
            problems.append(Problem(where=str(one.path), message=message, remedy=remedy))
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
    path = root.own / _IDENTITY
    if create:
        root.own.mkdir(exist_ok=True)
        create_exclusive(path, uuid4().hex.encode(), durable=True)
    try:
        return read_bytes(path, limit=100).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _record(prefix: str) -> str:
    return f"{prefix}genid_data_roots"


def _key(owner: Owner) -> str:
    return f"{owner.identity} {owner.path}"
