"""What can be wrong with a built cohort, as plain findings; the asset checks put them into Dagster.

Each function returns the members concerned, in membership order; an empty list is good. Nothing is
written and no text is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from genid_store.catalog.audit.content import recorded_digest, template_digests
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.memberships import Member
from genid_store.fs.files import read_bytes
from genid_store.fs.layout import RAW_METADATA
from genid_store.stages import parent_key, parent_stage


def members_of(index: StoreIndex, members: Sequence[Member]) -> list[Indexed]:
    """Return what the store has of the members; one without metadata is left out."""
    found = (index.get(stage, gen_id) for stage, gen_id in members)
    return [one for one in found if one is not None]


def not_recomputing(generations: Sequence[Indexed]) -> list[str]:
    """Return the deterministic ids that do not come of their metadata. An older id that cannot be
    verified is a state, no finding."""
    return [
        f"{one.stage} {one.gen_id}"
        for one in generations
        if one.family == "v1" and not one.recomputes
    ]


def without_parent(index: StoreIndex, generations: Sequence[Indexed]) -> list[str]:
    """Return the members whose parent is not in the store."""
    return [
        f"{one.stage} {one.gen_id} (parent {one.parent_gen_id})"
        for one in generations
        if parent_stage(one.stage) is not None
        and (
            (parent := parent_key(one.stage, one.parent_gen_id)) is None
            or index.get(*parent) is None
        )
    ]


def over_replicated(
    generations: Sequence[Indexed], replicates: Mapping[str, int], *, drafts: bool
) -> list[str]:
    """Return the cells that have more members than `replication_config.csv` says. Selected drafts
    are counted where `drafts` is set alone: elsewhere nobody asked for a number of them."""
    cells = Counter(
        (one.stage, one.parent_gen_id or one.combo_id, one.template_id, one.llm_model_id)
        for one in generations
        if drafts or one.stage != "draft"
    )
    return [
        f"{stage} {template} by {model} of {above}: {count} of {replicates[stage]}"
        for (stage, above, template, model), count in cells.items()
        if count > replicates[stage]
    ]


def drifted(index: StoreIndex, generations: Sequence[Indexed]) -> list[str]:
    """Return the members that were made from another template text than there is now. The id names
    the slot, not the content."""
    digest = template_digests(index.root)
    found = []
    for one in generations:
        path = index.root.generation(one.stage, one.gen_id) / RAW_METADATA
        try:
            recorded = recorded_digest(read_bytes(path))
        except (OSError, ValueError):
            continue
        now = digest(one.stage, one.template_id or "")
        if recorded is not None and now is not None and now != recorded:
            found.append(f"{one.stage} {one.gen_id} (template {one.template_id})")
    return found
