"""`genid batch`: the batches that are out at a provider."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from genid_store.cli import _output as output
from genid_store.cli._unmade import batch_records, print_batches
from genid_store.cohort.inputs.tables import provider_models
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation import Executor, Generator
from genid_store.generation.batch import BatchHost, Batching
from genid_store.generation.batches import kept_aside
from genid_store.generation.load import load_host
from genid_store.generation.records import nobody


class HostType(click.ParamType[Any]):
    """A host's callable or batch object, by its name."""

    name = "MODULE:CALLABLE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Generator | BatchHost:
        if not isinstance(value, str):
            found: Generator | BatchHost = value
            return found
        try:
            return load_host(value, where="--generate")
        except StoreError as error:
            raise click.BadParameter(str(error), ctx=ctx, param=param) from error

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="file")]


@click.group()
def batch() -> None:
    """List and cancel the batches that are out at a provider.

    `genid cohort run` with the host's batch object submits and collects them.
    """


@batch.command("list", short_help="List the batches that are out, and what was kept aside.")
@output.store_options
def list_command(root: DataRoot, as_json: bool) -> int:
    """List the batches that are out, and the answers that belong to no member, which are kept in
    `.genid/batches/aside`. The provider is not asked."""
    records = batch_records(root)
    aside = [root.relative(path) for path in kept_aside(root)]
    if as_json:
        output.print_json({"batches": records, "kept_aside": aside})
        return 0
    print_batches(records)
    for path in aside:
        click.echo(f"kept aside: {path}")
    return 0


@batch.command(short_help="Give up a batch; what it has done is kept.")
@output.data_root_option
@click.argument("key")
@click.option(
    "--generate",
    type=HostType(),
    required=True,
    help="The host's batch object, MODULE:NAME or FILE.py:NAME.",
)
def cancel(root: DataRoot, key: str, generate: BatchHost) -> int:
    """Give up the batch KEY at the provider; what it has done is collected, the rest failed.

    --retry-failed asks again for that. A provider may take its time: until it has ended the batch,
    its members stay in it, and the next run collects.
    """
    executor = Executor(root=root, generator=nobody, provider_models=provider_models(root))
    batching = Batching(executor=executor, host=generate, report=lambda outcome: None)
    if batching.cancel(key):
        click.echo(f"batch {key} is over")
    else:
        click.echo(f"batch {key} is being cancelled; the next run collects what it has done")
    return 0
