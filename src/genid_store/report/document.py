"""The report as a page and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
from markupsafe import Markup

from genid_store.catalog.audit import audit as auditing
from genid_store.catalog.findings import KINDS
from genid_store.errors import Problem, StoreError
from genid_store.report.collect import FAMILIES, Report
from genid_store.report.listed import Listed
from genid_store.report.page import grouped, render, visible


class IdLists:
    """The ids behind the numbers of a page: `link` gives a number's link to its list, and the page
    writes the lists that were asked for at its end."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Listed]] = []

    def link(self, title: str, ids: Listed) -> Markup | str:
        """Return how many ids there are as a link to them; 0 is none. An id is a text, or a pair
        (stage, id)."""
        if not ids:
            return "0"
        self.found.append((title, ids))
        link = Markup('<a href="#ids-{}" aria-label="{}: {}">{}</a>')  # format escapes the rest
        count = grouped(len(ids))
        return link.format(len(self.found), count, visible(title), count)


def html(report: Report) -> str:
    """Return the report as one self-contained HTML page."""
    return render("report.html.j2", report=report, families=FAMILIES, kinds=KINDS, lists=IdLists())


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; names that are not Unicode text have their bytes
    escaped."""
    parts = {"audit", "coverage", "batches"}
    found = attrs.asdict(
        report,
        filter=lambda attribute, _: attribute.name not in parts,
        value_serializer=_serialized,
    )
    coverage = report.coverage
    return {
        **found,
        "batches": [one.record() for one in report.batches],
        "audit": auditing.document(report.audit),
        "coverage": {
            "replicates": coverage.replicates,
            "missing": len(coverage.missing),
            "waiting": coverage.waiting,
            "orphans": coverage.orphans,
            "columns": [attrs.asdict(column) for column in coverage.columns],
            "missing_evaluations": coverage.missing.first,
        },
    }


def _serialized(instance: object, attribute: Any, value: Any) -> Any:
    if isinstance(value, StoreError):
        return {"error": value.summary, "problems": _problems(value.problems)}
    if attribute is not None and attribute.name == "problems":
        return _problems(value)
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str else value


def _problems(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [{"where": one.where, "message": one.text, "remedy": one.remedy} for one in problems]
