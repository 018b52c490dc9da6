"""SPEC 1 and 2 for Arrow columns: check, fold and write a column at a time.

A column with nothing to fold or refuse passes at the speed of a copy. A suspect row is checked
again by `Rule.normalize`, which checks single signatures, so both refuse the same, in one wording.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genid._canonical import layout
from genid._rules import COMPONENT_MAX, REPLICATE_MAX, WHITE_SPACE, Rule
from genid.errors import NO_VALUE, Problem, SignatureError, refusal

_ALLOWED = r"\A[!#-\[\]-~]{1,255}\z"  # SPEC 1.4
# The same as ranges of bytes that no text may have; the first goes on from 0xFF to 0x00.
_FORBIDDEN = ((0x7F, 0x20), (0x22, 0x22), (0x5C, 0x5C))
_FOLDED = ((0x09, 0x20), (0x41, 0x5A))  # white space, capitals: SPEC 1.3
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
    if rule.parent_prefix is not None or not _any_in(_FOLDED, texts):
        return texts
    return pc.ascii_lower(pc.ascii_trim(texts, characters=WHITE_SPACE))


def _suspect_texts(rule: Rule, texts: Any) -> Any:
    """Return which folded texts break SPEC 1.4 or may break 1.5, or None if none does."""
    suspects = None
    if not _have_sound_lengths(texts) or _any_in(_FORBIDDEN, texts):
        suspects = pc.invert(pc.match_substring_regex(texts, _ALLOWED))
    if rule.parent_prefix is None:
        return suspects
    other_prefix = pc.and_not(
        pc.match_substring_regex(texts, r"\A[a-z]_"),
        pc.starts_with(texts, f"{rule.parent_prefix}_"),
    )
    return other_prefix if suspects is None else pc.or_(suspects, other_prefix)


def _have_sound_lengths(texts: Any) -> bool:
    """Return whether all texts have 1 to 255 bytes (SPEC 1.4)."""
    ends = pc.min_max(pc.binary_length(texts)).as_py()
    return ends["min"] is None or (ends["min"] >= 1 and ends["max"] <= COMPONENT_MAX)


def _any_in(ranges: Sequence[tuple[int, int]], texts: Any) -> bool:
    """Return whether any byte of the texts is in a range, given by its first and last byte."""
    _validity, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return False
    ends = memoryview(offsets).cast("i")
    content = np.frombuffer(data, np.uint8)[ends[texts.offset] : ends[texts.offset + len(texts)]]
    # Bytes before `first` wrap round, so that one comparison finds a range.
    return any((content - first <= (last - first) % 256).any() for first, last in ranges)


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


def canonical(stage: str, columns: Mapping[str, Any]) -> list[Any]:
    """Return the parts of normalized columns' canonical texts; a null is an absent field (SPEC 2).

    Every other part is a column of texts without nulls, the others are texts that all rows share.
    """
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
    return [*parts, constant]
