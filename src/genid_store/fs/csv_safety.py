"""CSV for people: cells that a spreadsheet would take for a formula are made plain text.

Every CSV that is offered for reading (comparisons, mappings, missing evaluations) is written here.
The pipeline's own tables are not: their bytes are a contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

#: What a spreadsheet takes for the beginning of a formula, also behind white space.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")  # noqa: RUF001


def safe_cell(value: object) -> str:
    """Return a cell's text; with `'` in front where a spreadsheet would read it as a formula.

    None is an empty cell. Numbers (`int`, `float`) stay numbers, also negative ones.
    """
    if value is None:
        return ""
    text = str(value)
    if type(value) in (int, float):
        return text
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def dump_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a CSV document (RFC 4180) with a header, `\n` line ends and every cell safe."""
    lines = (",".join(_quoted(safe_cell(cell)) for cell in row) for row in (columns, *rows))
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    """Quote where needed; the csv module leaves a lone carriage return bare, which ends a line."""
    if any(character in text for character in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
