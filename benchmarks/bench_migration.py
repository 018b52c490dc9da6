"""The migration of a store: carrying out a plan, and the whole way from looking to verified.

Of each generation the store holds metadata.json, raw.txt and parsed.txt; nine tenths of them move.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from benchmarks.bench_cohort import memory_folder
from benchmarks.harness import Case, Figure, Size, apart
from genid_store.fs.layout import DataRoot
from genid_store.migration.execute import execute
from genid_store.migration.plan import make_plan
from genid_store.migration.planfile import Plan
from genid_store.migration.rollback import roll_back
from genid_store.migration.state import state_of
from genid_store.stages import PIPELINE

GENERATIONS = {"short": 2_000, "full": 100_000, "long": 100_000}
ROUNDS = {"short": 5, "full": 2, "long": 2}
_TESTS = Path(__file__).resolve().parent.parent / "tests"


def cases(size: Size) -> Iterator[Case | Figure]:
    """Yield both ratios, on a tmpfs where there is one, and except in the short run the memory."""
    if size != "long":
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
            yield from _ratios(Path(folder), size)
    if size != "short":
        yield Figure(
            name=f"memory of migrating {GENERATIONS[size]:,} generations",
            unit="MB",
            measure=lambda: peak_megabytes(GENERATIONS[size]),
            goal=300,
            bound=400,
        )


def _ratios(folder: Path, size: Size) -> Iterator[Case]:
    ours = Store(make_root(folder / "ours", GENERATIONS[size]))
    steps = ours.plan.steps()
    root = make_root(folder / "bare", GENERATIONS[size])
    bare = Bare(root.gens, [f"{step.stage}/{step.old}" for step in steps])

    def reset() -> None:
        ours.reset()
        bare.reset()

    yield Case(
        name="carry out a plan and verify it",
        peer_name="parse, rewrite (temporary file, rename) and rename each",
        ours=lambda: execute(ours.plan),
        peer=bare.migrate,
        limit=bare.rename,
        limit_name="rename each folder",
        before=reset,
        better="cost",
        goal=2.0,
        bound=3.5,
        items=len(steps),
        rounds=ROUNDS[size],
    )
    yield Case(
        name="plan, carry out and verify",
        peer_name="the same loop, and a BLAKE3 of every file before and after",
        ours=lambda: execute(make_plan(ours.root)),
        peer=bare.migrate_and_digest,
        before=reset,
        better="cost",
        goal=2.0,
        bound=3.5,
        items=len(steps),
        rounds=ROUNDS[size],
    )


def make_root(path: Path, generations: int) -> DataRoot:
    """Write a store of all families, as the tests do."""
    sys.path.insert(0, str(_TESTS))
    import storekit

    storekit.make_store(path, generations=generations, oddities=(), files=("raw.txt", "parsed.txt"))
    return DataRoot.open(path)


class Store:
    """A store that is migrated again and again."""

    def __init__(self, root: DataRoot) -> None:
        self.root = root
        self.plan: Plan = make_plan(root)

    def reset(self) -> None:
        """Bring the store back to what it was."""
        if state_of(self.plan) == "migrated":
            roll_back(self.plan)


class Bare:
    """A store that is migrated by a loop that cares for nothing else."""

    def __init__(self, gens: Path, moving: Sequence[str]) -> None:
        self.gens = gens
        self.moving = [f"{gens}/{name}" for name in moving]

    def folders(self) -> Iterator[str]:
        """Yield the folder of every generation."""
        for stage in PIPELINE:
            with os.scandir(self.gens / stage) as scan:
                paths = [entry.path for entry in scan]
            yield from paths

    def migrate(self) -> None:
        """Parse and rewrite the metadata of each generation that moves, and rename its folder."""
        for folder in self.moving:
            path = f"{folder}/metadata.json"
            with open(path, "rb") as file:
                document = json.loads(file.read())
            document["previous_gen_id"] = document["gen_id"]
            document["gen_id"] = f"{document['gen_id']}-x"
            with open(f"{path}.tmp", "wb") as file:
                file.write(json.dumps(document, indent=2, ensure_ascii=False).encode())
            os.rename(f"{path}.tmp", path)
            os.rename(folder, f"{folder}-x")

    def migrate_and_digest(self) -> None:
        """The same, and look at every file before and after."""
        self.digest()
        self.migrate()
        self.digest()

    def rename(self) -> None:
        """Rename the folders alone."""
        for folder in self.moving:
            os.rename(folder, f"{folder}-x")

    def digest(self) -> None:
        """Read and digest every file."""
        for folder in self.folders():
            with os.scandir(folder) as scan:
                for entry in scan:
                    with open(entry.path, "rb") as file:
                        blake3(file.read()).hexdigest()

    def reset(self) -> None:
        """Give every folder its old name."""
        for folder in self.folders():
            if folder.endswith("-x"):
                os.rename(folder, folder.removesuffix("-x"))


def peak_megabytes(generations: int) -> float:
    """Migrate a store in a process of its own and return its peak of resident memory."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        make_root(Path(folder, "root"), generations)
        return float(apart("-m", "benchmarks.bench_migration", f"{folder}/root"))


if __name__ == "__main__":
    import resource

    execute(make_plan(DataRoot.open(sys.argv[1])))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
