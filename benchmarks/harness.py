"""Measures ours against a peer and the limit in turns; judges the ratio by goal and bound.

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
            bound=3.0,
            items=len(rows),
            before=clear_caches,                                    # optional, untimed, before each
        )

`better="speed"` judges peer / ours, which should be at least the goal; `better="cost"` judges
ours / peer, which should be at most the goal. A `Figure` is one number that is not a ratio of two
times (memory, say). A generator's code after a `yield` runs when its case has been measured, so
temporary folders go into a `with` around it. Raise `Skipped(reason)` where something is not
installed. Sizes: `short` is for CI (a few seconds a case), `full` for `make bench`, `long` for
`make bench-long` (a module that has nothing to add for a size yields nothing).

What is judged must not depend on what else the machine does. So `clock` counts seconds of CPU, user
and system: of `all` cores (this process, its threads, and the processes it waited for), or of the
`children` alone (for fresh processes). Each round has the contenders one right after the other and
gives one ratio; the median of the rounds' ratios counts. The shorter the turns, and the more of
them, the better a slow neighbour hits both alike. The `wall` clock is for what a user waits for on
several cores: it depends on the neighbours, so a case measured by it has no bound, and is shown but
not judged.

A bound ought to be crossed by a change for the worse by half. `--planted 1.5` multiplies our times
and shows whether it is: by one id, the grid and the first index. A bound that is a promise
(`joblib`, memory) may be farther off.
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
from typing import Literal

import attrs

Size = Literal["short", "full", "long"]
Clock = Literal["all", "children", "wall"]
Times = dict[str, list[float]]
Verdict = Literal["goal", "within", "past", "shown"]
#: How many times its rounds a case is measured for, until it is within its bound.
_PATIENCE = (1, 2, 4)


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
    bound: float | None
    items: int = 1
    limit: Callable[[], object] | None = None
    limit_name: str = ""
    before: Callable[[], object] | None = None
    rounds: int = 7
    clock: Clock = "all"


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
    """What came out. Times are seconds an item, the median of all rounds; None where not measured.

    `ratio` is the median of the rounds' ratios, judged by `goal` and `bound` in the sense of
    `better` (a figure is a cost). `spread` is how far apart the middle half of those ratios is, as
    a part of their median. `measured` counts how often it was measured before it was believed.
    """

    topic: str
    name: str
    peer_name: str = ""
    limit_name: str = ""
    ours: float | None = None
    peer: float | None = None
    limit: float | None = None
    ratio: float
    unit: str = "x"
    better: Literal["speed", "cost"] = "cost"
    goal: float
    bound: float | None
    items: int = 1
    spread: float | None = None
    measured: int = 1

    @property
    def verdict(self) -> Verdict:
        """`goal` where the goal is met, `within` where only the bound is, else `past`; `shown`
        where the goal is missed and there is no bound."""
        sign = 1 if self.better == "speed" else -1
        if sign * self.ratio >= sign * self.goal:
            return "goal"
        if self.bound is None:
            return "shown"
        return "within" if sign * self.ratio >= sign * self.bound else "past"


def run(
    size: Size, only: str = "", planted: float = 1, times: int = 1
) -> Iterator[Result | tuple[str, str]]:
    """Measure every case whose topic and name contain `only`, so many `times`; yield results as
    they come.

    Our times are multiplied by `planted`. Where a module raised `Skipped`, its topic and the
    reason come instead.
    """
    for topic, cases in modules():
        gc.freeze()  # what has been imported so far need not be looked through each time
        try:
            for case in cases(size):
                if only in f"{topic}: {case.name} {getattr(case, 'peer_name', '')}":
                    yield from (judged(topic, case, planted) for _ in range(times))
        except Skipped as error:
            yield topic, str(error)


def modules() -> Iterator[tuple[str, Callable[[Size], Iterable[Case | Figure]]]]:
    """Yield the topic and the `cases` of every module `bench_<topic>`, by name."""
    package = importlib.import_module("benchmarks")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if module.name.startswith("bench_"):
            found = importlib.import_module(f"benchmarks.{module.name}")
            yield module.name.removeprefix("bench_"), found.cases


def judged(topic: str, case: Case | Figure, planted: float = 1) -> Result:
    """Measure one case; one past its bound is measured again, longer, before it is believed."""
    results: list[Result] = []
    while len(results) < len(_PATIENCE) and (not results or results[-1].verdict == "past"):
        if isinstance(case, Figure):
            result = _figure(topic, case)
        else:
            rounds = _PATIENCE[len(results)] * case.rounds
            result = summed_up(topic, case, _rounds(case, rounds), planted)
        results.append(attrs.evolve(result, measured=len(results) + 1))
    return results[-1]


def summed_up(topic: str, case: Case, times: Times, planted: float = 1) -> Result:
    """Return the result of a case from the seconds of its contenders, round by round."""
    ours = [planted * seconds for seconds in times["ours"]]
    peer = times["peer"]
    over, under = (peer, ours) if case.better == "speed" else (ours, peer)
    ratios = [above / below for above, below in zip(over, under, strict=True)]
    ratio = statistics.median(ratios)
    lower, _, upper = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratio,) * 3
    return Result(
        topic=topic,
        name=case.name,
        peer_name=case.peer_name,
        limit_name=case.limit_name,
        ours=statistics.median(ours) / case.items,
        peer=statistics.median(peer) / case.items,
        limit=statistics.median(times["limit"]) / case.items if "limit" in times else None,
        ratio=ratio,
        better=case.better,
        goal=case.goal,
        bound=case.bound,
        items=case.items,
        spread=(upper - lower) / ratio,
    )


def _figure(topic: str, case: Figure) -> Result:
    return Result(
        topic=topic,
        name=case.name,
        ratio=case.measure(),
        unit=case.unit,
        goal=case.goal,
        bound=case.bound,
    )


def _rounds(case: Case, count: int) -> Times:
    """Return the seconds of each contender, who take turns; every other round goes backwards."""
    contenders = {"ours": case.ours, "peer": case.peer}
    if case.limit is not None:
        contenders["limit"] = case.limit
    turns = list(contenders.items())
    times: Times = {name: [] for name in contenders}
    for _ in range(count):
        for name, call in turns:
            times[name].append(timed(call, case.before, case.clock))
        turns.reverse()
    return times


def timed(
    call: Callable[[], object], before: Callable[[], object] | None = None, clock: Clock = "all"
) -> float:
    """Return the seconds of one call, garbage collected before it."""
    if before is not None:
        before()
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


def _all_time() -> float:
    return process_time() + _children_time()


_CLOCKS: dict[Clock, Callable[[], float]] = {
    "all": _all_time,
    "children": _children_time,
    "wall": perf_counter,
}
