"""`genid explain`: what the text of an id shows, and what a store that has it knows."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import click
from attrs import asdict

from genid import Explanation, parse_id
from genid_store.catalog import lookup
from genid_store.catalog.explain import (
    Level,
    StoreDifference,
    StoreExplanation,
    diff_stored,
    explain_stored,
)
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.metadata import stage_fields
from genid_store.cli import _output as output
from genid_store.cli._screen import written_out_line
from genid_store.errors import Problem, StoreError
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
        record = _shape(ids[0])
        output.print_json(record) if as_json else _print_shape(record)
    elif len(ids) == 2:
        record = _difference(root, *ids)
        output.print_json(record) if as_json else _print_difference(record)
    else:
        record = _explanations(root, ids[0])
        output.print_json(record) if as_json else _print_explanations(record)
    return 0


def _shape(text: str) -> dict[str, Any]:
    """Return what a lone text shows."""
    parsed = parse_id(text)
    return {
        "id": parsed.text,
        "family": parsed.family,
        "stage": parsed.stage,
        "uuid": None if parsed.uuid is None else str(parsed.uuid),
    }


def _print_shape(shape: dict[str, Any]) -> None:
    _print_pairs(list(shape.items()))
    click.echo("this is all that the text shows; give --data-root DIR to look it up")


def _explanations(root: DataRoot, text: str) -> dict[str, Any]:
    with output.fresh_index(root) as index:
        found = [
            {"by": match.by, **_explanation(explain_stored(index, match.generation))}
            for match in lookup.resolve(index, text)
        ]
    return {"asked": text, "generations": found}


def _difference(root: DataRoot, a: str, b: str) -> dict[str, Any]:
    with output.fresh_index(root) as index:
        return _difference_record(diff_stored(index, _one(index, a, b), _one(index, b, a)))


def _one(index: StoreIndex, text: str, other: str) -> Indexed:
    """Return the one generation that a text names; where it names several, the only one of the
    stage of what `other` names. StoreError: there is none, or several are left."""
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


def _print_pairs(pairs: list[tuple[str, object]]) -> None:
    """Print names and values side by side; a value that is None is left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:{width}}  {written_out_line(value)}")


def _generation(one: Indexed) -> dict[str, Any]:
    """Return a stored generation as JSON values."""
    return {
        "stage": one.stage,
        "gen_id": one.gen_id,
        "family": one.family,
        "recomputes": one.recomputes,
        **{name: getattr(one, name) for name in _FIELDS},
        **one.others,
        "origin_cohort_id": one.origin_cohort_id,
        "mode": one.mode,
        "previous": list(one.previous_gen_ids),
        "expected": dict(one.expected),
        "has_content": one.known_content,
        "coerced": list(one.coerced),
        "problems": [{"code": flaw.code, "problem": str(flaw)} for flaw in one.problems],
    }


def _explanation(found: StoreExplanation) -> dict[str, Any]:
    """Return an explanation as JSON values."""
    return {
        **_generation(found.generation),
        "derivation": _derivation(found.written),
        "expected_derivation": _derivation(found.fresh),
        "ancestors": [_short(one) for one in found.ancestors],
        "children": [_short(one) for one in found.children],
        "duplicates": [_short(one) for one in found.duplicates],
    }


def _derivation(steps: Explanation | None) -> dict[str, str] | None:
    if steps is None:
        return None
    return {
        "canonical": steps.canonical,
        "blake3": steps.blake3,
        "uuid": str(steps.uuid),
        "gen_id": steps.gen_id,
    }


def _short(one: Indexed) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "gen_id": one.gen_id,
        "family": one.family,
        "v1": one.expected["v1"],
        "has_content": one.known_content,
    }


def _print_explanations(found: dict[str, Any]) -> None:
    for record in found["generations"]:
        _print_explanation(record)


def _print_explanation(record: dict[str, Any]) -> None:
    recomputes = "yes" if record["recomputes"] else "no"
    rows: list[tuple[str, object]] = [
        ("stage", record["stage"]),
        ("id", record["gen_id"]),
        ("family", f"{record['family']} (recomputes from its metadata: {recomputes})"),
        ("found by", record["by"] if record["by"] != "id" else None),
        *((name, record[name]) for name in (*_FIELDS, "origin_cohort_id", "mode")),
        *((name, record.get(name)) for name in stage_fields(record["stage"]).others),
        ("content", _CONTENT[record["has_content"]]),
        *((f"{name} id", value or "none") for name, value in record["expected"].items()),
    ]
    rows += [("id before", older) for older in record["previous"]]
    derivation = record["expected_derivation"]
    if derivation is not None:
        rows += [("canonical", derivation["canonical"]), ("BLAKE3", derivation["blake3"])]
    rows += [("coerced", words) for words in record["coerced"]]
    rows += [("problem", flaw["problem"]) for flaw in record["problems"]]
    _print_pairs(rows)
    _print_related("ancestors", record["ancestors"])
    _print_related("children", record["children"])
    _print_related("the same task", record["duplicates"])


def _print_related(title: str, related: list[dict[str, Any]]) -> None:
    if not related:
        return
    click.echo(f"\n{title}: {len(related)} (where it differs, with the v1 id)")
    output.print_list([_line(one) for one in related], indent="  ")


def _line(one: dict[str, Any]) -> str:
    """Return a related generation as one line of at most 80 columns: its v1 id is shown where it
    would have another."""
    same = one["v1"] in (None, one["gen_id"])
    return f"{one['stage']} {one['gen_id']}" + ("" if same else f" ({one['v1']})")


def _difference_record(found: StoreDifference) -> dict[str, Any]:
    """Return why two generations differ, as JSON values."""
    return {
        "a": _short(found.a),
        "b": _short(found.b),
        "same_task": found.same_task,
        "cause": None if found.cause is None else _level(found.cause),
        "inherited": found.inherited,
        "levels": [_level(level) for level in found.levels],
        "minting": [asdict(one) for one in found.minting],
    }


def _level(level: Level) -> dict[str, Any]:
    return {
        "stage": level.stage,
        "a": level.a.gen_id,
        "b": level.b.gen_id,
        "differences": [asdict(one) for one in level.differences],
    }


def _print_difference(document: dict[str, Any]) -> None:
    a, b, cause = document["a"], document["b"], document["cause"]
    click.echo(f"a: {a['stage']} {a['gen_id']}\nb: {b['stage']} {b['gen_id']}")
    if a["stage"] != b["stage"]:
        click.echo(f"they are of different stages: {a['stage']} and {b['stage']}")
    if a["stage"] == b["stage"] and a["gen_id"] == b["gen_id"]:
        click.echo("the same generation")
        return
    if cause is not None:
        words = f"they part at the {cause['stage']}"
        if document["inherited"]:
            words += f": the {a['stage']}s differ only because their {cause['stage']}s do"
        click.echo(words)
    elif document["same_task"]:
        click.echo("the same task and replicate; only how the ids were made differs")
    for level in document["levels"]:
        if level["differences"]:
            click.echo(f"\n{level['stage']} {level['a']} and {level['b']}")
            output.print_table(level["differences"])
    if document["minting"]:
        rows = [{"made by": one["field"], **one} for one in document["minting"]]
        output.print_table(rows, ("made by", "a", "b"))
