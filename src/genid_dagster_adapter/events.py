"""Events that no step of a run logs: many materializations at once, carried to other keys, and the
plan to materialize.

The one module that imports private modules of Dagster: the public `report_runless_asset_event`
takes 12 ms on SQLite and 23 ms on PostgreSQL for each event, and only a backfill can plan.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEventBatchMetadata,
    StepMaterializationData,
    generate_event_batch_id,
)
from dagster._core.storage.event_log import SqliteEventLogStorage

MIGRATED_FROM: Final = "genid/migrated_from"
ORIGINAL_RUN: Final = "genid/original_run_id"
ORIGINAL_TIME: Final = "genid/original_timestamp"
_TEXTS: Final = (
    dg.TextMetadataValue, dg.PathMetadataValue, dg.MarkdownMetadataValue, dg.UrlMetadataValue,
)  # fmt: skip


def report(instance: dg.DagsterInstance, events: Iterable[dg.AssetMaterialization]) -> None:
    """Record materializations as `report_runless_asset_event` does, in one go for each asset."""
    made = dg.DagsterEventType.ASSET_MATERIALIZATION.value
    for _, found in groupby(events, key=lambda event: event.asset_key):
        entries = [
            dg.EventLogEntry(  # type: ignore[no-untyped-call]
                error_info=None,
                level=logging.INFO,
                user_message="",
                run_id="",
                timestamp=time.time(),
                job_name="",
                dagster_event=dg.DagsterEvent(
                    made, job_name="", event_specific_data=StepMaterializationData(event)
                ),
            )
            for event in found
        ]
        _store(instance, entries)


def _store(instance: dg.DagsterInstance, entries: list[dg.EventLogEntry]) -> None:
    """Store one asset's events in one batch, with SQLite as PostgreSQL's storage does by itself:
    SQLite's own would open its databases several times for each event."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        storage.store_event_batch(entries)
        return
    with storage.index_transaction() as connection:
        inserts = [connection.execute(storage.prepare_insert_event(entry)) for entry in entries]
        ids = [key[0] for one in inserts if (key := one.inserted_primary_key)]
    storage.store_asset_event_tags(entries, ids)
    storage.store_asset_event(entries[-1], ids[-1])


def plan(context: dg.AssetExecutionContext, partitions: Sequence[tuple[dg.AssetKey, str]]) -> None:
    """Tell Dagster which partitions this run is going to make, as its own backfills do: they are in
    progress from now on, and automation asks for none of them."""
    step = context.op_execution_context.get_step_execution_context().step.key
    batch = generate_event_batch_id()  # type: ignore[no-untyped-call]
    for number, (asset, key) in enumerate(partitions, 1):
        planned = AssetMaterializationPlannedData(asset, partition=key)
        context.instance.report_dagster_event(
            dg.DagsterEvent.build_asset_materialization_planned_event(
                context.run.job_name, str(step), planned
            ),
            context.run.run_id,
            logging.DEBUG,
            batch_metadata=DagsterEventBatchMetadata(batch, number == len(partitions)),
        )


def carried(record: dg.EventLogRecord, fresh: dg.AssetMaterialization) -> dg.AssetMaterialization:
    """Return a new key's event with what the old key's said, the id in it replaced."""
    found = record.asset_materialization
    old, new = str(record.partition_key), str(fresh.partition)
    if found is None:  # a filter for materializations returns nothing else
        return fresh
    when = dg.MetadataValue.timestamp(record.timestamp)
    origin: dict[str, Any] = {ORIGINAL_RUN: record.run_id, ORIGINAL_TIME: when}
    kept = {key: _renamed(value, old, new) for key, value in found.metadata.items()}
    return dg.AssetMaterialization(
        fresh.asset_key,
        partition=new,
        description=found.description,
        metadata={**origin, **kept, **fresh.metadata, MIGRATED_FROM: old},
        tags={**(found.tags or {}), **(fresh.tags or {})},
    )


def _renamed(value: Any, old: str, new: str) -> Any:
    """Return a metadata value with an id in its text replaced; numbers and tables stay."""
    pattern = rf"(?<![A-Za-z0-9._-]){re.escape(old)}(?![A-Za-z0-9._-])"
    if isinstance(value, _TEXTS):
        return type(value)(re.sub(pattern, new, str(value.value or "")))
    if isinstance(value, dg.JsonMetadataValue):
        return dg.MetadataValue.json(json.loads(re.sub(pattern, new, json.dumps(value.value))))
    return value
