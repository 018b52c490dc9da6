"""The rollout: which stages get deterministic ids, and under which scheme.

Defines the values of `DD_DETERMINISTIC_GEN_IDS` and `DD_GEN_ID_SCHEME`. Every other value is
refused: a typo must never mean "off".
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any, ClassVar, Final

from attrs import frozen

from genid import SCHEMES, SchemeName
from genid.parse import family_of
from genid_store.errors import StoreError, all_of
from genid_store.stages import PIPELINE

FLAG: Final = "DD_DETERMINISTIC_GEN_IDS"
SCHEME: Final = "DD_GEN_ID_SCHEME"

_OFF: Final = frozenset({"", "0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})
_WHITE_SPACE: Final = " \t\n\r\f\v"
#: Every rollout state: a stage is covered only if its parent's stage is.
_STATES: Final = tuple(PIPELINE[:count] for count in range(len(PIPELINE) + 1))
_FOLD: Final = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})
_ACCEPTED: Final = (
    "off: unset, 0, false, no, off; all stages: 1, true, yes, on; or "
    + ", or ".join(",".join(state) for state in _STATES[1:])
)


@frozen(kw_only=True)
class Rollout:
    """The stages with deterministic ids, and their scheme.

    StoreError on construction: a stage is covered and its parent's stage is not, or a stage or the
    scheme is unknown.
    """

    OFF: ClassVar[Rollout]

    stages: tuple[str, ...] = ()
    scheme: SchemeName = "v1"

    def __attrs_post_init__(self) -> None:
        if self.stages not in _STATES:
            raise _refused(self.stages, "is not a rollout state")
        if self.scheme not in SCHEMES:
            raise _unknown_scheme(self.scheme)

    @classmethod
    def parse(cls, flag: str | None, scheme: str | None = None) -> Rollout:
        """Return the state that the two variables' values request; None is an unset variable.

        Raises:
            StoreError: a value is not accepted, even a scheme while the flag is off.
        """
        stages, named = all_of(
            partial(_parse_stages, flag or ""), partial(_parse_scheme, scheme or "")
        )
        return cls(stages=stages, scheme=named)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Rollout:
        """Return the state that the environment (`os.environ`) requests.

        Only the outermost code reads the environment and passes the state down.

        Raises:
            StoreError: as `parse`.
        """
        return cls.parse(environ.get(FLAG), environ.get(SCHEME))

    def covers(self, stage: str) -> bool:
        """Return whether generations of `stage` get deterministic ids."""
        return stage in self.stages

    def record_in(self, manifest: MutableMapping[str, Any]) -> None:
        """Set the key `rollout` of a cohort's manifest, or remove it if no stage is covered."""
        manifest.pop("rollout", None)
        if self.stages:
            manifest["rollout"] = {"stages": list(self.stages), "scheme": self.scheme}

    @property
    def label(self) -> str:
        """The state as commands name it: "off", "draft", "draft,essay" or "all"."""
        if not self.stages:
            return "off"
        return "all" if self.stages == PIPELINE else ",".join(self.stages)


Rollout.OFF = Rollout()


def is_legacy(gen_id: str) -> bool:
    """Return whether an id belongs to no deterministic family (SPEC 7)."""
    return family_of(gen_id) not in SCHEMES


def _parse_stages(flag: str) -> tuple[str, ...]:
    text = _folded(flag)
    if text in _OFF:
        return ()
    if text in _ON:
        return PIPELINE
    named = {_folded(part) for part in text.split(",")}
    if not named <= set(PIPELINE):
        raise _refused(flag, "is not an accepted value")
    stages = tuple(stage for stage in PIPELINE if stage in named)
    if stages not in _STATES:
        raise _refused(flag, _why_open(stages))
    return stages


def _why_open(stages: tuple[str, ...]) -> str:
    """Return which parent's stage is missing and why it is needed."""
    child = next(stage for at, stage in enumerate(stages) if stage != PIPELINE[at])
    parent = PIPELINE[PIPELINE.index(child) - 1]
    return (
        f"covers {child} without {parent}: the deterministic id of an {child} is derived from its "
        f"{parent}'s, which would still be a cohort's own"
    )


def _parse_scheme(text: str) -> SchemeName:
    folded = _folded(text)
    if not folded:
        return "v1"
    for name in SCHEMES:
        if folded == name:
            return name
    raise _unknown_scheme(text)


def _folded(text: str) -> str:
    return text.strip(_WHITE_SPACE).translate(_FOLD)


def _refused(value: object, reason: str) -> StoreError:
    summary, remedy = f"{FLAG} is not understood", f"set it to {_ACCEPTED}"
    return StoreError.of(summary, FLAG, reason, remedy, value=value)


def _unknown_scheme(value: object) -> StoreError:
    remedy = f"set it to {' or '.join(SCHEMES)}, or leave it unset for v1"
    summary, message = f"{SCHEME} is not understood", "is not a scheme"
    return StoreError.of(summary, SCHEME, message, remedy, value=value)
