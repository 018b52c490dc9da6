"""The report as a page and as JSON: the two forms of one view model."""

from __future__ import annotations

from typing import Any, Final

import attrs

from genid_store.catalog.findings import KINDS
from genid_store.ids.rollout import Rollout
from genid_store.report.coverage import Coverage
from genid_store.report.page import render
from genid_store.report.standing import FAMILIES
from genid_store.report.steps import states_from
from genid_store.report.view import Report

_PICTURES: Final = {"segments"}


def html(report: Report) -> str:
    """Return the report as one self-contained HTML page."""
    labels = [state.label for state in states_from(Rollout.OFF, Rollout.OFF)]
    return render("report.html.j2", report=report, families=FAMILIES, kinds=KINDS, labels=labels)


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; names that are no Unicode text have their bytes escaped."""
    found = attrs.asdict(
        report,
        filter=lambda attribute, _: attribute.name not in _PICTURES,
        value_serializer=_serialized,
    )
    found["coverage"] = _coverage(report.coverage)
    return found


def _serialized(instance: object, attribute: object, value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if type(value) is str else value


def _coverage(coverage: Coverage) -> dict[str, Any]:
    """Return the cells that have or want an evaluation; a full map is mostly empty."""
    return {
        "replicates": coverage.replicates,
        "missing": coverage.missing,
        "waiting": coverage.waiting,
        "orphans": coverage.orphans,
        "columns": [attrs.asdict(column) for column in coverage.columns],
        "essays": [
            {
                "gen_id": row.gen_id,
                "cells": [
                    {"made": cell.made, "waiting": cell.waiting, "missing": cell.missing}
                    for cell in row.cells
                ],
            }
            for row in coverage.rows
        ],
    }
