"""The Dagster instance: that of DAGSTER_HOME if it is set, otherwise one in `.genid/dagster`.

The embedded instance sends no telemetry and shows no welcome dialog. What only reads creates
neither an instance nor its databases. A broken instance is always one error.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.instance import InstanceRef
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from genid_store.errors import StoreError
from genid_store.fs.files import check_inside, guarded, is_folder, is_there
from genid_store.fs.layout import DataRoot

#: What Dagster's database URLs would turn into the name of another file.
_MISREAD: Final = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_CONFIG: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
_SQLITE: Final = ("SqliteEventLogStorage", "DagsterSqliteStorage")
_SHOWN: Final = 300  # characters of Dagster's own message


def embedded_home(root: DataRoot) -> Path:
    """Return the embedded instance's folder; set DAGSTER_HOME to it for `dagster dev`."""
    return root.own / "dagster"


@contextmanager
def open_instance(root: DataRoot, *, create: bool = True) -> Iterator[dg.DagsterInstance]:
    """Open the instance for a block; create what of it does not exist. With `create=False` the
    block must only read, and an empty instance in memory stands for one that does not exist.

    StoreError: DAGSTER_HOME is not a folder; the embedded instance cannot be written, or a symbolic
    link leads it out of the data root; or the instance cannot be opened, or fails in the block.
    """
    home = os.environ.get("DAGSTER_HOME")
    folder = Path(home) if home else embedded_home(root)
    if home and not (folder.is_absolute() and is_folder(folder)):
        raise _broken("DAGSTER_HOME", f"it is not a folder (it is {home!r})")
    # A record holds the path of the data root.
    if unfit := _MISREAD.search(str(folder)) or re.search("[\udc80-\udcff]", str(root.path)):
        message = "its path has `?`, `%` and two hex digits, or bytes that are not UTF-8, which "
        raise _broken(unfit.string, f"{message}Dagster's databases misread; rename the folder")
    if not home:
        with guarded(root):
            check_inside(root, folder)
            if create:
                _make_embedded(root, folder)
    # Dagster logs each attempt to reach PostgreSQL; the error says it once.
    logging.getLogger().addFilter(_is_no_retry)
    is_open = False
    try:
        with _opened(folder, create=create) as instance:
            is_open = True
            yield instance
    except Exception as error:
        # A library named in the settings may raise anything, but so may the block.
        kinds = dg.DagsterError | SQLAlchemyError
        if is_open and not any(isinstance(cause, kinds) for cause in causes(error)):
            raise
        raise _broken(str(folder), error) from error
    finally:
        logging.getLogger().removeFilter(_is_no_retry)


def _make_embedded(root: DataRoot, home: Path) -> None:
    """Create the embedded instance in a staged folder, which is renamed once it is complete."""
    root.own.mkdir(exist_ok=True)
    with FileLock(root.own / "dagster.lock"):
        if is_folder(home):
            return
        staged = home.with_name("dagster.new")
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        (staged / "dagster.yaml").write_text(_CONFIG)
        _opened(staged).dispose()
        staged.rename(home)


def _opened(folder: Path, *, create: bool = True) -> dg.DagsterInstance:
    """Return an instance after its databases have answered; Dagster opens each at its first use.
    Without `create` it is one in memory if there are none."""
    if not (create or _has_events(folder)):
        return dg.DagsterInstance.ephemeral()
    lock = os.open(folder, os.O_RDONLY)
    try:
        # Of two processes that create databases at once, one fails (`table runs already exists`).
        with suppress(OSError):  # NFS cannot lock a folder
            fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.from_config(str(folder))
        instance.get_runs_count()
        instance.get_dynamic_partitions("")
        instance.all_instigator_state()
        return instance
    finally:
        os.close(lock)


def _has_events(folder: Path) -> bool:
    """Return whether an instance's events are in a file that exists, or anywhere else."""
    if not is_folder(folder):
        return False
    ref = InstanceRef.from_dir(str(folder))
    log = ref.event_storage_data or ref.storage_data  # that of all, if a variable has its place
    place = log.config_dict["base_dir"] if log and log.class_name in _SQLITE else None
    place = os.environ.get(place["env"]) if isinstance(place, dict) else place
    name = "index.db" if ref.event_storage_data else "history/runs/index.db"
    return not place or is_there(Path(place, name))


def _is_no_retry(record: logging.LogRecord) -> bool:
    """Return whether a log record is not about another attempt to reach PostgreSQL."""
    return not record.funcName.startswith("retry_pg_")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _broken(where: str, error: Exception | str) -> StoreError:
    """Return the error for a broken instance, with the database's own message if it is a cause."""
    chain = [error] if isinstance(error, str) else list(causes(error))
    is_database = any(isinstance(cause, SQLAlchemyError) for cause in chain)
    shown = chain[-1 if is_database else 0]
    message = " ".join((str(shown) or type(shown).__name__).split())
    message = message if len(message) <= _SHOWN else f"{message[:_SHOWN]}…"
    remedy = "repair the instance, or set DAGSTER_HOME to another one"
    return StoreError.of("Dagster's instance does not answer", where, message, remedy)
