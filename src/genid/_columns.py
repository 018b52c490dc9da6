"""SPEC 1 and 2 for Arrow columns: check, fold and write a column at a time.

A column with nothing to fold or refuse passes at the speed of a copy. A suspect row is checked
again by `Rule.normalize`, which checks single signatures, so both refuse the same, in one wording.
"""

from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from genid._canonical import layout
from genid._rules import COMPONENT_MAX, NORMALIZED, REPLICATE_MAX, WHITE_SPACE, Rule
from genid.errors import NO_VALUE, Problem, SignatureError, refusal

_ALLOWED = r"\A[!#-\[\]-~]{1,255}\z"  # SPEC 1.4
# Like NORMALIZED, for values that are not folded: capitals are mapped to themselves too.
_ALLOWED_TABLE = NORMALIZED[:0x41] + ascii_uppercase.encode() + NORMALIZED[0x5B:]
_TEXT_TYPES = (pa.string(), pa.large_string(), pa.string_view())

Problems = dict[int, Problem]
"""The problem of each bad row by the row's number, and of the column itself by -1."""


def checked(place: str, rule: Rule, column: Any, *, first: int) -> tuple[Any, Problems]:
    """Return the normalized values of one field and their problems (SPEC 1.2 to 1.6).

    `first` is the number of the column's first row.
    """
    try:
        values = _one_array(column)
    except pa.ArrowInvalid:
        reason = "is the type of a column with 2 GiB of text and more"
        return column, {-1: refusal(place, str(column.type), reason, "pass ids, not texts")}
    if pa.types.is_null(values.type):
        values = values.cast(pa.int32() if rule.is_replicate else pa.string())
    if rule.is_replicate and pa.types.is_integer(values.type):
        normalized, suspects = values, _suspect_numbers(values)
    elif not rule.is_replicate and pa.types.is_string(values.type):
        normalized = _folded(rule, values)
        suspects = _suspect_texts(rule, normalized)
    else:
        wanted = "whole numbers" if rule.is_replicate else "text"
        reason = f"is the type of the column, not one of {wanted}"
        remedy = "convert the column where it is certain what its values mean"
        return values, {-1: refusal(place, str(values.type), reason, remedy)}
    problems = dict(_refused(place, rule, values, suspects, first))
    if values.null_count and not rule.optional:
        remedy = "fill the value in, or leave the row out"
        for row in pc.indices_nonzero(values.is_null()).to_pylist():
            at = first + row
            problems[at] = refusal(f"row {at}, {place}", NO_VALUE, "is null", remedy)
    return normalized, problems


def _one_array(column: Any) -> Any:
    """Return a column as one array without a dictionary, and texts as `pyarrow.string`.

    Raises:
        pyarrow.ArrowInvalid: the column has more text than that type can hold.
    """
    chunks = [_plain(chunk) for chunk in column.chunks or [column.combine_chunks()]]
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _plain(values: Any) -> Any:
    """Return one chunk, which may have its own dictionary, as `_one_array` returns a column."""
    if isinstance(values, pa.DictionaryArray):
        values = _plain(values.dictionary).take(values.indices)
    if values.type not in _TEXT_TYPES:
        return values
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:  # a short slice may begin beyond 2 GiB of a large array: copy it out
        return values.take(pa.array(range(len(values)))).cast(pa.string())


def _suspect_numbers(values: Any) -> Any:
    """Return which replicates to check again: all if any is out of range, else None (SPEC 1.6)."""
    ends = pc.min_max(values).as_py()
    if ends["min"] is None or (ends["min"] >= 1 and ends["max"] <= REPLICATE_MAX):
        return None
    return values.is_valid()


def _folded(rule: Rule, texts: Any) -> Any:
    """Return components trimmed and folded, and parents unchanged (SPEC 1.3, 1.5)."""
    if rule.parent_prefix is not None or _unchanged_by(NORMALIZED, texts):
        return texts
    return pc.ascii_lower(pc.ascii_trim(texts, characters=WHITE_SPACE))


def _suspect_texts(rule: Rule, texts: Any) -> Any:
    """Return which folded texts break SPEC 1.4 or may break 1.5, or None if none does."""
    suspects = None
    if not _unchanged_by(_ALLOWED_TABLE, texts):
        suspects = pc.invert(pc.match_substring_regex(texts, _ALLOWED))
    if rule.parent_prefix is None:
        return suspects
    other_prefix = pc.and_not(
        pc.match_substring_regex(texts, r"\A[a-z]_"),
        pc.starts_with(texts, f"{rule.parent_prefix}_"),
    )
    return other_prefix if suspects is None else pc.or_(suspects, other_prefix)


def _unchanged_by(table: bytes, texts: Any) -> bool:
    """Return whether all texts have 1 to 255 bytes, each of which `table` maps to itself."""
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    if lengths["min"] is None:
        return True
    if lengths["min"] < 1 or lengths["max"] > COMPONENT_MAX:
        return False
    _validity, offsets, data = texts.buffers()
    ends = memoryview(offsets).cast("i")
    start, end = ends[texts.offset], ends[texts.offset + len(texts)]
    content = data[start:end].to_pybytes()
    return content.translate(table) is content


def _refused(
    place: str, rule: Rule, values: Any, suspects: Any, first: int
) -> Iterator[tuple[int, Problem]]:
    """Yield the problem of each suspect row that a single signature would refuse (SPEC 1)."""
    if suspects is None:
        return
    for row in pc.indices_nonzero(pc.fill_null(suspects, fill_value=False)).to_pylist():
        try:
            rule.normalize(f"row {first + row}, {place}", _as_python(values[row]))
        except SignatureError as error:
            (problem,) = error.problems
            yield first + row, problem


def _as_python(value: Any) -> Any:
    """Return an Arrow scalar as a Python value; bytes that are not UTF-8 become lone surrogates."""
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return value.cast(pa.binary()).as_py().decode("utf-8", "surrogateescape")


def canonical(stage: str, columns: Mapping[str, Any]) -> Any:
    """Return the canonical texts of normalized columns; a null is an absent field (SPEC 2)."""
    parts: list[Any] = []
    constant = ""  # the text between two columns, joined as one part
    for member in layout(stage, tuple(columns)):
        values = columns[member.name]
        quote = "" if pa.types.is_integer(values.type) else '"'
        lead, trail = f"{member.lead}{quote}", f"{quote}{member.trail}"
        texts = values.cast(pa.string())
        if texts.null_count:
            present = pc.binary_join_element_wise(lead, texts, trail, "")
            parts += [constant + member.before, pc.fill_null(present, "")]
            constant = member.after
        else:
            parts += [constant + member.before + lead, texts]
            constant = trail + member.after
    # Arrow's own pool returns these megabytes to the system and fetches them zeroed every time,
    # which takes longer than the hashing. The C library's allocator keeps them.
    pool = pa.system_memory_pool()
    return pc.binary_join_element_wise(*parts, constant, "", memory_pool=pool)
