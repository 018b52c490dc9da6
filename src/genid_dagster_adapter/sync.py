"""Bring an instance level with the disk; registered under the entry points `genid.sync`.

The sync is level-triggered: whatever happened before (a build, a migration, a killed sync), it
reports what the instance lacks of what cohorts name and what has content. It never changes the
store. Stage by stage, parents first, it reports events before it registers keys, so that automation
never takes existing content for missing. Keys of no cohort are deleted last, and only on request.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final

import dagster as dg
from attrs import asdict, field, frozen

from genid_dagster_adapter import partitions, recording
from genid_dagster_adapter.events import carried, report
from genid_dagster_adapter.instance import open_instance
from genid_dagster_adapter.partitions import is_key, members_elsewhere, partition_set, registered
from genid_dagster_adapter.translator import GENERATIONS, MEMBERSHIP, Translator
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import Memberships, read_memberships
from genid_store.errors import StoreError
from genid_store.fs.files import guarded
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, refuse_block, root_lock
from genid_store.generation.load import load_module
from genid_store.generation.status import has_content, states_of
from genid_store.stages import Member, stage_names

Progress = Callable[[int, int], None]
#: current id -> the ids that the generation had before
Previous = Mapping[str, Sequence[str]]
#: the asset and the key of an event
Pair = tuple[dg.AssetKey, str]
Pairs = Sequence[Pair]

_VERSION: Final = "dagster/data_version"
_PAGE: Final = 200  # events reported, and predecessors looked up, at a time


@frozen(kw_only=True)
class Synced:
    """What a sync did, or with `dry_run` would do: events and keys by stage, and events of cohorts
    by asset. `unowned` are keys of no cohort that were not deleted, without those `held` by records
    of assets not in `others`. `problems` are why something was left out, or could not be told."""

    dry_run: bool
    events: dict[str, int]
    cohort_events: dict[str, int] = field(factory=dict)
    registered: dict[str, int] = field(factory=dict)
    deleted: dict[str, list[str]] = field(factory=dict)
    unowned: dict[str, list[str]] = field(factory=dict)
    held: dict[str, list[str]] = field(factory=dict)
    problems: list[str] = field(factory=list)


def follow(
    root: DataRoot,
    *,
    translator: str | None = None,
    asset_prefix: Sequence[str] = (),
    partition_prefix: str = "",
    others: Sequence[str] = (),
    dry_run: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Sync the data root's instance; return what was done as JSON values.

    `translator` names the host's, as MODULE:CLASS or FILE.py:CLASS. `others` are asset keys of the
    host that are partitioned by the same sets. The other `options` are those of `sync`.

    StoreError: the translator cannot be loaded, the instance does not answer, or as `sync`.
    """
    translator_type = Translator if translator is None else _load(translator)
    names = translator_type(key_prefix=asset_prefix, partition_prefix=partition_prefix)
    keys = [dg.AssetKey.from_user_string(key) for key in others]
    with open_instance(root, create=not dry_run) as instance:
        return asdict(sync(instance, root, names, others=keys, dry_run=dry_run, **options))


def _load(name: str) -> type[Translator]:
    place, _, attribute = name.rpartition(":")
    found = getattr(load_module(place, where="translator"), attribute, None)
    if isinstance(found, type) and issubclass(found, Translator):
        return found
    message, remedy = f"{place} has no such translator", "name a subclass of Translator"
    raise StoreError.of("the assets cannot be named", "translator", message, remedy, value=name)


def partition_keys(root: DataRoot, *, partition_prefix: str = "") -> dict[str, list[str]]:
    """Return by stage the registered keys, without those that only other data roots name, or may
    name. StoreError: the instance does not answer."""
    named = read_memberships(root).cohorts_of()
    with open_instance(root, create=False) as instance:
        elsewhere, unknown = members_elsewhere(instance, root, partition_prefix)
        keys = {name: registered(instance, name, prefix=partition_prefix) for name in stage_names()}
    every = {(stage, key) for stage in keys for key in keys[stage]}
    foreign = (every if unknown else elsewhere) - named.keys()
    return {stage: [key for key in keys[stage] if (stage, key) not in foreign] for stage in keys}


def sync(
    instance: dg.DagsterInstance, root: DataRoot, names: Translator | None = None, **options: Any
) -> Synced:
    """Bring the records level with the disk. If it is stopped, the next call completes it.

    `options` are asset keys of the host as `others`, as `forget` the paths of other data roots that
    no longer exist, `prune`, `dry_run`, and `progress`, called with how many events are reported.

    StoreError: the data root is in use or blocked by a migration; there is nothing to forget; or,
    with `prune`, a membership here or in a data root with keys in the same sets cannot be read.
    """
    return _Sync(instance, root, names or Translator(), **options).run()


@frozen
class _Sync:
    instance: dg.DagsterInstance
    root: DataRoot
    translator: Translator
    others: Sequence[dg.AssetKey] = ()
    forget: Sequence[str] = ()
    prune: bool = False
    dry_run: bool = False
    progress: Progress | None = None

    def run(self) -> Synced:
        prefix = self.translator.prefix
        partitions.forget_roots(self.instance, self.forget, prefix, dry_run=self.dry_run)
        with nullcontext() if self.dry_run else root_lock(self.root, BUILD):
            refuse_block(self.root, BUILD)
            if not self.dry_run:
                partitions.record_owner(self.instance, self.root, prefix)
            memberships = read_memberships(self.root)
            with StoreIndex.fresh(self.root, persist=not self.dry_run) as index:
                previous = index.previous_ids()
        cohorts = memberships.cohorts_of()
        unrecorded = {
            stage: list(self._unrecorded(stage, keys, previous[stage]))
            for stage, keys in memberships.by_stage().items()
        }
        synced = Synced(dry_run=self.dry_run, events={of: len(p) for of, p in unrecorded.items()})
        done, total = 0, sum(synced.events.values())
        for stage, pairs in unrecorded.items():
            for start in range(0, len(pairs), _PAGE):
                page = pairs[start : start + _PAGE]
                if not self.dry_run:
                    report(self.instance, self._events(stage, page, previous[stage], cohorts))
                done += len(page)
                if self.progress is not None:
                    self.progress(done, total)
            self._sync_keys(stage, previous[stage], pairs, synced)
        events = self._cohort_events(memberships, synced)
        synced.cohort_events.update(Counter(one.asset_key.to_user_string() for one in events))
        synced.problems[:] = dict.fromkeys(synced.problems)
        if not self.dry_run:
            report(self.instance, events)
        return synced

    # -- events -------------------------------------------------------------------------------
    def _unrecorded(self, stage: str, keys: Sequence[str], previous: Previous) -> Iterator[Pair]:
        """Yield (asset, key) for each missing event: of a member with content, and of an asset in
        `others` with an event under a previous id of the member."""
        own = self.translator.of_stage(stage)
        recorded = self.instance.get_materialized_partitions(own)
        for key in keys:
            if key not in recorded and is_key(key) and has_content(self.root, stage, key):
                yield own, key
        for other in self.others:
            recorded = self.instance.get_materialized_partitions(other)
            for key in keys:
                if key not in recorded and not recorded.isdisjoint(previous.get(key, ())):
                    yield other, key

    def _events(
        self, stage: str, unrecorded: Pairs, previous: Previous, cohorts: Mapping[Any, list[str]]
    ) -> Iterator[dg.AssetMaterialization]:
        """Yield the events; one with a record under a previous id carries it on."""
        last = {
            asset: self._last(asset, {old for _, key in pairs for old in previous.get(key, ())})
            for asset, pairs in groupby(unrecorded, itemgetter(0))
        }
        for asset, key in unrecorded:
            if asset == self.translator.of_stage(stage):
                member = Member(stage, key)
                named_by = cohorts.get(member, ())
                event = recording.materialization(self.root, member, self.translator, named_by)
            else:
                event = dg.AssetMaterialization(asset, partition=key)
            records = [last[asset][old] for old in previous.get(key, ()) if old in last[asset]]
            newest = max(records, key=attrgetter("storage_id"), default=None)
            yield event if newest is None else carried(newest, event)

    def _cohort_events(
        self, memberships: Memberships, synced: Synced
    ) -> list[dg.AssetMaterialization]:
        """Register the cohorts as partitions, and return the events that runs would have logged,
        without those of a cohort with problems."""
        names, changed, complete = self.translator, {}, []
        cohorts = {key: members for key, members in memberships.members.items() if is_key(key)}
        refused = partitions.refused_keys(partitions.COHORTS, memberships.members)
        synced.problems.extend(map(str, refused))
        if not self.dry_run:
            partitions.register(self.instance, partitions.COHORTS, [*cohorts], prefix=names.prefix)
        keys = [names.get_asset_key(name) for name in (MEMBERSHIP, GENERATIONS)]
        last, last_made = (self._last(key, cohorts) for key in keys)
        for cohort_id, members in cohorts.items():
            try:
                with guarded(self.root):
                    event = recording.cohort_materialization(self.root, cohort_id, names)
            except StoreError as error:
                synced.problems.extend(map(str, error.problems))
                continue
            version = (event.tags or {})[_VERSION]
            if _version(last.get(cohort_id)) != version:
                changed[cohort_id] = event
            is_current = _version(last_made.get(cohort_id)) == version
            if not is_current and all(has_content(self.root, *member) for member in members):
                complete.append(recording.all_made(names, cohort_id, states_of(self.root, members)))
        events = [*changed.values(), *complete]
        if changed:
            newest = max(changed, key=lambda name: os.stat(self.root.membership(name)).st_mtime_ns)
            events += recording.last_built(self.root, newest, names)
        if changed or any(synced.registered.values()):
            counts = {stage: len(keys) for stage, keys in memberships.by_stage().items()}
            events.append(recording.registration(names, cohorts, counts, synced.registered))
        return events

    def _last(self, asset: dg.AssetKey, keys: Collection[str]) -> dict[str, dg.EventLogRecord]:
        """Return the newest event of each of the keys that has one."""
        newest: dict[str, dg.EventLogRecord] = {}
        wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=sorted(keys))
        cursor, has_more = None, bool(keys)
        while has_more:
            page = self.instance.fetch_materializations(wanted, limit=1000, cursor=cursor)
            for record in page.records:
                newest.setdefault(str(record.partition_key), record)
            cursor, has_more = page.cursor, page.has_more and len(newest) < len(keys)
        return newest

    # -- keys ---------------------------------------------------------------------------------
    def _sync_keys(self, stage: str, previous: Previous, reported: Pairs, synced: Synced) -> None:
        """Register a stage's members and, if requested, delete the keys that no cohort names."""
        prefix = self.translator.prefix
        # Memberships are read again under the lock: a build may have run since the events.
        with nullcontext() if self.dry_run else root_lock(self.root, BUILD):
            keys = dict.fromkeys(registered(self.instance, stage, prefix=prefix))
            memberships = read_memberships(self.root)
            elsewhere, unknown = members_elsewhere(self.instance, self.root, prefix, self.forget)
            problems = [*memberships.problems, *unknown]
            if self.prune and problems:
                raise StoreError("nobody can tell which keys are of no cohort", problems)
            members = memberships.by_stage()[stage]
            synced.problems.extend(map(str, [*problems, *partitions.refused_keys(stage, members)]))
            new = [key for key in members if key not in keys and is_key(key)]
            named = {*members, *(gen_id for of, gen_id in elsewhere if of == stage)}
            unowned = [] if problems else [key for key in keys if key not in named]
            held = self._held(stage, unowned, previous, reported) if unowned else set()
            removable = [key for key in unowned if key not in held]
            if not self.dry_run:
                partitions.register(self.instance, stage, new, prefix=prefix)
                for key in removable if self.prune else ():
                    self.instance.delete_dynamic_partition(partition_set(stage, prefix), key)
        if not self.dry_run and (new or self.prune):
            # Dagster may have cached the status between an event and the registration of its key.
            self.instance.wipe_asset_cached_status([self.translator.of_stage(stage)])
        synced.registered[stage] = len(new)
        synced.held[stage] = [key for key in unowned if key in held]
        deleted = removable if self.prune else []
        synced.deleted[stage], synced.unowned[stage] = deleted, removable[len(deleted) :]

    def _held(self, stage: str, keys: list[str], previous: Previous, reported: Pairs) -> set[str]:
        """Return the keys of no cohort with records of another asset that were not carried to the
        generation's current id."""
        current = {old: new for new, olds in previous.items() for old in olds}
        held: set[str] = set()
        for asset in set(self.instance.all_asset_keys()) - {self.translator.of_stage(stage)}:
            recorded = self.instance.get_materialized_partitions(asset)
            recorded |= {key for other, key in reported if other == asset}  # also in a dry run
            held |= {k for k in keys if k in recorded and current.get(k) not in recorded}
        return held


def _version(record: dg.EventLogRecord | None) -> str | None:
    event = record and record.asset_materialization
    return (event.tags or {}).get(_VERSION) if event else None
