"""A list that keeps its length and its first entries, so that a report of any size is small."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

IDS: Final = 50  # entries kept of a list of ids
ROWS: Final = 200  # entries kept of a table of members or generations


@define
class Listed:
    """The number of entries, and the `first` of them."""

    count: int = 0
    first: list[Any] = field(factory=list)

    def __len__(self) -> int:
        return self.count

    def add(self, entry: Any, kept: int = IDS) -> None:
        """Count one entry, and keep it if it is among the first `kept`."""
        self.count += 1
        if self.count <= kept:
            self.first.append(entry)
