"""Copies and their sources: one text under several ids counts as one generation."""

from __future__ import annotations

import os
from collections.abc import Iterable

from genid_store.fs.files import read_bytes
from genid_store.fs.layout import PARSED, is_segment


def is_copy(stage: str, gen_id: str, adopted_from: str | None) -> bool:
    """Return whether a generation still has the same text as `adopted_from`, its recorded source.

    `stage` is the path of the stage's folder. False if either of them has no text.
    """
    if not is_segment(adopted_from) or adopted_from == gen_id:
        return False
    mine, theirs = f"{stage}/{gen_id}/{PARSED}", f"{stage}/{adopted_from}/{PARSED}"
    try:
        return os.path.samefile(mine, theirs) or read_bytes(mine) == read_bytes(theirs)
    except OSError:
        return False


def one_text(copies: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return, for each id in pairs of (copy, source), one id that stands for its text.

    Ids that are connected by any chain of copies have the same one.
    """
    source: dict[str, str] = {}

    def original(gen_id: str) -> str:
        while gen_id in source:
            gen_id = source[gen_id]
        return gen_id

    pairs = sorted(copies)
    for copy, adopted_from in pairs:
        mine, theirs = original(copy), original(adopted_from)
        if mine != theirs:
            source[mine] = theirs
    return {gen_id: original(gen_id) for pair in pairs for gen_id in pair}
