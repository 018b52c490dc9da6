"""Times ours, a peer and the limit in turns, and judges the ratio by its goal and its bound.

To add a case, put a module `bench_<topic>.py` into this folder with a function that yields cases::

    def cases(size: Size) -> Iterator[Case | Figure]:
        rows = make_rows(100_000 if size == "full" else 2_000)      # untimed set-up
        yield Case(
            name="index a store",
            peer_name="scandir + read + json.loads",
            ours=lambda: index(rows),
            peer=lambda: read_all(rows),
            limit=lambda: touch_all(rows),                          # optional
            better="cost",                                          # ours / peer, at most
            goal=2.5,
            bound=4.0,
            items=len(rows),
            before=clear_caches,                                    # optional, untimed, before each
        )

`better="speed"` judges peer / ours, which should be at least the goal; `better="cost"` judges
ours / peer, which should be at most the goal. A `Figure` is one number that is no ratio of two
times (memory, say). A generator's code after a `yield` runs when its case has been measured, so
temporary folders go into a `with` around it. Raise `Skipped(reason)` where something is not
installed. Sizes: `short` is for CI (a few seconds a case), `full` for `make bench`, `long` for
`make bench-long` (a module that has nothing to add for a size yields nothing).

Cases of microseconds are timed by pyperf (`micro.py`), or keep a call to a few milliseconds and
have many rounds: the best of them fits between two turns of whatever else the machine does.

`clock` says what is counted: seconds of the `wall` (for work on several cores, or with files), of
this process's `cpu` (for work on one), of the cpu that `children` used (for fresh processes), or
what the call has measured by other means and `told`, as its result.

No absolute time is ever judged: machines differ, ratios within one run hardly do.
"""

import gc
import importlib
import pkgutil
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter, process_time
from typing import Any, Literal

import attrs

Size = Literal["short", "full", "long"]
Clock = Literal["wall", "cpu", "children", "told"]
ExpectedIds = Literal["goal", "within", "past"]
_PATIENCE = 3  # a case past its bound is measured on, up to so many times its rounds


class Skipped(Exception):  # noqa: N818 - a state, not a fault
    """Raised by a module's `cases` where something it needs is not here; says what."""


@attrs.frozen(kw_only=True)
class Case:
    """Ours against a peer; every callable does the same work, `items` times."""

    name: str
    peer_name: str
    ours: Callable[[], object]
    peer: Callable[[], object]
    better: Literal["speed", "cost"]
    goal: float
    bound: float
    items: int = 1
    limit: Callable[[], object] | None = None
    limit_name: str = ""
    before: Callable[[], object] | None = None
    rounds: int = 7
    clock: Clock = "wall"


@attrs.frozen(kw_only=True)
class Figure:
    """One number to be held down, such as megabytes; `measure` gives it."""

    name: str
    unit: str
    measure: Callable[[], float]
    goal: float
    bound: float


@attrs.frozen(kw_only=True)
class Result:
    """What came out. Times are seconds an item, the best of all rounds; None where not measured.

    `ratio` is judged by `goal` and `bound` in the sense of `better` (a figure is a cost).
    `spread` is the median of our rounds over their best.
    """

    topic: str
    name: str
    peer_name: str
    limit_name: str
    ours: float | None
    peer: float | None
    limit: float | None
    ratio: float
    unit: str
    better: Literal["speed", "cost"]
    goal: float
    bound: float
    items: int
    spread: float | None

    @property
    def verdict(self) -> ExpectedIds:
        """`goal` where the goal is met, `within` where only the bound is, else `past`."""
        sign = 1 if self.better == "speed" else -1
        if sign * self.ratio >= sign * self.goal:
            return "goal"
        return "within" if sign * self.ratio >= sign * self.bound else "past"


def run(size: Size, only: str = "") -> Iterator[Result | tuple[str, str]]:
    """Measure every case whose topic and name contain `only`; yield results as they come.

    Where a module raised `Skipped`, its topic and the reason come instead.
    """
    for topic, cases in modules():
        gc.freeze()  # what has been imported so far need not be looked through each time
        try:
            for case in cases(size):
                if only in f"{topic}: {case.name} {getattr(case, 'peer_name', '')}":
                    yield judged(topic, case)
        except Skipped as error:
            yield topic, str(error)


def modules() -> Iterator[tuple[str, Callable[[Size], Iterable[Case | Figure]]]]:
    """Yield the topic and the `cases` of every module `bench_<topic>`, by name."""
    package = importlib.import_module("benchmarks")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if module.name.startswith("bench_"):
            found = importlib.import_module(f"benchmarks.{module.name}")
            yield module.name.removeprefix("bench_"), found.cases


def judged(topic: str, case: Case | Figure) -> Result:
    """Measure one case; one past its bound gets more rounds before it is believed."""
    if isinstance(case, Figure):
        return _figure(topic, case)
    times: dict[str, list[float]] = {}
    for _ in range(_PATIENCE):
        _rounds(case, times)
        result = _result(topic, case, times)
        if result.verdict != "past":
            break
    return result


def _rounds(case: Case, times: dict[str, list[float]]) -> None:
    """Add the times of one set of rounds, the contenders taking turns."""
    contenders = {"ours": case.ours, "peer": case.peer}
    if case.limit is not None:
        contenders["limit"] = case.limit
    for _ in range(case.rounds):
        for name, call in contenders.items():
            times.setdefault(name, []).append(timed(call, case.before, case.clock))


def timed(
    call: Callable[[], object], before: Callable[[], object] | None = None, clock: Clock = "wall"
) -> float:
    """Return the seconds of one call, garbage collected before it."""
    if before is not None:
        before()
    if clock == "told":
        told: Any = call()
        return float(told)
    now = _CLOCKS[clock]
    gc.collect()
    start = now()
    call()
    return now() - start


def apart(*command: str) -> str:
    """Return what a command prints that measures its own peak of memory.

    It runs below a shell: a process's peak begins with that of the process that started it.
    """
    below_a_shell = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, *command]
    return subprocess.run(below_a_shell, stdout=subprocess.PIPE, text=True, check=True).stdout


def _children_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


_CLOCKS: dict[str, Callable[[], float]] = {
    "wall": perf_counter,
    "cpu": process_time,
    "children": _children_time,
}


def _result(topic: str, case: Case, times: dict[str, list[float]]) -> Result:
    ours, peer = min(times["ours"]), min(times["peer"])
    return Result(
        topic=topic,
        name=case.name,
        peer_name=case.peer_name,
        limit_name=case.limit_name,
        ours=ours / case.items,
        peer=peer / case.items,
        limit=min(times["limit"]) / case.items if "limit" in times else None,
        ratio=peer / ours if case.better == "speed" else ours / peer,
        unit="x",
        better=case.better,
        goal=case.goal,
        bound=case.bound,
        items=case.items,
        spread=statistics.median(times["ours"]) / ours,
    )


def _figure(topic: str, case: Figure) -> Result:
    return Result(
        topic=topic,
        name=case.name,
        peer_name="",
        limit_name="",
        ours=None,
        peer=None,
        limit=None,
        ratio=case.measure(),
        unit=case.unit,
        better="cost",
        goal=case.goal,
        bound=case.bound,
        items=1,
        spread=None,
    )
