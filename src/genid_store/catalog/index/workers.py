"""A large first index, read by several processes at once.

Plain child processes of this interpreter, each answering one request at a time over its pipes: no
fork (a host may have threads), and no re-import of the host's main module, as multiprocessing
would do. A child that cannot be started, or dies, is done without: its share is read here.
"""

from __future__ import annotations

import contextlib
import gc
import marshal
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from genid_store.catalog.expected import Ancestor
from genid_store.catalog.index.read import Judged, read_and_judge

#: Generations below which starting processes costs more than it gains.
WORTHWHILE: Final = 20_000
_MOST: Final = 4  # processes; one writer cannot keep up with more
_SERVE: Final = "from genid_store.catalog.index.workers import serve; serve()"


class Workers:
    """Processes that read and judge; a context manager that ends them."""

    def __init__(self, root: str, count: int) -> None:
        self.root = root
        self._running = [process for _ in range(count) if (process := _start()) is not None]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.communicate()

    def read_and_judge(
        self, stage: str, batches: Iterator[Sequence[str]], above: Mapping[str, Ancestor | None]
    ) -> Iterator[list[Judged]]:
        """Yield the judged generations of each batch, in the order of the batches."""
        for process in list(self._running):
            self._ask(process, above)
        waiting: list[tuple[Any, Sequence[str]]] = []
        free = list(self._running)
        for batch in batches:
            if not free:
                process, names = waiting.pop(0)
                found = self._answer(process, stage, names, above)
                if process in self._running:
                    self._ask(process, (self.root, stage, batch))
                waiting.append((process, batch))
                yield found
                continue
            process = free.pop(0)
            self._ask(process, (self.root, stage, batch))
            waiting.append((process, batch))
        for process, names in waiting:
            yield self._answer(process, stage, names, above)

    def _ask(self, process: Any, request: object) -> None:
        try:
            pickle.dump(request, process.stdin, pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
        except OSError:
            self._give_up(process)

    def _answer(
        self, process: Any, stage: str, names: Sequence[str], above: Mapping[str, Ancestor | None]
    ) -> list[Judged]:
        if process in self._running:
            try:
                packed: bytes = pickle.load(process.stdout)  # noqa: S301 (our own child)
                return _unpacked(packed)
            except (OSError, EOFError, pickle.UnpicklingError):
                self._give_up(process)
        return read_and_judge(self.root, stage, names, lambda parent: above.get(parent or ""))

    def _give_up(self, process: Any) -> None:
        if process in self._running:
            self._running.remove(process)
            process.kill()
            process.communicate()


def useful_count(generations: int) -> int:
    """Return how many processes are worth starting for so many generations; 0 for none."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if generations < WORTHWHILE or (cores or 1) < 2 else min(cores or 1, _MOST)


def serve() -> None:
    """Answer requests on standard input until it ends: the parents of a stage, or a batch."""
    gc.disable()  # nothing here makes cycles, and looking for them costs a tenth
    source, target = sys.stdin.buffer, sys.stdout.buffer
    above: Mapping[str, Ancestor | None] = {}
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            request = pickle.load(source)  # noqa: S301 (from the process that started this one)
            if isinstance(request, dict):
                above = request
                continue
            root, stage, names = request
            known = above
            found = read_and_judge(root, stage, names, lambda parent: known.get(parent or ""))  # noqa: B023
            pickle.dump(_packed(found), target, pickle.HIGHEST_PROTOCOL)
            target.flush()


def _packed(found: list[Judged]) -> bytes:
    """Return what was judged as bytes, in a third of the time that pickling the records takes."""
    return marshal.dumps([(*one[:2], one.ancestor and tuple(one.ancestor)) for one in found])


def _unpacked(data: bytes) -> list[Judged]:
    return [
        Judged(row, previous, above and Ancestor(*above))
        for row, previous, above in marshal.loads(data)  # noqa: S302 (from our own child)
    ]


def _start() -> subprocess.Popen[bytes] | None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        return subprocess.Popen(  # noqa: S603 (our own code)
            [sys.executable, "-P", "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError:
        return None
