"""Read metadata files into rows of the index, each with the stamp of the file as it was read.

Creating a `Generation` costs as much as deriving its ids, and nearly all documents are plain. The
rows of plain documents are therefore built directly from the JSON. All others are read through a
`Generation`, which results in the same row; tests compare the two ways.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from genid_store.catalog.expected import ExpectedIds, Facts, ParentIds, derive, facts_of
from genid_store.catalog.index.rows import expected_values, unusual_of
from genid_store.catalog.metadata import (
    parse_metadata,
    plain_texts,
    stage_fields,
    unreadable,
)
from genid_store.fs.files import NO_FILE, read_with_status
from genid_store.fs.jsonfile import load_object
from genid_store.fs.layout import METADATA

#: A metadata file's change time (ns since 1970), its size in bytes, and its inode.
Stamp = tuple[int, int, int]
#: Parsed metadata: its facts, the values of the signature's fields, and a row's unusual values.
Parsed = tuple[Facts, dict[str, Any], dict[str, Any]]
#: A row, the facts and ids in it, and the ids that its generation had before migrations.
Made = tuple[tuple[Any, ...], Facts, ExpectedIds, tuple[str, ...]]

#: The stamp of a file that does not exist.
ABSENT: Final[Stamp] = (0, 0, 0)
#: The stamp of a file that could not be read. No file has it, so the next refresh reads it again.
UNREADABLE: Final[Stamp] = (0, -2, 0)
#: File system clocks tick in milliseconds: a file that changed this shortly before it was read may
#: change again without a new stamp. The next refresh reads it again.
TICK_NS: Final = 50_000_000
#: The largest metadata.json that is read, in bytes: a thousand times the usual size.
LIMIT: Final = 1 << 20
_PREVIOUS: Final = "previous_gen_ids"  # a key of `rows.unusual_of`
#: The bits of an inode number that SQLite's integers hold.
INODE: Final = (1 << 63) - 1


class Reader:
    """Read the metadata files of one stage; `find` returns the known parent with an id."""

    def __init__(
        self, root: str, stage: str, find: Callable[[str | None], ParentIds | None]
    ) -> None:
        self.root, self.stage, self.find = root, stage, find
        self.fields = stage_fields(stage)

    def rows(self, names: Sequence[str]) -> list[Made]:
        """Return the rows of some generations, whatever their files contain.

        All files are read before any is parsed, because system calls in between would evict the
        parser and the ids from the processor's caches.
        """
        files = [self._read(name) for name in names]
        parsed = [
            self._plain(name, data) or self._recorded(name, data)
            for name, (data, _) in zip(names, files, strict=True)
        ]
        facts, values, unusual = zip(*parsed, strict=True)
        parents = [self.find(fact.parent_gen_id) for fact in facts]
        expected = derive(facts, values, parents)
        return [
            ((*fact, *expected_values(ids, rare), *stamp), fact, ids, rare.get(_PREVIOUS, ()))
            for fact, ids, rare, (_, stamp) in zip(facts, expected, unusual, files, strict=True)
        ]

    def _read(self, name: str) -> tuple[bytes | OSError, Stamp]:
        path = f"{self.root}/gens/{self.stage}/{name}/{METADATA}"
        try:
            data, state = read_with_status(path, limit=LIMIT)
        except (FileNotFoundError, NotADirectoryError) as error:
            return error, ABSENT
        except OSError as error:
            return error, _stamp(os.stat(path)) if error.errno in NO_FILE else UNREADABLE
        return data, _stamp(state)

    def _plain(self, name: str, data: bytes | OSError) -> Parsed | None:
        """Return the content of a plain document, None for any other."""
        if isinstance(data, OSError):
            return None
        try:
            raw = load_object(data, allow_nan=True)
        except ValueError:
            return None
        texts = plain_texts(self.fields, name, raw)
        if texts is None or self.fields.others:
            return None
        parent, combo_id, cohort, mode, template_id, model, previous = texts
        number = raw["replicate"]
        facts = Facts(self.stage, name, parent, combo_id, template_id, model, number, cohort, mode)
        values = {field: raw.get(field) for field in self.fields.every}
        return facts, values, {} if previous is None else {_PREVIOUS: (previous,)}

    def _recorded(self, name: str, data: bytes | OSError) -> Parsed:
        where = f"gens/{self.stage}/{name}/{METADATA}"
        if isinstance(data, bytes):
            generation = parse_metadata(self.stage, name, data, where)
        else:
            generation = unreadable(self.stage, name, where, data)
        return facts_of(generation), generation.signature_fields(), unusual_of(generation)


def _stamp(state: os.stat_result) -> Stamp:
    fresh = abs(time.time_ns() - state.st_ctime_ns) < TICK_NS
    return (state.st_ctime_ns, -1 if fresh else state.st_size, state.st_ino & INODE)
