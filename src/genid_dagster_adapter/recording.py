"""The materializations of generations and cohorts, the same in runs and in the sync.

Defines the events, their metadata and `Recorder`, which logs them in a run. How events are stored
outside a run is in `events`.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from genid_dagster_adapter.translator import (
    COHORT_ID,
    COMBOS,
    GENERATIONS,
    MEMBERSHIP,
    REGISTRATION,
    Translator,
    stage_asset_name,
)
from genid_store.catalog.memberships import dump_membership, read_membership, read_memberships
from genid_store.catalog.metadata import inspect_generation
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.build import Built
from genid_store.cohort.inputs.combos import selected_path
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW_METADATA, DataRoot
from genid_store.generation.content import content_version, digest
from genid_store.generation.records import Outcome
from genid_store.generation.status import State
from genid_store.generation.workload import count_states
from genid_store.stages import Member, stage_names

#: Tags of a run that Dagster's daemon must not retry.
NO_RETRIES: Final = {"dagster/max_retries": "0"}
_SHOWN: Final = 20  # generations that one error lists
_LINES: Final = 50  # lines of a list
_PREVIEW: Final = 500  # characters


class Recorder:
    """Log each complete outcome as a materialization, and keep the others in `incomplete`."""

    def __init__(
        self, context: dg.AssetExecutionContext, root: DataRoot, translator: Translator
    ) -> None:
        self.context, self.root, self.translator = context, root, translator
        self.cohorts = read_memberships(root).cohorts_of()
        self.incomplete: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> None:
        """Record an outcome."""
        if not outcome.complete:
            self.incomplete.append(outcome)
            self.context.log.warning("%s", outcome)
            return
        member = Member(outcome.stage, outcome.gen_id)
        shown = {"outcome": outcome.kind, "seconds": round(outcome.seconds, 3)}
        named = self.cohorts.get(member, ())
        self.context.log_event(materialization(self.root, member, self.translator, named, **shown))

    def record_made(self, members: Iterable[Member]) -> None:
        """Record members with content that Dagster has no materialization of."""
        made = self.context.instance.get_materialized_partitions
        recorded = {stage: made(self.translator.of_stage(stage)) for stage in stage_names()}
        for stage, gen_id in members:
            if gen_id not in recorded[stage]:
                self(Outcome(stage=stage, gen_id=gen_id, kind="reused"))

    def raise_for_failures(self, config: dg.Config, **metadata: Any) -> None:
        """Raise dg.Failure with the generations that have no content, if any, and the keys of
        `config` to continue with. Nothing in Dagster retries the run: it may have been paid for."""
        if not self.incomplete:
            return
        self.context.instance.add_run_tags(self.context.run.run_id, NO_RETRIES)
        count = len(self.incomplete)
        lines = [f"generations without content: {count}; the others are recorded"]
        lines += map(str, self.incomplete[:_SHOWN])
        lines += [f"and {count - _SHOWN} more"] if count > _SHOWN else []
        ways = {way for one in self.incomplete for way in one.ways}
        lines += config_keys(self.context, [key for key in dict(config) if key in ways])
        raise dg.Failure("\n".join(lines), metadata or None, allow_retries=False)


def config_keys(context: dg.AssetExecutionContext, keys: Sequence[str]) -> list[str]:
    """Return the line that says where the launchpad takes options, and which; none without keys."""
    place, options = context.op_def.name, " or ".join(f"{key}: true" for key in keys)
    return [f"in the launchpad: ops: {{{place}: {{config: {{…}}}}}} with {options}"] if keys else []


def materialization(
    root: DataRoot, member: Member, translator: Translator, cohorts: Iterable[str], **metadata: Any
) -> dg.AssetMaterialization:
    """Return the event of a generation with content; its data version is the content's digest."""
    shown = _generation_metadata(root, member, translator)
    shown |= {"cohorts": ", ".join(cohorts), **metadata}
    name, version = stage_asset_name(member.stage), content_version(root, *member) or ""
    return translator.event(name, shown, partition=member.gen_id, version=version)


def cohort_materialization(
    root: DataRoot, cohort_id: str, translator: Translator, built: Built | None = None
) -> dg.AssetMaterialization:
    """Return the event of a cohort; its data version is the digest of the membership.csv that a
    build writes for its members. `built` adds what only the build itself knows."""
    members, recorded = read_membership(root, cohort_id), read_recorded(root, cohort_id)
    rollout = recorded.rollout if recorded is not None and recorded.stated else None
    shown: dict[str, Any] = {
        "cohort_id": cohort_id,
        "rollout": "not recorded" if rollout is None else rollout.label,
        "scheme": "not recorded" if rollout is None else rollout.scheme,
        "rows": stage_table(rows=Counter(stage for stage, _ in members)),
        "dagster/uri": root.membership(cohort_id).as_uri(),
        "dagster/row_count": len(members),
    }
    if built is not None:
        shown |= _build_metadata(built)
    version = digest(dump_membership(members))
    return translator.event(MEMBERSHIP, shown, partition=cohort_id, version=version)


def last_built(
    root: DataRoot, cohort_id: str, translator: Translator
) -> list[dg.AssetMaterialization]:
    """Return the events of the combos and the cohort id, for the cohort that was built last."""
    combos: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # a cohort of evaluations alone has no combo file
        rows = len(read_bytes(selected_path(root)).splitlines()) - 1
        combos = {"dagster/uri": selected_path(root).absolute().as_uri(), "dagster/row_count": rows}
    cohort = translator.event(COHORT_ID, {COHORT_ID: cohort_id}, version=cohort_id)
    return [translator.event(COMBOS, combos), cohort]


def registration(
    translator: Translator,
    cohorts: Iterable[str],
    members: Mapping[str, int],
    added: Mapping[str, int],
) -> dg.AssetMaterialization:
    """Return the event of a registration; `members` and `added` count keys by stage."""
    partitions = stage_table(members=members, added=added)
    return translator.event(REGISTRATION, {"cohorts": ", ".join(cohorts), "partitions": partitions})


def all_made(
    translator: Translator, cohort_id: str, states: Mapping[Member, State]
) -> dg.AssetMaterialization:
    """Return the event of a cohort that lacks nothing; its data version is the members'."""
    rows = [{"stage": stage, **counts} for stage, counts in count_states(states).items()]
    shown, version = {"members": table(rows)}, digest(dump_membership(states))
    return translator.event(GENERATIONS, shown, partition=cohort_id, version=version)


def as_result(event: dg.AssetMaterialization) -> dg.MaterializeResult[None]:
    """Return an event as the result that an asset yields; the partition is the run's."""
    # With the tag alone, Dagster computes another version, and warns that they differ.
    key, shown, tags = event.asset_key, event.metadata, event.tags or {}
    version = dg.DataVersion(tags["dagster/data_version"])
    return dg.MaterializeResult(asset_key=key, metadata=shown, data_version=version, tags=tags)


def stage_table(**columns: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return a table with a row for each stage and a column for each mapping of stage to count."""
    stages = next(iter(columns.values()))
    return table({"stage": of, **{name: n[of] for name, n in columns.items()}} for of in stages)


def table(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return a table, its columns and their types those of the first row."""
    records = [dg.TableRecord(dict(row)) for row in rows]
    return dg.MetadataValue.table(records, None if records else dg.TableSchema([]))


def listing(name: str, title: str, lines: Sequence[str]) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the metadata `name`: the first lines and how many more; none without lines."""
    shown = [f"- {line}" for line in lines[:_LINES]]
    rest = [f"- and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    text = "\n".join([title, "", *shown, *rest])
    return {name: dg.MetadataValue.md(text)} if lines else {}


def _generation_metadata(root: DataRoot, member: Member, translator: Translator) -> dict[str, Any]:
    """Return the signature, a link to the parent, the usage that the host's callable reported, and
    the text's length, its beginning and, if it is a number, the score."""
    folder, generation = root.generation(*member), inspect_generation(root, *member)
    fields = generation.signature_fields().items()
    shown: dict[str, Any] = {name: value for name, value in fields if isinstance(value, str | int)}
    shown["path"] = dg.MetadataValue.path(str(folder))
    shown["dagster/uri"] = (folder / PARSED).absolute().as_uri()
    if (parent := generation.parent) is not None:
        asset = translator.of_stage(parent.stage).to_user_string()
        link = f"/assets/{asset}?view=partitions&partition={parent.gen_id}"
        shown["parent"] = dg.MetadataValue.md(f"[{parent.gen_id}]({link})")
    # The files are optional, and a host may write anything into them: display only what is usable.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        usage = read_json(folder / RAW_METADATA)["genid"]["usage"]
        shown |= {f"usage/{name}": n for name, n in usage.items() if type(n) in (int, float)}
    with contextlib.suppress(OSError, ValueError):
        text = read_bytes(folder / PARSED).decode("utf-8", "replace")
        shown |= {"words": len(text.split()), "preview": dg.MetadataValue.text(text[:_PREVIEW])}
        if math.isfinite(score := float(text)):
            shown["score"] = score
    return shown


def _build_metadata(built: Built) -> dict[str, Any]:
    plan = built.plan
    shown: dict[str, Any] = {
        "mode": str(plan.mode),
        "rows": stage_table(rows=plan.counts(), new=built.new, existing=built.existing),
        "repeated_work": len(built.repeats),
        **listing("notices", "what the build says", list(map(str, plan.notices))),
    }
    repeats = [f"{one.stage} `{one.gen_id}`: {', '.join(one.held)}" for one in built.repeats]
    shown |= listing("repeated_members", "the store has this work under another id", repeats)
    if (fill_up := plan.fill_up) is not None:
        cells = [
            f"`{cell.essay_gen_id}` by {cell.template_id}, {cell.llm_model_id}: {cell.added} added"
            for cell in fill_up.missing
        ]
        shown |= listing("fill_up", f"evaluations added: {fill_up.added}", cells)
    if built.changes is not None:
        shown["rollout_changes"] = stage_table(ids_changed=built.changes.changed())
    dropped = [f"{stage} `{gen_id}`" for stage, gen_id in built.prepared.dropped]
    return shown | listing("dropped", f"no longer members; kept: `{built.kept}`", dropped)
