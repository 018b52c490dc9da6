"""Obtain many generations at once, a limited number at a time, each reported as it finishes.

Interruptible: where the executor's `stop` is set, no other call begins; whatever is raised in the
calling thread (a run that is terminated) sets it. Either way the calls in flight finish, since they
are paid for, and are reported; what was raised is raised again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from genid_store.generation.once import Executor
from genid_store.generation.records import Outcome

#: How many generations are made at once unless the host says otherwise.
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
    in which they finish.
    """
    todo = iter(gen_ids)
    running: set[Future[Outcome]] = set()
    with (
        ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="genid") as pool,
        _draining(executor, running, report),
    ):
        while True:
            while len(running) < concurrency and not executor.stop.is_set():
                gen_id = next(todo, None)
                if gen_id is None:
                    break
                running.add(pool.submit(executor.obtain, stage, gen_id))
            if not running:
                return
            _collect(running, report)


def _collect(running: set[Future[Outcome]], report: Callable[[Outcome], None]) -> None:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        running.discard(future)
        report(future.result())


@contextlib.contextmanager
def _draining(
    executor: Executor, running: set[Future[Outcome]], report: Callable[[Outcome], None]
) -> Iterator[None]:
    try:
        yield
    except BaseException:
        executor.stop.set()
        while running:
            _collect(running, report)
        raise
