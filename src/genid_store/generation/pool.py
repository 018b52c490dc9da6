"""Obtain many generations, a limited number at a time, and report each as it finishes.

Once the executor's `stop` is set, no other call begins. An exception in the calling thread (a run
that is terminated) sets it, too. Either way the calls in flight, which are paid for, finish and are
reported before the exception is raised again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from genid_store.generation.once import Executor
from genid_store.generation.records import Outcome

T = TypeVar("T")
R = TypeVar("R")
#: How many generations are made concurrently by default.
CONCURRENCY = 4


def obtain_all(
    executor: Executor,
    stage: str,
    gen_ids: Iterable[str],
    report: Callable[[Outcome], None],
    *,
    concurrency: int = CONCURRENCY,
) -> None:
    """Obtain the generations of one stage, at most `concurrency` (1 or more) at a time.

    `report` is called in the calling thread, once for each generation that was begun, in the order
    of completion.
    """
    try_each(
        partial(executor.obtain, stage),
        gen_ids,
        report,
        concurrency=concurrency,
        stop=executor.stop,
        on_error=executor.stop.set,
    )


def try_each(
    work: Callable[[T], R],
    items: Iterable[T],
    report: Callable[[R], None],
    *,
    concurrency: int,
    stop: threading.Event,
    on_error: Callable[[], None] = lambda: None,
) -> None:
    """Call `work` for each item, as `obtain_all` does, until `stop` is set.

    An exception of the items, of `work` or of `report` is raised after the work in flight has
    finished; `on_error` is called first.
    """
    todo = iter(items)
    running: set[Future[R]] = set()
    with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="genid") as pool:
        try:
            while True:
                while len(running) < concurrency and not stop.is_set():
                    try:
                        item = next(todo)
                    except StopIteration:
                        break
                    # Leases know by the context which call each is held for.
                    running.add(pool.submit(copy_context().run, work, item))
                if not running:
                    return
                _collect(running, report)
        except BaseException:
            on_error()
            while running:
                _collect(running, report)
            raise


def _collect(running: set[Future[R]], report: Callable[[R], None]) -> None:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        running.discard(future)
        report(future.result())
