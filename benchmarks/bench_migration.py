"""The migration of a store: building, verifying and exchanging, and the whole way from looking on.

Of each generation the store holds metadata.json, raw.txt and parsed.txt; nine tenths of them move.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from benchmarks.bench_cohort import memory_folder
from benchmarks.harness import Case, Figure, Size, apart
from genid_store.fs.layout import DataRoot
from genid_store.migration import run
from genid_store.migration.plan import make_plan
from genid_store.migration.planfile import Plan
from genid_store.migration.swap import read_swap
from genid_store.stages import PIPELINE

GENERATIONS = {"short": 1_000, "full": 100_000, "long": 100_000}
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
    root = make_root(folder / "bare", GENERATIONS[size])
    bare = Bare(root.path)

    def reset() -> None:
        ours.reset()
        bare.reset()

    yield Case(
        name="build a planned store, verify it and exchange it",
        peer_name="link each file, parse and rewrite the metadata, rename the whole",
        ours=ours.carry_out,
        peer=bare.migrate,
        limit=bare.link,
        limit_name="make each folder and link each file",
        before=reset,
        better="cost",
        goal=2.0,
        bound=2.6,
        items=GENERATIONS[size],
        rounds=ROUNDS[size],
    )
    yield Case(
        name="plan, build, verify and exchange",
        peer_name="the same loop, and a BLAKE3 of every file before and after",
        ours=lambda: run.migrate(ours.root),
        peer=bare.migrate_and_digest,
        before=reset,
        better="cost",
        goal=2.0,
        bound=2.8,
        items=GENERATIONS[size],
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
        root.own.mkdir(exist_ok=True)
        self.plan: Plan = make_plan(root)

    def carry_out(self) -> None:
        """Build, verify and exchange, without planning."""
        run._carry_out(self.plan, None)  # noqa: SLF001 - the part that the first ratio is about

    def reset(self) -> None:
        """Bring the store back to what it was."""
        if read_swap(self.plan).state == "migrated":
            run.rollback(self.root)


class Bare:
    """A store that is migrated by a loop that cares for nothing else."""

    def __init__(self, root: Path) -> None:
        self.gens, self.new, self.old = root / "gens", root / "new", root / "old"

    def link(self, *, rewrite: bool = False) -> None:
        """Make every folder beside the live ones, and link its files into it."""
        for stage in PIPELINE:
            os.makedirs(self.new / stage)
            with os.scandir(self.gens / stage) as folders:
                for folder in folders:
                    target = f"{self.new}/{stage}/{folder.name}-x"
                    os.mkdir(target)
                    with os.scandir(folder.path) as files:
                        for file in files:
                            if rewrite and file.name == "metadata.json":
                                self._rewrite(file.path, f"{target}/{file.name}")
                            else:
                                os.link(file.path, f"{target}/{file.name}")

    def migrate(self) -> None:
        """Link, parse and rewrite, then rename the old tree away and the new one into its place."""
        self.link(rewrite=True)
        os.rename(self.gens, self.old)
        os.rename(self.new, self.gens)

    def migrate_and_digest(self) -> None:
        """The same, and look at every file before and after."""
        self.digest()
        self.migrate()
        self.digest()

    def digest(self) -> None:
        """Read and digest every file."""
        for stage in PIPELINE:
            with os.scandir(self.gens / stage) as folders:
                for folder in folders:
                    with os.scandir(folder.path) as files:
                        for file in files:
                            with open(file.path, "rb") as data:
                                blake3(data.read()).hexdigest()

    def reset(self) -> None:
        """Give back the tree from before."""
        if self.old.exists():
            shutil.rmtree(self.gens)
            os.rename(self.old, self.gens)
        shutil.rmtree(self.new, ignore_errors=True)

    @staticmethod
    def _rewrite(source: str, target: str) -> None:
        with open(source, "rb") as file:
            document = json.loads(file.read())
        document["previous_gen_id"] = document["gen_id"]
        document["gen_id"] = f"{document['gen_id']}-x"
        with open(target, "wb") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False).encode())


def peak_megabytes(generations: int) -> float:
    """Migrate a store in a process of its own and return its peak of resident memory."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        make_root(Path(folder, "root"), generations)
        return float(apart("-m", "benchmarks.bench_migration", f"{folder}/root"))


if __name__ == "__main__":
    import resource

    run.migrate(DataRoot.open(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
