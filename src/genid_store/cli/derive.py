"""`genid derive`: the id of a task from its fields; no store is needed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import attrs
import click

from genid import REPLICATE_MAX, SCHEMES, STAGES, GenIdError, Signature, gen_id
from genid import explain as explain_signature
from genid import scheme as find_scheme
from genid_store.cli import _output as output
from genid_store.errors import Problem, StoreError

_NUMBER: Final = "replicate"


class _Stages(click.Group):
    """One command for each stage; genid.toml is read for a stage that is not declared otherwise."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STAGES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        folder = ctx.params.get("root")
        if cmd_name not in STAGES and folder is not None:
            output.DataRootType().convert(folder, self.params[0], ctx)
        return _derive_command(cmd_name, STAGES[cmd_name]) if cmd_name in STAGES else None


@click.group(cls=_Stages)
@click.option(
    "--data-root",
    "root",
    type=click.Path(),
    envvar="GENID_DATA_ROOT",
    show_envvar=True,
    help="The data root whose genid.toml names the module of a further stage.",
)
def derive(root: str | None) -> None:
    """Compute the id that a draft, an essay or an evaluation will have, or a generation of a stage
    of your own."""


def _derive_command(stage: str, cls: type[Signature[Any]]) -> click.Command:
    """Return the command of one stage, with one option for each field of its signature."""

    def run(scheme: str, stdin: bool, as_json: bool, **options: Any) -> int:
        fields = {name: value for name, value in options.items() if value is not None}
        if stdin:
            if fields:
                raise click.UsageError("--stdin takes every field from its lines: give no other")
            return _derive_lines(stage, scheme, as_json)
        missing = [_option(name) for name in _required(cls) if name not in fields]
        if missing:
            raise click.UsageError(f"missing {', '.join(missing)} (or --stdin)")
        record = _derive(stage, scheme, fields)
        output.print_json(record) if as_json else click.echo(record["gen_id"])
        return 0

    command = click.command(name=stage, help=f"Compute the id of one {stage}, or of many.")(run)
    for attribute in attrs.fields(cls):
        kind = click.IntRange(1, REPLICATE_MAX) if attribute.name == _NUMBER else click.STRING
        note = "" if attribute.default is attrs.NOTHING else " (may be left out)"
        click.option(
            _option(attribute.name), type=kind, help=f"The {stage}'s {attribute.name}{note}."
        )(command)
    click.option(
        "--scheme",
        type=click.Choice(list(SCHEMES)),
        default=next(iter(SCHEMES)),
        show_default=True,
        help="How the id is derived.",
    )(command)
    help_stdin = "Read JSON objects, one a line, and print one id (or JSON object) for each."
    click.option("--stdin", is_flag=True, help=help_stdin)(command)
    return output.json_option(command)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _required(cls: type[Signature[Any]]) -> list[str]:
    return [attribute.name for attribute in attrs.fields(cls) if attribute.default is attrs.NOTHING]


def _derive(stage: str, scheme: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an id and the steps of its derivation.

    Raises:
        StoreError: a field is missing or unknown.
        GenIdError: a value is refused.
    """
    cls = STAGES[stage]
    known = [attribute.name for attribute in attrs.fields(cls)]
    problems = [
        Problem(where=f"{stage}.{name}", message="is missing", remedy=f"give {name}")
        for name in _required(cls)
        if name not in fields
    ]
    problems += [
        Problem(
            where=f"{stage}.{name}",
            message="is not a field of this stage's signature",
            value=value,
            remedy=f"the fields are {', '.join(known)}",
        )
        for name, value in fields.items()
        if name not in known
    ]
    if problems:
        raise StoreError(f"no {stage} id can be derived", problems)
    signature = cls(**fields)
    record = {
        "stage": stage,
        "scheme": scheme,
        "gen_id": gen_id(signature, find_scheme(scheme)),
        "fields": signature.fields(),
    }
    if scheme == "v1":
        steps = explain_signature(signature)
        record |= {"canonical": steps.canonical, "blake3": steps.blake3, "uuid": steps.uuid}
    return record


def _derive_lines(stage: str, scheme: str, as_json: bool) -> int:
    """Derive an id for each JSON object on standard input, in order.

    A refused line gives an empty line (or an object with `error`), so that output and input can be
    pasted side by side.
    """
    from genid_store.cli._values import values

    refused = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if not line.strip():
            continue
        try:
            record = _derive(stage, scheme, _parse_line(stage, number, line))
        except (StoreError, GenIdError) as error:
            refused += 1
            click.echo(f"genid: line {number}: {error}", err=True)
            record = {"line": number, **values(error)}
        if as_json:
            output.print_json(record, indent=None)
        else:
            click.echo(record.get("gen_id", ""))
    if refused:
        click.echo(f"genid: {refused} lines were refused", err=True)
    return 1 if refused else 0


def _parse_line(stage: str, number: int, line: bytes) -> dict[str, Any]:
    """Return the fields in a line. StoreError: it is not a JSON object."""
    from genid_store.fs.jsonfile import load_object

    try:
        fields = load_object(line)
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            message = f"has the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        elif isinstance(error, json.JSONDecodeError):
            message = f"is not JSON at column {error.colno}: {error.msg}"
        elif str(error).startswith("Exceeds the limit"):  # Python's own, against long numbers
            message = "has a number of thousands of digits"
        else:
            message = f"cannot be read: {error}"
        summary = "the line is not a JSON object of a signature's fields"
        remedy = (
            "write one JSON object in the line, each field once: a text, or a small whole number"
        )
        raise StoreError.of(summary, f"line {number}", message, remedy) from error
    if fields.get("stage") == stage:
        del fields["stage"]
    return fields
