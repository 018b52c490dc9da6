"""One id, end to end, against what one would use instead (`benchmarks.micro`).

Turns of about a millisecond, and many of them: what a neighbour does to the processor lasts longer,
and slows both contenders of a round.
"""

from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import Case, Figure, Size
from benchmarks.micro import CONTENDERS, draft, fresh_cells
from genid import canonical_bytes

#: The peer's name in `benchmarks.micro`, goal and bound.
_PEERS: tuple[tuple[str, float, float], ...] = (
    ("str(uuid5)", 1.3, 1.05),
    ("rfc8785 + SHA-256", 2.5, 2),
    ("json.dumps + SHA-256", 1, 0.9),
    ("TypeID.from_uuid(uuid5)", 1, 0.9),
    ("dask tokenize", 1, 0.9),
    ("joblib.hash", 4, 4),
)
_OURS, _LIMIT = "genid", "bare blake3(b).digest(16)"
_COUNT = 250  # ids a turn


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the same work against each peer."""
    if size == "long":
        return
    inputs: dict[str, list[Any]] = {}

    def before() -> None:
        inputs["cells"] = fresh_cells(_COUNT)
        inputs["bytes"] = [canonical_bytes(draft(cell)) for cell in inputs["cells"]]

    def turn(contender: str, given: str = "cells") -> Callable[[], None]:
        work = CONTENDERS[contender]()
        return lambda: work(inputs[given])

    for number, (peer, goal, bound) in enumerate(_PEERS if size == "full" else _PEERS[:2]):
        yield Case(
            name="one id",
            peer_name=peer,
            limit_name="" if number else _LIMIT,  # once is enough
            ours=turn(_OURS),
            peer=turn(peer),
            limit=None if number else turn(_LIMIT, "bytes"),
            before=before,
            better="speed",
            goal=goal,
            bound=bound,
            items=_COUNT,
            rounds=300 if size == "full" else 100,
        )
