"""Options that several commands share: about cohorts, and about what Dagster has of them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import Options
from genid_store.config import effective_rollout, read_config
from genid_store.fs.layout import DataRoot

Command = TypeVar("Command", bound=Callable[..., Any])

_BUILD_OPTIONS = (
    click.option(
        "--k-max",
        type=click.IntRange(min=1),
        help="How many active concepts make the combo, where none is selected (default: that of "
        "genid.toml, else 6).",
    ),
    click.option(
        "--description-level",
        help="The description level of that combo (default: that of genid.toml, else paragraph).",
    ),
    click.option(
        "--write-combos",
        is_flag=True,
        help="Replace selected_combo_mappings.csv by that combo.",
    ),
    click.option(
        "--forbid-regeneration",
        is_flag=True,
        help="Refuse where the store has a member's work under another id.",
    ),
    click.option(
        "--drop",
        is_flag=True,
        help="Let texts leave the cohort that today's tables do not plan any more.",
    ),
    click.option(
        "--max-rows",
        type=click.IntRange(min=1),
        help="Confirm a plan of up to this many rows (default: 1,000,000).",
    ),
)


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


def build_options(command: Command) -> Command:
    """Add what a build can be asked for; the command gets it beside its own parameters."""
    for option in reversed(_BUILD_OPTIONS):
        command = option(command)
    return command


def wanted_build(
    root: DataRoot, cohort_id: str | None, options: Mapping[str, Any] | None = None
) -> Options:
    """Return what a build is asked: by options, else by the environment, else by genid.toml.

    StoreError: genid.toml or a variable is not understood, or the two contradict each other.
    """
    config = read_config(root)
    values = {key: value for key, value in (options or {}).items() if value is not None}
    combos = {"k_max": config.k_max, "description_level": config.description_level}
    return Options(
        rollout=effective_rollout(config, os.environ),
        cohort_id=given_cohort_id(cohort_id, os.environ),
        **{**combos, **values},
    )


def partition_option(command: Command) -> Command:
    """Add the prefix of the partition sets that a project has mounted."""
    return click.option(
        "--partition-prefix", "partitions", default="", help="Prefix of the partition sets."
    )(command)


def mount_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how a project has mounted the definitions; the command gets it as one mapping, `mount`,
    of what `genid_dagster_adapter.sync.follow` takes."""

    @functools.wraps(command)
    def wrapped(*, translator: str | None, assets: str, partitions: str, **values: Any) -> Any:
        mount = {
            "translator": translator,
            "asset_prefix": tuple(filter(None, assets.split("/"))),
            "partition_prefix": partitions,
        }
        return command(mount=mount, **values)

    translated = click.option(
        "--translator",
        metavar="NAME",
        help="Host's translator of asset keys (MODULE:CLASS or FILE.py:CLASS).",
    )
    return click.option(
        "--asset-prefix", "assets", default="", help="Key prefix of the assets, parts joined by /."
    )(translated(partition_option(wrapped)))


def instance_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `hooks.after_change` takes; the command gets it as one mapping, `instance`."""

    @functools.wraps(command)
    def wrapped(*, no_dagster: bool, mount: dict[str, Any], **values: Any) -> Any:
        return command(instance={"enabled": not no_dagster, **mount}, **values)

    option = click.option("--no-dagster", is_flag=True, help="Leave Dagster's records as they are.")
    return mount_options(option(wrapped))
