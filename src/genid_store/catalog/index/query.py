"""The store index: every generation with its expected ids, found quickly by any of its ids.

The index is a cache in `.genid/index.sqlite`. After it is deleted, the next refresh reads all
metadata files again. Its rows are as of the last `refresh`. The state of content is read from disk
with every answer, because content changes without a change to a metadata file.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final, Self, TypeVar

from genid import SchemeName
from genid_store.catalog.copies import is_copy, one_text
from genid_store.catalog.index.database import WITHOUT_TASK, IndexFile
from genid_store.catalog.index.refresh import FILLED, Progress, Refreshed, refresh
from genid_store.catalog.index.rows import SELECT, Content, Indexed, indexed_of
from genid_store.catalog.renamed import Renamed, read_renamed
from genid_store.catalog.reused import find_all
from genid_store.errors import StoreError
from genid_store.fs.files import is_there
from genid_store.fs.layout import PARSED, RAW, DataRoot
from genid_store.stages import stage_names

_COLUMNS: Final[dict[SchemeName, str]] = {"v1": "v1", "phase-1": "phase_1"}
#: SQLite's errors for a damaged file: torn, overwritten, or without the tables.
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_T = TypeVar("_T")
_LAST: Final = "\U0010ffff"


class StoreIndex:
    """An open index of one data root, also a context manager that closes it.

    Any number of processes may read while one refreshes. Use an instance in one thread only.
    """

    def __init__(self, root: DataRoot, file: IndexFile) -> None:
        self.root = root
        self._file = file
        self._gens = os.fspath(root.gens)

    @classmethod
    def open(cls, root: DataRoot, persist: bool = True) -> Self:
        """Open the index of a data root, an empty one if there is no valid file.

        With `persist=False`, or if `.genid/` cannot be written, nothing below the data root is
        written: the index is in memory and starts as a copy of the file, if any.
        """
        return cls(root, IndexFile.open(root, persist=persist))

    @classmethod
    @contextlib.contextmanager
    def fresh(
        cls, root: DataRoot, progress: Progress | None = None, *, persist: bool = True
    ) -> Iterator[Self]:
        """Open and refresh the index of a data root, and close it at the end of the block."""
        with cls.open(root, persist) as index:
            index.refresh(progress)
            yield index

    @property
    def persistent(self) -> bool:
        """Whether a refresh writes `.genid/index.sqlite`."""
        return self._file.path is not None

    def close(self) -> None:
        """Close the index, which cannot be used afterwards."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fill(self) -> None:
        """Refresh an index that has never been refreshed, such as one whose file was lost.
        StoreError: as `refresh`."""
        if self._all(FILLED) == [(0,)]:
            self.refresh()

    def refresh(self, progress: Progress | None = None) -> Refreshed:
        """Bring the index up to date with the disk, reading only metadata files that changed.

        `progress` is called as (files read, files to read). StoreError: the database cannot be
        written (full disk), or another process has been refreshing it for ten minutes.
        """
        self.__dict__.pop("same_texts", None)
        try:
            return refresh(self.root, self._file.connection, progress)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise _unusable(self.root, error) from error
        return self._rebuild(progress)

    @cached_property
    def _renamed(self) -> Renamed:
        return read_renamed(self.root)

    @cached_property
    def same_texts(self) -> dict[tuple[str, str], frozenset[str]]:
        """The ids that share a text by copying, by the (stage, id) of each of them.

        Copies are known from metadata and from genid's own records, which persist if the host
        rewrites metadata. StoreError: one of those records cannot be read.
        """
        copies = {*self.unusual("adopted_from")}
        copies |= {(one.stage, one.gen_id, one.source) for one in find_all(self.root)}
        pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for stage, gen_id, source in copies:
            if is_copy(str(self.root.stage(stage)), gen_id, source):
                pairs[stage].append((gen_id, source))
        found: dict[tuple[str, str], frozenset[str]] = {}
        for stage, copied in pairs.items():
            texts = one_text(copied)
            groups: dict[str, set[str]] = defaultdict(set)
            for gen_id, text in texts.items():
                groups[text].add(gen_id)
            found |= {(stage, gen_id): frozenset(groups[text]) for gen_id, text in texts.items()}
        return found

    # -- one generation -------------------------------------------------------------------------
    def get(self, stage: str, gen_id: str) -> Indexed | None:
        """Return the generation of a stage with this id, or None."""
        found = self._select("WHERE stage = ? AND gen_id = ?", stage, gen_id)
        return found[0] if found else None

    def find(self, gen_id: str) -> list[Indexed]:
        """Return the generations of all stages with this id, in stage order."""
        return self._select(f"WHERE {_any_stage()} AND gen_id = ?", gen_id)

    def by_expected(self, scheme: SchemeName, gen_id: str) -> list[Indexed]:
        """Return the generations with this expected id, in order of their ids: duplicates."""
        return self._select(f"WHERE {_COLUMNS[scheme]} = ?", gen_id)

    def by_previous(self, gen_id: str) -> list[Indexed]:
        """Return the generations that had this id before a migration.

        Previous ids are known from metadata and from genid's own record, which persists if the
        host rewrites metadata.
        """
        query = "SELECT stage, now FROM previous WHERE gen_id = ?"
        rows = {tuple(row) for row in self._all(query, gen_id)}
        for stage in stage_names():
            names = list(self._renamed.get((stage, gen_id), ()))
            for name in names:  # which grows: a generation may have been renamed again
                if self.get(stage, name) is not None:
                    rows.add((stage, name))
                else:
                    later = self._renamed.get((stage, name), ())
                    names += [new for new in later if new not in names]
        return [one for key in sorted(rows) if (one := self.get(*key)) is not None]

    def previous_ids(self) -> dict[str, dict[str, list[str]]]:
        """Return previous ids by stage and current id, latest first, from the same two records."""
        found: dict[str, dict[str, list[str]]] = {stage: {} for stage in stage_names()}
        named = [tuple(row) for row in self._all("SELECT stage, now, gen_id FROM previous")]
        named += [(of, new, old) for (of, old), news in self._renamed.items() for new in news]
        for stage, now, before in named:
            found.setdefault(stage, {}).setdefault(now, []).append(before)
        for stage, before_of in found.items():
            reached = {now: [now] for now in before_of}
            for now, ids in reached.items():
                for one in ids:  # which grows: a generation may have been renamed again
                    ids += [old for old in before_of.get(one, ()) if old not in ids]
                ids.remove(now)
            found[stage] = reached
        return found

    def without_task(self) -> list[Indexed]:
        """Return the generations whose metadata does not identify their task, in stage order.

        It is missing, damaged or incomplete, or contradicts the id, or the parent's metadata does.
        """
        return self._select(f"WHERE {WITHOUT_TASK}")

    # -- many -----------------------------------------------------------------------------------
    def children(self, stage: str, parent_gen_id: str) -> list[Indexed]:
        """Return the generations of `stage` with this parent, in order of their ids."""
        return self._select("WHERE parent_gen_id = ? AND stage = ?", parent_gen_id, stage)

    def with_prefix(self, prefix: str, limit: int) -> list[Indexed]:
        """Return up to `limit` generations with an id that starts with `prefix`, in order.

        Their current, expected and previous ids are searched.
        """
        keys: set[tuple[str, str]] = set()
        for column in (f"{_any_stage()} AND gen_id", *_COLUMNS.values()):
            query = f"SELECT stage, gen_id FROM generation WHERE {column}"  # noqa: S608
            keys.update(self._keys(query, prefix))
        keys.update(self._keys("SELECT stage, now FROM previous WHERE gen_id", prefix))
        order = stage_names()
        ordered = sorted(
            (key for key in keys if key[0] in order), key=lambda key: (order.index(key[0]), key[1])
        )
        return [one for key in ordered[:limit] if (one := self.get(*key)) is not None]

    def iter(self, stage: str) -> Iterator[Indexed]:
        """Yield every generation of a stage in order of their ids, in bounded memory."""
        last = ""
        while True:
            rows = self._all(
                f"{SELECT} WHERE gen_id > ? AND stage = ? ORDER BY gen_id LIMIT 1000", last, stage
            )
            yield from map(self._record, rows)
            if not rows:
                return
            last = rows[-1][1]

    def unusual(self, name: str) -> list[tuple[str, str, Any]]:
        """Return (stage, id, value) for every generation with this key of `rows.unusual_of`, or
        with "id_problems"."""
        query = "SELECT stage, gen_id, unusual FROM generation WHERE unusual LIKE ?"

        def parsed(row: tuple[Any, ...]) -> tuple[str, str, Any]:
            return row[0], row[1], json.loads(row[2]).get(name)

        found = self._parsed(parsed, query, f'%"{name}"%')
        return [one for one in found if one[2] is not None]

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query for reports and audits; the tables are not a stable API."""
        return self._all(query, *values)

    def stream(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query one by one, in bounded memory."""
        try:
            yield from self._file.connection.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise _unusable(self.root, error) from error

    def count(self) -> int:
        """Return the number of generations."""
        return int(self._all("SELECT count(*) FROM generation")[0][0])

    # -- below ----------------------------------------------------------------------------------
    def _all(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._file.connection.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise _unusable(self.root, error) from error
        self._rebuild()
        return self._file.connection.execute(query, values).fetchall()

    def _rebuild(self, progress: Progress | None = None) -> Refreshed:
        """Delete a damaged database and read the store again."""
        self._file = self._file.discard(self.root)
        return refresh(self.root, self._file.connection, progress)

    def _parsed(self, parse: Callable[[Any], _T], query: str, *values: object) -> list[_T]:
        """Return the parsed rows of a query, rebuilding the index if they cannot be parsed."""
        try:
            return [parse(row) for row in self._all(query, *values)]
        except (ValueError, TypeError, KeyError):  # overwritten bytes
            self._rebuild()
        return [parse(row) for row in self._all(query, *values)]

    def _select(self, condition: str, *values: object) -> list[Indexed]:
        order = {stage: place for place, stage in enumerate(stage_names())}
        found = self._parsed(self._record, f"{SELECT} {condition}", *values)
        known = (one for one in found if one.stage in order)
        return sorted(known, key=lambda one: (order[one.stage], one.gen_id))

    def _keys(self, query: str, prefix: str) -> list[tuple[str, str]]:
        return self._all(f"{query} BETWEEN ? AND ?", prefix, prefix + _LAST)

    def _record(self, row: tuple[Any, ...]) -> Indexed:
        content, _, looked = content_of(f"{self._gens}/{row[0]}/{row[1]}")
        return indexed_of(row, content, looked)


def content_of(folder: str) -> tuple[Content | None, os.stat_result | None, bool]:
    """Return a folder's content, the status of its file, and whether it could be looked at, which
    a link without a target prevents."""
    states: tuple[tuple[str, Content], ...] = ((PARSED, "parsed"), (RAW, "raw"))
    for name, content in states:
        try:
            return content, os.stat(f"{folder}/{name}"), True
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return None, None, False
    try:
        return None, None, not any(is_there(f"{folder}/{name}") for name, _ in states)
    except OSError:
        return None, None, False


def _any_stage() -> str:
    """Return a condition that is true for every known stage, so that SQLite can use `by_id`."""
    return f"stage IN ({', '.join(map(repr, stage_names()))})"  # names of a to z and _ alone


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)  # absent where Python itself raises
    return code is None or code & 0xFF in _DAMAGED


def _unusable(root: DataRoot, error: sqlite3.Error) -> StoreError:
    where, message = root.relative(root.own / "index.sqlite"), f"SQLite says: {error}"
    remedy = (
        "free space on the disk, wait for the other process, or delete the file: it is a "
        "cache and will be built again"
    )
    return StoreError.of("the store index cannot be used", where, message, remedy)
