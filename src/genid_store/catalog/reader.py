"""The store as planning sees it, read from disk on each request, without a cache."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from attrs import frozen

from genid_store.catalog import findings
from genid_store.catalog.metadata import Generation, inspect_generation
from genid_store.fs.files import is_file, is_there, listed
from genid_store.fs.layout import METADATA, DataRoot, is_segment
from genid_store.stages import stage_names


def undeclared_stages(root: DataRoot) -> list[str]:
    """Return the folders of gens/, sorted, with generations of stages that are not declared."""
    return [
        folder.name
        for folder in listed(root.gens)
        if not (folder.name.startswith(".") or folder.name in stage_names())
        and _has_generations(folder)
    ]


def _has_generations(folder: Path) -> bool:
    try:
        return any(is_file(generation / METADATA) for generation in listed(folder))
    except PermissionError:  # such as lost+found on a file system that is mounted here
        return False


@frozen
class DirectReader:
    """Reads the files of one data root; needs no index, and costs as much as is asked of it."""

    root: DataRoot

    def get(self, stage: str, gen_id: str) -> Generation | None:
        """Return a generation, None if it has no metadata.json."""
        generation = inspect_generation(self.root, stage, gen_id)
        missing = any(flaw.code == findings.METADATA_MISSING for flaw in generation.problems)
        return None if missing else generation

    def has(self, stage: str, gen_id: str) -> bool:
        """Return whether a generation has a metadata.json."""
        return is_there(f"{self.root.gens}/{stage}/{gen_id}/{METADATA}")

    def evaluations_of(self, essay_gen_ids: Collection[str]) -> Iterator[Generation]:
        """Yield the evaluations of these essays, and those whose metadata cannot be read, ordered
        by id.

        Walks over all of gens/evaluation.
        """
        try:
            names = os.listdir(self.root.stage("evaluation"))
        except FileNotFoundError:
            return
        for gen_id in sorted(filter(is_segment, names)):
            evaluation = self.get("evaluation", gen_id)
            if evaluation is None:
                continue
            if evaluation.parent_gen_id in essay_gen_ids or not evaluation.raw:
                yield evaluation
