"""What happened to a store since it was migrated that going back would undo or leave alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot, is_segment
from genid_store.migration.context import Work
from genid_store.stages import PIPELINE, parent_stage

_REMEDY = "keep the migration, or go back with --force"


def refuse_changes(work: Work, *, force: bool) -> None:
    """Raise StoreError with everything that was made or changed since the migration and would be
    lost or left without a parent by going back; with `force`, put it aside instead, in the plan's
    folder under `displaced/`."""
    displaced = list(_changed_files(work)) + list(_made_again(work))
    if force:
        for place in displaced:
            _displace(work, place)
        return
    problems = [
        Problem(where=place, message="it was changed or made since the migration", remedy=_REMEDY)
        for place in displaced
    ]
    problems += [
        Problem(where=place, message="it was made since, under a new id", remedy=_REMEDY)
        for place in [*_new_children(work), *_new_members(work)]
    ]
    if problems:
        raise StoreError("the store was used since the migration", problems)


def _changed_files(work: Work) -> Iterator[str]:
    """Yield the membership, manifest and selection files that were changed since."""
    for at, change in enumerate(work.changes):
        with open(work.kept_change(at), "rb") as file:
            left = work.new_change(change, file.read())
        try:
            with open(f"{work.root}/{change['path']}", "rb") as file:
                changed = file.read() != left
        except FileNotFoundError:
            continue
        if changed:
            yield change["path"]


def _made_again(work: Work) -> Iterator[str]:
    """Yield the folders that stand again under an old id."""
    taken = {(step.stage, step.new) for step in work.steps}
    for step in work.steps:
        if step.moves and (step.stage, step.old) not in taken and os.path.lexists(work.old(step)):
            yield f"gens/{step.stage}/{step.old}"


def _new_children(work: Work) -> Iterator[str]:
    """Yield the generations that were made since over a parent that has a new id."""
    planned = {(record["stage"], record["new"]) for record in work.plan.records("generation")}
    parents = {(step.stage, step.new) for step in work.steps if step.moves}
    for stage, gen_id in _generations(work.plan.root):
        if (stage, gen_id) not in planned and parent_stage(stage) is not None:
            parent = read_generation(work.plan.root, stage, gen_id).parent_gen_id
            if (parent_stage(stage), parent) in parents:
                yield f"gens/{stage}/{gen_id}"


def _generations(root: DataRoot) -> Iterator[tuple[str, str]]:
    for stage in PIPELINE:
        if root.stage(stage).is_dir():
            names = sorted(os.listdir(root.stage(stage)))
            yield from ((stage, name) for name in names if is_segment(name))


def _new_members(work: Work) -> Iterator[str]:
    """Yield the memberships of other cohorts that name a new id."""
    root = work.plan.root
    known = {change["path"] for change in work.changes}
    new = {(step.stage, step.new) for step in work.steps if step.moves}
    for cohort, members in read_memberships(root).members.items():
        place = root.relative(root.membership(cohort))
        if place not in known and not new.isdisjoint(members):
            yield place


def _displace(work: Work, place: str) -> None:
    target = work.plan.folder / "displaced" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(f"{work.root}/{place}", target)
