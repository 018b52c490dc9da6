"""One finding of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from genid_dagster_adapter.store.findings import KINDS, FindingKind


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
    def kind(self) -> FindingKind:
        """What the code means and what to do about it."""
        return KINDS[self.code]
