"""One id, end to end, against what one would use instead.

`benchmarks.micro` has the contenders; pyperf times each for a few values, in a process of its own,
and the harness has them take turns.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from benchmarks.harness import Case, Figure, Size, Skipped

#: The peer's name in `benchmarks.micro`, goal and bound.
_PEERS: tuple[tuple[str, float, float], ...] = (
    ("str(uuid5)", 1.3, 1.0),
    ("rfc8785 + SHA-256", 2.5, 2),
    ("json.dumps + SHA-256", 1, 0.9),
    ("TypeID.from_uuid(uuid5)", 1, 0.9),
    ("dask tokenize", 1, 0.9),
    ("joblib.hash", 4, 4),
)
_OURS, _LIMIT = "genid", "bare blake3(b).digest(16)"
_OPTIONS = ("--quiet", "--processes", "1", "--warmups", "1", "--values", "30", "--loops", "1")


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the same work against each peer."""
    if size == "long":
        return
    if find_spec("pyperf") is None:
        raise Skipped("pyperf is not installed")
    limit: Callable[[], float] | None = by_pyperf(_LIMIT)
    for peer, goal, bound in _PEERS if size == "full" else _PEERS[:2]:
        yield Case(
            name="one id",
            peer_name=peer,
            limit_name=_LIMIT if limit else "",
            ours=by_pyperf(_OURS),
            peer=by_pyperf(peer),
            limit=limit,
            better="speed",
            goal=goal,
            bound=bound,
            rounds=9 if size == "full" else 3,
            clock="reported",
        )
        limit = None  # once is enough


def by_pyperf(contender: str) -> Callable[[], float]:
    """Return a call that has pyperf time one contender: seconds an id, the best of its values."""
    import pyperf

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            file = str(Path(folder) / "times.json")
            command = [sys.executable, "-m", "benchmarks.micro", "--only", contender]
            subprocess.run([*command, *_OPTIONS, "-o", file], check=True, stdout=subprocess.DEVNULL)
            return float(min(pyperf.Benchmark.load(file).get_values()))

    return measure
