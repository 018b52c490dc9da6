"""Columns: a million complete ids (check, canonical bytes, digest, text), and many more.

The peer is a Python loop that only hashes: `blake3(b).digest(16)` over canonical bytes that
somebody else has made.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blake3 import blake3

from benchmarks.harness import Case, Clock, Figure, Size, Skipped
from genid import Draft, canonical_bytes


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield columns against the loop, on all cores and on one; Parquet in the long form."""
    try:
        import pyarrow as pa

        from genid.arrow import gen_ids
    except ImportError as error:
        raise Skipped(f"{error.name} is not installed") from error
    if size == "long":
        yield from _long()
        return
    largest = 1_000_000 if size == "full" else 100_000
    table = drafts(pa, largest)
    ready = [
        canonical_bytes(Draft(combo_id=c, template_id=t, llm_model_id=m, replicate=r))
        for c, t, m, r in zip(
            *(table[name].to_pylist() for name in table.column_names), strict=True
        )
    ]

    def case(rows: int, of: str, clock: Clock, goal: float, bound: float | None) -> Case:
        some, data = table.slice(0, rows), ready[:rows]
        return Case(
            name=f"{rows:,} complete ids{of}",
            peer_name="loop of blake3(b).digest(16)",
            ours=lambda: gen_ids(some, Draft),
            peer=lambda: _loop(data),
            better="cost",
            goal=goal,
            bound=bound,
            items=rows,
            rounds=5,
            clock=clock,
        )

    if size == "full":
        yield case(10_000, ", all cores added up", "all", 1.2, 2)
        yield case(100_000, ", all cores added up", "all", 1.0, 1.4)
    yield case(largest, ", all cores added up", "all", 1.0, 1.4)
    yield case(largest, ", by the clock", "wall", 0.6, None)


def _loop(ready: list[bytes]) -> None:
    for data in ready:
        blake3(data).digest(16)


def drafts(pa: Any, rows: int) -> Any:
    """Return a table of drafts as a pipeline would hold it."""
    numbers = range(rows)
    return pa.table(
        {
            "combo_id": [f"combo_v1_{at // 24:012x}" for at in numbers],
            "template_id": [f"creative-synthesis-v{at // 8 % 3}" for at in numbers],
            "llm_model_id": ["gemini_25_pro" if at // 4 % 2 else "sonnet-4" for at in numbers],
            "replicate": pa.array([at % 4 + 1 for at in numbers], pa.int32()),
        }
    )


def _long() -> Iterator[Figure]:
    """Ten million rows to Parquet, by the worked example, in a process of its own."""
    example = Path(__file__).resolve().parent.parent / "examples" / "large_experiment.py"

    def peak() -> float:
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "drafts.parquet")
            subprocess.run([sys.executable, str(example), out, "--rows", "10000000"], check=True)
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024

    yield Figure(
        name="peak of 10,000,000 drafts written to Parquet",
        unit="MB",
        measure=peak,
        goal=500,
        bound=800,
    )
