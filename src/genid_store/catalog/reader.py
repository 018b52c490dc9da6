"""The store as planning sees it, read from disk: only what is asked for, and nothing kept."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from attrs import frozen

from genid_store.catalog import findings
from genid_store.catalog.metadata import Generation, read_generation
from genid_store.fs.files import is_there
from genid_store.fs.layout import METADATA, DataRoot, is_segment


@frozen
class DirectReader:
    """Answers from the files of one data root; it needs no index, and scales with what is asked."""

    root: DataRoot

    def get(self, stage: str, gen_id: str) -> Generation | None:
        """Return a generation, None where it has no metadata.json."""
        found = read_generation(self.root, stage, gen_id)
        missing = any(flaw.code == findings.METADATA_MISSING for flaw in found.problems)
        return None if missing else found

    def has(self, stage: str, gen_id: str) -> bool:
        """Say whether a generation has a metadata.json."""
        return is_there(f"{self.root.gens}/{stage}/{gen_id}/{METADATA}")

    def evaluations_of(self, essay_gen_ids: Collection[str]) -> Iterator[Generation]:
        """Yield the evaluations whose parent is one of the essays, and those whose metadata cannot
        be read, ordered by id: one walk over gens/evaluation."""
        for gen_id in self._ids("evaluation"):
            found = self.get("evaluation", gen_id)
            if found is not None and (found.parent_gen_id in essay_gen_ids or not found.raw):
                yield found

    def _ids(self, stage: str) -> list[str]:
        try:
            return sorted(filter(is_segment, os.listdir(self.root.stage(stage))))
        except FileNotFoundError:
            return []
