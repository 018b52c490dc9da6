"""What a tick of Dagster's sensor costs over many keys: the figures of `docs/dagster.md`.

    python -m benchmarks.ticks 100000

Half of the keys are drafts, half their essays, all of one cohort; once under v1 ids, once under
legacy ones. Prints CPU seconds of this process, each tick twice: a code server keeps what it has
imported. The instance is on SQLite, all of it on a tmpfs.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from benchmarks.bench_cohort import memory_folder
from genid import Draft, Essay, gen_id
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.events import report
from genid_dagster_adapter.partitions import register
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import METADATA, PARSED, DataRoot
from genid_store.ids.rollout import Rollout

_FIELDS = {"template_id": "t", "llm_model_id": "m"}


def make_cohort(root: DataRoot, keys: int, *, is_legacy: bool) -> dict[str, list[str]]:
    """Write a cohort's members and their metadata, and the index as a build does; return the ids by
    stage."""
    ids: dict[str, list[str]] = {"draft": [], "essay": []}
    for number in range(1, keys // 2 + 1):
        draft = gen_id(Draft(combo_id="c", replicate=number, **_FIELDS))
        essay = gen_id(Essay(parent_gen_id=draft, replicate=1, **_FIELDS))
        above = f"c_t_m_{number:06}" if is_legacy else str(draft)
        below = f"{above}_t" if is_legacy else str(essay)
        _put(root, "draft", above, combo_id="c", replicate=number)
        _put(root, "essay", below, combo_id="c", replicate=1, parent_gen_id=above)
        ids["draft"].append(above)
        ids["essay"].append(below)
    root.membership("c").parent.mkdir(parents=True)
    rows = [f"{stage},{one}" for stage, found in ids.items() for one in found]
    root.membership("c").write_text("\n".join(["stage,gen_id", *rows, ""]))
    with StoreIndex.fresh(root):
        return ids


def _put(root: DataRoot, stage: str, name: str, **more: str | int) -> None:
    folder = root.generation(stage, name)
    folder.mkdir(parents=True)
    (folder / METADATA).write_text(json.dumps({"stage": stage, "gen_id": name, **_FIELDS, **more}))


def measure(folder: Path, keys: int, *, is_legacy: bool) -> None:
    """Print a line for each tick."""
    root = DataRoot(folder / "root")
    ids = make_cohort(root, keys, is_legacy=is_legacy)
    definitions = build_definitions(
        data_root=root.path, generate=lambda request: "text", rollout=Rollout.OFF
    )

    def tick(what: str) -> None:
        for turn in ("first", "second"):
            began = time.process_time()
            found = dg.evaluate_automation_conditions(definitions, instance)
            seconds = time.process_time() - began
            family = "legacy" if is_legacy else "v1"
            print(f"{family}, {what}, {turn}: {found.total_requested} asked, {seconds:.1f} CPU s")

    (folder / "home").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "home")) as instance:
        for stage, found in ids.items():
            register(instance, stage, found)
        tick("all missing")
        for stage, found in ids.items():
            key = f"{stage}_generation"
            for one in found:
                (root.generation(stage, one) / PARSED).write_text("text")
            report(instance, [dg.AssetMaterialization(key, partition=one) for one in found])
        tick("nothing to do")


if __name__ == "__main__":
    for is_legacy in (False, True):
        with tempfile.TemporaryDirectory(dir=memory_folder()) as made:
            measure(Path(made), int(sys.argv[1]), is_legacy=is_legacy)
