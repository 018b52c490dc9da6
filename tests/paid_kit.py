"""For the tests that nothing is paid for twice: a small universe of tasks, and a ledger of calls
that lies outside the store and knows a task by what its metadata says, not by any id."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cohort_kit import make_root, write_csv, write_table
from dagster_kit import write_templates
from genid import Draft
from genid_store import Request, Rollout
from genid_store.fs.layout import DataRoot
from genid_store.stages import parent_key

STATES = {
    "off": Rollout.OFF,
    "draft": Rollout.parse("draft"),
    "draft,essay": Rollout.parse("draft,essay"),
    "on": Rollout.parse("on"),
    "phase-1": Rollout.parse("on", "phase-1"),
}
#: The universe's draft, as a program that knows no cohort asks for it.
DRAFT = Draft(combo_id="one", template_id="links", llm_model_id="writer", replicate=1)


def small_root(path: Path) -> DataRoot:
    """One draft, an essay of its own and a copied one, an evaluation of each."""
    root = make_root(path, combos=False, replicates=(1, 1, 1))
    header = ["template_id", "generator", "active"]
    write_table(path, "draft_templates.csv", [header, ["links", "llm", "true"]])
    rows = [header, ["story", "llm", "true"], ["parsed", "copy", "true"]]
    write_table(path, "essay_templates.csv", rows)
    write_table(path, "evaluation_templates.csv", [header, ["novelty", "llm", "true"]])
    models = [["id", "for_generation", "for_evaluation"]]
    models += [["writer", "true", "false"], ["judge", "false", "true"]]
    write_table(path, "llm_models.csv", models)
    combos = [["combo_id", "version", "concept_id", "description_level", "k_max", "created_at"]]
    combos += [["one", "v1", "tides", "paragraph", "2", ""]]
    write_csv(path / "2_tasks" / "selected_combo_mappings.csv", combos)
    write_templates(root)
    return root


def task_of(root: DataRoot, stage: str, gen_id: str) -> str:
    """Return what a generation's metadata says is to be made, its ancestors' with it."""
    metadata = json.loads((root.generation(stage, gen_id) / "metadata.json").read_text())
    parent = parent_key(stage, metadata.get("parent_gen_id"))
    above = str(metadata.get("combo_id")) if parent is None else task_of(root, *parent)
    own = [metadata.get("template_id"), metadata.get("llm_model_id"), metadata.get("replicate", 1)]
    return "/".join([above, stage, *map(str, own)])


class Call(NamedTuple):
    """One call: the process, the text that it answered with ("": it failed), the task."""

    process: int
    text: str
    task: str


class OutsideLedger:
    """The calls of any number of processes, a line each, written before the answer is given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def calls(self) -> list[Call]:
        lines = [line.split("\t") for line in self.path.read_text().splitlines()]
        return [Call(int(process), text, task) for process, text, task in lines]

    def answering(self, root: DataRoot, *, failing: bool = False) -> Callable[[Request], str]:
        """Return a generator; with `failing` every other call fails."""

        def answer(request: Request) -> str:
            failed = failing and len(self.calls()) % 2 == 0
            text = "" if failed else f"text {uuid.uuid4()}"
            line = f"{os.getpid()}\t{text}\t{task_of(root, request.stage, request.gen_id)}\n"
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            os.write(descriptor, line.encode())
            os.close(descriptor)
            if failed:
                raise ValueError("no answer")
            return text

        return answer


def texts_of(root: DataRoot) -> set[str]:
    """Return every text that is whole on disk, published or waiting for that."""
    paths = [path for path in root.path.rglob("raw.txt") if "replaced" not in path.parts]
    return {path.read_text() for path in paths}
