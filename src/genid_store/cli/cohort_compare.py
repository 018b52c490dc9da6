"""`genid cohort compare`: what another rollout state would change, without writing anything."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

import click
from attrs import evolve

from genid_store.cli import _output as output
from genid_store.cli._options import cohort_option
from genid_store.cohort.build import Options, compare_with
from genid_store.cohort.compare import Comparison
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import known_cohort_id
from genid_store.config import effective_rollout, read_config
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, SCHEME, Rollout
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
    config = read_config(root)
    given = given_cohort_id(cohort_id, os.environ)
    if given is not None:
        known_cohort_id(root, Options(rollout=Rollout.OFF, cohort_id=given))
    here = effective_rollout(config, os.environ)
    if config.rollout is None and not os.environ.get(FLAG):
        here = Rollout.parse("on", os.environ.get(SCHEME))
    options = Options(
        rollout=here if after is None else _state(after, here),
        cohort_id=given,
        k_max=config.k_max,
        description_level=config.description_level,
    )
    earlier = None if before is None else _state(before, here)
    with output.progress_bar("comparing") as progress:
        found = compare_with(root, options, earlier, progress=progress)
    record = _comparison_record(found)
    output.print_json(record) if as_json else _print_comparison(record)
    return 0


def _state(name: str, here: Rollout) -> Rollout:
    return evolve(Rollout.parse("on" if name == "all" else name), scheme=here.scheme)


def _comparison_record(found: Comparison) -> dict[str, Any]:
    return {
        "before": {"rollout": found.before.label, "scheme": found.before.scheme},
        "after": {"rollout": found.after.label, "scheme": found.after.scheme},
        "stages": {stage: _counts(found, stage) for stage in PIPELINE},
        "unplanned": len(found.unplanned),
        "members": [
            {
                "stage": one.stage,
                "old_gen_id": one.old and one.old.gen_id,
                "new_gen_id": one.new and one.new.gen_id,
                "old_exists": one.old_exists,
                "new_exists": one.new_exists,
            }
            for one in found.changes
        ],
    }


def _counts(found: Comparison, stage: str) -> dict[str, int]:
    changes = [one for one in found.changes if one.stage == stage]
    return {
        "members": sum(one.new is not None for one in changes),
        "changed": sum(one.changed for one in changes),
        "exist_before": sum(one.old_exists for one in changes),
        "exist_after": sum(one.new_exists for one in changes),
    }


def _print_comparison(record: Mapping[str, Any]) -> None:
    click.echo(f"before: {record['before']['rollout']}, after: {record['after']['rollout']}")
    output.print_stages(record["stages"])
    if record["unplanned"]:
        click.echo(
            f"{record['unplanned']} members of the last build are not planned by today's tables; "
            "a build in any state drops them from the cohort (their generations stay)"
        )
    output.print_list([_line(one) for one in record["members"]], shown=output.SHOWN // 2)


def _line(one: Mapping[str, Any]) -> str:
    """Return a member with each of its ids on a line of its own, so that no terminal breaks one."""
    if one["old_gen_id"] == one["new_gen_id"]:
        return f"{one['stage']} {one['new_gen_id']}: stays"
    there = {True: "is there", False: "is not there"}
    return "\n".join(
        f"{name} {gen_id}: {there[exists]}" if gen_id else f"{name} none"
        for name, gen_id, exists in (
            (one["stage"], one["old_gen_id"], one["old_exists"]),
            ("  becomes", one["new_gen_id"], one["new_exists"]),
        )
    )
