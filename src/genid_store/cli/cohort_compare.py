"""`genid cohort compare`: what another rollout state would change, without writing anything."""

from __future__ import annotations

import os
from typing import Final

import click
from attrs import asdict, evolve

from genid_store.cli import _output as output
from genid_store.cli._options import cohort_option, wanted_build
from genid_store.cohort.build import compare_with
from genid_store.cohort.compare import Change, Comparison
from genid_store.cohort.planning.records import Row
from genid_store.cohort.prepare import known_cohort_id
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, Rollout
from genid_store.stages import PIPELINE

#: `on` and `all` are the same: as the variable has it, and as the states are named.
_STATE: Final = click.Choice(["off", "draft", "draft,essay", "all", "on"])


@click.command
@output.store_options
@cohort_option
@click.option(
    "--before",
    type=_STATE,
    help="The state to compare with (default: the last build's, else off).",
)
@click.option(
    "--after",
    type=_STATE,
    help=f"The state to look at (default: {FLAG}, else all).",
)
def compare(
    *,
    root: DataRoot,
    cohort_id: str | None,
    before: str | None,
    after: str | None,
    as_json: bool,
) -> int:
    """Say what another rollout state would change, without writing to the data root.

    Old id -> new id for each member, counts by stage, and which exist under either.
    """
    options = wanted_build(cohort_id)
    if options.cohort_id is not None:
        known_cohort_id(root, options)
    here = options.rollout
    is_stated = os.environ.get(FLAG) or click.get_current_context().obj.rollout is not None
    if after is not None or not is_stated:
        here = _state(after or "on", here)
    earlier = None if before is None else _state(before, here)
    with output.progress_bar("comparing") as progress:
        found = compare_with(root, evolve(options, rollout=here), earlier, progress=progress)
    stages = {stage: _counts(found, stage) for stage in PIPELINE}
    if as_json:
        changes = [
            asdict(one, recurse=False) | {"old": _id(one.old), "new": _id(one.new)}
            for one in found.changes
        ]
        output.print_json({"stages": stages, **asdict(found, recurse=False), "changes": changes})
        return 0
    click.echo(f"before: {found.before.label}, after: {found.after.label}")
    output.print_stages(stages)
    if found.unplanned:
        click.echo(
            f"{len(found.unplanned)} members of the last build are not planned by today's tables; "
            "a build in any state drops them from the cohort (their generations stay)"
        )
    output.print_list([_line(one) for one in found.changes], shown=output.SHOWN // 2)
    return 0


def _state(name: str, here: Rollout) -> Rollout:
    return evolve(Rollout.parse("on" if name == "all" else name), scheme=here.scheme)


def _counts(found: Comparison, stage: str) -> dict[str, int]:
    changes = [one for one in found.changes if one.stage == stage]
    return {
        "members": sum(one.new is not None for one in changes),
        "changed": sum(one.changed for one in changes),
        "exist_before": sum(one.old_exists for one in changes),
        "exist_after": sum(one.new_exists for one in changes),
    }


def _id(row: Row | None) -> str | None:
    return None if row is None else row.gen_id


def _line(one: Change) -> str:
    """Return a member with each of its ids on a line of its own, so that no terminal breaks one."""
    if not one.changed:
        return f"{one.stage} {_id(one.new)}: stays"
    there = {True: "is there", False: "is not there"}
    return "\n".join(
        f"{name} {row.gen_id}: {there[exists]}" if row else f"{name} none"
        for name, row, exists in (
            (one.stage, one.old, one.old_exists),
            ("  becomes", one.new, one.new_exists),
        )
    )
