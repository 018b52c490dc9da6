"""Where the migrations of a data root stand, as their journals say."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.migration.journal import read_records
from genid_store.migration.planfile import Plan, open_plan, plan_ids

#: `executing` and `rolling-back` are unfinished; `migrated` can be rolled back until `finalized`.
State = Literal["planned", "executing", "migrated", "rolling-back", "rolled-back", "finalized"]

_BY_EVENT: Final[dict[str, State]] = {
    "begin": "executing",
    "migrated": "migrated",
    "rollback": "rolling-back",
    "rolled-back": "rolled-back",
    "finalized": "finalized",
}
#: The states in which a plan still holds the originals of its store.
OPEN: Final = ("executing", "migrated", "rolling-back")


def state_of(plan: Plan) -> State:
    """Return where a plan stands. StoreError: its journal is damaged."""
    return state_in(read_records(plan.journal)[0])


def state_in(records: list[dict[str, Any]]) -> State:
    """Return the state that a journal's records come to."""
    states = [_BY_EVENT[record["event"]] for record in records if record["event"] in _BY_EVENT]
    return states[-1] if states else "planned"


def open_plans(root: DataRoot) -> list[tuple[Plan, State]]:
    """Return the plans that were begun and neither rolled back nor finalized; at most one."""
    plans = [Plan(root, plan_id) for plan_id in plan_ids(root)]
    found = [(plan, state_of(plan)) for plan in plans if os.path.exists(plan.journal)]
    return [(plan, state) for plan, state in found if state in OPEN]


def the_open_plan(root: DataRoot, plan_id: str | None = None) -> tuple[Plan, State]:
    """Return the plan that `plan_id` names, or the one that is open, with its state.

    StoreError: no migration was begun (or not that one), or its plan's file is damaged.
    """
    found = open_plans(root)
    if plan_id is not None:
        plan = open_plan(root, plan_id)
        found = [(plan, state_of(plan))]
    if found and found[0][1] in OPEN:
        return open_plan(root, found[0][0].plan_id), found[0][1]
    state = f"the plan {plan_id} is {found[0][1]}" if found else "no migration was begun"
    problem = Problem(
        where=".genid/migrations",
        message=f"{state}, so there is nothing to go on with or to go back to",
        remedy="`genid store migrate` makes a plan, `--execute` carries it out",
    )
    raise StoreError("there is no open migration", [problem])
