"""`genid rollout`: the last step of a rollout."""

from __future__ import annotations

import os

import click

from genid_store.cli import _output as output
from genid_store.config import NAME, Config, effective_rollout, write_rollout
from genid_store.errors import Problem, StoreError, counted
from genid_store.fs.layout import DataRoot
from genid_store.generation.status import legacy_left
from genid_store.ids.rollout import FLAG


@click.group()
def rollout() -> None:
    """Finish the rollout; `genid report` shows where it stands."""


@rollout.command(short_help="Let the data root remember the rollout.")
@output.store_options
def finish(root: DataRoot, as_json: bool) -> None:
    """Write the rollout of the environment into genid.toml: no terminal needs the variable then.

    Refused while a cohort has a member with a legacy id that is still to be made.
    """
    config: Config = click.get_current_context().obj
    state = effective_rollout(config, os.environ)
    if not state.stages:
        remedy = "set it to the stages that the rollout covers"
        raise StoreError.of("there is no rollout to finish", FLAG, "is off", remedy)
    if members := legacy_left(root, state):
        message = "is a member with a legacy id and is still to be made"
        remedy = "build its cohort again under the flag, or migrate the store"
        problems = [
            Problem(where=f"{stage} {gen_id}", message=message, remedy=remedy)
            for stage, gen_id in members
        ]
        count = counted(len(members), "member")
        raise StoreError(f"{count} would still be made under legacy ids", problems)
    write_rollout(root, config, state)
    if as_json:
        output.print_json({"file": NAME, "stages": list(state.stages), "scheme": state.scheme})
    else:
        click.echo(f"{NAME} says rollout {state.label} ({state.scheme}); {FLAG} can be unset")
