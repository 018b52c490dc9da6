"""A cohort's members under another rollout state: from its planned rows, or from its membership.

Pure. Planned rows carry their ids. Recorded members lack their new ones, which the seam of
`minting` gives, each child after its parent: as in a build, a parent that is no member keeps its
id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from genid import GenIdError
from genid_store.catalog.metadata import stage_fields
from genid_store.cohort.planning.records import Row
from genid_store.ids import legacy
from genid_store.ids.components import model_override
from genid_store.ids.minting import GenerationIds
from genid_store.ids.rollout import Rollout
from genid_store.report.holdings import Held, Holdings
from genid_store.report.steps import Member, State
from genid_store.stages import parent_stage


def planned_state(
    rows: Iterable[Row], rollout: Rollout, tasks: Mapping[tuple[str, str], str | None]
) -> State:
    """Return the state that planned rows are in; `tasks` gives the v1 id of each row's task."""
    return State(
        rollout,
        tuple(
            Member(row.stage, row.gen_id, tasks[row.stage, row.gen_id], row.mode) for row in rows
        ),
    )


def as_recorded(members: Iterable[tuple[str, str]], rollout: Rollout, store: Holdings) -> State:
    """Return the state that recorded members are in now."""
    known = ((stage, gen_id, store.get(stage, gen_id)) for stage, gen_id in members)
    return State(
        rollout,
        tuple(
            Member(stage, gen_id, None)
            if one is None
            else Member(stage, gen_id, one.task, one.mode)
            for stage, gen_id, one in known
        ),
    )


def restated(
    members: Sequence[tuple[str, str]], rollout: Rollout, cohort_id: str, store: Holdings
) -> State:
    """Return the state in which recorded members, parents first, would be under `rollout`.

    A member that is not in the store, or of which no id can be derived, keeps its id and counts as
    unknown.
    """
    ids = GenerationIds(rollout, cohort_id)
    new: dict[tuple[str, str], str] = {}
    restated_members, unknown = [], 0
    for stage, gen_id in members:
        one = store.get(stage, gen_id)
        new_id = None if one is None else _new_id(one, ids, new, store)
        unknown += new_id is None
        new[stage, gen_id] = new_id or gen_id
        task, mode = (None, None) if one is None else (one.task, one.mode)
        restated_members.append(Member(stage, new[stage, gen_id], task, mode))
    return State(rollout, tuple(restated_members), unknown)


def _new_id(
    one: Held, ids: GenerationIds, new: dict[tuple[str, str], str], store: Holdings
) -> str | None:
    """Return a member's id in the state of `ids`; None where none can be derived."""
    parent = new.get(
        (parent_stage(one.stage) or "", one.parent_gen_id or ""), one.parent_gen_id or ""
    )
    follows = one.stage == "evaluation" and parent != (one.parent_gen_id or "")
    if not ids.rollout.covers(one.stage) and not follows:
        return one.gen_id  # of what stays legacy, evaluations alone are made of another id
    if one.number is None or any(
        getattr(one, name) is None for name in stage_fields(one.stage).required
    ):
        return None
    try:
        return _minted(one, one.number, parent, ids, store)
    except GenIdError:  # a field is unfit for an id, or phase-1 cannot express the task
        return None


def _minted(one: Held, number: int, parent: str, ids: GenerationIds, store: Holdings) -> str:
    template, model = one.template_id or "", one.llm_model_id or ""
    if one.stage == "draft":
        return ids.draft(
            combo_id=one.combo_id or "",
            template_id=template,
            llm_model_id=model,
            replicate=number,
        )
    if one.stage == "essay":
        return ids.essay(
            parent_gen_id=parent,
            template_id=template,
            replicate=number,
            llm_model_id=_model(one, store),
        )
    return ids.evaluation(
        parent_gen_id=parent,
        template_id=template,
        llm_model_id=model,
        replicate=number,
        task_id=legacy.evaluation_task(parent, template, model),
        salt=legacy.evaluation_salt(number),
    )


def _model(essay: Held, store: Holdings) -> str | None:
    """Return the model of an essay's signature."""
    draft = store.get("draft", essay.parent_gen_id or "")
    return model_override(essay.llm_model_id, None if draft is None else draft.llm_model_id)
