"""`genid cohort compare`: show what another rollout state would change; write nothing."""

from __future__ import annotations

import os
from typing import Final

import click
from attrs import asdict, evolve

from genid_store.cli import _output as output
from genid_store.cli._options import cohort_option, wanted_build
from genid_store.cli._unmade import print_repeats
from genid_store.cohort.build import compare_with
from genid_store.cohort.compare import Change, Comparison
from genid_store.cohort.planning.records import Row
from genid_store.cohort.prepare import require_cohort
from genid_store.errors import counted
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, Rollout
from genid_store.stages import PIPELINE

#: "on" and "all" are the same state: its name in the variable, and in what commands print.
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
) -> None:
    """Show what another rollout state would change, without writing to the data root.

    Old id -> new id for each member, counts by stage, and which exist under either.
    """
    options = wanted_build(cohort_id)
    if options.cohort_id is not None:
        require_cohort(root, options.cohort_id)
    target = options.rollout
    is_stated = os.environ.get(FLAG) or click.get_current_context().obj.rollout is not None
    if after is not None or not is_stated:
        target = _state(after or "on", target)
    base = None if before is None else _state(before, target)
    with output.progress_bar("comparing") as progress:
        result = compare_with(root, evolve(options, rollout=target), base, progress=progress)
    stages = {stage: _counts(result, stage) for stage in PIPELINE}
    if as_json:
        changes = [
            asdict(change, recurse=False) | {"old": _id(change.old), "new": _id(change.new)}
            for change in result.changes
        ]
        output.print_json({"stages": stages, **asdict(result, recurse=False), "changes": changes})
        return
    click.echo(f"before: {result.before.label}, after: {result.after.label}")
    output.print_stages(stages)
    if result.unplanned:
        click.echo(
            f"today's tables do not plan {counted(len(result.unplanned), 'member')} of the last "
            "build; a build in any state drops them from the cohort (their generations stay)"
        )
    if held := sum(bool(change.new_held) for change in result.changes):
        print_repeats(held)
    output.print_list([_line(change) for change in result.changes], shown=output.SHOWN // 2)


def _state(name: str, scheme_of: Rollout) -> Rollout:
    return evolve(Rollout.parse("on" if name == "all" else name), scheme=scheme_of.scheme)


def _counts(result: Comparison, stage: str) -> dict[str, int]:
    changes = [change for change in result.changes if change.stage == stage]
    return {
        "members": sum(change.new is not None for change in changes),
        "changed": sum(change.changed for change in changes),
        "exist_before": sum(change.old_exists for change in changes),
        "exist_after": sum(change.new_exists for change in changes),
    }


def _id(row: Row | None) -> str | None:
    return None if row is None else row.gen_id


def _line(change: Change) -> str:
    """Return a member, with each of its ids on a line of its own, so that no terminal wraps one."""
    if not change.changed:
        return f"{change.stage} {_id(change.new)}: stays"
    old = _with_status(change.old, exists=change.old_exists)
    new = _with_status(change.new, exists=change.new_exists)
    if change.new_held:
        new += f"\n  its text is there as {change.new_held[0]}"
    return f"{change.stage} {old}\n  becomes {new}"


def _with_status(row: Row | None, *, exists: bool) -> str:
    return "none" if row is None else f"{row.gen_id}: {'exists' if exists else 'does not exist'}"
