"""How the commands show what a run left: what failed, and what is in a batch at a provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from genid_store.catalog.index.query import StoreIndex
from genid_store.cli import _output as output
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import open_batches
from genid_store.generation.records import Outcome


def batch_records(
    root: DataRoot, members: Iterable[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Return the open batches as JSON values; with `members`, (stage, id), those that have the task
    of one of them, under whatever id it was asked for.

    StoreError: the index, which says whose task is whose, cannot be used.
    """
    found = open_batches(root)
    if members is None or not found:
        return [one.record() for one in found]
    names: dict[str, set[str | None]] = {}
    with StoreIndex.fresh(root) as index:
        for member in members:
            known = index.get(*member)
            task = None if known is None else known.expected["v1"]
            names.setdefault(member[0], set()).update((member[1], task))
    return [one.record() for one in found if one.holds(one.stage, names.get(one.stage, ()))]


def failure_records(failed: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return what failed or could not be parsed as JSON values."""
    return [
        {"stage": one.stage, "gen_id": one.gen_id, "state": one.kind, "reason": one.reason}
        for one in failed
    ]


#: What a run is to be asked for what is in a state.
_AGAIN: Final = {
    "failed": "--retry-failed tries again what failed",
    "unparsed": "--retry-unparsed asks again for what was not parsed",
}


def print_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Print what failed and why, in a former run last."""
    for former, note in ((False, ""), (True, " in a former run")):
        found = [one for one in failures if one.get("former_run", False) == former]
        output.print_list([f"{one['state']}{note}: {described(one)}" for one in found])


def print_remedies(failures: Sequence[Mapping[str, Any]]) -> None:
    """Print what makes a run try again what failed."""
    states = {one["state"] for one in failures}
    for remedy in (words for state, words in _AGAIN.items() if state in states):
        click.echo(remedy)


def described(one: Mapping[str, Any]) -> str:
    """Return a member's id and why it is not made."""
    return f"{one['stage']} {one['gen_id']}: {one['reason']}"


def print_batches(records: Sequence[Mapping[str, Any]]) -> None:
    """Print where each batch stands, and how it is gone on with."""
    for one in records:
        if one["state"] == "unreadable":
            click.echo(f"batch {one['key']}: its record cannot be read")
            continue
        done = f"{one['done']} of {one['members']} done"
        click.echo(f"in a batch since {one['since']}: {one['stage']}, {done}\n  key {one['key']}")
        if one["batch"] is not None:
            click.echo(f"  at the provider {one['batch']}")
    if records:
        click.echo(
            "the next run with the batch object collects them; `genid batch cancel` gives one up"
        )
