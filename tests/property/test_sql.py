"""Law: SPEC 2's SQL expressions build the canonical bytes, in DuckDB and in SQLite."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genid import canonical_bytes, normalize_component
from signature_kit import CLASSES, WHITE, Fields, signature, tasks

SPEC = Path(__file__).parents[2] / "SPEC.md"
*STAGES, FOLD = re.findall(r"```sql\n(.*?)\n```", SPEC.read_text("utf-8"), re.DOTALL)
EXPRESSIONS = dict(zip(("draft", "essay", "evaluation"), STAGES, strict=True))
COLUMNS = ("combo_id", "parent_gen_id", "template_id", "llm_model_id", "replicate")


def in_sqlite() -> Callable[[str, Fields], Any]:
    """Evaluate an expression over one row in SQLite."""
    connection = sqlite3.connect(":memory:")
    return lambda expression, row: connection.execute(
        _query(expression.replace("CHR(", "CHAR("), "?"), [row.get(name) for name in COLUMNS]
    ).fetchone()[0]


def in_duckdb() -> Callable[[str, Fields], Any]:
    """Evaluate an expression over one row in DuckDB."""
    connection = pytest.importorskip("duckdb").connect(":memory:")
    return lambda expression, row: connection.execute(
        _query(expression, "?"), [row.get(name) for name in COLUMNS]
    ).fetchone()[0]


def _query(expression: str, mark: str) -> str:
    columns = ", ".join(f"CAST({mark} AS VARCHAR) AS {name}" for name in COLUMNS[:-1])
    return f"SELECT {expression} FROM (SELECT {columns}, CAST({mark} AS INTEGER) AS replicate)"


@pytest.mark.parametrize("engine", [in_sqlite, in_duckdb])
def test_sql_builds_the_canonical_bytes(engine: Callable[[], Callable[[str, Fields], Any]]) -> None:
    """Over normalized columns of every stage, optional model and all."""
    evaluate = engine()

    @settings(max_examples=60, deadline=None)
    @given(tasks(classes=CLASSES))
    def law(task: tuple[str, Fields]) -> None:
        made = signature(task)
        assert canonical_bytes(made).decode() == evaluate(EXPRESSIONS[task[0]], made.fields())

    law()


@pytest.mark.parametrize("engine", [in_sqlite, in_duckdb])
def test_sql_folds_a_component(engine: Callable[[], Callable[[str, Fields], Any]]) -> None:
    """White space at the ends and upper case go, in the one expression for it."""
    evaluate = engine()
    words = st.text("ABCXYZabcxyz019_-:/|", min_size=1, max_size=12)
    white = st.text(WHITE, max_size=4)

    @settings(max_examples=60, deadline=None)
    @given(white, words, white)
    def law(head: str, word: str, tail: str) -> None:
        row = {"combo_id": f"{head}{word}{tail}"}
        assert normalize_component(row["combo_id"]) == evaluate(FOLD, row)

    law()
