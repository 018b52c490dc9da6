"""Reading metadata files for the index, and judging what they say: the work of a refresh.

Touches no database, so that it can be done by several processes at once (`index_workers`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from genid_store.catalog.expected import Ancestor, ancestor, judge
from genid_store.catalog.index.rows import row_of
from genid_store.catalog.metadata import Generation, parse_metadata, unreadable
from genid_store.fs.files import read_with_status
from genid_store.fs.layout import METADATA
from genid_store.stages import stage_names

#: What a file was read under: time of change in ns, size in bytes, inode.
Stamp = tuple[int, int, int]
#: Finds what a generation's ids need to know of its parent, by the parent's id.
Above = Callable[[str | None], Ancestor | None]

ABSENT: Final[Stamp] = (0, 0, 0)
#: A file that changed this shortly before it was read may change again under the same stamp (a
#: file system's clock ticks in milliseconds): it is read again the next time.
TICK_NS: Final = 50_000_000
_LAST: Final = stage_names()[-1]


class Judged(NamedTuple):
    """One generation as the index will hold it, and what its children need to know of it. A tuple,
    because it goes from process to process."""

    row: tuple[Any, ...]
    previous: tuple[str, ...]
    ancestor: Ancestor | None


def read_and_judge(root: str, stage: str, names: Sequence[str], above: Above) -> list[Judged]:
    """Read and judge generations of one stage, in the order of `names`.

    `above` knows the parents, which have been judged before.
    """
    return [_judged(*_read(root, stage, name), above) for name in names]


def _judged(generation: Generation, stamp: Stamp, above: Above) -> Judged:
    verdict = judge(generation, above(generation.parent_gen_id))
    return Judged(
        row_of(generation, verdict, stamp),
        generation.previous_gen_ids,
        None if generation.stage == _LAST else ancestor(generation, verdict),
    )


def _read(root: str, stage: str, name: str) -> tuple[Generation, Stamp]:
    """Read one metadata file together with the stamp under which it was read."""
    where = f"gens/{stage}/{name}/{METADATA}"
    try:
        data, state = read_with_status(f"{root}/{where}")
    except OSError as error:
        return unreadable(stage, name, where, error), _stamp_of_unreadable(root, where)
    return parse_metadata(stage, name, data, where), _stamp(state)


def _stamp(state: os.stat_result) -> Stamp:
    fresh = abs(time.time_ns() - state.st_ctime_ns) < TICK_NS
    return (state.st_ctime_ns, -1 if fresh else state.st_size, state.st_ino)


def _stamp_of_unreadable(root: str, where: str) -> Stamp:
    try:
        return _stamp(os.stat(f"{root}/{where}"))
    except OSError:
        return ABSENT
