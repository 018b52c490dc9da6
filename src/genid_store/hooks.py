"""Update an orchestrator's records after a change of a store, by the entry points `genid.sync`.

The store does not import Dagster. If there is a Dagster instance (DAGSTER_HOME, or the embedded one
in `.genid/`), the functions registered in that group update its records to match the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from genid_store.errors import StoreError, counted
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot

GROUP: Final = "genid.sync"
_SHOWN: Final = 10  # problems
Progress = Callable[[int, int], None]


def has_instance(root: DataRoot) -> bool:
    """Return whether there is a Dagster instance, without creating one or importing Dagster."""
    embedded = root.own / "dagster" / "dagster.yaml"
    return bool(os.environ.get("DAGSTER_HOME")) or is_there(embedded)


def follow(root: DataRoot, *, progress: Progress | None = None, **wanted: Any) -> dict[str, Any]:
    """Update the records to match the files; return what was done as JSON values.

    `wanted` are the options of `genid_dagster_adapter.sync.follow`.

    StoreError: Dagster or its adapter is not installed, or the records cannot be read or written.
    """
    done: dict[str, Any] = _load("follow")(root, progress=progress, **wanted)
    return done


def after_change(root: DataRoot, *, enabled: bool, progress: Progress | None = None,
                 **wanted: Any) -> list[str]:  # fmt: skip
    """Update the records of an instance, if there is one; return lines that say what was done.

    A problem with the instance is such a line and not an error: the store itself is correct, and
    `genid dagster sync` updates the records later.
    """
    if not enabled or not has_instance(root):
        return []
    try:
        return described(follow(root, progress=progress, **wanted))
    except StoreError as error:
        reason = "; ".join([error.summary, *map(str, error.problems)])
        return [f"Dagster's records were not updated: {reason}; run `genid dagster sync` later"]


def partition_keys(
    root: DataRoot, partition_prefix: str, *, enabled: bool
) -> dict[str, list[str]] | None:
    """Return the registered partition keys by stage, or None if there is no instance, or it is not
    to be looked at.

    StoreError: the instance cannot be opened or read.
    """
    if not enabled or not has_instance(root):
        return None
    keys: dict[str, list[str]] = _load("keys")(root, partition_prefix=partition_prefix)
    return keys


def described(done: Mapping[str, Any]) -> list[str]:
    """Return what `follow` did as lines for people; none if there was nothing to do."""
    lines = []
    reported = [*done["events"].values(), *done["cohort_events"].values()]
    events, added = sum(reported), sum(done["registered"].values())
    if events or added:
        reports, keys = counted(events, "materialization"), counted(added, "partition")
        lines.append(f"Dagster: {reports} reported, {keys} registered")
    for name, text in (
        ("deleted", "of no cohort deleted"),
        ("unowned", "of no cohort (`genid dagster sync --prune` deletes such keys)"),
        ("held", "of no cohort kept, because other assets have records there"),
    ):
        count = sum(map(len, done[name].values()))
        if count:
            lines.append(f"Dagster: {counted(count, 'partition key')} {text}")
    lines += (f"Dagster: problem: {problem}" for problem in done["problems"][:_SHOWN])
    if (more := len(done["problems"]) - _SHOWN) > 0:
        problems = counted(more, "more problem")
        lines.append(f"Dagster: {problems} (`genid dagster sync --json` lists all)")
    return lines


def _load(name: str) -> Callable[..., Any]:
    """Return the function registered under a name. StoreError: it cannot be loaded."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a twentieth of a build's time

    try:
        function: Callable[..., Any] = next(iter(entry_points(group=GROUP, name=name))).load()
    except (StopIteration, ImportError) as error:
        raise StoreError.of(
            "Dagster cannot be used",
            f"entry point {name} of {GROUP}",
            "Dagster or its adapter is not installed",
            "install that extra: pip install '.[dagster]' in a checkout of generation-ids",
        ) from error
    return function
