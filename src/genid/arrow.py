"""Ids for whole tables: Arrow columns in, an Arrow column out (the extra `arrow`).

Data is a pyarrow table or record batch, or anything else with the Arrow PyCapsule interface: a
Polars or pandas (2.2 or newer) frame, a DuckDB (1.5 or newer) relation. A column is named after the
field that it holds; further columns are ignored. Rows are numbered from 0. A row gets the id that
`gen_id` returns for it, and is refused if a single signature would be. Each function raises a
`ColumnError` for data that is not a table, and a `SignatureError` for a stage that is not a
signature's class. All of them work in a forked process.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any

from genid._signature import Signature, parent_field, rules_of
from genid.errors import NO_VALUE, ColumnError, Problem, refusal

try:
    import pyarrow as pa
    import pyarrow.compute as pc

    from genid._bulk import ROWS, ids
    from genid._columns import canonical, checked
except ModuleNotFoundError as error:
    message = (
        f"{error}: columns are an extra of generation-ids, pip install '.[arrow]' in a checkout"
    )
    raise ModuleNotFoundError(message, name=error.name) from error

Stage = type[Signature[Any]]


def gen_ids(data: Any, stage: Stage) -> pa.ChunkedArray:
    """Return a column of strings: the v1 id of every row (SPEC 1 to 5).

    Raises:
        ColumnError: with every value that is null or refused by SPEC 1, by row and column, and
            every column that is missing or of another type.
    """
    problems: list[Problem] = []
    texts = []
    table = _table(data)
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        # A thread costs as much as 2,000 rows, so one slab does without.
        each = pool.map if len(table) > ROWS else map
        for refused, text in each(partial(_derived, stage), _slabs(table, stage)):
            problems += refused
            texts.append(text)
    if problems:
        raise ColumnError(*dict.fromkeys(problems))  # every slab repeats a column's own problem
    return pa.chunked_array(texts, type=pa.string())


def _derived(stage: Stage, slab: tuple[int, pa.Table]) -> tuple[list[Problem], Any]:
    """Return the problems of a slab's rows, and their ids if there are none."""
    columns, problems = _checked(stage, slab)
    if problems:
        return [problem for _row, problem in problems], None
    return [], ids(stage.prefix, canonical(stage.stage, columns))


def bad_rows(data: Any, stage: Stage) -> pa.BooleanArray:
    """Return a column of truth values: whether `gen_ids` would refuse each row (SPEC 1).

    Raises:
        ColumnError: with every column that is missing or of another type.
    """
    table = _table(data)
    problems: list[tuple[int, Problem]] = []
    for slab in _slabs(table, stage):
        problems += _checked(stage, slab)[1]
    of_columns = [problem for row, problem in problems if row < 0]
    if of_columns:
        raise ColumnError(*dict.fromkeys(of_columns))
    bad = {row for row, _problem in problems}
    return pa.array([row in bad for row in range(len(table))], pa.bool_())


def add_gen_id(data: Any, stage: Stage, *, column: str = "gen_id") -> Any:
    """Return the data with a column of v1 ids added; a record batch stays one (SPEC 1 to 5).

    Pass this function to an engine that maps batches.

    Raises:
        ColumnError: as `gen_ids`, or `column` exists already.
    """
    if isinstance(data, pa.RecordBatch):
        check_new_column(column, data.schema.names)
        return data.append_column(column, gen_ids(data, stage).combine_chunks())
    table = _table(data)
    check_new_column(column, table.column_names)
    return table.append_column(column, gen_ids(table, stage))


def check_new_column(column: str, names: Sequence[str]) -> None:
    """Check that a column can be added. ColumnError: `column` is one of `names`."""
    if column in names:
        remedy = "drop it, or name another column"
        raise ColumnError.of("gen_id column", column, "exists already", remedy)


def chain(*steps: tuple[Stage, Any]) -> list[pa.Table]:
    """Derive the ids of a whole experiment, stage by stage, parents first (SPEC 1 to 5).

    Each step is a stage and its table. The column `parent_row` of every table but the first holds
    the number of each row's parent in the table before. Return the tables with the ids of the
    parents (an essay's `parent_gen_id`) and `gen_id` added.

    Raises:
        ColumnError: as `gen_ids`, or a `parent_row` is missing, given twice, null, not a whole
            number or beyond the table before, a stage after the first has no parent, or a table
            already has a column that would be added.
    """
    tables: list[pa.Table] = []
    for stage, data in steps:
        table = _table(data)
        if tables:
            field, parents = parent_field(stage), tables[-1]["gen_id"].combine_chunks()
            if field is None:
                remedy = "begin another chain with it"
                raise ColumnError.of("stage", stage.stage, "has no parent", remedy)
            table = table.append_column(field, parents.take(_parent_rows(table, field, parents)))
        tables.append(add_gen_id(table, stage))
    return tables


def _parent_rows(table: pa.Table, field: str, parents: Any) -> Any:
    """Return the column `parent_row` of a table, each value a row of `parents`."""
    names = table.column_names
    if names.count("parent_row") != 1 or field in names:
        reason = f"should have one parent_row and no {field}"
        remedy = "give the parents by parent_row alone"
        raise ColumnError.of("columns", names, reason, remedy)
    rows = table["parent_row"]
    if not pa.types.is_integer(rows.type) or rows.null_count:
        remedy = "number the rows of the table before from 0"
        raise ColumnError.of("parent_row", str(rows.type), "is not a number in every row", remedy)
    ends = pc.min_max(rows).as_py()
    if len(rows) and not (ends["min"] >= 0 and ends["max"] < len(parents)):
        reason = f"goes beyond the {len(parents)} rows of the table before"
        raise ColumnError.of("parent_row", ends, reason, "number those rows from 0")
    return rows


def _table(data: Any) -> pa.Table:
    """Return whatever has the Arrow PyCapsule interface as a table, without a copy.

    Raises:
        ColumnError: `data` has no such interface, or fails to export a table, as a pandas frame
            does if a column has values of several types.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if not hasattr(data, "__arrow_c_stream__") and not hasattr(data, "__arrow_c_array__"):
        remedy = "pass a pyarrow table or a frame with the Arrow PyCapsule interface"
        raise ColumnError.of("data", data, "is not a table", remedy)
    try:
        return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason, remedy = f"gives no Arrow table: {error}", "give each column one name and one type"
        raise ColumnError.of("data", type(data).__name__, reason, remedy) from error


def _slabs(table: pa.Table, stage: Stage) -> Iterator[tuple[int, pa.Table]]:
    """Return slabs of at most `ROWS` rows of the fields' columns, each with its first row's number.

    A table without rows is one slab, so that the types of its columns are checked.
    """
    fields = table.select(fields_among(table.column_names, stage))
    return ((first, fields.slice(first, ROWS)) for first in range(0, len(table) or 1, ROWS))


def _checked(
    stage: Stage, slab: tuple[int, pa.Table]
) -> tuple[dict[str, Any], list[tuple[int, Problem]]]:
    """Return a slab's normalized columns and its problems by row, those of whole columns first."""
    (first, fields), rules = slab, rules_of(stage)
    columns: dict[str, Any] = {}
    problems: list[tuple[int, Problem]] = []
    for name in fields.column_names:
        place = f"{stage.stage}.{name}"
        columns[name], refused = checked(place, rules[name], fields[name], first=first)
        problems += refused.items()
    return columns, sorted(problems, key=itemgetter(0))


def fields_among(columns: Sequence[str], stage: Stage) -> list[str]:
    """Return which columns are fields of a stage, in order of declaration (SPEC 1.1).

    Raises:
        ColumnError: with every field whose column is missing or given twice.
    """
    rules = rules_of(stage).items()
    names = [name for name, rule in rules if name in columns or not rule.optional]
    problems = []
    for name in names:
        if columns.count(name) != 1:
            reason = "is given more than once" if name in columns else "is missing"
            remedy = "give each field one column of its name"
            problems.append(refusal(f"column {name}", NO_VALUE, reason, remedy))
    if problems:
        raise ColumnError(*problems)
    return names
