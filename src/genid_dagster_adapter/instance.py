"""Which Dagster instance is used: DAGSTER_HOME's where it is set, else one in `.genid/dagster`.

The embedded one sends no telemetry and shows no welcome dialog; no other is ever created. However
an instance is broken (settings, missing modules, a damaged database), it becomes one error.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dagster as dg
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from genid_store.errors import StoreError
from genid_store.fs.files import check_inside, guarded, is_folder
from genid_store.fs.layout import DataRoot

#: What the URL of a database does not keep as it is: the name of another file.
_CHANGED_IN_URLS: Final = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_CONFIG: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"
_SHOWN: Final = 300  # characters of what Dagster says


def embedded_home(root: DataRoot) -> Path:
    """Return the embedded instance's folder; `DAGSTER_HOME` set to it lets `dagster dev` see it."""
    return root.own / "dagster"


@contextmanager
def open_instance(
    root: DataRoot, environ: Mapping[str, str] = os.environ
) -> Iterator[dg.DagsterInstance]:
    """Open the instance for a block, making the embedded one if there is none.

    StoreError: DAGSTER_HOME is not a folder; the embedded instance cannot be written, or a symbolic
    link leads it out of the data root; or the instance cannot be opened, or fails in the block.
    """
    home = environ.get("DAGSTER_HOME")
    folder = Path(home) if home else embedded_home(root)
    if home and not (folder.is_absolute() and is_folder(folder)):
        raise _broken("DAGSTER_HOME", f"it is not a folder (it is {home!r})")
    if _CHANGED_IN_URLS.search(str(folder)):
        why = "its path has `?`, or `%` and two hex digits, which Dagster's databases misread"
        raise _broken(str(folder), why)
    if not home:
        with guarded(root):
            _make_embedded(root)
    with _without_retries():
        try:
            instance = _opened(folder)
        except Exception as error:  # a library's settings raise what they like
            raise _broken(str(folder), error) from error
        try:
            with instance:
                yield instance
        except Exception as error:
            if not any(isinstance(one, dg.DagsterError | SQLAlchemyError) for one in causes(error)):
                raise
            raise _broken(str(folder), error) from error


def _make_embedded(root: DataRoot) -> None:
    """Make the embedded instance whole or not at all: in a folder that then gets its name."""
    home = embedded_home(root)
    check_inside(root, home)
    root.own.mkdir(exist_ok=True)
    with FileLock(root.own / "dagster.lock"):
        if is_folder(home):
            return
        aside = home.with_name("dagster.new")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        (aside / "dagster.yaml").write_text(_CONFIG)
        with _opened(aside):
            pass
        aside.rename(home)


def _opened(folder: Path) -> dg.DagsterInstance:
    """Return an instance whose databases have answered; Dagster opens each at its first use."""
    instance = dg.DagsterInstance.from_config(str(folder))
    instance.get_runs_count()
    instance.get_dynamic_partitions("")
    instance.all_instigator_state()
    return instance


@contextmanager
def _without_retries() -> Iterator[None]:
    """Keep Dagster from logging each of its tries to reach PostgreSQL: the error says it once."""

    def is_shown(record: logging.LogRecord) -> bool:
        return not record.funcName.startswith("retry_pg_")

    root = logging.getLogger()
    root.addFilter(is_shown)
    try:
        yield
    finally:
        root.removeFilter(is_shown)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it, down to the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def _broken(where: str, error: Exception | str) -> StoreError:
    """Return the one error; it has what a database said, where one is the cause."""
    found = [error] if isinstance(error, str) else list(causes(error))
    ours = found[-1] if any(isinstance(one, SQLAlchemyError) for one in found) else found[0]
    said = " ".join((str(ours) or type(ours).__name__).split())
    message = said if len(said) <= _SHOWN else f"{said[:_SHOWN]}…"
    remedy = "repair the instance, or set DAGSTER_HOME to another one"
    return StoreError.of("Dagster's instance does not answer", where, message, remedy)
