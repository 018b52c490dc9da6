"""What Dagster records and shows of generations and cohorts: the same by runs and by the sync."""

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import (
    COHORT_ID,
    COMBOS,
    GENERATIONS,
    MEMBERSHIP,
    REGISTRATION,
    Translator,
    stage_asset_name,
)
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.build import Built
from genid_store.cohort.inputs.combos import selected_path
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW_METADATA, DataRoot
from genid_store.generation import Outcome, content_version
from genid_store.generation.content import digest
from genid_store.generation.status import State
from genid_store.generation.workload import count_states
from genid_store.stages import Member, parent_key

_SHOWN = 20  # generations that one error lists
_LINES = 50  # lines of a list
_PREVIEW = 500  # characters


class Recorder:
    """Records each outcome under its stage's asset, and remembers what did not become content."""

    def __init__(self, context: dg.AssetExecutionContext, root: DataRoot, setup: Setup) -> None:
        self.context, self.root, self.setup = context, root, setup
        self.cohorts = read_memberships(root).cohorts_of()
        self.incomplete: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> None:
        if outcome.complete:
            self.context.log_event(
                materialization(
                    self.root,
                    outcome.stage,
                    outcome.gen_id,
                    self.setup.translator,
                    self.cohorts.get((outcome.stage, outcome.gen_id), ()),
                    outcome=outcome.kind,
                    seconds=round(outcome.seconds, 3),
                )
            )
        else:
            self.incomplete.append(outcome)
            self.context.log.warning(
                "%s %s %s: %s", outcome.stage, outcome.gen_id, outcome.kind, outcome.reason
            )

    def raise_for_failures(self, remedy: str = "", **metadata: Any) -> None:
        """Raise dg.Failure: some generation of this run has no content; lists them. No policy of
        Dagster's tries again then, other than after a kill: what failed waits for a human."""
        if not self.incomplete:
            return
        self.context.instance.add_run_tags(self.context.run.run_id, {"dagster/max_retries": "0"})
        count = len(self.incomplete)
        lines = [f"{count} generation(s) have no content; the others are recorded"]
        lines += [f"{o.stage} {o.gen_id} {o.kind}: {o.reason}" for o in self.incomplete[:_SHOWN]]
        lines += [f"and {count - _SHOWN} more"] if count > _SHOWN else []
        raise dg.Failure(
            description="\n".join([*lines, remedy]).strip(),
            metadata=metadata or None,
            allow_retries=False,
        )


def materialization(
    root: DataRoot,
    stage: str,
    gen_id: str,
    translator: Translator,
    cohorts: Iterable[str],
    **metadata: Any,
) -> dg.AssetMaterialization:
    """Return the event that records a generation whose content is on disk."""
    shown = {**_shown(root, stage, gen_id, translator), "cohorts": ", ".join(cohorts), **metadata}
    version = content_version(root, stage, gen_id) or ""
    return translator.event(stage_asset_name(stage), shown, partition=gen_id, version=version)


def cohort_materialization(
    root: DataRoot, cohort_id: str, translator: Translator, **metadata: Any
) -> dg.AssetMaterialization:
    """Return the event that records a cohort; its data version is the digest of its members."""
    shown = {**cohort_metadata(root, cohort_id), **metadata}
    version = digest(read_bytes(root.membership(cohort_id)))
    return translator.event(MEMBERSHIP, shown, partition=cohort_id, version=version)


def chosen(root: DataRoot, translator: Translator, cohort_id: str) -> list[dg.AssetMaterialization]:
    """Return the events that record which cohort was built last, and the combos of that day."""
    combos: dict[str, Any] = {}
    with contextlib.suppress(OSError):  # a cohort of evaluations alone has none
        rows = len(read_bytes(selected_path(root)).splitlines()) - 1
        uri = selected_path(root).absolute().as_uri()
        combos = {"dagster/uri": uri, "dagster/row_count": rows}
    built = translator.event(COHORT_ID, {COHORT_ID: cohort_id}, version=cohort_id)
    return [translator.event(COMBOS, combos), built]


def registration(
    translator: Translator, cohorts: Iterable[str], members: Mapping[str, int], **added: Any
) -> dg.AssetMaterialization:
    """Return the event that records that cohorts' members are partitions, and which were new."""
    shown = {"cohorts": ", ".join(cohorts), "partitions": stage_table(members=members, **added)}
    return translator.event(REGISTRATION, shown)


def all_made(
    translator: Translator, cohort_id: str, states: Mapping[Member, State]
) -> dg.AssetMaterialization:
    """Return the event that records that a cohort's members are made."""
    counts = count_states(states)
    names = next(iter(counts.values()))
    columns = {name: {stage: one[name] for stage, one in counts.items()} for name in names}
    shown = {"members": stage_table(**columns)}
    return translator.event(GENERATIONS, shown, partition=cohort_id)


def _shown(root: DataRoot, stage: str, gen_id: str, translator: Translator) -> dict[str, Any]:
    """Return what a partition shows: the signature, the parent as a link, the usage that the host's
    callable gave; where the text is, its length and beginning, and the score that a number is."""
    folder = root.generation(stage, gen_id)
    generation = read_generation(root, stage, gen_id)
    fields = generation.signature_fields().items()
    shown: dict[str, Any] = {name: value for name, value in fields if isinstance(value, str | int)}
    shown["path"] = dg.MetadataValue.path(str(folder))
    shown["dagster/uri"] = (folder / PARSED).absolute().as_uri()
    parent = parent_key(stage, generation.parent_gen_id)
    if parent is not None:
        above = translator.of_stage(parent[0]).to_user_string()
        link = f"/assets/{above}?view=partitions&partition={parent[1]}"
        shown["parent"] = dg.MetadataValue.md(f"[{parent[1]}]({link})")
    # Not every generation has the files, and what a host writes may be anything.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        usage = read_json(folder / RAW_METADATA)["genid"]["usage"]
        numbers = {key: one for key, one in usage.items() if type(one) in (int, float)}
        shown |= {f"usage/{key}": one for key, one in numbers.items()}
    with contextlib.suppress(OSError, ValueError):
        text = read_bytes(folder / PARSED).decode("utf-8", "replace")
        shown |= {"words": len(text.split()), "preview": dg.MetadataValue.text(text[:_PREVIEW])}
        if math.isfinite(score := float(text)):
            shown["score"] = score
    return shown


def table(kinds_of: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    """Return a table; `kinds_of` has its columns, each with its type ("string", "int")."""
    records = [dg.TableRecord(dict(zip(kinds_of, row, strict=True))) for row in rows]
    columns = [dg.TableColumn(name, kind) for name, kind in kinds_of.items()]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def stage_table(**columns: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return a table with one row a stage and one column for each mapping of stage to count."""
    stages = next(iter(columns.values()))
    rows = [(stage, *(count[stage] for count in columns.values())) for stage in stages]
    return table({"stage": "string", **dict.fromkeys(columns, "int")}, rows)


def listing(title: str, lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Return the first of some lines as a list, and how many more there are."""
    shown = [f"- {line}" for line in lines[:_LINES]]
    more = [f"- and {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    return dg.MetadataValue.md("\n".join([title, "", *shown, *more]))


def cohort_metadata(root: DataRoot, cohort_id: str) -> dict[str, Any]:
    """Return what a cohort's files say of it: how it was built, where its membership.csv is and how
    many rows that has."""
    recorded, members = read_recorded(root, cohort_id), read_membership(root, cohort_id)
    rollout = recorded.rollout if recorded is not None and recorded.stated else None
    return {
        "cohort_id": cohort_id,
        "rollout": "not recorded" if rollout is None else rollout.label,
        "scheme": "not recorded" if rollout is None else rollout.scheme,
        "rows": stage_table(rows=Counter(stage for stage, _ in members)),
        "dagster/uri": root.membership(cohort_id).as_uri(),
        "dagster/row_count": len(members),
    }


def membership_metadata(built: Built) -> dict[str, Any]:
    """Return what `cohort_membership` shows of a build beside what the cohort's files say."""
    plan, changes, dropped = built.plan, built.changes, built.prepared.dropped
    metadata: dict[str, Any] = {
        "mode": str(plan.mode),
        "rows": stage_table(rows=plan.counts(), new=built.new, existing=built.existing),
        "repeated_work": len(built.repeats),
    }
    if built.repeats:
        lines = [f"{one.stage} `{one.gen_id}`: {', '.join(one.held)}" for one in built.repeats]
        metadata["repeated_members"] = listing("the store has this work under another id", lines)
    if plan.fill_up is not None and plan.fill_up.missing:
        lines = [
            f"`{one.essay_gen_id}` by {one.template_id}, {one.llm_model_id}: {one.added} added"
            for one in plan.fill_up.missing
        ]
        metadata["fill_up"] = listing(f"added {plan.fill_up.added} evaluation(s)", lines)
    if changes is not None:
        metadata["rollout_changes"] = stage_table(ids_changed=changes.changed())
    if dropped:
        lines = [f"{one.stage} `{one.gen_id}`" for one in dropped]
        metadata["dropped"] = listing(f"no longer members; kept: `{built.kept}`", lines)
    return metadata
