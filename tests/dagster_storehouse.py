"""A tiny data root for tests of generating: laid by hand, no planner involved."""

import json
from pathlib import Path

from genid_dagster_adapter.store.layout import DataRoot

PARENT = {"essay": "draft", "evaluation": "essay"}


def lay(root: Path, stage: str, gen_id: str, **fields: object) -> DataRoot:
    """Write one generation's metadata and its template's text; return the data root."""
    data_root = DataRoot(root)
    metadata = {
        "stage": stage,
        "gen_id": gen_id,
        "origin_cohort_id": "c",
        "mode": "llm",
        "template_id": f"{stage}-t",
        "combo_id": "combo_v1_0123456789ab",
        "llm_model_id": "m",
        "replicate": 1,
        **fields,
    }
    folder = data_root.generation(stage, gen_id)
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    template = data_root.template(stage, str(metadata["template_id"]))
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text(f"write a {stage}")
    return data_root


def write(root: Path, stage: str, gen_id: str, name: str, text: str) -> None:
    """Put one file into a generation's folder."""
    (DataRoot(root).generation(stage, gen_id) / name).write_text(text)


def read(root: Path, stage: str, gen_id: str, name: str) -> str:
    """Return one file of a generation."""
    return (DataRoot(root).generation(stage, gen_id) / name).read_text()
