"""Legacy ids: `reserve_gen_id`, and the task ids and salts that the pipeline passes to it.

Frozen, because ids made by these rules are on disk and paid for. Texts are used unchanged: nothing
is trimmed, folded or validated. A new rule is a new scheme of `genid`, never an edit here. A stage
that is not the pipeline's has no legacy ids.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

from genid.schemes import base_36

_LENGTH: Final = 16  # characters
_BYTES: Final = 12  # of the digest: 96 bits
_LIMITS: Final = (36**16, 36**17, 36**18)  # the least numbers of 17, 18 and 19 digits


def reserve_gen_id(stage: str, task_id: str, cohort_id: str | None, salt: str | None) -> str:
    """Return the legacy id of a task: 16 characters of `0-9a-z`.

    Stage, task id, cohort id and salt, each followed by `|`, are hashed as UTF-8 by SHA-256; a
    cohort id or salt that is None or empty is left out. The first 12 bytes, as a big-endian number
    in base 36, are padded with `0` to 16 characters and cut to the first 16.
    """
    number = _number(stage, task_id, cohort_id, salt)
    return base_36(number).rjust(_LENGTH, "0")[:_LENGTH]


def is_reserved(
    start: str, stage: str, task_id: str, cohort_id: str | None, salts: Iterable[str | None]
) -> bool:
    """Return whether the task's legacy id with one of these salts begins with `start`.

    `start` has 1 to 16 characters of `0-9a-z`.
    """
    # Comparing numbers takes half the time of formatting the ids: what `reserve_gen_id` cuts off a
    # number of more than 16 digits, and what follows `start`, is divided away.
    expected, after = int(start, 36), _LENGTH - len(start)
    for salt in salts:
        number = _number(stage, task_id, cohort_id, salt)
        if number // 36 ** (bisect_right(_LIMITS, number) + after) == expected:
            return True
    return False


def _number(stage: str, task_id: str, cohort_id: str | None, salt: str | None) -> int:
    cohort, salted = f"{cohort_id}|" if cohort_id else "", f"{salt}|" if salt else ""
    digest = hashlib.sha256(f"{stage}|{task_id}|{cohort}{salted}".encode()).digest()
    return int.from_bytes(digest[:_BYTES], "big")


def draft_task(combo_id: str, template_id: str, llm_model_id: str) -> str:
    """Return a draft's task id."""
    return f"{combo_id}__{template_id}__{llm_model_id}"


def draft_salt(replicate: int) -> str | None:
    """Return a draft's salt: None for the first replicate."""
    return None if replicate == 1 else f"rep{replicate}"


def essay_task(draft_task_id: str, template_id: str) -> str:
    """Return an essay's task id, made from its draft's task id."""
    return f"{draft_task_id}__{template_id}"


def essay_salt(draft_replicate: int, replicate: int) -> str | None:
    """Return the salt of an essay in a cartesian cohort: None if both replicates are the first."""
    if draft_replicate == replicate == 1:
        return None
    return f"rep{draft_replicate}-{replicate}"


def curated_essay_salt(replicates: int, replicate: int) -> str | None:
    """Return the salt of an essay in a curated cohort with `replicates` of each essay."""
    return None if replicates == 1 else f"rep{replicate}"


def evaluation_task(essay_gen_id: str, template_id: str, llm_model_id: str) -> str:
    """Return an evaluation's task id, made from its essay's id."""
    return f"{essay_gen_id}__{template_id}__{llm_model_id}"


def evaluation_salt(replicate: int) -> str | None:
    """Return an evaluation's salt: None for the first replicate."""
    return None if replicate == 1 else f"rep{replicate}"


def fill_up_salts(replicate: int) -> Iterator[str | None]:
    """Yield endlessly the salts that filling up tries until one gives an id that is not taken."""
    yield evaluation_salt(replicate)
    yield f"fill{replicate}"
    for attempt in count(1):
        yield f"fill{replicate}-{attempt}"
