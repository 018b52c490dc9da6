"""`genid.toml` in a data root: the rollout, a module of further stages, and how combos are made.

The file is what the data root remembers, so that no terminal needs the variables once a rollout is
finished. Refuses, all at once, keys and values that it does not know: a typo must never mean "off".
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import read_text
from genid_store.fs.files import guarded, is_there, read_bytes, write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, SCHEME, Rollout

NAME: Final = "genid.toml"
#: As the existing pipeline's experiment configuration has them.
K_MAX: Final = 6
DESCRIPTION_LEVEL: Final = "paragraph"

#: Every key, by section, with the type of its value. `stages` may also be a list of names.
_KEYS: Final[Mapping[str, Mapping[str, type]]] = {
    "rollout": {"stages": str, "scheme": str},
    "stages": {"module": str},
    "combos": {"k_max": int, "description_level": str},
}


@frozen(kw_only=True)
class Config:
    """What `genid.toml` says. `rollout` is None where it does not say, `stages_module` too."""

    rollout: Rollout | None = None
    stages_module: str | None = None
    k_max: int = K_MAX
    description_level: str = DESCRIPTION_LEVEL


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
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(read_text(root, path, problems) or "")
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no decode error
        message = f"is not TOML: {error}"
        problems.append(Problem(where=NAME, message=message, remedy="correct the file"))
    problems += _problems(document)
    if problems:
        raise StoreError(f"{NAME} cannot be used", problems)
    combos, rollout = document.get("combos", {}), document.get("rollout", {})
    return Config(
        rollout=_rollout(rollout) if "stages" in rollout else None,
        stages_module=document.get("stages", {}).get("module") or None,
        k_max=combos.get("k_max", K_MAX),
        description_level=combos.get("description_level", DESCRIPTION_LEVEL),
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


def write_rollout(root: DataRoot, rollout: Rollout) -> None:
    """Make `genid.toml` say this rollout; whatever else it says stays as it is.

    Raises:
        StoreError: as `read_config`, the file already has a [rollout] that says otherwise, or it
            cannot be written.
    """
    config = read_config(root)
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
    path = root.path / NAME
    before = read_bytes(path) if is_there(path) else b""
    between = b"\n" if before and not before.endswith(b"\n\n") else b""
    stages = ",".join(rollout.stages)
    section = f'[rollout]\nstages = "{stages}"\nscheme = "{rollout.scheme}"\n'
    with guarded(root):
        write_atomic(path, before + between + section.encode())


def _rollout(section: Mapping[str, Any]) -> Rollout:
    stages = section["stages"]
    return Rollout.parse(
        ",".join(stages) if isinstance(stages, list) else stages, section.get("scheme")
    )


def _problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    for name, section in document.items():
        known = _KEYS.get(name)
        if known is None or not isinstance(section, dict):
            remedy = f"use the sections {', '.join(f'[{one}]' for one in _KEYS)}"
            yield Problem(where=f"{NAME}:{name}", message="is not a known section", remedy=remedy)
            continue
        for key, value in section.items():
            yield from _key_problems(f"{NAME}:{name}.{key}", known.get(key), value, known)
    rollout = document.get("rollout", {})
    if isinstance(rollout, dict) and "scheme" in rollout and "stages" not in rollout:
        remedy = "write stages, too, or take the line out and set the variable"
        message = "decides nothing without stages"
        yield Problem(where=f"{NAME}:rollout.scheme", message=message, remedy=remedy)
    if isinstance(rollout, dict) and isinstance(rollout.get("stages"), str | list):
        try:
            _rollout(rollout)
        except (StoreError, TypeError) as error:
            found = error.problems if isinstance(error, StoreError) else ()
            for one in found or [_wrong(f"{NAME}:rollout.stages", rollout["stages"], "names")]:
                yield Problem(
                    where=f"{NAME}:rollout", value=one.value, message=one.message, remedy=one.remedy
                )


def _key_problems(
    where: str, kind: type | None, value: object, known: Mapping[str, type]
) -> Iterator[Problem]:
    if kind is None:
        yield Problem(where=where, message="is not a known key", remedy=f"use {', '.join(known)}")
    elif where.endswith("rollout.stages") and isinstance(value, list):
        return
    elif type(value) is not kind:
        yield _wrong(where, value, "a text" if kind is str else "a whole number")
    elif kind is int and isinstance(value, int) and value < 1:
        yield _wrong(where, value, "a whole number from 1 up")


def _wrong(where: str, value: object, wanted: str) -> Problem:
    return Problem(where=where, value=value, message="cannot be used", remedy=f"write {wanted}")


def _contradiction(variable: str, value: str, file: str) -> Problem:
    return Problem(
        where=variable,
        value=value,
        message=f"contradicts {NAME}, which says {file}",
        remedy=f"unset the variable, or change {NAME}: the data root remembers its rollout",
    )
