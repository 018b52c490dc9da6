"""Make the missing members of a built cohort through Dagster, in this process.

Only what is missing is requested: Dagster itself never skips. Members whose content is there and
that Dagster has no record of are taken along, which records them as reused.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from attrs import frozen

from genid_dagster_adapter.assets import register_members
from genid_dagster_adapter.definitions import build_definitions
from genid_dagster_adapter.instance import open_instance
from genid_dagster_adapter.launching import key_ranges, materialize_range
from genid_dagster_adapter.partitions import registered
from genid_dagster_adapter.stage_assets import stage_asset_name
from genid_store.catalog.memberships import read_membership
from genid_store.fs.layout import DataRoot
from genid_store.generation import Generator, Outcome, has_content, is_ready, recover
from genid_store.generation.workload import Workload, plan_work
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

Progress = Callable[[int, int], None]


@frozen(kw_only=True)
class Done:
    """What a run did: each outcome in order, the work it set out to do, whether it was stopped."""

    outcomes: tuple[Outcome, ...]
    workload: Workload
    interrupted: bool


def run_members(
    root: DataRoot,
    cohort_id: str,
    generate: Generator,
    *,
    rollout: Rollout,
    concurrency: int,
    max_calls: int | None,
    retry_failed: bool,
    progress: Progress,
    key_prefix: Sequence[str] = (),
    partition_prefix: str = "",
) -> Done:
    """Make what is missing, drafts first; an interrupt ends it after the calls in flight.

    StoreError: the membership cannot be read, or Dagster's instance cannot be opened.
    """
    recover(root)
    members = read_membership(root, cohort_id)
    work = plan_work(root, members, retry_failed=retry_failed, max_calls=max_calls)
    outcomes: list[Outcome] = []
    stop = threading.Event()
    total = len(work.todo)

    def observe(outcome: Outcome) -> None:
        outcomes.append(outcome)
        progress(sum(one.kind != "reused" for one in outcomes), total)

    definitions = build_definitions(
        data_root=root.path,
        generate=generate,
        rollout=rollout,
        key_prefix=key_prefix,
        partition_prefix=partition_prefix,
        concurrency=concurrency,
        observer=observe,
        stop=stop,
        environ=os.environ,
    )
    config = {"concurrency": concurrency, "pay_again": retry_failed}

    def materialize() -> None:
        with open_instance(root) as instance:
            register_members(instance, root, cohort_id, prefix=partition_prefix)
            for stage in PIPELINE:
                key = dg.AssetKey([*key_prefix, stage_asset_name(stage)])
                for keys in _ranges(instance, root, stage, work, key=key, prefix=partition_prefix):
                    if not stop.is_set():
                        materialize_range(
                            definitions, stage, instance, keys, config, key_prefix=key_prefix
                        )

    _until_interrupted(materialize, stop)
    return Done(outcomes=tuple(outcomes), workload=work, interrupted=stop.is_set())


def _until_interrupted(work: Callable[[], None], stop: threading.Event) -> None:
    """Do the work in another thread, since Dagster takes the signals of the main one for itself and
    may lose one between two steps; set `stop` at the first interrupt or SIGTERM, which lets the
    calls in flight finish, pass on the second."""
    raised: list[BaseException] = []

    def target() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=target, name="genid-run", daemon=True)
    with _terminated_as_interrupted():
        thread.start()
        while thread.is_alive():
            try:
                thread.join()
            except KeyboardInterrupt:
                if stop.is_set():
                    raise
                stop.set()
    if raised:
        raise raised[0]


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM (a service manager's or a scheduler's stop) as Ctrl-C, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _ranges(
    instance: dg.DagsterInstance,
    root: DataRoot,
    stage: str,
    work: Workload,
    *,
    key: dg.AssetKey,
    prefix: str,
) -> list[tuple[str, str]]:
    """Return the ranges of keys to materialize in a stage: what is to be made and can be by now,
    and what is made and not recorded."""
    recorded = instance.get_materialized_partitions(key)
    made = [one.gen_id for one in work.made if one.stage == stage and one.gen_id not in recorded]
    ready = [gen_id for gen_id in work.of(stage) if is_ready(root, stage, gen_id)]
    return key_ranges(
        registered(instance, stage, prefix=prefix),
        {*made, *ready},
        lambda gen_id: has_content(root, stage, gen_id),
    )
