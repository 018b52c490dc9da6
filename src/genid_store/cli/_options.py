"""Options that several commands share: about cohorts, and about what Dagster has of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from genid_store.cohort.inputs.combos import DEFAULT_DESCRIPTION_LEVEL, DEFAULT_K_MAX

Command = TypeVar("Command", bound=Callable[..., Any])

_BUILD_OPTIONS = (
    click.option(
        "--k-max",
        default=DEFAULT_K_MAX,
        show_default=True,
        type=click.IntRange(min=1),
        help="How many active concepts make the combo, where none is selected.",
    ),
    click.option(
        "--description-level",
        default=DEFAULT_DESCRIPTION_LEVEL,
        show_default=True,
        help="The description level of that combo.",
    ),
    click.option(
        "--write-combos",
        is_flag=True,
        help="Write selected_combo_mappings.csv anew although it is there.",
    ),
    click.option(
        "--forbid-regeneration",
        is_flag=True,
        help="Refuse where the store has a member's work under another id.",
    ),
    click.option(
        "--rebuild-migrated",
        is_flag=True,
        help="Rebuild a migrated cohort from the tables.",
    ),
)
_BUILD = ("k_max", "description_level", "write_combos", "forbid_regeneration", "rebuild_migrated")


def cohort_option(command: Command) -> Command:
    """Add `--cohort-id`; without it DD_COHORT says, else the tables."""
    return click.option(
        "--cohort-id",
        shell_complete=complete_cohort,
        help="The cohort (default: DD_COHORT, else computed from the tables).",
    )(command)


def complete_cohort(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the cohorts of the data root that begin so; none where there is no data root."""
    root = ctx.params.get("root")
    try:
        names = [] if root is None else os.listdir(root.cohorts)
    except OSError:
        names = []
    return sorted(name for name in names if name.startswith(incomplete))


def build_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a build can be told; the command gets it as one mapping, `options`."""

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        options = {name: values.pop(name) for name in _BUILD}
        return command(options=options, **values)

    for option in reversed(_BUILD_OPTIONS):
        option(wrapped)
    return wrapped


def partition_option(command: Command) -> Command:
    """Add the prefix of the partition sets that a project has mounted."""
    return click.option(
        "--partition-prefix", "partitions", default="", help="Prefix of the partition sets."
    )(command)


def mount_options(command: Command) -> Command:
    """Add the prefixes under which a project has mounted the definitions."""
    command = partition_option(command)
    return click.option(
        "--asset-prefix", "assets", default="", help="Key prefix of the assets, parts joined by /."
    )(command)


def instance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `hooks.after_change` takes; the command gets it as one mapping, `instance`."""

    @functools.wraps(command)
    def wrapped(*, no_dagster: bool, assets: str, partitions: str, **values: Any) -> Any:
        instance = {
            "enabled": not no_dagster,
            "asset_prefix": asset_prefix(assets),
            "partition_prefix": partitions,
        }
        return command(instance=instance, **values)

    option = click.option("--no-dagster", is_flag=True, help="Leave Dagster's records as they are.")
    return mount_options(option(wrapped))


def asset_prefix(text: str) -> tuple[str, ...]:
    """Return the parts of an asset key prefix."""
    return tuple(part for part in text.split("/") if part)
