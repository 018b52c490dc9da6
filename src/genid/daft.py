"""Ids for a Daft data frame, on one machine or on a Ray cluster (the extra `daft`).

The engine splits the data into batches and sends them to its workers, which call `genid.arrow` for
each batch. The same code works with either runner.
"""

from typing import Any

import daft
import pyarrow as pa

from genid._signature import Signature
from genid.arrow import check_new_column, fields_among, gen_ids


def add_gen_id(
    frame: daft.DataFrame, stage: type[Signature[Any]], *, column: str = "gen_id"
) -> daft.DataFrame:
    """Return the lazy frame with a column of v1 ids added (SPEC 1 to 5).

    Computing the frame raises the errors of `genid.arrow.gen_ids`, wrapped by the engine; they
    number rows within a batch.

    Raises:
        ColumnError: `column` exists already, or a field's column is missing.
    """
    check_new_column(column, frame.column_names)
    names = fields_among(frame.column_names, stage)

    def ids(*values: daft.Series) -> pa.Array:
        columns = dict(zip(names, (series.to_arrow() for series in values), strict=True))
        return gen_ids(pa.table(columns), stage).combine_chunks()

    derive = daft.func.batch(return_dtype=daft.DataType.string())(ids)
    return frame.with_column(column, derive(*(frame[name] for name in names)))
