"""The work that a plan comes to: its steps, the paths they use, and the bytes they write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from genid_store.fs.files import write_atomic
from genid_store.fs.layout import METADATA
from genid_store.migration.planfile import Plan, Record, mapping_of
from genid_store.migration.records import Step
from genid_store.migration.references import (
    IdMapping,
    References,
    retarget,
    rewrite_json,
    rewrite_manifest,
    rewrite_membership,
    rewrite_metadata,
    rewrite_selection,
)
from genid_store.stages import PIPELINE

_SHARD: Final = 1000  # kept originals a folder
BEFORE: Final = "before.jsonl"


@frozen
class Work:
    """A plan taken apart; building it reads the plan and touches nothing else.

    `root` and `folder` are the paths of the data root and of the plan's folder. `parked` are the
    steps whose new name is another generation's current one (chains and cycles):
    they wait under a name of their own until every other folder has moved.
    """

    plan: Plan
    root: str
    folder: str
    steps: tuple[Step, ...]
    changes: tuple[Record, ...]
    references: dict[str, References]
    parked: frozenset[int]

    @property
    def parking(self) -> list[Step]:
        return [step for step in self.steps if step.number in self.parked]

    @property
    def direct(self) -> list[Step]:
        return [step for step in self.steps if step.number not in self.parked]

    # -- places ---------------------------------------------------------------------------------
    def old(self, step: Step) -> str:
        return f"{self.root}/gens/{step.stage}/{step.old}"

    def new(self, step: Step) -> str:
        return f"{self.root}/gens/{step.stage}/{step.new}"

    def park(self, step: Step) -> str:
        """The name under which a folder waits: no id, so that no tool takes it for one."""
        return f"{self.root}/gens/{step.stage}/.genid-{self.plan.plan_id}-{step.number}"

    def kept(self, step: Step, at: int) -> str:
        """Where the original of the `at`-th file that a step rewrites is kept."""
        return f"{self.folder}/originals/{step.number // _SHARD:05d}/{step.number}.{at}"

    def kept_change(self, at: int) -> str:
        return f"{self.folder}/originals/files/{at}"

    def make_folders(self) -> None:
        """Make the folders that originals are kept in."""
        shards = {os.path.dirname(self.kept(step, 0)) for step in self.steps if step.rewrite}
        for folder in sorted({*shards, os.path.dirname(self.kept_change(0))}):
            os.makedirs(folder, exist_ok=True)

    # -- bytes ----------------------------------------------------------------------------------
    def new_bytes(self, step: Step, name: str, original: bytes) -> bytes:
        """Return what a file of a generation becomes."""
        references = self.references[step.stage]
        if name == METADATA and step.moves:
            return rewrite_metadata(
                original,
                references,
                new_id=step.new,
                replicate=step.replicate,
                parent=step.parent,
                plan=self.plan.plan_id,
                old=step.old,
            )
        return rewrite_json(original, references)

    def new_target(self, step: Step, name: str, target: str) -> str:
        """Return where a symbolic link of a generation points to afterwards."""
        folder = f"gens/{step.stage}/{step.old}/{name}".rpartition("/")[0]
        mapping = self.references[step.stage].mapping
        return retarget(target, folder, self.root, mapping) or target

    def new_change(self, record: Record, original: bytes) -> bytes:
        """Return what a membership, manifest or selection file becomes."""
        mapping = self.references[PIPELINE[0]].mapping
        if record["what"] == "membership":
            return rewrite_membership(original, mapping)
        if record["what"] == "manifest":
            return rewrite_manifest(original, plan=self.plan.plan_id, came_from=record["from"])
        return rewrite_selection(original, mapping[record["stage"]])


def work_of(plan: Plan) -> Work:
    """Return the work that a plan comes to."""
    steps = tuple(plan.steps())
    mapping = mapping_of(steps)
    return Work(
        plan,
        str(plan.root.path),
        str(plan.folder),
        steps,
        tuple(plan.records("file")),
        {stage: References(mapping, stage) for stage in PIPELINE},
        frozenset(_parked(steps)),
    )


def _parked(steps: tuple[Step, ...]) -> Iterator[int]:
    """Yield the steps whose target is occupied; on a file system that ignores case, too."""
    occupied = {(step.stage, step.old.casefold()) for step in steps if step.moves}
    for step in steps:
        if step.moves and (step.stage, step.new.casefold()) in occupied:
            yield step.number


# -- the times of folders -------------------------------------------------------------------------
def write_before(work: Work) -> None:
    """Write down the times of every folder that will be touched; on disk on return."""
    lines = []
    for place in touched(work):
        status = os.stat(f"{work.root}/{place}")
        lines.append(f"{json.dumps([place, status.st_atime_ns, status.st_mtime_ns])}\n")
    write_atomic(work.plan.folder / BEFORE, "".join(lines).encode())


def set_times(work: Work, *, migrated: bool) -> None:
    """Give every touched folder the times it had; `migrated` says under which name."""
    moved = work.references[PIPELINE[0]].mapping
    with (work.plan.folder / BEFORE).open("rb") as file:
        for line in file:
            place, *times = json.loads(line)
            if migrated:
                place = _new_place(place, moved)
            os.utime(f"{work.root}/{place}", ns=(times[0], times[1]))


def touched(work: Work) -> Iterator[str]:
    """Yield the folders, from the data root, that steps and other changes touch; inner ones first.

    A folder's own times do not change when a folder inside it changes, only when entries do.
    """
    for step in work.steps:
        folder = f"gens/{step.stage}/{step.old}"
        inner = {f"{folder}/{name}".rpartition("/")[0] for name in step.rewrite}
        yield from sorted({*inner, folder}, reverse=True)
    yield from sorted({f"gens/{step.stage}" for step in work.steps if step.moves})
    yield from sorted({change["path"].rpartition("/")[0] for change in work.changes})


def _new_place(place: str, mapping: IdMapping) -> str:
    parts = place.split("/")
    if parts[0] == "gens" and len(parts) > 2:
        parts[2] = mapping[parts[1]].get(parts[2], parts[2])
    return "/".join(parts)
