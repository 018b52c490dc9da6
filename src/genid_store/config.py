"""`genid.toml` in a data root: the rollout, a module of further stages, and how combos are made.

The file is what the data root remembers, so that no terminal needs the variables once a rollout is
finished. Refuses, all at once, keys and values that it does not know: a typo must never mean "off".
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import decode_text, read_data
from genid_store.fs.files import guarded, is_there, write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, SCHEME, Rollout

NAME: Final = "genid.toml"
#: As the existing pipeline's experiment configuration has them.
K_MAX: Final = 6
DESCRIPTION_LEVEL: Final = "paragraph"

_TEXT: Final = (lambda value: type(value) is str, "a text")
_NAMES: Final = (
    lambda value: all(type(one) is str for one in (value if type(value) is list else [value])),
    "a text, or a list of names",
)
_COUNT: Final = (lambda value: type(value) is int and value >= 1, "a whole number from 1 up")
#: Every key, by section: which values it takes, and how that is said.
_KEYS: Final[Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]]] = {
    "rollout": {"stages": _NAMES, "scheme": _TEXT},
    "stages": {"module": _TEXT},
    "combos": {"k_max": _COUNT, "description_level": _TEXT},
}


@frozen(kw_only=True)
class Config:
    """What `genid.toml` says. `rollout` is None where it does not say, `stages_module` too; `data`
    is the file as it was read."""

    rollout: Rollout | None = None
    stages_module: str | None = None
    k_max: int = K_MAX
    description_level: str = DESCRIPTION_LEVEL
    data: bytes = field(default=b"", eq=False, repr=False)


def read_config(root: DataRoot) -> Config:
    """Return what the data root's `genid.toml` says; the defaults where there is none.

    Raises:
        StoreError: the file cannot be read, is not TOML, or has a key or value that is not known.
    """
    path = root.path / NAME
    with guarded(root):
        if not is_there(path):
            return Config()
    problems: list[Problem] = []
    data = read_data(root, path, problems) or b""
    values = _values(decode_text(NAME, data, problems) or "", problems)
    stages, rollout = values.get("rollout.stages", ""), Rollout.OFF
    try:
        listed = stages if isinstance(stages, str) else ",".join(stages)
        rollout = Rollout.parse(listed, values.get("rollout.scheme"))
    except StoreError as error:
        problems += (evolve(one, where=f"{NAME}:rollout") for one in error.problems)
    if problems:
        raise StoreError(f"{NAME} cannot be used", problems)
    return Config(
        rollout=rollout if "rollout.stages" in values else None,
        stages_module=values.get("stages.module") or None,
        k_max=values.get("combos.k_max", K_MAX),
        description_level=values.get("combos.description_level", DESCRIPTION_LEVEL),
        data=data,
    )


def effective_rollout(config: Config, environ: Mapping[str, str]) -> Rollout:
    """Return the rollout that holds: the variables' where they are set, else the file's, else
    legacy ids everywhere.

    Raises:
        StoreError: a variable is not understood, or contradicts the file.
    """
    flag, scheme = (environ.get(name, "").strip() for name in (FLAG, SCHEME))
    said = Rollout.parse(flag, scheme)
    if config.rollout is None:
        return said
    problems = []
    if flag and said.stages != config.rollout.stages:
        problems.append(_contradiction(FLAG, flag, config.rollout.label))
    if scheme and said.scheme != config.rollout.scheme:
        problems.append(_contradiction(SCHEME, scheme, config.rollout.scheme))
    if problems:
        raise StoreError(f"the environment contradicts {NAME}", problems)
    return config.rollout


def write_rollout(root: DataRoot, config: Config, rollout: Rollout) -> None:
    """Make `genid.toml`, which says `config`, say this rollout; what else it says stays as it is.

    Raises:
        StoreError: it already has a [rollout] that says otherwise, or it cannot be written.
    """
    if config.rollout == rollout:
        return
    if config.rollout is not None:
        raise StoreError.of(
            "the data root remembers another rollout",
            f"{NAME}:rollout",
            f"says another rollout than {rollout.label} ({rollout.scheme})",
            "correct the section by hand",
            value=config.rollout.label,
        )
    between = b"\n" if config.data and not config.data.endswith(b"\n\n") else b""
    stages = ",".join(rollout.stages)
    section = f'[rollout]\nstages = "{stages}"\nscheme = "{rollout.scheme}"\n'
    with guarded(root):
        write_atomic(root.path / NAME, config.data + between + section.encode())


def _values(text: str, problems: list[Problem]) -> dict[str, Any]:
    """Return the values of the file by `section.key`; what cannot be used is in `problems`."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no decode error
        message = f"is not TOML: {error}"
        problems.append(Problem(where=NAME, message=message, remedy="correct the file"))
        return {}
    values: dict[str, Any] = {}
    for name, section in document.items():
        known = _KEYS.get(name)
        if known is None or not isinstance(section, dict):
            message = "is not a known section"
            remedy = f"use the sections {', '.join(f'[{one}]' for one in _KEYS)}"
            problems.append(Problem(where=f"{NAME}:{name}", message=message, remedy=remedy))
            continue
        for key, value in section.items():
            where, (takes, wanted) = f"{NAME}:{name}.{key}", known.get(key, (None, ""))
            if takes is None:
                message, remedy = "is not a known key", f"use {', '.join(known)}"
                problems.append(Problem(where=where, message=message, remedy=remedy))
            elif takes(value):
                values[f"{name}.{key}"] = value
            else:
                message, remedy = "cannot be used", f"write {wanted}"
                problems.append(Problem(where=where, value=value, message=message, remedy=remedy))
    if "rollout.scheme" in values and "stages" not in document["rollout"]:
        where, message = f"{NAME}:rollout.scheme", "decides nothing without stages"
        remedy = "write stages, too, or take the line out and set the variable"
        problems.append(Problem(where=where, message=message, remedy=remedy))
    return values


def _contradiction(variable: str, value: str, file: str) -> Problem:
    return Problem(
        where=variable,
        value=value,
        message=f"contradicts {NAME}, which says {file}",
        remedy=f"unset the variable, or change {NAME}: the data root remembers its rollout",
    )
