"""The dynamic partition sets, one of each stage and one of cohorts: keys and registration.

Dagster accepts anything as a dynamic key, also what later breaks a page, a path or a range; and two
processes that add the same key at once make one of them fail. Both are seen to here. Keys are never
deleted here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from typing import Final

import dagster as dg
from sqlalchemy.exc import IntegrityError, OperationalError

from genid_dagster_adapter.instance import causes
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import is_segment

#: Keys a call: below SQLite's limit of bound variables (32,766 as it is usually built).
CHUNK: Final = 10_000
_ATTEMPTS: Final = 30
#: What SQLite and PostgreSQL say of another process that holds what this one needs.
_HELD: Final = ("database is locked", "deadlock")


def partition_set(stage: str, prefix: str = "") -> str:
    """Return the name of a stage's partition set; `prefix` keeps two adapters on one instance
    apart (names are global to an instance)."""
    return f"{prefix}{stage}_gens"


def partitions_def(stage: str, prefix: str = "") -> dg.DynamicPartitionsDefinition:
    """Return a stage's partitions definition."""
    return dg.DynamicPartitionsDefinition(name=partition_set(stage, prefix))


def cohort_set(prefix: str = "") -> str:
    """Return the name of the partition set of cohorts."""
    return f"{prefix}cohorts"


def cohorts_def(prefix: str = "") -> dg.DynamicPartitionsDefinition:
    """Return the partitions definition of cohorts: a key is a cohort's id."""
    return dg.DynamicPartitionsDefinition(name=cohort_set(prefix))


def check_keys(stage: str, keys: Iterable[str]) -> None:
    """StoreError: keys that are not ids; lists them all. `...` is how Dagster writes a range."""
    problems = [
        Problem(
            where=f"{stage} partition",
            message="it cannot be a partition key",
            value=key,
            remedy="use 1 to 255 of A-Z a-z 0-9 . _ -, begin with a letter or digit, without ...",
        )
        for key in keys
        if not is_segment(key) or "..." in key
    ]
    if problems:
        raise StoreError("partition keys were refused; none was registered", problems)


def register(
    instance: dg.DagsterInstance, stage: str, keys: Sequence[str], *, prefix: str = ""
) -> int:
    """Add the keys that the stage's partition set lacks, in order; return how many it lacked.

    Two processes may add the same key at once: both count it, and it is there once.

    StoreError: a key cannot be a partition's; nothing is added then.
    """
    check_keys(stage, keys)
    return add_keys(instance, partition_set(stage, prefix), keys)


def register_cohort(instance: dg.DagsterInstance, cohort_id: str, *, prefix: str = "") -> None:
    """Add a cohort to the partition set of cohorts, where it is not there.

    StoreError: its id cannot be a partition's key.
    """
    check_keys("cohort", [cohort_id])
    add_keys(instance, cohort_set(prefix), [cohort_id])


def add_keys(instance: dg.DagsterInstance, name: str, keys: Sequence[str]) -> int:
    """Add the keys that a partition set lacks, in order; return how many it lacked."""
    have = set(instance.get_dynamic_partitions(name))
    new = [key for key in dict.fromkeys(keys) if key not in have]
    chunks = (new[start : start + CHUNK] for start in range(0, len(new), CHUNK))
    return sum(_add(instance, name, chunk) for chunk in chunks)


def registered(instance: dg.DagsterInstance, stage: str, *, prefix: str = "") -> list[str]:
    """Return a stage's keys in the order of their registration, which is Dagster's for ranges."""
    return list(instance.get_dynamic_partitions(partition_set(stage, prefix)))


def _add(instance: dg.DagsterInstance, name: str, keys: list[str]) -> int:
    """Add at most CHUNK keys; where another process added some meanwhile, only what it left."""
    for attempt in range(_ATTEMPTS):
        try:
            if attempt:
                have = set(instance.get_dynamic_partitions(name))
                keys = [key for key in keys if key not in have]
            if keys:
                instance.add_dynamic_partitions(name, keys)
        except Exception as error:
            if not _lost_a_race(error) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.05 * min(attempt + 1, 10)))  # noqa: S311 - only apart
        else:
            return len(keys)
    raise AssertionError("the last attempt returns or raises")


def _lost_a_race(error: Exception) -> bool:
    """Say whether trying again helps: another process added a key, or holds the database."""
    return any(
        isinstance(one, IntegrityError)
        or (isinstance(one, OperationalError) and any(word in str(one) for word in _HELD))
        for one in causes(error)
    )
