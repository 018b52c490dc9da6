"""Ids for whole tables: Arrow columns in, an Arrow column out (the extra `arrow`).

Data is a pyarrow table or record batch, or anything else with the Arrow PyCapsule interface: a
Polars or pandas (2.2 or newer) frame, a DuckDB (1.5 or newer) relation. Columns have the names of
the signature's fields; others are left alone. Rows are numbered from 0. Every row gets the id that
`gen_id` gives, and what a single signature refuses is refused here. Each function raises a
`ColumnError` for data that is not a table, and a `SignatureError` for a stage that is not a
signature's class. All of them work in a process that was forked.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from typing import Any

from genid._signature import Signature, parent_field, rules_of
from genid.errors import ColumnError, Problem, refusal

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
    """Return a column of strings: the v1 id of every row.

    Raises:
        ColumnError: with every value that is null or refused by SPEC 1, by row and column, and
            every column that is missing or of another type.
    """
    problems: list[Problem] = []
    texts = []
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        for found, text in pool.map(partial(_derived, stage), _slabs(_table(data), stage)):
            problems += found
            texts.append(text)
    if problems:
        raise ColumnError(*dict.fromkeys(problems))  # the fault of a column comes with each slab
    return pa.chunked_array(texts, type=pa.string())


def _derived(stage: Stage, slab: tuple[int, pa.Table]) -> tuple[list[Problem], Any]:
    """Return what is wrong with some rows, or else their ids."""
    columns, found = _checked(stage, slab)
    if found:
        return [problem for _row, problem in found], None
    return [], ids(stage.prefix, canonical(stage.stage, columns))


def bad_rows(data: Any, stage: Stage) -> pa.BooleanArray:
    """Return a column of truth values: which rows `gen_ids` would refuse.

    Raises:
        ColumnError: with every column that is missing or of another type.
    """
    table = _table(data)
    found = [one for slab in _slabs(table, stage) for one in _checked(stage, slab)[1]]
    faults = [problem for row, problem in found if row < 0]
    if faults:
        raise ColumnError(*dict.fromkeys(faults))
    bad = {row for row, _problem in found}
    return pa.array([row in bad for row in range(len(table))], pa.bool_())


def add_gen_id(data: Any, stage: Stage, *, column: str = "gen_id") -> Any:
    """Return the data with a further column of v1 ids: a record batch for one, else a table.

    This is the function to pass to an engine that maps batches.

    Raises:
        ColumnError: as `gen_ids` does, or `column` exists already.
    """
    rows = data if isinstance(data, pa.RecordBatch) else _table(data)
    check_new_column(column, rows.schema.names)
    texts = gen_ids(rows, stage)
    return rows.append_column(
        column, texts.combine_chunks() if isinstance(rows, pa.RecordBatch) else texts
    )


def check_new_column(column: str, names: Sequence[str]) -> None:
    """Refuse to add a column that exists already.

    Raises:
        ColumnError: `column` is one of `names`.
    """
    if column in names:
        remedy = "drop it, or name another column"
        raise ColumnError.of("gen_id column", column, "exists already", remedy)


def chain(*steps: tuple[Stage, Any]) -> list[pa.Table]:
    """Derive the ids of a whole experiment: drafts, then what is made from them, step by step.

    Each step is a stage and its table. A later table names each row's parent by the number of a
    row of the table before it, in a column `parent_row`; the ids of the parents (an essay's
    `parent_gen_id`) come from there. The tables are returned with these and `gen_id` added.

    Raises:
        ColumnError: as `gen_ids` does, or a `parent_row` is missing, given twice, null, not a
            whole number or beyond the table before, a stage after the first has no parent, or a
            table has a column that would be added.
    """
    done: list[pa.Table] = []
    for stage, data in steps:
        table = _table(data)
        if done:
            field, parents = parent_field(stage), done[-1]["gen_id"].combine_chunks()
            if field is None:
                remedy = "begin another chain with it"
                raise ColumnError.of("stage", stage.stage, "has no parent", remedy)
            table = table.append_column(field, parents.take(_parent_rows(table, field, parents)))
        done.append(add_gen_id(table, stage))
    return done


def _parent_rows(table: pa.Table, field: str, parents: Any) -> Any:
    """Return the checked column `parent_row`."""
    names = table.column_names
    if names.count("parent_row") != 1 or field in names:
        reason = f"are not one parent_row and no {field}"
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
    """Take whatever has the Arrow PyCapsule interface as a table, without a copy.

    Raises:
        ColumnError: `data` has no such interface, or cannot give a table through it: a pandas
            frame does not where a column has values of several types.
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
    """Return the fields' columns of some rows at a time, with the number of the first.

    A table without rows is one slab: its columns are checked too.
    """
    fields = table.select(fields_among(table.column_names, stage))
    return ((first, fields.slice(first, ROWS)) for first in range(0, len(table) or 1, ROWS))


def _checked(
    stage: Stage, slab: tuple[int, pa.Table]
) -> tuple[dict[str, Any], list[tuple[int, Problem]]]:
    """Return the normalized columns of some rows, and their problems, row by row."""
    (first, fields), rules = slab, rules_of(stage)
    columns: dict[str, Any] = {}
    problems: list[tuple[int, Problem]] = []
    for name in fields.column_names:
        place = f"{stage.stage}.{name}"
        columns[name], found = checked(place, rules[name], fields[name], first=first)
        problems += found.items()
    return columns, sorted(problems, key=itemgetter(0))


def fields_among(columns: Sequence[str], stage: Stage) -> list[str]:
    """Return which columns are fields of a stage, in the order of their declaration.

    Raises:
        ColumnError: with every field whose column is missing or given twice.
    """
    rules = rules_of(stage).items()
    names = [name for name, rule in rules if name in columns or not rule.optional]
    problems = [
        refusal(
            f"column {name}",
            columns,
            "is given more than once" if name in columns else "is missing",
            "give each field one column of its name",
        )
        for name in names
        if columns.count(name) != 1
    ]
    if problems:
        raise ColumnError(*problems)
    return names
