"""`genid.toml` in a data root: the rollout, a module of further stages, and how combos are made.

By the file, a data root remembers its rollout, so that no terminal needs the variables once it is
finished. Unknown keys and values are refused, in one error: a typo must never mean "off".
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
    """The settings in `genid.toml`, None where it has none.

    `data` is the file's content when it was read.
    """

    rollout: Rollout | None = None
    stages_module: str | None = None
    k_max: int | None = None
    description_level: str | None = None
    data: bytes = field(default=b"", eq=False, repr=False)


def read_config(root: DataRoot) -> Config:
    """Return the settings in the data root's `genid.toml`, or the defaults if there is no file.

    StoreError: the file cannot be read, is not TOML, or has an unknown key or value.
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
        problems += (evolve(problem, where=f"{NAME}:rollout") for problem in error.problems)
    if problems:
        raise StoreError(f"{NAME} cannot be used", problems)
    return Config(
        rollout=rollout if "rollout.stages" in values else None,
        stages_module=values.get("stages.module") or None,
        k_max=values.get("combos.k_max"),
        description_level=values.get("combos.description_level"),
        data=data,
    )


def effective_rollout(config: Config, environ: Mapping[str, str]) -> Rollout:
    """Return the file's rollout, or if it has none, the environment's (by default legacy ids).

    StoreError: a variable has an invalid value, or contradicts the file.
    """
    flag, scheme = (environ.get(name, "").strip() for name in (FLAG, SCHEME))
    requested = Rollout.parse(flag, scheme)
    if config.rollout is None:
        return requested
    problems = []
    if flag and requested.stages != config.rollout.stages:
        problems.append(_contradiction(FLAG, flag, config.rollout.label))
    if scheme and requested.scheme != config.rollout.scheme:
        problems.append(_contradiction(SCHEME, scheme, config.rollout.scheme))
    if problems:
        raise StoreError(f"the environment contradicts {NAME}", problems)
    return config.rollout


def write_rollout(root: DataRoot, config: Config, rollout: Rollout) -> None:
    """Add a rollout to `genid.toml`, which was read as `config`; keep everything else in it.

    StoreError: it already has another [rollout], or it cannot be written.
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
    """Return the valid values of the file by `section.key`; append the others to `problems`."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits raises a ValueError
        message = f"is not TOML: {error}"
        problems.append(Problem(where=NAME, message=message, remedy="correct the file"))
        return {}
    values: dict[str, Any] = {}
    for name, section in document.items():
        known = _KEYS.get(name)
        if known is None or not isinstance(section, dict):
            message = "is not a known section"
            remedy = f"use the sections {', '.join(f'[{known_name}]' for known_name in _KEYS)}"
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
