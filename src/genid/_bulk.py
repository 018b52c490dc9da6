"""Many canonical texts to ids at once (SPEC 3 to 5): native hashing, columnar text.

Apache DataFusion hashes in bulk in less than half the time of a Python loop around `blake3`, and
on all cores; NumPy writes the texts in a tenth. Both belong to the extra `arrow`.
"""

from functools import cache
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
from datafusion import SessionConfig, SessionContext, col
from datafusion import functions as sql

from genid._digest import DIGEST_BYTES, digest
from genid._text import ALPHABET, SUFFIX_LENGTH

ROWS = 2**17  # that are worked on at once: what bounds the memory
_FEW = 4096  # a query costs a millisecond or two, in which a loop has hashed so many
_PIECE = 2**14  # rows that one thread takes at once

_PAIRS = np.frombuffer(
    "".join(high + low for high in ALPHABET for low in ALPHABET).encode(), dtype=np.uint16
)
_VERSION_KEPT, _VERSION = np.uint64(2**64 - 1 - (0xF << 12)), np.uint64(8 << 12)
_VARIANT_KEPT, _VARIANT = np.uint64(2**62 - 1), np.uint64(0b10 << 62)

_numbers = count()  # names for what the engine is given, from whichever thread

Words = np.ndarray[Any, np.dtype[np.uint64]]


def ids(prefix: str, canonical: pa.StringArray) -> pa.StringArray:
    """Return the ids of a column of canonical texts without nulls, of at most `ROWS` rows."""
    digests = _by_loop(canonical) if len(canonical) < _FEW else _by_engine(canonical)
    return _texts(prefix, digests)


def _by_loop(canonical: pa.StringArray) -> Words:
    """Hash row by row; return two words of 64 bits a row (SPEC 3)."""
    data = b"".join(map(digest, canonical.cast(pa.binary()).to_pylist()))
    return np.frombuffer(data, dtype=">u8").reshape(-1, 2)


def _by_engine(canonical: pa.StringArray) -> Words:
    """Hash on all cores, rows kept in order; return two words of 64 bits a row (SPEC 3)."""
    pieces = pa.record_batch({"text": canonical})
    batches = [pieces.slice(at, _PIECE) for at in range(0, len(canonical), _PIECE)]
    share = -(-len(batches) // cores())
    shares = [batches[at : at + share] for at in range(0, len(batches), share)]
    name = f"texts_{next(_numbers)}"
    try:
        frame = _session().create_dataframe(shares, name=name)
        hashed = frame.select(sql.digest(col("text"), "blake3").alias("digest"))
        partitions = hashed.collect_partitioned()
    finally:
        _session().deregister_table(name)  # which would hold the texts for good
    words = [_words(batch.column(0)) for partition in partitions for batch in partition]
    return np.concatenate(words)


def _words(digests: pa.BinaryArray) -> Words:
    """Return the first 16 of each 32 bytes as two big-endian words."""
    start = np.frombuffer(digests.buffers()[1], dtype=np.int32)[digests.offset]
    size = 2 * DIGEST_BYTES
    data = np.frombuffer(digests.buffers()[2], dtype=">u8", offset=start, count=len(digests) * 4)
    return data.reshape(-1, size // 8)[:, :2]


@cache
def _session() -> SessionContext:
    """Return the one engine of this process; nothing but its threads is shared."""
    config = SessionConfig().with_target_partitions(cores())
    return SessionContext(
        config.set("datafusion.optimizer.enable_round_robin_repartition", "false")
    )


def cores() -> int:
    """Return how many threads to work in."""
    count: int = pa.cpu_count()
    return count


def _texts(prefix: str, words: Words) -> pa.StringArray:
    """Write the ids of digests, two characters of all rows at a time (SPEC 4 and 5)."""
    high = words[:, 0].astype(np.uint64) & _VERSION_KEPT | _VERSION
    low = words[:, 1].astype(np.uint64) & _VARIANT_KEPT | _VARIANT
    rows = len(words)
    out = np.empty((rows, 1 + SUFFIX_LENGTH // 2), dtype=np.uint16)
    out[:, 0] = np.frombuffer(f"{prefix}_".encode(), dtype=np.uint16)[0]
    for place in range(SUFFIX_LENGTH // 2):
        out[:, 1 + place] = _PAIRS[_ten_bits(high, low, 120 - 10 * place)]
    width = 2 + SUFFIX_LENGTH
    offsets = np.arange(0, width * (rows + 1), width, dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    return pa.StringArray.from_buffers(rows, buffers[1], buffers[2])


def _ten_bits(high: Words, low: Words, shift: int) -> Words:
    """Return bits `shift` to `shift + 9` of 128 bits in two words."""
    if shift >= 64:
        bits = high >> np.uint64(shift - 64)
    elif shift > 64 - 10:
        bits = high << np.uint64(64 - shift) | low >> np.uint64(shift)
    else:
        bits = low >> np.uint64(shift)
    return bits & np.uint64(0x3FF)
