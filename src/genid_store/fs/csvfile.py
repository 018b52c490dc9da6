"""Read and write CSV files (RFC 4180).

Reading returns lines of named cells and lists problems instead of raising them: text that is not
UTF-8 or not CSV, a missing or repeated header, another separator, a column whose name differs from
a known one in case or white space, lines with more cells than the header. Cells are not changed. A
byte order mark and either line end are accepted, blank lines are skipped, further columns are left
out, and the cells that a short line lacks are empty.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from genid_store.errors import Problem
from genid_store.fs.files import read_bytes, remedy_of
from genid_store.fs.layout import DataRoot

#: What begins a formula in a spreadsheet, even after white space.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")  # noqa: RUF001
#: Other separators that spreadsheets write, with their names in messages.
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
#: Characters for which a cell is quoted. Some versions of `csv` do not quote a lone `\r`, although
#: it ends a line.
_SPECIAL: Final = frozenset('",\r\n')
#: The first bytes of a text in UTF-16 or UTF-32, with or without a byte order mark.
_OTHER_UNICODE: Final = re.compile(rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]")


@frozen
class Line:
    """One record of a CSV file: the file's name for messages, its first line, its cells."""

    file: str
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str | None:
        """Return the cell of an optional column, or None if the file does not have the column."""
        return self.cells.get(column)

    def where(self, column: str) -> str:
        """Return the place of one cell, `file:line:column`."""
        return f"{self.file}:{self.number}:{column}"

    def problem(self, column: str, message: str, remedy: str) -> Problem:
        """Return a problem with the value of one cell."""
        where, value = self.where(column), self[column]
        return Problem(where=where, value=value, message=message, remedy=remedy)


def read_csv(
    root: DataRoot,
    path: Path,
    columns: Sequence[str],
    problems: list[Problem],
    *,
    optional: Sequence[str] = (),
) -> tuple[Line, ...]:
    """Return the lines of a CSV file that has at least `columns`.

    The lines have the cells of these columns and of the `optional` ones that the file has. Problems
    are appended to `problems`; the lines that they affect are left out.
    """
    text = read_text(root, path, problems)
    file = root.relative(path)
    return () if text is None else tuple(_lines(file, text, columns, problems, optional))


def parse_csv(
    file: str, data: bytes, columns: Sequence[str], problems: list[Problem]
) -> tuple[Line, ...]:
    """Return the lines of the CSV file `file` whose bytes are `data`; otherwise as `read_csv`."""
    text = decode_text(file, data, problems)
    return () if text is None else tuple(_lines(file, text, columns, problems))


def read_text(root: DataRoot, path: Path, problems: list[Problem]) -> str | None:
    """Return a file's text without a byte order mark, or None with the reason in `problems`."""
    data = read_data(root, path, problems)
    return None if data is None else decode_text(root.relative(path), data, problems)


def read_data(root: DataRoot, path: Path, problems: list[Problem]) -> bytes | None:
    """Return a file's bytes, or None with the reason in `problems`."""
    file = root.relative(path)
    try:
        return read_bytes(path)
    except FileNotFoundError:
        problems.append(_problem(file, "is missing", "create it"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        remedy = remedy_of(error)
        problems.append(_problem(file, f"cannot be read: {reason}", remedy))
    return None


def decode_text(file: str, data: bytes, problems: list[Problem]) -> str | None:
    """Return the text whose bytes are `data`; otherwise as `read_text`."""
    if _OTHER_UNICODE.match(data):
        problems.append(_problem(file, "is UTF-16 or UTF-32", "save the file as UTF-8"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"has the byte 0x{data[error.start]:02x}, which is not UTF-8"
        problems.append(_problem(f"{file}:{line}", message, "save the file as UTF-8"))
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(_problem(f"{file}:{line}", "has a NUL character", "remove it"))
        return None
    return text


def dump_csv(rows: Iterable[Sequence[object]]) -> str:
    r"""Return a CSV document with `\n` line ends and unchanged cells, to be read back."""
    return "".join(f"{','.join(map(_quoted, map(str, row)))}\n" for row in rows)


def dump_safe_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a CSV document that is safe to open in a spreadsheet (see `safe_cell`)."""
    return dump_csv([safe_cell(cell) for cell in row] for row in (columns, *rows))


def safe_cell(value: object) -> str:
    """Return a cell's text, with `'` in front if a spreadsheet would take it for a formula.

    None is an empty cell. An `int` or a `float` stays a number, even a negative one.
    """
    if value is None:
        return ""
    text = str(value)
    if type(value) in (int, float):
        return text
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _quoted(text: str) -> str:
    return text if _SPECIAL.isdisjoint(text) else '"' + text.replace('"', '""') + '"'


def _lines(
    file: str,
    text: str,
    columns: Sequence[str],
    problems: list[Problem],
    optional: Sequence[str] = (),
) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    known = frozenset((*columns, *optional))
    end = 0  # of the record before; an error belongs to where its record begins
    try:
        header = next(reader, [])
        header_problems = list(_header_problems(file, header, columns, optional))
        problems.extend(header_problems)
        end = reader.line_num
        for cells in () if header_problems else reader:
            start, end = end + 1, reader.line_num
            if len(cells) > len(header):
                message = f"has {len(cells)} cells, the header {len(header)}"
                remedy = "quote the cell that contains a comma"
                problems.append(_problem(f"{file}:{start}", message, remedy))
            elif cells:
                padded = [*cells, *[""] * (len(header) - len(cells))]
                named = zip(header, padded, strict=True)
                yield Line(file, start, {name: cell for name, cell in named if name in known})
    except csv.Error as error:
        message = f"is not CSV: {error}"
        if "field limit" in str(error):
            message = f"has a cell of more than {csv.field_size_limit()} characters"
        remedy = "shorten the cell, and close every quote"
        problems.append(_problem(f"{file}:{end + 1}", message, remedy))


def _header_problems(
    file: str, header: list[str], columns: Sequence[str], optional: Sequence[str]
) -> Iterator[Problem]:
    if not header:
        yield _problem(f"{file}:1", "is blank", "begin with the line of column names")
        return
    if len(header) == 1 and header[0] not in columns:
        for separator, name in _SEPARATORS.items():
            if separator in header[0]:
                message = f"its cells are separated by {name}"
                yield _problem(f"{file}:1", message, "save the file with commas")
                return
    nearly: dict[str, str] = {}
    for cell in dict.fromkeys(header):
        for column in (*columns, *optional):
            if column not in header and cell.strip().lower() == column:
                nearly[column] = cell
                where, remedy = f"{file}:1", f"write {column}, or give it another name"
                message = f"differs from the column {column} in case or white space only"
                yield Problem(where=where, value=cell, message=message, remedy=remedy)
    for column in columns:
        if column not in header and column not in nearly:
            remedy = f"add it to the header; required columns: {', '.join(columns)}"
            yield _problem(f"{file}:1:{column}", "the column is missing", remedy)
    for column in dict.fromkeys(header):
        if column and header.count(column) > 1:
            remedy = "give each column a different name"
            yield _problem(f"{file}:1:{column}", "the column is given twice", remedy)


def _problem(where: str, message: str, remedy: str) -> Problem:
    return Problem(where=where, message=message, remedy=remedy)
