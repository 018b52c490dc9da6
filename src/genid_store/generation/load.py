"""Find the host's callable by its name: `MODULE:CALLABLE` or `FILE.py:CALLABLE`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from blake3 import blake3

import genid
from genid_store.config import read_config
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.batch import BatchHost, is_batch
from genid_store.generation.records import Generator


def load_generator(name: str, *, where: str = "--generate") -> Generator:
    """Return the host's callable. StoreError: as `load_host`, or it is a batch object."""
    found = load_host(name, where=where)
    if callable(found):
        return found
    message, remedy = "is a batch object", "name a callable; `genid cohort run` takes this one"
    problem = Problem(where=where, value=name, message=message, remedy=remedy)
    raise StoreError("the generator cannot be used", [problem])


def load_host(name: str, *, where: str = "--generate") -> Generator | BatchHost:
    """Import the host's module and return its callable, or its batch object.

    A module is looked for in the current folder too; a file's own folder is searched for what it
    imports, after everything that is installed. Two files of one name are two modules.

    StoreError: the name has no `:`, the file or module is not there, has no such callable or is not
    Python; `where` says in it who gave the name. What the host's module raises is passed on.
    """
    try:
        return _load(name)
    except _RefusedError as refused:
        problem = Problem(
            where=where,
            value=name,
            message=str(refused),
            remedy="name the host's callable: one request in, text or Generated out; or its batch "
            "object",
        )
    except SyntaxError as error:
        problem = Problem(
            where=f"{error.filename or name.rpartition(':')[0]}:{error.lineno or 1}",
            message=f"is not Python: {error.msg}",
            remedy="correct the file",
        )
    raise StoreError("the generator cannot be used", [problem])


def load_module(name: str, *, where: str) -> ModuleType:
    """Import a host's module, given as `MODULE` or `FILE.py`; looked for as a generator's is.

    StoreError: there is no such module or file. What the module itself raises is passed on.
    """
    try:
        return _from_file(Path(name)) if name.endswith(".py") else _from_module(name)
    except _RefusedError as refused:
        problem = Problem(
            where=where,
            value=name,
            message=str(refused),
            remedy="name the Python module, or the file, that is to be imported",
        )
        raise StoreError("the module cannot be imported", [problem]) from None


def load_stages(root: DataRoot) -> tuple[str, ...]:
    """Import what genid.toml names as `[stages] module`, and return the stages that it declares.

    A `FILE.py` lies in the data root. StoreError: as `read_config`, or there is no such module.
    """
    name = read_config(root).stages_module
    if name is None:
        return ()
    place = str(root.path / name) if name.endswith(".py") else name
    module = load_module(place, where="genid.toml:stages.module")
    return tuple(stage for stage, cls in genid.STAGES.items() if cls.__module__ == module.__name__)


class _RefusedError(Exception):
    """Why a name is no generator's."""


def _load(name: str) -> Generator | BatchHost:
    place, separator, attribute = name.rpartition(":")
    if not (separator and place and attribute):
        raise _RefusedError("is not of the form MODULE:CALLABLE or FILE.py:CALLABLE")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_module(place)
    found: object = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if is_batch(found):
        return found
    if not callable(found):
        raise _RefusedError(f"{place} has no callable {attribute}")
    generator: Generator = found
    return generator


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise _RefusedError(f"there is no file {path}")
    folder = blake3(os.fsencode(path.resolve().parent)).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"genid_host_{folder}_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise _RefusedError(f"{path} is no Python file")
    _search(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _from_module(place: str) -> ModuleType:
    _search(Path(os.getcwd()))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # something that the host's module imports
        raise _RefusedError(f"there is no module {place}") from error


def _search(folder: Path) -> None:
    """Search a folder of the host's last: its `calendar.py` shadows nothing that genid imports."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
