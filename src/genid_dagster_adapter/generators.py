"""Find the host's callable by its name: `MODULE:CALLABLE` or `FILE.py:CALLABLE`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from genid_dagster_adapter.errors import AdapterError, Problem
from genid_dagster_adapter.generation import Generator


def load_generator(name: str) -> Generator:
    """Import the host's module and return its callable.

    A module is looked for in the current folder too; a file's own folder is searched for what it
    imports, as if Python ran it.

    AdapterError: the name has no `:`, the file or module is not there, or has no such callable.
    What the host's module itself raises is passed on.
    """
    place, separator, attribute = name.rpartition(":")
    if not (separator and place and attribute):
        raise _refused(name, "is not of the form MODULE:CALLABLE or FILE.py:CALLABLE")
    module = _from_file(name, Path(place)) if place.endswith(".py") else _from_module(name, place)
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise _refused(name, f"{place} has no callable {attribute}")
    generator: Generator = found
    return generator


def _from_file(name: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise _refused(name, f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"genid_host_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _refused(name, f"{path} is no Python file")
    _search(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _from_module(name: str, place: str) -> ModuleType:
    _search(Path(os.getcwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # something that the host's module imports
        raise _refused(name, f"there is no module {place}") from error


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _refused(name: str, message: str) -> AdapterError:
    problem = Problem(
        where="--generate",
        value=name,
        message=message,
        remedy="name the host's callable: one request in, text or Generated out",
    )
    return AdapterError("the generator cannot be used", [problem])
