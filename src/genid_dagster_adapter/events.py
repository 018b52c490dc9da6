"""Events that no step of a run logs: materializations in bulk, carried to other keys, and planned.

This imports private modules: Dagster's public `report_runless_asset_event` takes 12 ms per event on
SQLite and 23 ms on PostgreSQL, and a run cannot plan materializations publicly. What an event shows
is defined in `recording`.
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
    """Store materializations as `report_runless_asset_event` does, in one batch per asset."""
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION.value
    for _, group in groupby(events, key=lambda event: event.asset_key):
        entries = [
            dg.EventLogEntry(  # type: ignore[no-untyped-call]
                error_info=None,
                level=logging.INFO,
                user_message="",
                run_id="",
                timestamp=time.time(),
                job_name="",
                dagster_event=dg.DagsterEvent(
                    kind, job_name="", event_specific_data=StepMaterializationData(event)
                ),
            )
            for event in group
        ]
        _store(instance, entries)


def _store(instance: dg.DagsterInstance, entries: list[dg.EventLogEntry]) -> None:
    """Store one asset's events in one transaction."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        storage.store_event_batch(entries)
        return
    # On SQLite, `store_event_batch` opens the databases several times for each event. These are the
    # steps that the PostgreSQL storage takes.
    with storage.index_transaction() as connection:
        inserts = [connection.execute(storage.prepare_insert_event(entry)) for entry in entries]
        ids = [key[0] for insert in inserts if (key := insert.inserted_primary_key)]
    storage.store_asset_event_tags(entries, ids)
    storage.store_asset_event(entries[-1], ids[-1])


def plan(context: dg.AssetExecutionContext, partitions: Sequence[tuple[dg.AssetKey, str]]) -> None:
    """Announce which partitions this run will materialize, as Dagster's own backfills do; until it
    ends they are in progress, and automation does not request them."""
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


def carried(record: dg.EventLogRecord, event: dg.AssetMaterialization) -> dg.AssetMaterialization:
    """Return the event of a new key, with what the record of its former key says and the former id
    replaced. The event's own metadata and tags take precedence."""
    former = record.asset_materialization or event  # only materializations are fetched
    old, new = str(record.partition_key), str(event.partition)
    time_of_record = dg.MetadataValue.timestamp(record.timestamp)
    origin: dict[str, Any] = {ORIGINAL_RUN: record.run_id, ORIGINAL_TIME: time_of_record}
    kept = {key: _renamed(value, old, new) for key, value in former.metadata.items()}
    return dg.AssetMaterialization(
        event.asset_key,
        partition=new,
        description=former.description,
        metadata={**origin, **kept, **event.metadata, MIGRATED_FROM: old},
        tags={**(former.tags or {}), **(event.tags or {})},
    )


def _renamed(value: Any, old: str, new: str) -> Any:
    """Return a metadata value with an id in its text replaced; numbers and tables stay."""
    pattern = rf"(?<![A-Za-z0-9._-]){re.escape(old)}(?![A-Za-z0-9._-])"
    if isinstance(value, _TEXTS):
        return type(value)(re.sub(pattern, new, str(value.value or "")))
    if isinstance(value, dg.JsonMetadataValue):
        return dg.MetadataValue.json(json.loads(re.sub(pattern, new, json.dumps(value.value))))
    return value
