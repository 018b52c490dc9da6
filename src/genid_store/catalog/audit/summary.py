"""An audit as a document for machines; the page for people is `report.audit_page`."""

from __future__ import annotations

from typing import Any

from genid_store.catalog.audit.audit import Audit
from genid_store.catalog.audit.finding import Finding


def document(audit: Audit) -> dict[str, Any]:
    """Return the audit as JSON values; every id of every finding is in it."""
    return {
        "root": audit.root,
        "sound": audit.sound,
        "families": [
            {
                "stage": count.stage,
                "family": count.family,
                "generations": count.generations,
                "recomputing": count.recomputing,
            }
            for count in audit.families
        ],
        "content": dict(audit.content),
        "lenient": dict(audit.lenient),
        "cohorts": dict(audit.cohorts),
        "counts": {code: len(found) for code, found in audit.by_code().items()},
        "findings": [_finding(finding) for finding in audit.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "where": finding.where,
        "message": finding.message,
        "remedy": finding.kind.remedy,
        "ids": [{"stage": stage, "gen_id": gen_id} for stage, gen_id in finding.ids],
        "details": dict(finding.details),
    }
