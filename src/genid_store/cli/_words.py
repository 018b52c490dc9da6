"""What the library found out about ids, as JSON values and as words for people."""

from __future__ import annotations

from typing import Any

import click

from genid import Difference, Explanation, ParsedId
from genid_store.catalog.explain import Level, StoreDifference, StoreExplanation
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.metadata import stage_fields
from genid_store.cli._output import CONTENT, print_list, print_table
from genid_store.cli._screen import written_out_line

_MADE_BY = ("made by", "a", "b")
_FIELDS = ("parent_gen_id", "combo_id", "template_id", "llm_model_id", "replicate")


def shape_record(parsed: ParsedId) -> dict[str, Any]:
    """Return what a lone text shows."""
    return {
        "id": parsed.text,
        "family": parsed.family,
        "stage": parsed.stage,
        "uuid": None if parsed.uuid is None else str(parsed.uuid),
    }


def print_shape(shape: dict[str, Any]) -> None:
    _print_pairs(list(shape.items()))
    click.echo("this is all that the text shows; give --data-root DIR to look it up")


def _print_pairs(pairs: list[tuple[str, object]]) -> None:
    """Print names and values side by side; a value that is None is left out."""
    shown = [(name, value) for name, value in pairs if value is not None]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:{width}}  {written_out_line(value)}")


def generation_record(one: Indexed) -> dict[str, Any]:
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


def explanation_record(found: StoreExplanation) -> dict[str, Any]:
    """Return an explanation as JSON values."""
    return {
        **generation_record(found.generation),
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


def print_explanation(record: dict[str, Any]) -> None:
    recomputes = "yes" if record["recomputes"] else "no"
    rows: list[tuple[str, object]] = [
        ("stage", record["stage"]),
        ("id", record["gen_id"]),
        ("family", f"{record['family']} (recomputes from its metadata: {recomputes})"),
        ("found by", record["by"] if record["by"] != "id" else None),
        *((name, record[name]) for name in (*_FIELDS, "origin_cohort_id", "mode")),
        *((name, record.get(name)) for name in stage_fields(record["stage"]).others),
        ("content", CONTENT[record["has_content"]]),
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
    print_list([_line(one) for one in related], indent="  ")


def _line(one: dict[str, Any]) -> str:
    """Return a related generation as one line of at most 80 columns: its v1 id is shown where it
    would have another."""
    same = one["v1"] in (None, one["gen_id"])
    return f"{one['stage']} {one['gen_id']}" + ("" if same else f" ({one['v1']})")


def difference_record(found: StoreDifference) -> dict[str, Any]:
    """Return why two generations differ, as JSON values."""
    return {
        "a": _short(found.a),
        "b": _short(found.b),
        "same_task": found.same_task,
        "cause": None if found.cause is None else _level(found.cause),
        "inherited": found.inherited,
        "levels": [_level(level) for level in found.levels],
        "minting": [_field(one) for one in found.minting],
    }


def _level(level: Level) -> dict[str, Any]:
    return {
        "stage": level.stage,
        "a": level.a.gen_id,
        "b": level.b.gen_id,
        "differences": [_field(one) for one in level.differences],
    }


def _field(one: Difference) -> dict[str, Any]:
    return {"field": one.field, "a": one.a, "b": one.b}


def print_difference(document: dict[str, Any]) -> None:
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
            print_table(level["differences"])
    if document["minting"]:
        print_table([{"made by": one["field"], **one} for one in document["minting"]], _MADE_BY)
