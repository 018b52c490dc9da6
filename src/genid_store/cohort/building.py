"""The steps of building a cohort as the assets and the commands take them; no Dagster in here.

Adds to `cohort` what needs the store's index: selections that name ids of any family, and members
that would be paid for a second time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.lookup import resolver
from genid_store.cohort.build import Options, Prepared, Report, build, prepare
from genid_store.cohort.inputs.combos import Combo, read_selected
from genid_store.cohort.inputs.selection import read_selection
from genid_store.cohort.inputs.tables import id_problems, read_tables
from genid_store.cohort.manifest import given_cohort_id, make_manifest, required
from genid_store.cohort.prepare import choose_combos
from genid_store.cohort.regeneration import Repeat, find_repeats, refuse_repeats
from genid_store.errors import Problem, StoreError
from genid_store.fs.csvfile import read_csv
from genid_store.fs.files import check_inside, guarded, is_there, write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock

Progress = Callable[[int, int], None]


@frozen(kw_only=True)
class Preview:
    """A cohort as it would be built, and the members that would be paid for a second time."""

    prepared: Prepared
    repeats: tuple[Repeat, ...]


@frozen(kw_only=True)
class Built:
    """A cohort as it was built, and the members that would be paid for a second time."""

    report: Report
    repeats: tuple[Repeat, ...]


def preview(root: DataRoot, options: Options, *, forbid_regeneration: bool = False) -> Preview:
    """Plan a cohort and look for repeated work; write nothing to the pipeline's part of the root.

    StoreError: the build would be refused.
    """
    with _index(root) as index:
        prepared = prepare(root, options, resolve=resolver(index))
        repeats = find_repeats(index, prepared.plan.rows)
    if forbid_regeneration:
        refuse_repeats(repeats)
    return Preview(prepared=prepared, repeats=repeats)


def write_combos(
    root: DataRoot, options: Options, *, forbid_regeneration: bool = False
) -> tuple[Combo, ...]:
    """Write the combo files where they are absent and needed, or asked for; return the selection,
    empty where the mode needs none.

    Where there is something to write, the cohort of `options` is planned first.

    StoreError: the concepts or the files are not sound, or the cohort would be refused; nothing
    is written then.
    """
    forbid = forbid_regeneration
    if not root.own.exists():  # a refusal leaves nothing behind, not even a lock
        _checked_combos(root, options, forbid_regeneration=forbid)
    with root_lock(root, BUILD), guarded(root):
        combos, files = _checked_combos(root, options, forbid_regeneration=forbid)
        check_inside(root, *files)
        for path, data in files.items():
            write_atomic(path, data)
    return combos


def _checked_combos(
    root: DataRoot, options: Options, *, forbid_regeneration: bool
) -> tuple[tuple[Combo, ...], dict[Path, bytes]]:
    """Return the combos and the files to write. StoreError: as `write_combos`."""
    tables, selection = read_tables(root), read_selection(root)
    combos, files = choose_combos(root, options, tables, selection, datetime.now(UTC))
    if files:
        preview(root, options, forbid_regeneration=forbid_regeneration)
    return combos or (), files


def find_cohort_id(root: DataRoot, options: Options) -> str:
    """Return the cohort's id: the given one, DD_COHORT's, else computed from the tables.

    StoreError: it is no folder's name, or none is given where a selection names the members.
    """
    given = given_cohort_id(options.cohort_id, os.environ)
    if given is not None:
        return given
    combos = (combo.combo_id for combo in read_selected(root) or ())
    manifest = make_manifest(read_tables(root), combos, options.rollout)
    return required(None, manifest, read_selection(root).file)


def build_members(
    root: DataRoot, options: Options, *, forbid_regeneration: bool, progress: Progress
) -> Built:
    """Build a cohort. StoreError: the build is refused and nothing was written."""
    repeats: tuple[Repeat, ...] = ()
    with _index(root) as index:

        def look(prepared: Prepared) -> None:
            nonlocal repeats
            repeats = find_repeats(index, prepared.plan.rows)
            if forbid_regeneration:
                refuse_repeats(repeats)

        report = build(root, options, resolve=resolver(index), before_write=look, progress=progress)
    return Built(report=report, repeats=repeats)


def provider_models(root: DataRoot) -> Mapping[str, str]:
    """Return model id -> the provider's name, as llm_models.csv has it; empty where there is no
    such table (a cohort can be run from its membership alone). The other tables are not looked at.

    StoreError: the table is there and cannot be read, or an id of it is blank or repeated;
    nothing is to be paid for then, since it might be asked of another model.
    """
    path = root.raw / "llm_models.csv"
    if not is_there(path):
        return {}
    problems: list[Problem] = []
    lines = read_csv(root, path, ("id",), problems)
    problems.extend(id_problems(lines, "id"))
    if problems:
        raise StoreError("the models' names cannot be told", problems)
    return {line["id"]: model for line in lines if (model := line.get("model"))}


@contextmanager
def _index(root: DataRoot) -> Iterator[StoreIndex]:
    """Open an index that is up to date; it stays in memory where `.genid/` is not there yet, so
    that a refused build leaves nothing behind."""
    with StoreIndex.fresh(root, persist=root.own.exists()) as index:
        yield index
