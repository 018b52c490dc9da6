"""Grids: ids of an experiment's cells, one after the other."""

import tracemalloc
import uuid
from collections import deque
from collections.abc import Iterator
from itertools import islice, product
from typing import Any

from benchmarks.harness import Case, Figure, Size
from benchmarks.micro import by_uuid5
from genid import Draft, Essay, Grid

_MODELS = ["gemini_25_pro", "sonnet-4", "deepseek_r1_p"]


def axes(combos: int) -> dict[str, Any]:
    """Return axes of drafts whose combos no earlier call returned."""
    return {
        "combo_id": [f"combo_v1_{uuid.uuid4().hex[:12]}" for _ in range(combos)],
        "template_id": [f"creative-synthesis-v{at}" for at in range(5)],
        "llm_model_id": _MODELS,
        "replicate": range(1, 4),
    }


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the rate of a grid, and the memory of a large one."""
    if size == "long":
        return
    work: dict[str, Any] = {}

    def before() -> None:
        work["axes"] = axes(25)
        work["cells"] = list(product(*work["axes"].values()))

    yield Case(
        name="grid of drafts",
        peer_name="str(uuid5) over the cells",
        ours=lambda: deque(Grid(Draft, **work["axes"]), maxlen=0),
        peer=lambda: by_uuid5()(work["cells"]),
        before=before,
        better="speed",
        goal=2.2,
        bound=1.8,  # Debian's Python 3.11.2 measures 1.9 to 2.1, others 2.4 to 2.6
        items=25 * 5 * 3 * 3,
        rounds=60,
    )
    yield Figure(
        name="memory of 50,000 essays over a grid of drafts",
        unit="MB",
        measure=_memory,
        goal=1,
        bound=3,
    )


def _memory() -> float:
    drafts = Grid(Draft, **axes(2_000))
    essays = Grid(Essay, parent_gen_id=drafts, template_id=["a", "b"], replicate=[1, 2])
    tracemalloc.start()
    deque(islice(essays, 50_000), maxlen=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6
