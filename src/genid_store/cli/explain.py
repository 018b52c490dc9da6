"""`genid explain`: what an id shows by itself, and what a store knows about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from attrs import asdict

from genid import parse_id
from genid_store.cli import _output as output
from genid_store.cli._screen import written_out_line

if TYPE_CHECKING:
    from genid_store.catalog.explain import StoreDifference, StoreExplanation
    from genid_store.catalog.index.rows import Indexed
    from genid_store.catalog.lookup import How
    from genid_store.fs.layout import DataRoot

_CONTENT: Final = {True: "yes", False: "no", None: "unknown"}
_FIELDS: Final = ("parent_gen_id", "combo_id", "template_id", "llm_model_id", "replicate")


@click.command()
@partial(output.data_root_option, required=False)
@output.json_option
@click.argument("ids", nargs=-1, required=True, metavar="ID [ID]")
def explain(root: DataRoot | None, as_json: bool, ids: tuple[str, ...]) -> None:
    """Show everything about one id, or how two differ.

    With a data root, an ID may be of any family, a prefix of at least 6 characters, an id from
    before a migration, or the deterministic id of a task that the store has under another one; it
    shows fields, derivation, expected ids, ancestors, children and duplicates. Two generations are
    followed up to where they part. Without a data root, it shows what the id itself tells.
    """
    if len(ids) > 2:
        raise click.UsageError("one id is explained, or two are compared")
    if root is None and len(ids) == 2:
        raise click.UsageError("an id is a digest: give --data-root to compare what two stand for")
    if root is None:
        parsed = parse_id(ids[0])
        shape = {name: getattr(parsed, name) for name in ("family", "stage", "uuid")}
        shape = {"id": parsed.text, **shape}
        if as_json:
            output.print_json(shape)
            return
        _print_pairs(list(shape.items()))
        click.echo("this is all that the text shows; give --data-root DIR to look it up")
    elif len(ids) == 2:
        _explain_difference(root, *ids, as_json=as_json)
    else:
        _explain_one(root, ids[0], as_json=as_json)


def _print_pairs(pairs: list[tuple[str, object]]) -> None:
    """Print names and values side by side, without the pairs whose value is None."""
    pairs = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:{width}}  {written_out_line(value)}")


def _explain_one(root: DataRoot, text: str, *, as_json: bool) -> None:
    from genid_store.catalog.explain import explain_stored
    from genid_store.catalog.lookup import resolve

    with output.fresh_index(root) as index:
        explained = [
            (match.by, explain_stored(index, match.generation)) for match in resolve(index, text)
        ]
    if as_json:
        records = [{"by": by, **asdict(found, recurse=False)} for by, found in explained]
        output.print_json({"asked": text, "generations": records})
        return
    for by, found in explained:
        _print_explanation(by, found)


def _print_explanation(by: How, found: StoreExplanation) -> None:
    from genid_store.catalog.metadata import stage_fields

    generation, derived = found.generation, found.fresh
    recomputes = "yes" if generation.recomputes else "no"
    values = {**asdict(generation, recurse=False), **generation.others}
    names = (*_FIELDS, "origin_cohort_id", "mode", *stage_fields(generation.stage).others)
    pairs: list[tuple[str, object]] = [
        ("stage", generation.stage),
        ("id", generation.gen_id),
        ("family", f"{generation.family} (recomputes from its metadata: {recomputes})"),
        ("found by", None if by == "id" else by),
        *((name, values.get(name)) for name in names),
        ("content", _CONTENT[generation.known_content]),
        *((f"{scheme} id", expected or "none") for scheme, expected in generation.expected.items()),
        *(("id before", previous) for previous in generation.previous_gen_ids),
    ]
    if derived is not None:
        pairs += [("canonical", derived.canonical), ("BLAKE3", derived.blake3)]
    pairs += [("coerced", text) for text in generation.coerced]
    pairs += [("problem", problem) for problem in generation.problems]
    _print_pairs(pairs)
    _print_related("ancestors", found.ancestors)
    _print_related("children", found.children)
    _print_related("the same task", found.duplicates)


def _print_related(title: str, related: Sequence[Indexed]) -> None:
    if related:
        click.echo(f"\n{title}: {len(related)} (where it differs, with the v1 id)")
        output.print_list([_line(generation) for generation in related], indent="  ")


def _line(generation: Indexed) -> str:
    """Return a generation as one line of at most 80 columns, with its v1 id if that is another."""
    v1 = generation.expected["v1"]
    also = "" if v1 in (None, generation.gen_id) else f" ({v1})"
    return f"{generation.stage} {generation.gen_id}{also}"


def _explain_difference(root: DataRoot, a: str, b: str, *, as_json: bool) -> None:
    from genid_store.catalog.explain import diff_stored, named

    with output.fresh_index(root) as index:
        found = diff_stored(index, named(index, a, b), named(index, b, a))
    if as_json:
        derived = {name: getattr(found, name) for name in ("same_task", "cause", "inherited")}
        output.print_json({**asdict(found, recurse=False), **derived})
    else:
        _print_difference(found)


def _print_difference(found: StoreDifference) -> None:
    a, b, cause = found.a, found.b, found.cause
    click.echo(f"a: {a.stage} {a.gen_id}\nb: {b.stage} {b.gen_id}")
    if a.stage != b.stage:
        click.echo(f"they are of different stages: {a.stage} and {b.stage}")
    elif a.gen_id == b.gen_id:
        click.echo("the same generation")
        return
    if cause is not None:
        inherited = f": the {a.stage}s differ only because their {cause.stage}s do"
        click.echo(f"they part at the {cause.stage}{inherited if found.inherited else ''}")
    elif found.same_task:
        click.echo("the same task and replicate; only how the ids were made differs")
    for level in found.levels:
        if level.differences:
            click.echo(f"\n{level.stage} {level.a.gen_id} and {level.b.gen_id}")
            output.print_table([asdict(difference) for difference in level.differences])
    rows = [{"made by": origin.field, **asdict(origin)} for origin in found.minting]
    output.print_table(rows, ("made by", "a", "b"))
