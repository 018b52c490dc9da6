"""The verbs about single ids: `genid derive` and `genid explain`.

`derive` needs no store. `explain` says what the texts alone show, and the rest where there is a
store to look into.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from genid import REPLICATE_MAX, SCHEMES, STAGES, GenIdError, Signature, gen_id, parse_id
from genid import explain as explain_signature
from genid import scheme as find_scheme
from genid_store.cli._errors import error_record
from genid_store.cli._output import (
    data_root_option,
    json_option,
    print_json,
)
from genid_store.errors import Problem, StoreError

if TYPE_CHECKING:
    from genid_store.catalog.index.query import StoreIndex
    from genid_store.catalog.index.rows import Indexed
    from genid_store.fs.layout import DataRoot

_NUMBER: Final = "replicate"


@click.group()
def derive() -> None:
    """Compute the id that a draft, an essay or an evaluation will have."""


def _derive_command(stage: str, cls: type[Signature[Any]]) -> click.Command:
    """Return the command of one stage, with one option for each field of its signature."""

    def run(scheme: str, stdin: bool, as_json: bool, **given: Any) -> int:
        fields = {name: value for name, value in given.items() if value is not None}
        if stdin:
            if fields:
                raise click.UsageError("--stdin takes every field from its lines: give no other")
            return _derive_lines(stage, scheme, as_json)
        missing = [_option(name) for name in _required(cls) if name not in fields]
        if missing:
            raise click.UsageError(f"missing {', '.join(missing)} (or --stdin)")
        derived = _derived(stage, scheme, fields)
        print_json(derived) if as_json else click.echo(derived["gen_id"])
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
    return json_option(command)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _required(cls: type[Signature[Any]]) -> list[str]:
    return [one.name for one in attrs.fields(cls) if one.default is attrs.NOTHING]


for _stage, _cls in STAGES.items():
    derive.add_command(_derive_command(_stage, _cls))


def _derived(stage: str, scheme: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the id and how it came about. StoreError: a field is missing or unknown.
    GenIdError: a value is refused."""
    known = [attribute.name for attribute in attrs.fields(STAGES[stage])]
    missing = [name for name in _required(STAGES[stage]) if name not in fields]
    unknown = [name for name in fields if name not in known]
    problems = [
        Problem(where=f"{stage}.{name}", message="is missing", remedy=f"give {name}")
        for name in missing
    ]
    problems += [
        Problem(
            where=f"{stage}.{name}",
            message="is not a field of this stage's signature",
            value=fields[name],
            remedy=f"the fields are {', '.join(known)}",
        )
        for name in unknown
    ]
    if problems:
        raise StoreError(f"no {stage} id can be derived", problems)
    signature = STAGES[stage](**fields)
    derived: str = gen_id(signature, find_scheme(scheme))
    steps = explain_signature(signature) if scheme == "v1" else None
    return {
        "stage": stage,
        "scheme": scheme,
        "gen_id": derived,
        "fields": signature.fields(),
        **({} if steps is None else _steps(steps)),
    }


def _steps(steps: Any) -> dict[str, str]:
    return {"canonical": steps.canonical, "blake3": steps.blake3, "uuid": str(steps.uuid)}


def _derive_lines(stage: str, scheme: str, as_json: bool) -> int:
    """Derive an id for each JSON object on standard input, in order; a line that is refused gives
    an empty line (or an object with `error`), so that output and input stay side by side."""
    refused = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if not line.strip():
            continue
        derived, words = _derive_line(stage, scheme, number, line)
        if words is not None:
            refused += 1
            click.echo(f"genid: line {number}: {words}", err=True)
        if as_json:
            print_json(derived, indent=None)
        else:
            click.echo(derived.get("gen_id", ""))
    if refused:
        click.echo(f"genid: {refused} lines were refused", err=True)
    return 1 if refused else 0


def _derive_line(
    stage: str, scheme: str, number: int, line: bytes
) -> tuple[dict[str, Any], str | None]:
    """Return what a line comes to as JSON values, and in words why it is refused, if it is."""
    from genid_store.fs.jsonfile import load_object

    try:
        try:
            fields = load_object(line)
            if fields.get("stage") == stage:
                del fields["stage"]
            return _derived(stage, scheme, fields), None
        except (StoreError, GenIdError) as error:
            return {"line": number, **error_record(error)}, str(error)
    except ValueError as error:
        unread = _unread(number, error)
        return {"line": number, **error_record(unread)}, str(unread)


def _unread(number: int, error: ValueError) -> StoreError:
    """Return why a line cannot be read, as one problem."""
    if isinstance(error, UnicodeDecodeError):
        message = f"has the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
    elif isinstance(error, json.JSONDecodeError):
        message = f"is not JSON at column {error.colno}: {error.msg}"
    elif str(error).startswith("Exceeds the limit"):  # Python's protection against long numbers
        message = "has a number of thousands of digits"
    else:
        message = f"cannot be read: {error}"
    remedy = "write one JSON object in the line, each field once: a text, or a small whole number"
    problem = Problem(where=f"line {number}", message=message, remedy=remedy)
    return StoreError("the line is not a JSON object of a signature's fields", [problem])


@click.command()
@partial(data_root_option, required=False)
@json_option
@click.argument("ids", nargs=-1, required=True, metavar="ID [ID]")
def explain(root: DataRoot | None, as_json: bool, ids: tuple[str, ...]) -> int:
    """Say everything about one id, or how two differ.

    With a data root, an ID may be of any family, a prefix of at least 6 characters, an id from
    before a migration, or the deterministic id of a task that the store has under another one; it
    shows fields, derivation, expected ids, ancestors, children and duplicates. Two generations are
    followed up to where they part. Without a data root, only what the text of one shows is said.
    """
    if len(ids) > 2:
        raise click.UsageError("one id is explained, or two are compared")
    if root is None:
        if len(ids) == 2:
            raise click.UsageError(
                "an id is a digest: give --data-root to compare what two stand for"
            )
        return _explain_text(ids[0], as_json=as_json)
    if len(ids) == 2:
        return _compare(root, *ids, as_json=as_json)
    return _explain_stored(root, ids[0], as_json=as_json)


def _explain_text(text: str, *, as_json: bool) -> int:
    from genid_store.cli import _words

    shape = _words.shape_record(parse_id(text))
    print_json(shape) if as_json else _words.print_shape(shape)
    return 0


def _explain_stored(root: DataRoot, text: str, *, as_json: bool) -> int:
    from genid_store.catalog import lookup
    from genid_store.catalog.explain import explain_stored
    from genid_store.cli import _words
    from genid_store.cli._output import fresh_index

    with fresh_index(root) as index:
        records = [
            {
                "by": match.by,
                **_words.explanation_record(explain_stored(index, match.generation)),
            }
            for match in lookup.resolve(index, text)
        ]
    if as_json:
        print_json({"asked": text, "generations": records})
        return 0
    for record in records:
        _words.print_explanation(record)
    return 0


def _compare(root: DataRoot, a: str, b: str, *, as_json: bool) -> int:
    from genid_store.catalog.explain import diff_stored
    from genid_store.cli import _words
    from genid_store.cli._output import fresh_index

    with fresh_index(root) as index:
        pair = [_one(index, text, other) for text, other in ((a, b), (b, a))]
        document = _words.difference_record(diff_stored(index, *pair))
    print_json(document) if as_json else _words.print_difference(document)
    return 0


def _one(index: StoreIndex, text: str, other: str) -> Indexed:
    """Return the one generation that a text names; where it names several, the only one of the
    stage of what `other` names. StoreError: there is none, or several are left."""
    from genid_store.catalog import lookup

    found = [match.generation for match in lookup.resolve(index, text)]
    if len(found) > 1:
        stages = {match.generation.stage for match in lookup.resolve(index, other)}
        found = [one for one in found if one.stage in stages] or found
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{one.stage} {one.gen_id}" for one in found)
    problem = Problem(
        where="id", value=text, message=f"names several: {shown}", remedy="give one of these ids"
    )
    raise StoreError("two generations are compared, not more", [problem])
