"""How the commands show what a run left: failures, and batches at a provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from genid_store.catalog.index.query import StoreIndex
from genid_store.cli import _output as output
from genid_store.errors import counted
from genid_store.fs.layout import DataRoot
from genid_store.generation.batches import open_batches
from genid_store.generation.records import Outcome


def batch_records(
    root: DataRoot, members: Iterable[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """Return the open batches as JSON values; with `members`, (stage, id), only those that hold a
    task of one of them, under any id.

    StoreError: the index, which tells the members' tasks, cannot be used.
    """
    batches = open_batches(root)
    if members is not None and batches:
        names: dict[str, set[str | None]] = {}
        with StoreIndex.fresh(root) as index:
            for stage, gen_id in members:
                known = index.get(stage, gen_id)
                task = None if known is None else known.expected["v1"]
                names.setdefault(stage, set()).update((gen_id, task))
        batches = [one for one in batches if one.holds(one.stage, names.get(one.stage, ()))]
    return [batch.record() for batch in batches]


def failure_records(failed: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return the members that failed or could not be parsed as JSON values."""
    return [
        {"stage": one.stage, "gen_id": one.gen_id, "state": one.kind, "reason": one.reason}
        for one in failed
    ]


#: The option that retries the members in a state.
_RETRIES: Final = {
    "failed": "--retry-failed retries what failed",
    "unparsed": "--retry-unparsed retries what was not parsed",
}


def print_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Print what failed and why, the failures of former runs last."""
    for former, note in ((False, ""), (True, " in a former run")):
        chosen = [failure for failure in failures if failure.get("former_run", False) == former]
        output.print_list([f"{failure['state']}{note}: {described(failure)}" for failure in chosen])


def print_remedies(failures: Sequence[Mapping[str, Any]]) -> None:
    """Print the options that retry what failed."""
    states = {failure["state"] for failure in failures}
    for state, remedy in _RETRIES.items():
        if state in states:
            click.echo(remedy)


def print_repeats(count: int) -> None:
    """Print how many members have their text under another id, and how they get it."""
    click.echo(
        f"text under another id: {counted(count, 'member')}; `genid cohort run` gives it to those "
        "with deterministic ids, with --reuse to legacy ones too"
    )


def described(record: Mapping[str, Any]) -> str:
    """Return a member's id and why it is not made."""
    return f"{record['stage']} {record['gen_id']}: {record['reason']}"


def print_batches(records: Sequence[Mapping[str, Any]]) -> None:
    """Print the status of each batch, and how to continue it."""
    for record in records:
        if record["state"] == "unreadable":
            click.echo(f"batch {record['key']}: its record cannot be read")
            continue
        done = f"{record['done']} of {record['members']} done"
        click.echo(f"in a batch since {record['since']}: {record['stage']}, {done}")
        click.echo(f"  key {record['key']}")
        if record["batch"] is not None:
            click.echo(f"  at the provider {record['batch']}")
        if record["error"] is not None:
            click.echo(f"  not submitted so far: {record['error']}")
    if records:
        click.echo(
            "the next run with the batch object collects them; `genid batch cancel` cancels one"
        )
