"""Options that several commands share: about cohorts, and about Dagster's records of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click
from attrs import fields_dict

from genid_store.cli._output import progress_bar
from genid_store.cohort.manifest import given_cohort_id
from genid_store.cohort.prepare import Options
from genid_store.config import Config, effective_rollout
from genid_store.fs.layout import DataRoot
from genid_store.hooks import after_change

Command = TypeVar("Command", bound=Callable[..., Any])


def _all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return one decorator that adds several options, shown in this order by `--help`."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def complete_cohort(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the cohorts of the data root whose ids begin like this; none without a data root."""
    root = ctx.params.get("root")
    try:
        names = [] if root is None else os.listdir(root.cohorts)
    except OSError:
        names = []
    return sorted(name for name in names if name.startswith(incomplete))


cohort_option: Final = click.option(
    "--cohort-id",
    shell_complete=complete_cohort,
    help="The cohort (default: DD_COHORT, else computed from the tables).",
)
#: The options of a build, named like the fields of `Options`.
build_options: Final = _all_of(
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
#: How a project names the assets and partition sets: arguments of `hooks.follow`.
partition_option: Final = click.option(
    "--partition-prefix", default="", help="Prefix of the partition sets."
)
mount_options: Final = _all_of(
    click.option(
        "--asset-prefix",
        default="",
        callback=lambda ctx, param, text: tuple(filter(None, text.split("/"))),
        help="Key prefix of the assets, parts joined by /.",
    ),
    click.option(
        "--translator",
        metavar="NAME",
        help="Host's translator of asset keys (MODULE:CLASS or FILE.py:CLASS).",
    ),
    partition_option,
)


def _without_dagster(effect: str) -> Callable[[Command], Command]:
    return click.option(
        "--no-dagster", "enabled", flag_value=False, default=True, help=f"{effect}."
    )


#: The same for a command after which Dagster's records are synchronized; see `let_follow`.
instance_options: Final = _all_of(
    mount_options, _without_dagster("Leave Dagster's records as they are")
)
#: For a command that compares Dagster's partition keys with the members: `hooks.partition_keys`.
keys_options: Final = _all_of(
    partition_option, _without_dagster("Do not look at Dagster's partition keys")
)


def wanted_build(cohort_id: str | None, options: Mapping[str, Any] | None = None) -> Options:
    """Return the options of a build: from the command line, else the environment, else genid.toml.

    StoreError: a variable is not understood, or contradicts genid.toml.
    """
    config: Config = click.get_current_context().obj
    values: dict[str, Any] = {"k_max": config.k_max, "description_level": config.description_level}
    for name in fields_dict(Options):
        if options is not None and options.get(name) is not None:
            values[name] = options[name]
    return Options(
        rollout=effective_rollout(config, os.environ),
        cohort_id=given_cohort_id(cohort_id, os.environ),
        **values,
    )


def let_follow(root: DataRoot, options: Mapping[str, Any]) -> list[str]:
    """Bring Dagster's records level after a change, as `instance_options` ask; return messages."""
    names = ("enabled", "translator", "asset_prefix", "partition_prefix")
    with progress_bar("Dagster's records") as progress:
        return after_change(root, progress=progress, **{name: options[name] for name in names})
