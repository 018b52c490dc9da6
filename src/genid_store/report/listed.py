"""A list of which the report needs the length and the beginning, however long it is."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

#: Entries that are kept of a list of ids, and of a table of members or generations.
IDS: Final = 50
ROWS: Final = 200


@define
class Listed:
    """How many entries there are, and the `first` ones of them, `kept` at most."""

    count: int = 0
    first: list[Any] = field(factory=list)

    def __len__(self) -> int:
        return self.count

    def add(self, entry: Any, kept: int = IDS) -> None:
        """Append one entry."""
        self.count += 1
        if self.count <= kept:
            self.first.append(entry)
