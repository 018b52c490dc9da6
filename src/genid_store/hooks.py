"""Who follows a change of a store: the entry point of the group `genid.sync`.

The store knows no orchestrator. Where an instance of Dagster is there (DAGSTER_HOME, or the
embedded one in `.genid/`), what is registered for the group brings its records level with the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from genid_store.errors import StoreError
from genid_store.fs.files import is_there
from genid_store.fs.layout import DataRoot

GROUP: Final = "genid.sync"
Progress = Callable[[int, int], None]


def has_instance(root: DataRoot, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether there is an instance to ask, without making one or importing Dagster."""
    embedded = root.own / "dagster" / "dagster.yaml"
    return bool(environ.get("DAGSTER_HOME")) or is_there(embedded)


def follow(root: DataRoot, *, progress: Progress | None = None, **wanted: Any) -> dict[str, Any]:
    """Bring the records level with the disk; return what was done as JSON values. `wanted` is what
    `genid_dagster_adapter.sync.follow` takes.

    StoreError: nothing is installed that could, or the records cannot be read or written.
    """
    done: dict[str, Any] = _load("follow")(root, progress=progress, **wanted)
    return done


def after_change(root: DataRoot, *, enabled: bool, progress: Progress | None = None,
                 **wanted: Any) -> list[str]:  # fmt: skip
    """Let the records of an instance that is there follow; return what there is to say of it.

    Never raises for what is wrong with the instance: the store is right, and `genid dagster sync`
    brings the records level later.
    """
    if not enabled or not has_instance(root):
        return []
    try:
        return described(follow(root, progress=progress, **wanted))
    except StoreError as error:
        why = "; ".join([error.summary, *map(str, error.problems)])
        return [f"Dagster's records did not follow: {why}; run `genid dagster sync` later"]


def partition_keys(root: DataRoot, partition_prefix: str) -> dict[str, list[str]] | None:
    """Return the registered partition keys by stage; None where there is no instance to ask.

    StoreError: there is one, and it cannot be opened or read.
    """
    if not has_instance(root):
        return None
    keys: dict[str, list[str]] = _load("keys")(root, partition_prefix=partition_prefix)
    return keys


def described(done: Mapping[str, Any]) -> list[str]:
    """Return what `follow` did as lines for people; none where there was nothing to do."""
    lines = []
    events, added = sum(done["events"].values()), sum(done["registered"].values())
    if events or added:
        lines.append(f"Dagster: {events} materializations reported, {added} partitions registered")
    for name, text in (
        ("deleted", "partition keys of no cohort deleted"),
        ("unowned", "partition keys are of no cohort (`genid dagster sync --prune` deletes them)"),
        ("held", "partition keys of no cohort stay: other assets have records under them"),
    ):
        count = sum(map(len, done[name].values()))
        if count:
            lines.append(f"Dagster: {count} {text}")
    return lines


def _load(name: str) -> Callable[..., Any]:
    """Return what is registered under a name. StoreError: it cannot be loaded."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - a twentieth of a build

    try:
        found: Callable[..., Any] = next(iter(entry_points(group=GROUP, name=name))).load()
    except (StopIteration, ImportError) as error:
        raise StoreError.of(
            "Dagster cannot be asked",
            f"entry point {name} of {GROUP}",
            "Dagster, or what connects it with a store, is not installed",
            "install that extra: pip install '.[dagster]' in a checkout of generation-ids",
        ) from error
    return found
