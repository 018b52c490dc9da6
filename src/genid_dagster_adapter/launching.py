"""Run the adapter's assets in this process, for people without the daemon.

Dagster's own launch of several partitions is a range in the order of their registration; an
arbitrary set of keys becomes few ranges, because a key whose content is there can lie inside one
(it costs an event, some 20 ms, and no call), where a run of its own costs some 400 ms. A key that
must not be generated is never inside a range. Errors of the assets come out as they were raised.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg

from genid_dagster_adapter.stage_assets import stage_asset_name

#: Keys with content that are taken along rather than starting another run.
BRIDGED: Final = 20
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_START: Final = "dagster/asset_partition_range_start"
_END: Final = "dagster/asset_partition_range_end"


def key_ranges(
    order: Sequence[str], wanted: Collection[str], harmless: Callable[[str], bool]
) -> list[tuple[str, str]]:
    """Return the ranges of `order` (registration order) that hold exactly the `wanted` keys and, in
    gaps of at most BRIDGED keys, `harmless` ones. A wanted key that `order` lacks is left out."""
    ranges: list[tuple[int, int]] = []
    for at, key in enumerate(order):
        if key not in wanted:
            continue
        gap = range(ranges[-1][1] + 1, at) if ranges else range(0)
        if ranges and len(gap) <= BRIDGED and all(harmless(order[between]) for between in gap):
            ranges[-1] = (ranges[-1][0], at)
        else:
            ranges.append((at, at))
    return [(order[start], order[end]) for start, end in ranges]


def run_job(
    definitions: dg.Definitions,
    name: str,
    instance: dg.DagsterInstance,
    config: Mapping[str, Mapping[str, Any]],
) -> dg.ExecuteInProcessResult:
    """Run a job with the given config by op; raise what an asset raised."""
    ops = {op: {"config": dict(values)} for op, values in config.items()}
    job = definitions.resolve_job_def(name)
    with restored_sigterm():
        return job.execute_in_process(instance=instance, run_config={**_QUIET, "ops": ops})


def materialize_range(
    definitions: dg.Definitions,
    stage: str,
    instance: dg.DagsterInstance,
    keys: tuple[str, str],
    config: Mapping[str, Any],
    *,
    key_prefix: Sequence[str] = (),
) -> bool:
    """Materialize one range of a stage's partitions in one run; return whether all succeeded. The
    failures themselves reach the definitions' observer."""
    asset = definitions.resolve_assets_def(dg.AssetKey([*key_prefix, stage_asset_name(stage)]))
    result = dg.materialize(
        [asset],
        instance=instance,
        run_config={**_QUIET, "ops": {asset.op.name: {"config": dict(config)}}},
        tags={_START: keys[0], _END: keys[1]},
        raise_on_error=False,
    )
    return result.success


@contextmanager
def restored_sigterm() -> Iterator[None]:
    """Give SIGTERM back its handling when Dagster is done.

    Dagster leaves it with whatever handling SIGINT has. Where SIGINT is ignored (a script's job in
    the background) SIGTERM would be from then on, in child processes too, and the log followers
    that Dagster ends with SIGTERM would not end: the next run would wait 30 seconds and fail.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
