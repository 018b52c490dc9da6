"""One finding of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from genid_store.catalog.audit.kinds import KINDS, FindingKind

_SHOWN: Final = 80  # characters of a wrong value


@frozen(kw_only=True)
class Finding:
    """One fault: its code, where it is, what it is, and every (stage, id) that it concerns.

    `details` holds more for machines, as JSON values.
    """

    code: str
    where: str
    message: str
    ids: tuple[tuple[str, str], ...] = ()
    details: Mapping[str, Any] = field(factory=dict)

    @property
    def words(self) -> str:
        """The message with the value that is wrong, if any, cut to a length for reading."""
        if "value" not in self.details:
            return self.message
        shown = repr(self.details["value"])
        return f"{self.message} (got {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'})"

    @property
    def kind(self) -> FindingKind:
        """What the code means and what to do about it."""
        return KINDS[self.code]
