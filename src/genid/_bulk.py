"""From the parts of canonical texts to a column of ids, in native code (SPEC 3 to 5).

Apache DataFusion hashes a column in less than half the time of a Python loop around `blake3`, and
without the GIL; NumPy writes the texts in a tenth of the time. Both come with the extra `arrow`.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datafusion import SessionConfig, SessionContext, col, lit
from datafusion import functions as sql

from genid._text import ALPHABET, SUFFIX_LENGTH, digest

ROWS = 65_536  # that one thread works on at a time, which bounds the memory
_FEW = 4096  # rows that a loop hashes in the one or two milliseconds that a query costs

_PAIRS = np.frombuffer(
    "".join(high + low for high in ALPHABET for low in ALPHABET).encode(), dtype=np.uint16
)
_VERSION_KEPT, _VERSION = np.uint64(2**64 - 1 - (0xF << 12)), np.uint64(8 << 12)
_VARIANT_KEPT, _VARIANT = np.uint64(2**62 - 1), np.uint64(0b10 << 62)
_TEN_BITS = np.uint64(0x3FF)

# The engine's threads do not survive a fork, and a query that needs them would wait forever. Other
# code may have started them, so every process forked after this import hashes by the loop.
_forks: list[int] = []
os.register_at_fork(after_in_child=lambda: _forks.append(os.getpid()))

Words = np.ndarray[Any, np.dtype[np.uint64]]


def ids(prefix: str, parts: Sequence[Any]) -> pa.StringArray:
    """Return the ids of at most `ROWS` canonical texts, given in parts (SPEC 3 to 5)."""
    hashed = _by_loop if len(parts[1]) < _FEW or _forks else _by_engine
    return pa.concat_arrays([_texts(prefix, words) for words in hashed(parts)])


def _by_loop(parts: Sequence[Any]) -> list[Words]:
    """Hash row by row; return each digest as two words of 64 bits (SPEC 3)."""
    texts = pc.binary_join_element_wise(*parts, "").cast(pa.binary()).to_pylist()
    return [np.frombuffer(b"".join(map(digest, texts)), dtype=">u8").reshape(len(texts), 2)]


def _by_engine(parts: Sequence[Any]) -> list[Words]:
    """Join and hash in native code, some thousand rows at a time, which the caches hold."""
    columns, pieces = {}, []
    for at, part in enumerate(parts):
        if isinstance(part, str):  # as `str` it would make views of all texts, which costs a tenth
            pieces.append(lit(pa.scalar(part, pa.string())))
        else:
            columns[f"part_{at}"] = part
            pieces.append(col(f"part_{at}"))
    frame = _session().read_batch(pa.record_batch(columns))
    hashed = frame.select(sql.digest(sql.concat(*pieces), "blake3").alias("digest")).collect()
    return [_words(batch.column("digest")) for batch in hashed]


def _words(digests: pa.BinaryArray) -> Words:
    """Return the first 16 of each 32 bytes as two big-endian words (SPEC 3.1)."""
    _validity, offsets, data = digests.buffers()
    start = np.frombuffer(offsets, dtype=np.int32)[digests.offset]
    words = np.frombuffer(data, dtype=">u8", offset=start, count=len(digests) * 4)
    return words.reshape(len(digests), 4)[:, :2]


@cache
def _session() -> SessionContext:
    """Return this process's engine. With one partition a query returns its rows in order."""
    return SessionContext(SessionConfig().with_target_partitions(1))


def _texts(prefix: str, words: Words) -> pa.StringArray:
    """Return the ids of digests, written two characters of every row at a time (SPEC 4, 5)."""
    high = words[:, 0].astype(np.uint64) & _VERSION_KEPT | _VERSION
    low = words[:, 1].astype(np.uint64) & _VARIANT_KEPT | _VARIANT
    rows = len(words)
    out = np.empty((rows, 1 + SUFFIX_LENGTH // 2), dtype=np.uint16)
    out[:, 0] = np.frombuffer(f"{prefix}_".encode(), dtype=np.uint16)
    for place, bits in enumerate(_groups(high, low), start=1):
        out[:, place] = _PAIRS.take((bits & _TEN_BITS).view(np.int64))
    width = 2 + SUFFIX_LENGTH
    offsets = np.arange(0, width * (rows + 1), width, dtype=np.int32)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(out))


def _groups(high: Words, low: Words) -> Iterator[Words]:
    """Yield the 13 groups of 10 bits, the most significant first (SPEC 5.2).

    The bits above the lowest 10 of each word are arbitrary.
    """
    for shift in (56, 46, 36, 26, 16, 6):
        yield high >> np.uint64(shift)
    yield high << np.uint64(4) | low >> np.uint64(60)
    for shift in (50, 40, 30, 20, 10, 0):
        yield low >> np.uint64(shift)
