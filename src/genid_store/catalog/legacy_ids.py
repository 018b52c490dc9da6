"""The legacy ids that a stored generation may have been given, from its metadata alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from genid_store.catalog.metadata import ABSENT_REPLICATE, Generation
from genid_store.ids import legacy

_FILL_UP_SALTS: Final = 8  # how many of the endless salts of filling up are tried


def legacy_ids(
    generation: Generation, *, draft_task_id: str | None, draft_replicate: int | None
) -> Iterator[str]:
    """Yield the legacy ids that a complete generation can have, with each salt in use.

    An essay's are made of its draft's task id and replicate, so there are none without.

    The salt depends on the kind of cohort (cartesian, curated, fill-up), which no metadata tells.
    """
    task_id, salts = _task(generation, draft_task_id, draft_replicate)
    for salt in salts:
        yield legacy.reserve_gen_id(generation.stage, task_id, generation.origin_cohort_id, salt)


def _task(
    generation: Generation, draft_task_id: str | None, draft_replicate: int | None
) -> tuple[str, Iterable[str | None]]:
    """Return the legacy task id and its possible salts, the likeliest first; none for orphans."""
    template, model = str(generation.template_id), str(generation.llm_model_id)
    number = generation.effective_replicate or ABSENT_REPLICATE
    if generation.stage == "draft":
        task_id = legacy.draft_task(str(generation.combo_id), template, model)
        return task_id, (legacy.draft_salt(number),)
    if generation.stage == "evaluation":
        task_id = legacy.evaluation_task(str(generation.parent_gen_id), template, model)
        return task_id, islice(legacy.fill_up_salts(number), _FILL_UP_SALTS)
    if draft_task_id is None or generation.stage != "essay":
        return "", ()
    salts = (
        legacy.essay_salt(draft_replicate or ABSENT_REPLICATE, number),
        *(() if number > 1 else (legacy.curated_essay_salt(1, number),)),
        legacy.curated_essay_salt(number + 1, number),
    )
    return legacy.essay_task(draft_task_id, template), salts
