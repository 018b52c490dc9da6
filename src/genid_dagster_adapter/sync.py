"""Bring an instance level with the disk; registered as the entry point `follow` of `genid.sync`.

Level-triggered: it reports what the cohorts name and what is made beyond what the instance has,
whatever came before (a build, a migration, a kill of its own), and changes nothing of the store.

In each stage, parents first: events for what is made and unrecorded, then the keys, then, only when
asked, away with the keys that no cohort names: automation never takes made work for missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final

import dagster as dg
from attrs import asdict, field, frozen

from genid_dagster_adapter.events import carried, report
from genid_dagster_adapter.instance import open_instance
from genid_dagster_adapter.partitions import (
    COHORTS,
    forget_roots,
    members_elsewhere,
    partition_set,
    record_owner,
    register,
    registered,
)
from genid_dagster_adapter.recording import (
    all_made,
    chosen,
    cohort_materialization,
    materialization,
    registration,
)
from genid_dagster_adapter.translator import GENERATIONS, MEMBERSHIP, Translator
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import Memberships, read_memberships
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.fs.locks import BUILD, root_lock
from genid_store.generation import has_content
from genid_store.generation.load import load_module
from genid_store.generation.status import states_of
from genid_store.stages import stage_names

Progress = Callable[[int, int], None]
#: ids of today -> the ids that their generations had before
Previous = Mapping[str, Sequence[str]]

_VERSION: Final = "dagster/data_version"
_PAGE: Final = 200  # events that are reported, and whose predecessors are asked for, at a time


@frozen(kw_only=True)
class Synced:
    """What was done, or with `dry_run` would be: events and keys by stage. `unowned` are keys of no
    cohort that stay; pruning leaves those `held` by records of assets that nobody named."""

    events: dict[str, int]
    registered: dict[str, int] = field(factory=dict)
    deleted: dict[str, list[str]] = field(factory=dict)
    unowned: dict[str, list[str]] = field(factory=dict)
    held: dict[str, list[str]] = field(factory=dict)


def follow(
    root: DataRoot,
    *,
    translator: str | None = None,
    asset_prefix: Sequence[str] = (),
    partition_prefix: str = "",
    others: Sequence[str] = (),
    forget: Sequence[str] = (),
    prune: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Do `sync` with the data root's instance; return what it did as JSON values. `translator` is
    the host's, MODULE:CLASS or FILE.py:CLASS; `others` are the asset keys of the host's own that
    are partitioned by the same sets, `forget` the paths of other data roots whose keys are
    nobody's from now on.

    StoreError: the translator cannot be loaded, the instance cannot be opened or does not answer,
    or as `sync` and `forget_roots`.
    """
    kind = Translator if translator is None else _load(translator)
    named = kind(key_prefix=asset_prefix, partition_prefix=partition_prefix)
    with open_instance(root) as instance:
        if forget and not dry_run:
            forget_roots(instance, forget, partition_prefix)
        keys = [dg.AssetKey.from_user_string(one) for one in others]
        how = {"prune": prune, "dry_run": dry_run}
        done = sync(instance, root, named, others=keys, progress=progress, **how)
    return {"dry_run": dry_run, **asdict(done)}


def _load(name: str) -> type[Translator]:
    place, _, attribute = name.rpartition(":")
    found = getattr(load_module(place, where="translator"), attribute, None)
    if isinstance(found, type) and issubclass(found, Translator):
        return found
    message, remedy = f"{place} has no such translator", "name a subclass of Translator"
    summary = "the assets cannot be named"
    raise StoreError.of(summary, "translator", message, remedy, value=name)


def partition_keys(root: DataRoot, *, partition_prefix: str = "") -> dict[str, list[str]]:
    """Return by stage the registered keys that are not those of other data roots alone.

    StoreError: the instance does not answer.
    """
    named = read_memberships(root).cohorts_of()
    with open_instance(root) as instance:
        elsewhere, _ = members_elsewhere(instance, root, partition_prefix)
        strangers = elsewhere - named.keys()
        return {
            stage: [
                key
                for key in registered(instance, stage, prefix=partition_prefix)
                if (stage, key) not in strangers
            ]
            for stage in stage_names()
        }


def sync(
    instance: dg.DagsterInstance,
    root: DataRoot,
    translator: Translator | None = None,
    *,
    others: Sequence[dg.AssetKey] = (),
    prune: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Synced:
    """Bring the records level with the disk; stopped at any time, the next call completes it.

    StoreError: the data root is in use or blocked by a migration; or pruning was asked for and a
    membership, of this data root or of another one with keys in the same partition sets, cannot be
    read, so that nobody can tell whose a key is.
    """
    return _Sync(instance, root, translator or Translator(), others, dry_run).run(prune, progress)


@frozen
class _Sync:
    instance: dg.DagsterInstance
    root: DataRoot
    translator: Translator
    others: Sequence[dg.AssetKey]
    dry_run: bool

    def run(self, prune: bool, progress: Progress | None) -> Synced:
        with nullcontext() if self.dry_run else root_lock(self.root, BUILD):
            if not self.dry_run:
                record_owner(self.instance, self.root, self.translator.prefix)
            memberships = read_memberships(self.root)
            members, cohorts = memberships.by_stage(), memberships.cohorts_of()
            with StoreIndex.fresh(self.root, persist=not self.dry_run) as index:
                previous = index.previous_ids()
        todo = {one: list(self._unrecorded(one, members[one], previous[one])) for one in members}
        synced = Synced(events={stage: len(found) for stage, found in todo.items()})
        done, total = 0, sum(synced.events.values())
        for stage, lacking in todo.items():
            for start in range(0, len(lacking), _PAGE):
                chunk = lacking[start : start + _PAGE]
                if not self.dry_run:
                    report(self.instance, self._events(stage, chunk, previous[stage], cohorts))
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            self._keys(stage, previous[stage], prune, synced)
        if not self.dry_run:
            report(self.instance, [*self._cohorts(memberships, synced)])
        return synced

    # -- events -------------------------------------------------------------------------------
    def _unrecorded(
        self, stage: str, members: Sequence[str], previous: Previous
    ) -> Iterator[tuple[dg.AssetKey, str]]:
        """Yield the (asset, key) that lack an event: what is made, under our asset; what the host's
        own assets had under the key of before, under theirs."""
        ours = self.translator.of_stage(stage)
        recorded = self.instance.get_materialized_partitions(ours)
        for key in members:
            if key not in recorded and has_content(self.root, stage, key):
                yield ours, key
        for other in self.others:
            theirs = self.instance.get_materialized_partitions(other)
            for key in members:
                if key not in theirs and not theirs.isdisjoint(previous.get(key, ())):
                    yield other, key

    def _events(
        self,
        stage: str,
        lacking: Sequence[tuple[dg.AssetKey, str]],
        previous: Previous,
        cohorts: Mapping[tuple[str, str], Sequence[str]],
    ) -> Iterator[dg.AssetMaterialization]:
        last = {
            asset: self._last(asset, {old for one in keys for old in previous.get(one[1], ())})
            for asset, keys in groupby(lacking, itemgetter(0))
        }
        for asset, key in lacking:
            if asset == self.translator.of_stage(stage):
                named = cohorts.get((stage, key), ())
                fresh = materialization(self.root, stage, key, self.translator, named)
            else:
                fresh = dg.AssetMaterialization(asset, partition=key)
            records = [last[asset][old] for old in previous.get(key, ()) if old in last[asset]]
            newest = max(records, key=attrgetter("storage_id"), default=None)
            yield fresh if newest is None else carried(newest, fresh)

    def _cohorts(
        self, memberships: Memberships, synced: Synced
    ) -> Iterator[dg.AssetMaterialization]:
        """Register the cohorts as partitions, and yield what runs would have recorded of them."""
        translator, ids = self.translator, list(memberships.members)
        register(self.instance, COHORTS, ids, prefix=translator.prefix)
        last = self._last(translator.get_asset_key(MEMBERSHIP), ids)
        changed = []
        for event in (cohort_materialization(self.root, one, translator) for one in ids):
            record = last.get(str(event.partition))
            made = record and record.asset_materialization
            if made is None or (made.tags or {}).get(_VERSION) != (event.tags or {})[_VERSION]:
                changed.append(str(event.partition))
                yield event
        complete = self.instance.get_materialized_partitions(translator.get_asset_key(GENERATIONS))
        for cohort_id, members in memberships.members.items():
            is_known = cohort_id in complete and cohort_id not in changed
            if not is_known and all(has_content(self.root, *one) for one in members):
                yield all_made(translator, cohort_id, states_of(self.root, members))
        if changed:
            newest = max(changed, key=lambda one: os.stat(self.root.membership(one)).st_mtime_ns)
            yield from chosen(self.root, translator, newest)
        if changed or any(synced.registered.values()):
            counts = {stage: len(found) for stage, found in memberships.by_stage().items()}
            yield registration(translator, ids, counts, added=synced.registered)

    def _last(self, asset: dg.AssetKey, keys: Collection[str]) -> dict[str, dg.EventLogRecord]:
        """Return the newest event of each of the keys that has one."""
        found: dict[str, dg.EventLogRecord] = {}
        cursor, more = None, bool(keys)
        while more:
            page = self.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=asset, asset_partitions=sorted(keys)),
                limit=1000,
                cursor=cursor,
            )
            for record in page.records:
                found.setdefault(str(record.partition_key), record)
            cursor, more = page.cursor, page.has_more and len(found) < len(keys)
        return found

    # -- keys ---------------------------------------------------------------------------------
    def _keys(self, stage: str, previous: Previous, prune: bool, synced: Synced) -> None:
        """Register a stage's members and delete what no cohort names, if asked; under the data
        root's lock, so that no key becomes or ceases to be a member's meanwhile."""
        with nullcontext() if self.dry_run else root_lock(self.root, BUILD):
            prefix = self.translator.prefix
            there = dict.fromkeys(registered(self.instance, stage, prefix=prefix))
            memberships = read_memberships(self.root)
            elsewhere, unknown = members_elsewhere(self.instance, self.root, prefix)
            if prune and (problems := [*memberships.problems, *unknown]):
                raise StoreError("nobody can tell which keys are of no cohort", problems)
            members = memberships.by_stage()[stage]
            new = [key for key in members if key not in there]
            named = {*members, *(gen_id for of, gen_id in elsewhere if of == stage)}
            unowned, held = self._held(stage, [one for one in there if one not in named], previous)
            if not self.dry_run:
                register(self.instance, stage, new, prefix=prefix)
                for key in unowned if prune else ():
                    self.instance.delete_dynamic_partition(partition_set(stage, prefix), key)
        if not self.dry_run and (new or prune):
            # What Dagster remembers may be from the moment between an event and its key.
            self.instance.wipe_asset_cached_status([self.translator.of_stage(stage)])
        synced.registered[stage], synced.held[stage] = len(new), held
        synced.deleted[stage], synced.unowned[stage] = (unowned, []) if prune else ([], unowned)

    def _held(
        self, stage: str, unowned: list[str], previous: Previous
    ) -> tuple[list[str], list[str]]:
        """Return, of the keys that no cohort names, those that can go, and those with records of
        another asset that nobody carried over."""
        if not unowned:
            return [], []
        now = {old: new for new, olds in previous.items() for old in olds}
        held: set[str] = set()
        for asset in set(self.instance.all_asset_keys()) - {self.translator.of_stage(stage)}:
            theirs = self.instance.get_materialized_partitions(asset)
            held |= {key for key in unowned if key in theirs and now.get(key) not in theirs}
        return [key for key in unowned if key not in held], [key for key in unowned if key in held]
