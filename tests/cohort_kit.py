"""Small data roots for the tests of cohorts: tables, generations, and what a build left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genid_store.cohort.build import Built, Options, build_cohort
from genid_store.cohort.planning.records import Plan, Row
from genid_store.cohort.prepare import prepare
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout

COHORT = "test-cohort"
#: Every rollout state with both schemes, by a name for test ids.
STATES = {
    f"{label or 'off'}-{scheme}": Rollout.parse(label, scheme)
    for scheme in ("v1", "phase-1")
    for label in ("", "draft", "draft,essay", "true")
}
OFF = Rollout.OFF
ON = Rollout.parse("on")

TABLES: dict[str, list[list[str]]] = {
    "draft_templates.csv": [
        ["template_id", "template_name", "generator", "active"],
        ["links-v1", "Links", "llm", "True"],
        ["links-v2", "Links again", "", "TRUE"],
        ["links-old", "Retired", "llm", "false"],
    ],
    "essay_templates.csv": [
        ["template_id", "generator", "active"],
        ["story-v1", "llm", "true"],
        ["parsed-v1", "copy", "true"],
        ["story-old", "llm", "False"],
    ],
    "evaluation_templates.csv": [
        ["template_id", "generator", "active"],
        ["novelty-v1", "llm", "true"],
        ["style-v1", "llm", "true"],
    ],
    "llm_models.csv": [
        ["id", "model", "for_generation", "for_evaluation"],
        ["writer_a", "maker/writer-a", "true", "false"],
        ["writer_b", "maker/writer-b", "true", "false"],
        ["judge_a", "maker/judge-a", "false", "true"],
    ],
    "concepts_metadata.csv": [
        ["concept_id", "name", "active"],
        ["tides", "Tides", "true"],
        ["moats", "Moats", "false"],
        ["echoes", "Echoes", "true"],
        ["anvils", "Anvils", "true"],
    ],
    "replication_config.csv": [
        ["stage", "replicates"],
        ["draft", "1"],
        ["essay", "1"],
        ["evaluation", "2"],
    ],
}
COMBOS = [
    ["combo_id", "version", "concept_id", "description_level", "k_max", "created_at"],
    ["combo_v1_one", "v1", "tides", "paragraph", "2", ""],
    ["combo_v1_one", "v1", "echoes", "paragraph", "2", ""],
    ["combo_v1_two", "v1", "anvils", "paragraph", "2", ""],
]


def make_root(
    path: Path,
    *,
    combos: bool = True,
    replicates: tuple[int, int, int] = (1, 1, 2),
    essays: Iterable[str] | None = None,
    drafts: Iterable[str] | None = None,
) -> DataRoot:
    """Write a data root with the tables above; selection files from the lines given."""
    path.mkdir(parents=True, exist_ok=True)
    for name, rows in TABLES.items():
        write_table(path, name, rows)
    set_replicates(path, *replicates)
    (path / "2_tasks").mkdir(exist_ok=True)
    if combos:
        write_csv(path / "2_tasks" / "selected_combo_mappings.csv", COMBOS)
    if essays is not None:
        select(path, "selected_essays.txt", essays)
    if drafts is not None:
        select(path, "selected_drafts.txt", drafts)
    return DataRoot.open(path)


def write_table(path: Path, name: str, rows: Sequence[Sequence[str]]) -> None:
    write_csv(path / "1_raw" / name, rows)


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


def set_replicates(path: Path, draft: int, essay: int, evaluation: int) -> None:
    counts = {"draft": draft, "essay": essay, "evaluation": evaluation}
    rows = [["stage", "replicates"], *([stage, str(n)] for stage, n in counts.items())]
    write_table(path, "replication_config.csv", rows)


def select(path: Path, name: str, lines: Iterable[str]) -> None:
    (path / "2_tasks" / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def put(root: DataRoot, stage: str, gen_id: str, **fields: Any) -> None:
    """Lay a generation whose metadata has the given fields; one that is None is left out."""
    metadata = {"stage": stage, "gen_id": gen_id, "origin_cohort_id": "earlier", **fields}
    folder = root.gens / stage / gen_id
    folder.mkdir(parents=True)
    metadata = {key: value for key, value in metadata.items() if value is not None}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")


def put_draft(root: DataRoot, gen_id: str, **fields: Any) -> None:
    defaults = {"combo_id": "combo_v1_one", "template_id": "links-v1", "llm_model_id": "writer_a"}
    put(root, "draft", gen_id, **{**defaults, "replicate": 1, **fields})


def put_essay(root: DataRoot, gen_id: str, parent: str, **fields: Any) -> None:
    defaults = {
        "combo_id": "combo_v1_one",
        "template_id": "story-v1",
        "llm_model_id": "writer_a",
        "parent_gen_id": parent,
    }
    put(root, "essay", gen_id, **{**defaults, "replicate": 1, **fields})


def put_evaluation(root: DataRoot, gen_id: str, parent: str, **fields: Any) -> None:
    defaults = {
        "combo_id": "combo_v1_one",
        "template_id": "novelty-v1",
        "llm_model_id": "judge_a",
        "parent_gen_id": parent,
    }
    put(root, "evaluation", gen_id, **{**defaults, "replicate": 1, **fields})


def planned(root: DataRoot, rollout: Rollout = OFF) -> Plan:
    return prepare(root, Options(rollout=rollout, cohort_id=COHORT)).plan


def built(root: DataRoot, rollout: Rollout = OFF, **options: Any) -> Built:
    return build_cohort(root, Options(rollout=rollout, **{"cohort_id": COHORT, **options}))


def of(plan: Plan, stage: str) -> list[Row]:
    return [row for row in plan.rows if row.stage == stage]


def metadata(root: DataRoot, stage: str, gen_id: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((root.gens / stage / gen_id / "metadata.json").read_bytes())
    return data


def tree(root: DataRoot) -> dict[str, tuple[bytes, int]]:
    """Return every file of the pipeline's part of a data root: its bytes and modification time."""
    found = {}
    for folder, folders, files in os.walk(root.path):
        folders[:] = [name for name in folders if name != ".genid"]
        for name in files:
            path = Path(folder, name)
            found[root.relative(path)] = (path.read_bytes(), path.stat().st_mtime_ns)
    return found


def everything(path: Path) -> dict[str, bytes | None]:
    """Return every file and folder below `path`, `.genid/` included."""
    return {
        item.relative_to(path).as_posix(): item.read_bytes() if item.is_file() else None
        for item in path.rglob("*")
    }
