"""Let Dagster's records follow a migration to the new ids, or back: the store's migration knows
nothing of Dagster, and nothing here changes a file of the store.

Stage by stage, parents first, in the order that no automation can mistake for missing work: events
for the new keys, then the new keys themselves, then away with the old ones. The old keys' events
stay in the log (it is append-only), so a key that is added again is materialized again.

What the instance knew before is written to the plan's folder first (`dagster.json`), so every step
can be repeated and undone. Events of a generation that took over the name of another one cannot be
taken back: such a name counts as materialized after going back, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
from attrs import frozen

from genid_dagster_adapter.migration_events import Rewriting
from genid_dagster_adapter.partitions import partition_set, register, registered
from genid_dagster_adapter.stage_assets import stage_asset_name
from genid_store.fs.files import write_atomic
from genid_store.fs.layout import DataRoot
from genid_store.migration.planfile import Plan, mapping_of, plan_ids
from genid_store.migration.references import References
from genid_store.migration.state import State, state_of
from genid_store.stages import PIPELINE

Progress = Callable[[int, int], None]

MIGRATED_FROM: Final = "genid/migrated_from"
MIGRATION_PLAN: Final = "genid/migration_plan"
ORIGINAL_RUN: Final = "genid/original_run_id"
ORIGINAL_TIME: Final = "genid/original_timestamp"
SOURCE: Final = "genid/migrated_event"
_PAGE: Final = 1000  # events that are read at a time
_NOTE: Final = "dagster.json"


@frozen(kw_only=True)
class Carried:
    """What was done for one plan in Dagster: how many events, keys added and keys deleted."""

    plan_id: str
    back: bool
    events: int = 0
    added: int = 0
    deleted: int = 0


@frozen(kw_only=True)
class Target:
    """Where Dagster keeps a host's generations: the assets' key prefix and the partition sets'."""

    key_prefix: tuple[str, ...] = ()
    partition_prefix: str = ""

    def asset_key(self, stage: str) -> dg.AssetKey:
        return dg.AssetKey([*self.key_prefix, stage_asset_name(stage)])

    def partition_set(self, stage: str) -> str:
        return partition_set(stage, self.partition_prefix)


def sync(
    instance: dg.DagsterInstance,
    root: DataRoot,
    *,
    target: Target | None = None,
    progress: Progress | None = None,
) -> list[Carried]:
    """Bring Dagster's records to where every migration of the data root stands.

    Those of a store that is migrated follow to the new ids, those of a store that was rolled back
    follow back; what has followed already is left alone, so this can be stopped and repeated at
    any time. Some 75 events a second on SQLite. The caller holds the data root's lock.
    """
    advance = progress or (lambda done, total: None)
    done = []
    for plan, state in _in_order(root):
        history = _History(instance, plan, target or Target())
        if state in ("migrated", "finalized") and not history.followed:
            done.append(history.follow(advance))
        elif state == "rolled-back" and history.note.exists():
            done.append(history.go_back(advance))
    return done


def _in_order(root: DataRoot) -> list[tuple[Plan, State]]:
    """Return the plans that were begun: those rolled back first, the others as they came about."""
    plans = (Plan(root, plan_id) for plan_id in plan_ids(root))
    begun = [plan for plan in plans if plan.journal.exists()]
    begun.sort(key=lambda plan: plan.journal.stat().st_mtime_ns)
    found = [(plan, state_of(plan)) for plan in begun]
    return sorted(found, key=lambda pair: pair[1] != "rolled-back")


def is_pending(root: DataRoot) -> bool:
    """Say whether `sync` would have something to do."""
    for plan, state in _in_order(root):
        note = plan.folder / _NOTE
        if state in ("migrated", "finalized") and _read(note).get("state") != "done":
            return True
        if state == "rolled-back" and note.exists():
            return True
    return False


def _read(note: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(note.read_bytes())
    except FileNotFoundError:
        return {}
    return document


@frozen
class _History:
    """One plan's ids in one instance."""

    instance: dg.DagsterInstance
    plan: Plan
    target: Target

    @property
    def note(self) -> Path:
        return self.plan.folder / _NOTE

    @property
    def followed(self) -> bool:
        return bool(_read(self.note).get("state") == "done")

    def follow(self, progress: Progress) -> Carried:
        """Carry events and keys of every stage to the new ids."""
        known = self._known()
        mapping = mapping_of(self.plan.steps())
        work = {stage: self._to_report(stage, mapping) for stage in PIPELINE}
        total = sum(map(len, work.values()))
        events = added = deleted = 0
        for stage in PIPELINE:
            for event in work[stage]:
                self.instance.report_runless_asset_event(event)
                events += 1
                progress(events, total)
            old = [key for key in known["registered"][stage] if key in mapping[stage]]
            new = [mapping[stage][key] for key in old]
            added += register(self.instance, stage, new, prefix=self.target.partition_prefix)
            deleted += self._delete(stage, set(old) - set(new))
            self._forget_cache(stage)
        write_atomic(self.note, json.dumps({**known, "state": "done"}).encode())
        return Carried(plan_id=self.plan.plan_id, back=False, events=events, added=added,
                       deleted=deleted)  # fmt: skip

    def go_back(self, progress: Progress) -> Carried:
        """Give every stage the keys back that it had, materialized as they were."""
        known = _read(self.note)
        mapping = mapping_of(self.plan.steps())
        events = added = deleted = 0
        for stage in PIPELINE:
            before = known["registered"][stage]
            old = [key for key in before if key in mapping[stage]]
            new = {mapping[stage][key] for key in old}
            for event in self._to_restore(stage, set(old) & new):
                self.instance.report_runless_asset_event(event)
                events += 1
                progress(events, events)
            added += register(self.instance, stage, old, prefix=self.target.partition_prefix)
            deleted += self._delete(stage, new - set(before))
            self._forget_cache(stage)
        self.note.unlink()
        return Carried(plan_id=self.plan.plan_id, back=True, events=events, added=added,
                       deleted=deleted)  # fmt: skip

    def _known(self) -> dict[str, Any]:
        """Return which keys were registered before anything was changed; on disk on return."""
        known = _read(self.note)
        if not known:
            prefix = self.target.partition_prefix
            keys = {stage: registered(self.instance, stage, prefix=prefix) for stage in PIPELINE}
            known = {"state": "begun", "registered": keys}
            write_atomic(self.note, json.dumps(known).encode())
        return known

    def _delete(self, stage: str, keys: Iterable[str]) -> int:
        name = self.target.partition_set(stage)
        there = set(registered(self.instance, stage, prefix=self.target.partition_prefix))
        gone = sorted(there & set(keys))
        for key in gone:
            self.instance.delete_dynamic_partition(name, key)
        return len(gone)

    def _forget_cache(self, stage: str) -> None:
        """Let Dagster work out anew which partitions are materialized: what it remembers may be
        from the moment between an event and the registration of its key."""
        self.instance.wipe_asset_cached_status([self.target.asset_key(stage)])

    # -- events -------------------------------------------------------------------------------
    def _to_report(
        self, stage: str, mapping: Mapping[str, Mapping[str, str]]
    ) -> list[dg.AssetMaterialization]:
        """Return the events that the new keys of a stage still lack, the oldest first."""
        moved = mapping[stage]
        if not moved:
            return []
        mine, theirs = self._newest(stage, {*moved, *moved.values()})
        rewriting = Rewriting(References(mapping, stage))
        return [
            self._event(record, moved[old], rewriting)
            for old, record in sorted(theirs.items(), key=lambda item: item[1].storage_id)
            if old in moved and _source(mine.get(moved[old])) != record.storage_id
        ]

    def _to_restore(self, stage: str, keys: set[str]) -> Iterator[dg.AssetMaterialization]:
        """Yield, for names that another generation took over, the event they had before."""
        if not keys:
            return
        mine, theirs = self._newest(stage, keys)
        for key in sorted(keys & set(mine) & set(theirs)):
            if mine[key].storage_id > theirs[key].storage_id:
                yield _materialization(theirs[key])

    def _newest(
        self, stage: str, keys: set[str]
    ) -> tuple[dict[str, dg.EventLogRecord], dict[str, dg.EventLogRecord]]:
        """Return the newest event of each key that this plan reported, and the newest other."""
        mine: dict[str, dg.EventLogRecord] = {}
        theirs: dict[str, dg.EventLogRecord] = {}
        for record in self._events(stage):
            key = record.partition_key
            if key in keys and key is not None:
                plan = _text(_materialization(record).metadata.get(MIGRATION_PLAN))
                (mine if plan == self.plan.plan_id else theirs).setdefault(key, record)
        return mine, theirs

    def _events(self, stage: str) -> Iterator[dg.EventLogRecord]:
        """Yield every materialization of a stage's asset, the newest first."""
        cursor, more = None, True
        while more:
            page = self.instance.fetch_materializations(
                self.target.asset_key(stage), limit=_PAGE, cursor=cursor
            )
            yield from page.records
            cursor, more = page.cursor, page.has_more

    def _event(
        self, record: dg.EventLogRecord, new: str, rewriting: Rewriting
    ) -> dg.AssetMaterialization:
        found = _materialization(record)
        old = str(record.partition_key)
        metadata = {key: rewriting.value(key, value) for key, value in found.metadata.items()}
        origin: dict[str, Any] = {  # of the first event, if this one was carried before
            ORIGINAL_RUN: record.run_id,
            ORIGINAL_TIME: dg.MetadataValue.timestamp(record.timestamp),
        }
        carried: dict[str, Any] = {
            MIGRATED_FROM: old,
            MIGRATION_PLAN: self.plan.plan_id,
            SOURCE: record.storage_id,
        }
        return dg.AssetMaterialization(
            asset_key=found.asset_key,
            partition=new,
            description=rewriting.optional(found.description),
            metadata={**origin, **metadata, **carried},
            tags={key: rewriting.tag(key, value) for key, value in (found.tags or {}).items()},
        )


def _materialization(record: dg.EventLogRecord) -> dg.AssetMaterialization:
    found = record.asset_materialization
    if found is None:  # fetch_materializations returns nothing else
        raise TypeError(f"the event {record.storage_id} is no materialization")
    return found


def _source(record: dg.EventLogRecord | None) -> object:
    """Return the log's number of the event that a reported one was carried from."""
    if record is None:
        return None
    number = _materialization(record).metadata.get(SOURCE)
    return number.value if isinstance(number, dg.IntMetadataValue) else None


def _text(value: object) -> str | None:
    return value.value if isinstance(value, dg.TextMetadataValue) else None
