"""What a command that only looks asks Dagster; without an instance Dagster is not even imported."""

from __future__ import annotations

import importlib.util
import os

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE


def partition_keys(root: DataRoot, prefix: str) -> dict[str, list[str]] | None:
    """Return the registered partition keys by stage; None where there is no instance to ask.

    `prefix` is that of the partition sets, which no instance tells.

    StoreError: there is one, and it cannot be opened or read.
    """
    likely = bool(os.environ.get("DAGSTER_HOME")) or (root.own / "dagster").is_dir()
    if not likely or importlib.util.find_spec("dagster") is None:
        return None
    import dagster as dg
    from sqlalchemy.exc import SQLAlchemyError

    from genid_dagster_adapter.instance import has_instance, open_instance
    from genid_dagster_adapter.partitions import registered

    if not has_instance(root):
        return None
    try:
        with open_instance(root) as instance:
            return {stage: registered(instance, stage, prefix=prefix) for stage in PIPELINE}
    except (dg.DagsterError, SQLAlchemyError, OSError) as error:
        problem = Problem(
            where=os.environ.get("DAGSTER_HOME") or str(root.own / "dagster"),
            message=f"it does not answer: {error}",
            remedy="repair the instance, or set DAGSTER_HOME to the right one",
        )
        raise StoreError("Dagster's partitions could not be looked at", [problem]) from error
