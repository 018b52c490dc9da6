"""Write the drafts of a large experiment to Parquet, batch by batch.

    python examples/large_experiment.py drafts.parquet [--rows 10000000]

The cells are never all in memory: a batch of them is made, gets its ids, and is written.
"""

import argparse
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from genid import Draft
from genid.arrow import add_gen_id

TEMPLATES = ["creative-synthesis-v10", "deliberate-rolling-thread-v2"]
MODELS = ["gemini_25_pro", "deepseek_r1_p", "sonnet-4"]
REPLICATES = 4
BATCH = 2**17  # rows
SCHEMA = pa.schema(
    {
        "combo_id": pa.string(),
        "template_id": pa.dictionary(pa.int8(), pa.string()),
        "llm_model_id": pa.dictionary(pa.int8(), pa.string()),
        "replicate": pa.int32(),
        "gen_id": pa.string(),
    }
)


def batches(rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the cells of an experiment: combos by templates by models by replicates."""
    per_combo = len(TEMPLATES) * len(MODELS) * REPLICATES
    for first in range(0, rows, BATCH):
        cells = range(first, min(first + BATCH, rows))
        within = [cell % per_combo for cell in cells]
        yield pa.record_batch(
            {
                "combo_id": [f"combo_v1_{cell // per_combo:012x}" for cell in cells],
                "template_id": pa.DictionaryArray.from_arrays(
                    pa.array([at // (len(MODELS) * REPLICATES) for at in within], pa.int8()),
                    TEMPLATES,
                ),
                "llm_model_id": pa.DictionaryArray.from_arrays(
                    pa.array([at // REPLICATES % len(MODELS) for at in within], pa.int8()), MODELS
                ),
                "replicate": pa.array([at % REPLICATES + 1 for at in within], pa.int32()),
            }
        )


def write(path: str, rows: int) -> None:
    """Write the cells with their ids; memory is that of one batch."""
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for batch in batches(rows):
            writer.write_batch(add_gen_id(batch, Draft))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--rows", type=int, default=10_000_000)
    arguments = parser.parse_args()
    write(arguments.path, arguments.rows)
    print(f"{arguments.path}: {arguments.rows:,} drafts")
