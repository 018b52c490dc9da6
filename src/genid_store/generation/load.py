"""Import the host's callable by its name, `MODULE:CALLABLE` or `FILE.py:CALLABLE`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from blake3 import blake3

import genid
from genid_store.config import Config
from genid_store.errors import Problem, StoreError
from genid_store.fs.files import is_file
from genid_store.fs.layout import DataRoot
from genid_store.generation.batch import BatchHost, is_batch
from genid_store.generation.calling import host_frame, reason_of
from genid_store.generation.records import Generator


def load_generator(name: str, *, where: str = "the generator") -> Generator:
    """Return the host's callable. StoreError: as `load_host`, or it is a batch object."""
    host = load_host(name, where=where)
    if callable(host):
        return host
    message, remedy = "is a batch object", "name a callable; only a cohort's run takes a batch"
    raise StoreError.of("the generator cannot be used", where, message, remedy, value=name)


def load_host(name: str, *, where: str = "the generator") -> Generator | BatchHost:
    """Import the host's module and return its callable or batch object.

    A module is also looked for in the current folder. What a file imports is also looked for in the
    file's folder, after everything that is installed. Two files with the same name are two modules.

    StoreError, which names `where` the name was given: it has no `:`, the file or module does not
    exist, has no such callable, is not Python, or raises on import.
    """
    remedy = "give FILE.py:FUNCTION, which takes a request and returns its text, or a batch object"
    with _host_errors("the generator cannot be used", name, where, remedy):
        place, separator, attribute = name.rpartition(":")
        if not (separator and place and attribute):
            raise _RefusedError("is not of the form MODULE:CALLABLE or FILE.py:CALLABLE")
        host: Any = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
        for part in attribute.split("."):
            host = getattr(host, part, None)
        if not (is_batch(host) or callable(host)):
            raise _RefusedError(f"{place} has no callable {attribute}")
        return cast("Generator | BatchHost", host)


def load_module(name: str, *, where: str) -> ModuleType:
    """Import a host's module, given as `MODULE` or `FILE.py`, as `load_host` does.

    StoreError: there is no such module or file, it is not Python, or it raises.
    """
    remedy = "name the Python module, or the file, that is to be imported"
    with _host_errors("the module cannot be imported", name, where, remedy):
        return _from_file(Path(name)) if name.endswith(".py") else _from_module(name)


@contextmanager
def _host_errors(summary: str, name: str, where: str, remedy: str) -> Iterator[None]:
    """Turn an exception of the host's code into a StoreError with its file and line."""
    place = name if name.endswith(".py") else name.rpartition(":")[0] or name
    try:
        yield
    except _RefusedError as refused:
        raise StoreError.of(summary, where, str(refused), remedy, value=name) from None
    except SyntaxError as error:
        line = f"{error.filename or place}:{error.lineno or 1}"
        message = f"is not Python: {error.msg}"
        raise StoreError.of(summary, line, message, "correct the file") from error
    except StoreError:
        raise  # it says where and why itself
    except (Exception, SystemExit) as error:  # the host's module may raise anything
        frame = host_frame(error)
        line = place if frame is None else f"{frame[0]}:{frame[1]}"
        if isinstance(error, genid.GenIdError):  # a stage that could not give sound ids
            problems = [
                Problem(where=f"{line}:{p.place}", value=p.value, message=p.reason, remedy=p.remedy)
                for p in error.problems
            ]
            raise StoreError(summary, problems) from error
        message, remedy = f"raises {reason_of(error)}", "correct the file, or install what it needs"
        raise StoreError.of(summary, line, message, remedy) from error


def load_stages(root: DataRoot, config: Config) -> tuple[str, ...]:
    """Import the module that genid.toml names as `[stages] module`; return the stages it declares.
    A `FILE.py` is relative to the data root. StoreError: as `load_module`."""
    name = config.stages_module
    if name is None:
        return ()
    place = str(root.path / name) if name.endswith(".py") else name
    module = load_module(place, where="genid.toml:stages.module")
    return tuple(stage for stage, cls in genid.STAGES.items() if cls.__module__ == module.__name__)


class _RefusedError(Exception):
    """A name does not lead to a host's object or module; says why."""


def _from_file(path: Path) -> ModuleType:
    if not is_file(path):
        raise _RefusedError(f"there is no file {path}")
    folder = blake3(os.fsencode(path.resolve().parent)).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"genid_host_{folder}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _RefusedError(f"{path} is not a Python file")
    _search(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, as an import does: dataclasses, for one, look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _from_module(place: str) -> ModuleType:
    _search(Path(os.getcwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # the module exists; something that it imports does not
        raise _RefusedError(f"there is no module {place}") from error


def _search(folder: Path) -> None:
    """Search a host's folder last, so that its `calendar.py` shadows nothing that genid imports."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
