"""An audit as a document for machines and as one self-contained page for people.

Every text from the store is escaped; the page loads nothing and needs no script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from genid_dagster_adapter.store.audit import Audit
from genid_dagster_adapter.store.audit_finding import Finding

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --quiet: #6a6a6a; --bad: #b3261e; --good: #1b6e3c }
@media (prefers-color-scheme: dark) { :root { --quiet: #a5a5a5; --bad: #ff8a80; --good: #7bd88f } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem }
th, td { text-align: left; padding: 0.25rem 0.75rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
code { font-family: ui-monospace, monospace; font-size: 0.9em }
.quiet { color: var(--quiet) } .bad { color: var(--bad) } .good { color: var(--good) }
.wide { overflow-x: auto }
"""


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


def page(audit: Audit) -> str:
    """Return the audit as one HTML document."""
    verdict = "sound" if audit.sound else f"{len(audit.findings)} findings"
    tone = "good" if audit.sound else "bad"
    sections = "".join(_section(code, found) for code, found in audit.by_code().items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Store audit: {escape(verdict)}</title><style>{_STYLE}</style></head><body>"
        f'<main><h1>Store audit: <span class="{tone}">{escape(verdict)}</span></h1>'
        f"<p>Data root <code>{escape(audit.root)}</code></p>"
        f"{_overview(audit)}{sections}</main></body></html>\n"
    )


def _overview(audit: Audit) -> str:
    families = [
        (count.stage, count.family, count.generations, count.recomputing)
        for count in audit.families
    ]
    codes = [
        (code, found[0].kind.meaning, len(found), found[0].kind.remedy)
        for code, found in audit.by_code().items()
    ]
    parts = [
        "<h2>Generations by stage and family</h2>",
        _table(("Stage", "Family", "Generations", "Ids that recompute"), families),
        "<h2>Content</h2>",
        _table(("Stage", "With a parsed text"), audit.content.items()),
        "<h2>Cohorts</h2>",
        _table(("Cohort", "Members"), audit.cohorts.items()),
    ]
    if audit.lenient:
        parts.append("<h2>Read leniently</h2>")
        parts.append(_table(("What", "Generations"), audit.lenient.items()))
    if codes:
        parts.append("<h2>Findings</h2>")
        parts.append(_table(("Code", "Meaning", "Findings", "Remedy"), codes))
    return "".join(parts)


def _section(code: str, found: Sequence[Finding]) -> str:
    rows = [
        (one.where, one.words, ", ".join(f"{stage} {gen_id}" for stage, gen_id in one.ids))
        for one in found
    ]
    kind = found[0].kind
    return (
        f'<section><h2 id="{escape(code)}">{escape(code)}: {len(found)}</h2>'
        f'<p>{escape(kind.meaning)}. <span class="quiet">Remedy: {escape(kind.remedy)}.</span></p>'
        f"{_table(('Where', 'What', 'Generations'), rows)}</section>"
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"
