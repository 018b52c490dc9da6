"""An audit as a page of the same kind as the rollout report."""

from __future__ import annotations

from typing import Final

from genid_store.catalog.audit.audit import Audit
from genid_store.report.faults import by_code
from genid_store.report.page import render

_SHOWN: Final = 5_000  # findings of one code; more would be a page that no browser likes


def audit_page(audit: Audit) -> str:
    """Return an audit as one self-contained HTML page."""
    return render(
        "audit.html.j2",
        audit=audit,
        faults=by_code(audit, partitions_seen=True),
        shown=_SHOWN,
    )
