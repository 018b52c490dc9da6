"""What a large store costs: the line of `docs/scale.md` for a number of generations.

    python -m benchmarks.scale 1000000

Makes a store of metadata without texts, every other tree under legacy ids, on a tmpfs where that
has room for two names a generation, else on the disk. Takes each step in its own process; prints
CPU time a generation, and the most memory of any step.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bench_cohort import memory_folder
from genid import Draft, Essay, Evaluation, Signature, gen_id
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import METADATA, DataRoot
from genid_store.ids import legacy
from genid_store.stages import PIPELINE

STEPS = ("first index", "refresh", "audit", "two look-ups")
_COHORT = "cohort-0a1b2c3d4e5f"
_MODELS = ("gemini_25_pro", "sonnet-4", "qwen3")
_ESSAYS, _JUDGES = 4, 4  # of a draft; templates of evaluations, each by every model
_TREE = 1 + _ESSAYS * (1 + _JUDGES * len(_MODELS))  # generations of one draft and all below it
_LOOK_UPS, _WARM = 2_500, 500


def make_store(root: DataRoot, generations: int) -> None:
    """Write whole trees of drafts, essays and evaluations, at least `generations` in all."""
    for stage in PIPELINE:
        root.stage(stage).mkdir(parents=True)
    for number in range(-(-generations // _TREE)):
        _make_tree(root, f"combo_v1_{number:012x}", is_legacy=number % 2 == 1)


def _make_tree(root: DataRoot, combo: str, *, is_legacy: bool) -> None:
    model, template = _MODELS[0], "creative-synthesis-v10"
    fields = {"combo_id": combo, "llm_model_id": model}

    def put(stage: str, task: str, signature: Signature[Any], **more: str) -> str:
        old = legacy.reserve_gen_id(stage, task, _COHORT, None)
        name = old if is_legacy else str(gen_id(signature))
        document = {"stage": stage, "gen_id": name, "origin_cohort_id": _COHORT, "mode": "llm"}
        folder = root.generation(stage, name)
        folder.mkdir()
        text = json.dumps({**document, **fields, **more, "replicate": 1}, indent=2)
        (folder / METADATA).write_text(text, encoding="utf-8")
        return name

    task = legacy.draft_task(combo, template, model)
    signature: Signature[Any] = Draft(**fields, template_id=template, replicate=1)
    draft: Any = put("draft", task, signature, template_id=template)
    for at in range(_ESSAYS):
        name = f"essay-template-{at}"
        signature = Essay(parent_gen_id=draft, template_id=name, replicate=1)
        above = {"parent_gen_id": draft, "template_id": name}
        essay: Any = put("essay", legacy.essay_task(task, name), signature, **above)
        for judge in (f"judge-{number}" for number in range(_JUDGES)):
            for other in _MODELS:
                named = {"template_id": judge, "llm_model_id": other}
                signature = Evaluation(parent_gen_id=essay, **named, replicate=1)
                task_id = legacy.evaluation_task(essay, judge, other)
                put("evaluation", task_id, signature, parent_gen_id=essay, **named)


def measure(step: str, root: DataRoot) -> tuple[int, float, int]:
    """Take one step; return how many generations there are, the CPU seconds of one, and the most
    memory of this process in KiB."""
    with StoreIndex.open(root) as index:
        began = time.process_time()
        if step in ("first index", "refresh"):
            index.refresh()
        count = items = index.count()
        if step == "audit":
            audit(index)
        elif step == "two look-ups":
            items = _LOOK_UPS
            began = _look_up(index)
        seconds = time.process_time() - began
    return count, seconds / items, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _look_up(index: StoreIndex) -> float:
    """Look generations up by their id and by their task's; return when the warm ones began."""
    query = "SELECT gen_id, v1 FROM generation WHERE stage = 'evaluation' ORDER BY random() LIMIT ?"
    rows = index.sql(query, _LOOK_UPS + _WARM)
    began = 0.0
    for at, (name, v1) in enumerate(rows):
        if at == _WARM:
            began = time.process_time()
        index.get("evaluation", name)
        index.by_expected("v1", v1)
    return began


def main(arguments: list[str]) -> None:
    """Print the line; with a step and a folder, what that step came to as JSON."""
    if len(arguments) == 2:
        print(json.dumps(measure(arguments[0], DataRoot.open(arguments[1]))))
        return
    generations, place = int(arguments[0]), memory_folder()
    room = None if place is None else os.statvfs(place)
    if room is not None and room.f_files > 0 and room.f_favail < 3 * generations:  # 0: no limit
        place = None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        make_store(DataRoot(Path(folder)), generations)
        count, costs, most = 0, [], 0
        for step in STEPS:
            command = [sys.executable, "-m", "benchmarks.scale", step, folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            count, seconds, memory = json.loads(done.stdout)
            costs.append(f"{seconds * 1e6:.0f} µs")
            most = max(most, memory)
    print("|", " | ".join([f"{count:,}", *costs, f"{most / 1024:.0f} MB"]), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
