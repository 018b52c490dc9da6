"""`genid explain`: what the text of an id shows, and what a store that has it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

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
def explain(root: DataRoot | None, as_json: bool, ids: tuple[str, ...]) -> int:
    """Say everything about one id, or how two differ.

    With a data root, an ID may be of any family, a prefix of at least 6 characters, an id from
    before a migration, or the deterministic id of a task that the store has under another one; it
    shows fields, derivation, expected ids, ancestors, children and duplicates. Two generations are
    followed up to where they part. Without a data root, only what the text of one shows is said.
    """
    if len(ids) > 2:
        raise click.UsageError("one id is explained, or two are compared")
    if root is None and len(ids) == 2:
        raise click.UsageError("an id is a digest: give --data-root to compare what two stand for")
    if root is None:
        id_ = parse_id(ids[0])
        shown = {"id": id_.text, "family": id_.family, "stage": id_.stage, "uuid": id_.uuid}
        output.print_json(shown) if as_json else _print_shape(shown)
        return 0
    from genid_store.catalog.explain import diff_stored, explain_stored, named
    from genid_store.catalog.lookup import resolve

    with output.fresh_index(root) as index:
        if len(ids) == 2:
            a, b = (named(index, one, other) for one, other in (ids, ids[::-1]))
            found = diff_stored(index, a, b)
            output.print_json(_difference(found)) if as_json else _print_difference(found)
            return 0
        matches = resolve(index, ids[0])
        explained = [(match.by, explain_stored(index, match.generation)) for match in matches]
    if as_json:
        records = [{"by": by, **asdict(one, recurse=False)} for by, one in explained]
        output.print_json({"asked": ids[0], "generations": records})
        return 0
    for by, one in explained:
        _print_explanation(by, one)
    return 0


def _print_shape(shape: Mapping[str, object]) -> None:
    """Print what a lone text shows."""
    _print_pairs(list(shape.items()))
    click.echo("this is all that the text shows; give --data-root DIR to look it up")


def _print_pairs(pairs: list[tuple[str, object]]) -> None:
    """Print names and values side by side; a value that is None is left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:{width}}  {written_out_line(value)}")


def _print_explanation(by: How, found: StoreExplanation) -> None:
    from genid_store.catalog.metadata import stage_fields

    one, derived = found.generation, found.fresh
    recomputes = "yes" if one.recomputes else "no"
    further = {**asdict(one, recurse=False), **one.others}
    names = (*_FIELDS, "origin_cohort_id", "mode", *stage_fields(one.stage).others)
    rows: list[tuple[str, object]] = [
        ("stage", one.stage),
        ("id", one.gen_id),
        ("family", f"{one.family} (recomputes from its metadata: {recomputes})"),
        ("found by", None if by == "id" else by),
        *((name, further.get(name)) for name in names),
        ("content", _CONTENT[one.known_content]),
        *((f"{name} id", value or "none") for name, value in one.expected.items()),
        *(("id before", older) for older in one.previous_gen_ids),
    ]
    if derived is not None:
        rows += [("canonical", derived.canonical), ("BLAKE3", derived.blake3)]
    rows += [("coerced", text) for text in one.coerced]
    rows += [("problem", problem) for problem in one.problems]
    _print_pairs(rows)
    _print_related("ancestors", found.ancestors)
    _print_related("children", found.children)
    _print_related("the same task", found.duplicates)


def _print_related(title: str, related: Sequence[Indexed]) -> None:
    if related:
        click.echo(f"\n{title}: {len(related)} (where it differs, with the v1 id)")
        output.print_list([_line(one) for one in related], indent="  ")


def _line(one: Indexed) -> str:
    """Return a related generation as one line of at most 80 columns: its v1 id is shown where it
    would have another."""
    v1 = one.expected["v1"]
    return f"{one.stage} {one.gen_id}" + ("" if v1 in (None, one.gen_id) else f" ({v1})")


def _difference(found: StoreDifference) -> dict[str, Any]:
    """Return why two generations differ, with what follows from that."""
    facts = {name: getattr(found, name) for name in ("same_task", "cause", "inherited")}
    return {**asdict(found, recurse=False), **facts}


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
            output.print_table([asdict(one) for one in level.differences])
    rows = [{"made by": one.field, **asdict(one)} for one in found.minting]
    output.print_table(rows, ("made by", "a", "b"))
