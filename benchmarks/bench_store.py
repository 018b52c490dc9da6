"""The store index and the audit, on a tmpfs: generations of three files each, all families.

The peers read or stat every metadata file in one process and do nothing with it.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bench_cohort import memory_folder
from benchmarks.harness import Case, Figure, Size, apart
from benchmarks.walks import derive_all, read_all, stat_all
from genid_store.catalog.audit.audit import audit
from genid_store.catalog.index.query import StoreIndex
from genid_store.fs.layout import DataRoot
from genid_store.stages import PIPELINE

GENERATIONS = {"short": 5_000, "full": 100_000, "long": 100_000}
ROUNDS = {"short": 9, "full": 3, "long": 3}
_SMALL = 500  # generations of the store that look-ups are compared with
_LOOK_UPS = 200
_TESTS = Path(__file__).resolve().parent.parent / "tests"


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield the ratios of the index and the audit, and except in the short run the memory."""
    if size == "long":
        return
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        large = make_root(Path(folder) / "large", GENERATIONS[size])
        yield from _index_cases(large, size)
        yield _look_up_case(large, make_root(Path(folder) / "small", _SMALL), size)
        if size == "full":
            yield Figure(
                name=f"memory of indexing and auditing {GENERATIONS[size]:,} generations",
                unit="MB",
                measure=lambda: peak_megabytes(large),
                goal=300,
                bound=400,
            )


def _index_cases(root: DataRoot, size: Size) -> Iterator[Case]:
    count = sum(len(os.listdir(root.stage(stage))) for stage in PIPELINE)

    def forget() -> None:
        shutil.rmtree(root.own, ignore_errors=True)

    def first() -> None:
        forget()
        index(root)

    yield Case(
        name="first index",
        peer_name="scandir + read + json.loads of each metadata file",
        ours=lambda: index(root),
        peer=lambda: read_all(root),
        before=forget,
        better="cost",
        goal=2.0,
        bound=None,  # system calls against Python: a busy neighbour slows the two unequally
        items=count,
        rounds=ROUNDS[size],
    )
    yield Case(
        name="first index",
        peer_name="reading each, and deriving both ids of its fields",
        ours=lambda: index(root),
        peer=lambda: derive_all(root),
        before=forget,
        better="cost",
        goal=1.5,
        bound=1.8,
        items=count,
        rounds=ROUNDS[size],
    )
    first()
    yield Case(
        name="refresh of an unchanged store",
        peer_name="scandir + stat of each metadata file",
        ours=lambda: index(root),
        peer=lambda: stat_all(root),
        better="cost",
        goal=1.3,
        bound=2.0,
        items=count,
        rounds=2 * ROUNDS[size],
    )
    yield Case(
        name="audit from a fresh index",
        peer_name="building that index",
        ours=lambda: audit_all(root),
        peer=first,
        better="cost",
        goal=1.0,
        bound=1.4,
        items=count,
        rounds=ROUNDS[size],
    )


def _look_up_case(large: DataRoot, small: DataRoot, size: Size) -> Case:
    """Return the case of one look-up in either store, by folder and by expected id."""
    return Case(
        name=f"one look-up among {GENERATIONS[size]:,} generations",
        peer_name=f"one look-up among {_SMALL:,}",
        ours=look_ups(large),
        peer=look_ups(small),
        better="cost",
        goal=1.3,
        bound=1.5,
        items=2 * _LOOK_UPS,
        rounds=20,
    )


def make_root(path: Path, generations: int) -> DataRoot:
    """Write a store of all families, as the tests do."""
    sys.path.insert(0, str(_TESTS))
    import storekit

    files = ("parsed.txt", "raw_metadata.json")
    storekit.make_store(path, generations=generations, oddities=(), files=files)
    return DataRoot.open(path)


def index(root: DataRoot) -> int:
    """Open the index, bring it up to date, and close it."""
    with StoreIndex.open(root) as opened:
        return opened.refresh().read


def audit_all(root: DataRoot) -> int:
    """Open the index and audit the store."""
    with StoreIndex.open(root) as opened:
        return len(audit(opened).findings)


def look_ups(root: DataRoot) -> Callable[[], None]:
    """Return a function that looks up distinct generations in an index that stays open."""
    opened = StoreIndex.open(root)
    opened.refresh()
    everything = list(opened.iter("evaluation"))
    chosen = random.Random(0).sample(everything, _LOOK_UPS)
    pairs = [(one.gen_id, str(one.expected["v1"])) for one in chosen]

    def look_up() -> None:
        for gen_id, v1 in pairs:
            opened.get("evaluation", gen_id)
            opened.sql("SELECT gen_id FROM generation WHERE v1 = ?", v1)

    return look_up


_MEASURED = """
import resource, shutil, sys
from benchmarks.bench_store import audit_all, index
from genid_store.fs.layout import DataRoot
root = DataRoot.open(sys.argv[1])
shutil.rmtree(root.own, ignore_errors=True)
index(root)
audit_all(root)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_megabytes(root: DataRoot) -> float:
    """Return the most memory that a first index and an audit hold."""
    return float(apart("-c", _MEASURED, str(root.path)))
