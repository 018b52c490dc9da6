"""`genid store`: which generation is this, and is the store sound.

The verbs that change a store (adopt, migrate, rollback, finish) are loaded from
`migrate` when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from genid_store.catalog.findings import KINDS
from genid_store.cli import LazyGroup
from genid_store.cli._errors import problem_records
from genid_store.cli._options import complete_cohort, partition_option
from genid_store.cli._output import (
    CONTENT,
    data_root_option,
    in_a_folder,
    json_option,
    print_json,
    print_rest,
    print_table,
    progress_bar,
    write_page,
)
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.hooks import partition_keys

if TYPE_CHECKING:
    from genid_store.catalog.audit.audit import Audit
    from genid_store.catalog.lookup import Match

_SHOWN: Final = 10  # findings of one code that are printed for people


@click.group(
    cls=LazyGroup,
    lazy={
        "unreuse": ("unreuse:unreuse", "Take back the texts that members were given."),
        "audit": ("store:audit", "Say whether the store is sound, and what to do where not."),
        "finish": ("migrate:finish", "Delete the former store that a migration keeps."),
        "migrate": ("migrate:migrate", "Plan, and on request do, the move to v1 ids."),
        "resolve": ("store:resolve", "Find generations by ids of any family, or prefixes."),
        "rollback": ("migrate:rollback", "Give the store back as it was before a migration."),
    },
)
def store() -> None:
    """Look up, audit, adopt and migrate the generations on disk."""


@click.command()
@data_root_option
@json_option
@click.option(
    "--cohort-id",
    shell_complete=complete_cohort,
    help="Look among the ids that this cohort would have, too.",
)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def resolve(root: DataRoot, as_json: bool, cohort_id: str | None, ids: tuple[str, ...]) -> int:
    """Find generations by ids of any family, or by prefixes of at least 6 characters.

    A deterministic id finds what the store holds of its task, also under older ids, and an id from
    before a migration what it has become. Exit status 1: an id is unknown or ambiguous.
    """
    from genid_store.catalog import lookup
    from genid_store.cli._index import fresh_index

    found: list[tuple[str, tuple[Match, ...]]] = []
    planned: dict[str, list[dict[str, Any]]] = {}
    problems: list[Problem] = []
    with fresh_index(root) as index:
        if cohort_id is not None:
            planned = _planned(root, cohort_id, index, ids)
        for text in ids:
            try:
                found.append((text, lookup.resolve(index, text)))
            except StoreError as error:
                found.append((text, ()))
                problems.extend([] if planned.get(text) else error.problems)
    if as_json:
        rows = [
            {
                "asked": text,
                "matches": [{**_record(match.generation), "by": match.by} for match in matches],
                **({"planned": planned.get(text, [])} if cohort_id is not None else {}),
            }
            for text, matches in found
        ]
        print_json({"ids": rows, "problems": problem_records(problems)})
    else:
        _print_matches(found)
        _print_planned(planned)
    for problem in problems:
        click.echo(f"genid: {problem}", err=True)
    return 1 if problems else 0


def _record(generation: Any) -> dict[str, Any]:
    return {
        "stage": generation.stage,
        "gen_id": generation.gen_id,
        "family": generation.family,
        "recomputes": generation.recomputes,
        "origin_cohort_id": generation.origin_cohort_id,
        "expected": dict(generation.expected),
        "previous": list(generation.previous_gen_ids),
        "has_content": generation.known_content,
    }


def _print_matches(found: list[tuple[str, tuple[Match, ...]]]) -> None:
    rows = [
        (
            text,
            match.by,
            one.stage,
            one.gen_id,
            one.family,
            one.expected["v1"],
            one.origin_cohort_id,
            CONTENT[one.known_content],
        )
        for text, matches in found
        for match in matches
        for one in [match.generation]
    ]
    columns = ("asked", "by", "stage", "gen_id", "family", "v1 id", "cohort", "content")
    if rows:
        print_table(columns, rows)


def _planned(
    root: DataRoot, cohort_id: str, index: Any, ids: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Return what each id is among the cohort's planned legacy ids, by the id asked for."""
    from genid_store.catalog.lookup import PlannedIds, resolver
    from genid_store.cohort.prepare import Options, prepare
    from genid_store.ids.rollout import Rollout

    options = Options(rollout=Rollout.OFF, cohort_id=cohort_id)
    table = PlannedIds.of(index, prepare(root, options, resolve=resolver(index)).plan.rows)
    found: dict[str, list[dict[str, Any]]] = {}
    for text in ids:
        for scheme in table.deterministic:
            forth = table.to_deterministic(text, scheme)
            pairs = [(text, forth)] if forth else []
            pairs += [(legacy, text) for legacy in table.to_planned(text, scheme)]
            found.setdefault(text, []).extend(
                {"legacy": legacy, "scheme": scheme, "deterministic": fresh}
                for legacy, fresh in pairs
            )
    return found


def _print_planned(planned: Mapping[str, list[dict[str, Any]]]) -> None:
    rows = [
        (text, one["legacy"], one["scheme"], one["deterministic"])
        for text, found in planned.items()
        for one in found
    ]
    if rows:
        print_table(("asked", "planned legacy id", "scheme", "deterministic id"), rows)


@click.command()
@data_root_option
@json_option
@click.option(
    "--html",
    "html",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    callback=in_a_folder,
    help="Write the audit to this file as one self-contained page.",
)
@partition_option
def audit(root: DataRoot, as_json: bool, html: Path | None, partitions: str) -> int:
    """Say whether the store is sound: every fault with its code, place, ids and remedy.

    Exit status 0: sound. 1: findings. 2: the data root cannot be read, or FILE not written.
    """
    from genid_store.catalog.audit.audit import document
    from genid_store.report.audit_page import audit_page

    try:
        result = _audit(root, partitions)
    except StoreError as error:
        raise click.UsageError(str(error)) from error
    if html is not None:
        write_page(html, audit_page(result), option="--html")
    if as_json:
        print_json(document(result))
    else:
        _print_audit(result)
    return 0 if result.sound else 1


def _audit(root: DataRoot, prefix: str) -> Audit:
    from genid_store.catalog.audit import audit as auditing
    from genid_store.cli._index import fresh_index

    if not any(folder.is_dir() for folder in (root.gens, root.cohorts, root.raw)):
        problem = Problem(
            where=str(root.path),
            message="holds none of gens/, cohorts/ and 1_raw/",
            remedy="give --data-root the pipeline's data folder",
        )
        raise StoreError("this is no data root", [problem])
    with fresh_index(root) as index:
        partitions = _partition_keys(root, prefix)
        with progress_bar("auditing") as progress:
            return auditing.audit(index, partitions=partitions, progress=progress)


def _partition_keys(root: DataRoot, prefix: str) -> Mapping[str, list[str]] | None:
    """Return the registered keys by stage; an instance that does not answer is said, and no reason
    not to look at the store."""
    try:
        return partition_keys(root, prefix)
    except StoreError as error:
        click.echo(f"genid: partitions were not looked at: {error}", err=True)
        return None


def _print_audit(result: Audit) -> None:
    print_table(
        ("stage", "family", "generations", "recompute"),
        [(one.stage, one.family, one.generations, one.recomputing) for one in result.families],
    )
    for what, count in result.lenient.items():
        click.echo(f"coerced: {what} ({count})")
    if result.sound:
        click.echo("sound: no findings")
        return
    for code, found in result.by_code().items():
        click.echo(f"\n{code}: {len(found)}. {KINDS[code].meaning}")
        click.echo(f"  remedy: {KINDS[code].remedy}")
        for finding in found[:_SHOWN]:
            click.echo(f"  {finding.where}: {finding.text}")
        print_rest(len(found), _SHOWN, indent="  ")
    click.echo(f"\n{len(result.findings)} findings")
