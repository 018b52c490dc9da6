"""`genid batch`: the batches at a provider."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from genid_store.cli import _output as output
from genid_store.cli._unmade import batch_records, print_batches
from genid_store.cohort.inputs.tables import provider_models
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.batch import BatchHost, Batching
from genid_store.generation.batches import kept_aside
from genid_store.generation.load import load_host
from genid_store.generation.once import Executor
from genid_store.generation.records import Generator, never_called


class HostType(click.ParamType[Any]):
    """The name of a host's callable or batch object, which is imported."""

    name = "MODULE:CALLABLE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Generator | BatchHost:
        if not isinstance(value, str):
            host: Generator | BatchHost = value
            return host
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
    """List and cancel the batches at a provider.

    `genid cohort run` with the host's batch object submits and collects them.
    """


@batch.command("list", short_help="List the batches at a provider, and answers kept aside.")
@output.store_options
def list_command(root: DataRoot, as_json: bool) -> int:
    """List the batches at a provider, and the answers that belong to no member, which are kept in
    `.genid/batches/aside`. The provider is not contacted."""
    records = batch_records(root)
    aside = [root.relative(path) for path in kept_aside(root)]
    if as_json:
        output.print_json({"batches": records, "kept_aside": aside})
        return 0
    print_batches(records)
    for path in aside:
        click.echo(f"kept aside: {path}")
    return 0


@batch.command(short_help="Cancel a batch; its finished rows are kept.")
@output.data_root_option
@click.argument("key")
@click.option(
    "--generate",
    type=HostType(),
    required=True,
    help="The host's batch object, MODULE:NAME or FILE.py:NAME.",
)
def cancel(root: DataRoot, key: str, generate: BatchHost) -> int:
    """Cancel the batch KEY at the provider. Its finished rows are collected, the others failed.

    --retry-failed requests those again. Until the provider has ended the batch, its members stay in
    it, and the next run collects it.
    """
    executor = Executor(root=root, generator=never_called, provider_models=provider_models(root))
    batching = Batching(executor=executor, host=generate, report=lambda outcome: None)
    if batching.cancel(key):
        click.echo(f"batch {key} is over")
    else:
        click.echo(f"batch {key} is being cancelled; the next run collects its finished rows")
    return 0
