"""The recipes of `docs/scale.md`, run by `tests/engines.py` where their engine is installed.

The lines between `# recipe` and `# end` are those of the page; a test compares them.
"""

import os
import sys
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genid import Draft, Grid
from genid.arrow import add_gen_id

AXES: dict[str, Any] = {
    "combo_id": [f"combo_v1_{at:012x}" for at in range(10_000)],
    "template_id": [f"template-v{at}" for at in range(5)],
    "llm_model_id": ["gemini_25_pro", "sonnet-4"],
    "replicate": [1, 2],
}
FILES = 4


def write(folder: Path) -> str:
    """Write the drafts to several Parquet files; return their pattern."""
    cells = Grid(Draft, **AXES).cells()
    share = len(Grid(Draft, **AXES)) // FILES
    for number in range(FILES):
        columns = zip(*islice(cells, share), strict=True)
        table = pa.table(dict(zip(AXES, map(pa.array, columns), strict=True)))
        pq.write_table(table, folder / f"drafts-{number}.parquet", row_group_size=20_000)
    return str(folder / "drafts-*.parquet")


def with_daft(pattern: str) -> list[str]:
    """Daft's own runner: all cores of one machine."""
    # recipe daft
    import daft

    import genid.daft

    drafts = genid.daft.add_gen_id(daft.read_parquet(pattern), Draft)
    # end
    return sorted(drafts.to_pydict()["gen_id"])


def with_daft_on_ray(pattern: str) -> list[str]:
    """The same, on the worker processes of a Ray cluster."""
    import daft

    # recipe daft-ray
    daft.set_runner_ray()
    # end
    return with_daft(pattern)


def with_ray(pattern: str) -> list[str]:
    """Ray Data maps the function as it is."""
    # recipe ray
    import ray

    drafts = ray.data.read_parquet(str(Path(pattern).parent))
    drafts = drafts.map_batches(partial(add_gen_id, stage=Draft), batch_format="pyarrow")
    # end
    return sorted(row["gen_id"] for row in drafts.iter_rows())


def with_spark(pattern: str) -> list[str]:
    """Spark maps it over its iterators of batches."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # where genid is; else the workers' `python3`
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    # recipe spark
    drafts = spark.read.parquet(pattern)
    schema = f"{', '.join(f'{name} {kind}' for name, kind in drafts.dtypes)}, gen_id string"
    drafts = drafts.mapInArrow(lambda batches: (add_gen_id(b, Draft) for b in batches), schema)
    # end
    ids = sorted(row.gen_id for row in drafts.select("gen_id").collect())
    spark.stop()
    return ids


RECIPES = {
    "daft": with_daft,
    "daft-ray": with_daft_on_ray,
    "ray": with_ray,
    "spark": with_spark,
}


def main() -> int:
    """Run the recipe that is named; return 0 if its ids are those of the single path."""
    with tempfile.TemporaryDirectory() as folder:
        pattern = write(Path(folder))
        ids = RECIPES[sys.argv[1]](pattern)
    right = sorted(Grid(Draft, **AXES)) == ids
    sys.stdout.write(f"{sys.argv[1]}: {len(ids)} ids, {'equal' if right else 'DIFFERENT'}\n")
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
