"""`genid cohort compare`: what another rollout state would change, without writing anything."""

from __future__ import annotations

import os
from typing import Any, Final

import click
from attrs import evolve
from click.shell_completion import CompletionItem

from genid import SCHEMES, SchemeName
from genid_store.cli._options import cohort_option
from genid_store.cli._output import (
    SHOWN,
    data_root_option,
    json_option,
    print_json,
    print_list,
    print_table,
    progress_bar,
)
from genid_store.cohort.build import Options, compare_with
from genid_store.cohort.compare import Change, Comparison
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import known_cohort_id
from genid_store.config import Config, effective_rollout, read_config
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import FLAG, SCHEME, Rollout
from genid_store.stages import PIPELINE

_ALL: Final = "all"
_COLUMNS: Final = ("stage", "old_gen_id", "new_gen_id", "old_exists", "new_exists")


class _StateType(click.ParamType[Rollout]):
    name = "state"
    _states = ("off", "draft", "draft,essay", _ALL)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Rollout:
        if isinstance(value, Rollout):
            return value
        try:
            return Rollout.parse("on" if value == _ALL else value)
        except StoreError:
            self.fail(f"{value!r} is not a state: give one of {' '.join(self._states)}", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(state) for state in self._states if state.startswith(incomplete)]


@click.command
@data_root_option
@cohort_option
@click.option(
    "--before",
    type=_StateType(),
    help="The state to compare with: off, draft, draft,essay or all (default: the last build's, "
    "else off).",
)
@click.option(
    "--after",
    type=_StateType(),
    help=f"The state to look at (default: {FLAG}, else all).",
)
@click.option(
    "--scheme",
    type=click.Choice(list(SCHEMES)),
    help=f"The scheme of --after (default: {SCHEME}, else v1).",
)
@json_option
def compare(
    *,
    root: DataRoot,
    cohort_id: str | None,
    before: Rollout | None,
    after: Rollout | None,
    scheme: SchemeName | None,
    as_json: bool,
) -> int:
    """Say what another rollout state would change, without writing to the data root.

    Old id -> new id for each member, counts by stage, and which exist under either.
    """
    config = read_config(root)
    given = given_cohort_id(cohort_id, os.environ)
    if given is not None:
        known_cohort_id(root, Options(rollout=Rollout.OFF, cohort_id=given))
    after = _after(config, after, scheme)
    options = Options(
        rollout=after,
        cohort_id=given,
        k_max=config.k_max,
        description_level=config.description_level,
    )
    earlier = None if before is None else evolve(before, scheme=after.scheme)
    with progress_bar("comparing") as progress:
        found = compare_with(root, options, earlier, progress=progress)
    print_json(_comparison_record(found)) if as_json else _print_comparison(found)
    return 0


def _after(config: Config, state: Rollout | None, scheme: SchemeName | None) -> Rollout:
    """Return the state to look at: what was given, else what the environment or genid.toml says,
    else all.

    StoreError: a variable is not understood, or contradicts genid.toml.
    """
    around = effective_rollout(config, os.environ)
    if config.rollout is None and not os.environ.get(FLAG):
        around = Rollout.parse("on", os.environ.get(SCHEME))
    return evolve(state or around, scheme=scheme or around.scheme)


def _print_comparison(found: Comparison) -> None:
    click.echo(f"before: {found.before.label}, after: {found.after.label}")
    counts = [tuple(row.values()) for row in _stage_counts(found)]
    print_table(("stage", "members", "ids that differ", "exist before", "exist after"), counts)
    if found.unplanned:
        click.echo(
            f"{len(found.unplanned)} members of the last build are not planned by today's tables; "
            "a build in any state drops them from the cohort (their generations stay)"
        )
    print_list([_line(one) for one in found.changes], shown=SHOWN // 2)


def _line(change: Change) -> str:
    """Return a member with each of its ids on a line of its own, so that no terminal breaks one."""
    stage, old, new, old_exists, new_exists = _row(change)
    if old == new:
        return f"{stage} {new}: stays"
    there = {True: "is there", False: "is not there"}
    return "\n".join(
        f"{name} {gen_id}: {there[exists]}" if gen_id else f"{name} none"
        for name, gen_id, exists in ((stage, old, old_exists), ("  becomes", new, new_exists))
    )


def _comparison_record(found: Comparison) -> dict[str, Any]:
    return {
        "before": {"rollout": found.before.label, "scheme": found.before.scheme},
        "after": {"rollout": found.after.label, "scheme": found.after.scheme},
        "stages": {row.pop("stage"): row for row in _stage_counts(found)},
        "unplanned": len(found.unplanned),
        "members": [dict(zip(_COLUMNS, _row(one), strict=True)) for one in found.changes],
    }


def _stage_counts(found: Comparison) -> list[dict[str, Any]]:
    changed = found.changed()
    return [
        {
            "stage": stage,
            "members": sum(one.stage == stage and one.new is not None for one in found.changes),
            "changed": changed[stage],
            "exist_before": sum(one.stage == stage and one.old_exists for one in found.changes),
            "exist_after": sum(one.stage == stage and one.new_exists for one in found.changes),
        }
        for stage in PIPELINE
    ]


def _row(change: Change) -> tuple[str, str | None, str | None, bool, bool]:
    old = None if change.old is None else change.old.gen_id
    new = None if change.new is None else change.new.gen_id
    return change.stage, old, new, change.old_exists, change.new_exists
