"""A CSV file as lines of named cells, each with its place; what is wrong is gathered, not raised.

Refuses text that is no UTF-8 or no CSV, a missing or repeated header, lines with more cells than
the header has. Cells are kept exactly as they are; a byte order mark and either line end are fine,
blank lines are skipped, cells that a short line lacks are empty.
"""

from __future__ import annotations

import csv
import io
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from genid_store.errors import Problem
from genid_store.fs.layout import DataRoot


@frozen
class Line:
    """One record of a CSV file: the file as messages show it, the line it begins on, its cells."""

    file: str
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def get(self, column: str) -> str | None:
        """Return the cell of an optional column, None where the file has no such column."""
        return self.cells.get(column)

    def where(self, column: str) -> str:
        """Return the place of one cell, `file:line:column`."""
        return f"{self.file}:{self.number}:{column}"


def read_csv(
    root: DataRoot, path: Path, columns: Sequence[str], problems: list[Problem]
) -> tuple[Line, ...]:
    """Return the lines of a CSV file that has at least `columns`.

    Whatever is wrong is appended to `problems`; nothing is returned then that depends on it.
    """
    text = read_text(root, path, problems)
    return () if text is None else _parsed(root.relative(path), text, columns, problems)


def parse_csv(
    file: str, data: bytes, columns: Sequence[str], problems: list[Problem]
) -> tuple[Line, ...]:
    """Return the lines of the CSV file `file` that holds `data`; otherwise as `read_csv`."""
    text = _decoded(file, data, problems)
    return () if text is None else _parsed(file, text, columns, problems)


def _parsed(
    file: str, text: str, columns: Sequence[str], problems: list[Problem]
) -> tuple[Line, ...]:
    try:
        return tuple(_lines(file, text, columns, problems))
    except csv.Error as error:
        problems.append(_unreadable(file, f"is no CSV: {error}", "close every quote"))
        return ()


def read_text(root: DataRoot, path: Path, problems: list[Problem]) -> str | None:
    """Return a file's text without its byte order mark, or None with the reason in `problems`."""
    file = root.relative(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would never end
            problems.append(_unreadable(file, "is no regular file", "put a file in its place"))
            return None
        data = path.read_bytes()
    except FileNotFoundError:
        problems.append(_unreadable(file, "is missing", "create it"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problems.append(_unreadable(file, f"cannot be read: {reason}", "make it a readable file"))
    else:
        return _decoded(file, data, problems)
    return None


def _decoded(file: str, data: bytes, problems: list[Problem]) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"has the byte 0x{data[error.start]:02x}, which is no UTF-8"
        problems.append(_unreadable(f"{file}:{line}", wrong, "save the file as UTF-8"))
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(_unreadable(f"{file}:{line}", "has a NUL character", "remove it"))
        return None
    return text


def _lines(file: str, text: str, columns: Sequence[str], problems: list[Problem]) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    wrong = [*_header_problems(file, header, columns)]
    problems.extend(wrong)
    end = reader.line_num
    for cells in reader:
        start, end = end + 1, reader.line_num
        if len(cells) > len(header):
            problems.append(
                Problem(
                    where=f"{file}:{start}",
                    message=f"has {len(cells)} cells, the header {len(header)}",
                    remedy="quote the cell that contains a comma",
                )
            )
        elif cells and not wrong:
            padded = [*cells, *[""] * (len(header) - len(cells))]
            yield Line(file, start, dict(zip(header, padded, strict=True)))


def _header_problems(file: str, header: list[str], columns: Sequence[str]) -> Iterator[Problem]:
    for column in columns:
        if column not in header:
            yield Problem(
                where=f"{file}:1:{column}",
                message="the column is missing",
                remedy=f"add it to the header; needed are {', '.join(columns)}",
            )
    for column in dict.fromkeys(header):
        if column and header.count(column) > 1:
            remedy = "give each column a name of its own"
            yield Problem(
                where=f"{file}:1:{column}", message="the column is there twice", remedy=remedy
            )


def _unreadable(where: str, message: str, remedy: str) -> Problem:
    return Problem(where=where, message=message, remedy=remedy)
