"""Which Dagster instance is used: DAGSTER_HOME's where it is set, else one in `.genid/dagster`.

The embedded instance sends no telemetry and shows no welcome dialog. Nothing else is configured
here, and no other instance is ever created.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import dagster as dg
from filelock import FileLock

from genid_store.errors import Problem, StoreError
from genid_store.fs.files import check_inside, create_exclusive
from genid_store.fs.layout import DataRoot

_CONFIG: Final = b"telemetry:\n  enabled: false\nnux:\n  enabled: false\n"


def embedded_home(root: DataRoot) -> Path:
    """Return the embedded instance's folder; `DAGSTER_HOME` set to it lets `dagster dev` see it."""
    return root.own / "dagster"


def has_instance(root: DataRoot, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether there is an instance to look at, without making one."""
    return bool(environ.get("DAGSTER_HOME")) or (embedded_home(root) / "dagster.yaml").is_file()


def open_instance(root: DataRoot, environ: Mapping[str, str] = os.environ) -> dg.DagsterInstance:
    """Open the instance, making the embedded one if there is none. Use it as a context manager.

    StoreError: DAGSTER_HOME is set and no folder; or the embedded instance cannot be written, or
    a symbolic link leads it out of the data root.
    """
    home = environ.get("DAGSTER_HOME")
    if home:
        folder = Path(home)
        if not (folder.is_absolute() and folder.is_dir()):
            raise _refused("DAGSTER_HOME", home, "set it to an existing folder, or unset it")
        return dg.DagsterInstance.from_config(str(folder))
    folder = embedded_home(root)
    check_inside(root, folder)
    try:
        create_exclusive(folder / "dagster.yaml", _CONFIG)
    except OSError as error:
        message = "make the data root writable, or set DAGSTER_HOME"
        raise _refused(str(folder), error.strerror or str(error), message) from error
    with FileLock(folder / "opening.lock"):  # Dagster's own first opening is safe for one process
        instance = dg.DagsterInstance.from_config(str(folder))
        instance.get_runs_count()
        instance.get_dynamic_partitions("")
        instance.all_instigator_state()
    return instance


def _refused(where: str, value: str, remedy: str) -> StoreError:
    problem = Problem(where=where, message="it is no Dagster home", value=value, remedy=remedy)
    return StoreError("there is no Dagster instance to record this in", [problem])
