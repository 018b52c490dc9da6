"""The asset checks of a cohort: one step, each check by itself in the UI, none of them blocking.

Most of them are the audit, restricted to the cohort's members. An ERROR says that ids and store
contradict each other, a WARN that an operator should know.
"""

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dagster as dg

from genid_dagster_adapter.assets import cohort_of
from genid_dagster_adapter.ownership import members_elsewhere
from genid_dagster_adapter.partitions import cohorts_def, registered
from genid_dagster_adapter.setup import MEMBERSHIP, REGISTRATION, Setup
from genid_store.catalog import findings as kinds
from genid_store.catalog.audit.audit import audit_members
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.index.rows import Indexed
from genid_store.catalog.memberships import Member, read_membership, read_memberships
from genid_store.cohort.inputs.selection import CohortMode, read_selection
from genid_store.cohort.inputs.tables import read_tables
from genid_store.cohort.planning.records import Row
from genid_store.cohort.regeneration import find_repeats
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.asked import Asked
from genid_store.generation.once import THREE_WAYS
from genid_store.generation.run import plan_run
from genid_store.stages import PIPELINE

_SHOWN = 50  # findings that one check lists
#: name -> (severity of a finding, what the check asserts)
CHECKS: Mapping[str, tuple[dg.AssetCheckSeverity, str]] = {
    "ids_recompute": (
        dg.AssetCheckSeverity.ERROR,
        "Every deterministic id matches its metadata.",
    ),
    "parents_exist": (
        dg.AssetCheckSeverity.ERROR,
        "Every member's parent is in the store.",
    ),
    "replicates_as_configured": (
        dg.AssetCheckSeverity.WARN,
        "No cell has more members than replication_config.csv says.",
    ),
    "no_repeated_work": (
        dg.AssetCheckSeverity.WARN,
        "No member would pay for work that the store holds under another id.",
    ),
    "made_from_current_templates": (
        dg.AssetCheckSeverity.WARN,
        "No member was made from a template text that has changed since.",
    ),
}
#: The checks that are a part of the audit, with the codes of their findings.
_AUDITED: Mapping[str, frozenset[str]] = {
    "ids_recompute": frozenset({kinds.ID_NOT_RECOMPUTED}),
    "parents_exist": frozenset(
        {kinds.ORPHAN, kinds.PARENT_STAGE, kinds.CYCLE, kinds.FIELD_MISSING}
    ),
    "made_from_current_templates": frozenset({kinds.CONTENT_DRIFT}),
}
CALLS_CHECK, PARTITIONS_CHECK = "calls_to_make", "partitions_are_members"
_CALLS = (CALLS_CHECK, "How often making the rest calls the generator; nothing is paid for twice.")


def cohort_checks(setup: Setup) -> dg.AssetChecksDefinition:
    """Return the checks of `cohort_membership`, a cohort each, and those of
    `register_cohort_partitions`."""
    membership, registration = setup.key(MEMBERSHIP), setup.key(REGISTRATION)
    specs = [
        dg.AssetCheckSpec(
            name, asset=membership, description=words, **_partitioned(setup.partition_prefix)
        )
        for name, words in (*((name, words) for name, (_, words) in CHECKS.items()), _CALLS)
    ]
    words = "Members are partitions, and partitions are members of some cohort."
    specs.append(dg.AssetCheckSpec(PARTITIONS_CHECK, asset=registration, description=words))

    @dg.multi_asset_check(
        name=setup.key("cohort_checks").to_python_identifier(), specs=specs, can_subset=True
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        root, cohort_id = DataRoot.open(setup.data_root), cohort_of(context)
        wanted = {key.name for key in context.selected_asset_check_keys}
        members = read_membership(root, cohort_id)
        under: dict[str, Any] = {"partition": cohort_id} if _partitioned("") else {}
        with StoreIndex.fresh(root) as index:
            for spec in specs[:-2]:
                if spec.name in wanted:
                    findings = _findings_or_why_not(spec.name, index, members)
                    yield from _results(spec, CHECKS[spec.name][0], findings, **under)
        if CALLS_CHECK in wanted:
            findings, shown = _calls(root, cohort_id)
            yield from _results(specs[-2], dg.AssetCheckSeverity.WARN, findings, shown, **under)
        if PARTITIONS_CHECK in wanted:
            findings = _partition_findings(context.instance, root, members, setup.partition_prefix)
            yield from _results(specs[-1], dg.AssetCheckSeverity.WARN, findings)

    return check


def _partitioned(prefix: str) -> dict[str, Any]:
    """Return what makes a check one of cohorts; nothing where this Dagster has no such checks."""
    known = "partitions_def" in inspect.signature(dg.AssetCheckSpec.__new__).parameters
    return {"partitions_def": cohorts_def(prefix)} if known else {}


def _findings_or_why_not(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    """Return a check's findings, or why it could not look: a table that is gone takes no other
    check along."""
    try:
        return _findings(name, index, members)
    except StoreError as error:
        return [f"not checked: {error.summary}: {problem}" for problem in error.problems]


def _findings(name: str, index: StoreIndex, members: Sequence[Member]) -> list[str]:
    root = index.root
    if name in _AUDITED:
        found = audit_members(index, set(members), codes=_AUDITED[name])
        return [f"{one.ids[0][0]} {one.ids[0][1]}: {one.text}" for one in found]
    stored = [one for member in members if (one := index.get(*member)) is not None]
    match name:
        case "replicates_as_configured":
            drafts = read_selection(root).mode is CohortMode.CARTESIAN
            return _over_replicated(stored, read_tables(root).replicates, drafts=drafts)
        case "no_repeated_work":
            repeats = find_repeats(index, [_row(one) for one in stored])
            return [f"{one.stage} {one.gen_id}: {', '.join(one.held)}" for one in repeats]
    raise ValueError(f"unknown check: {name}")


def _calls(root: DataRoot, cohort_id: str) -> tuple[list[str], dict[str, Any]]:
    """Return the members that would be paid for although their task is there, which a run blocks,
    and the calls that a run would make, by stage and model."""
    try:
        work = plan_run(root, cohort_id, Asked())[1]
    except StoreError as error:
        return [f"not checked: {error.summary}"], {}
    again = [one for one, why in work.waiting.items() if why == "paid under another id"]
    rows = [
        dg.TableRecord({"stage": stage, "model": model, "calls": count})
        for (stage, model), count in work.calls.items()
    ]
    kinds_of = {"stage": "string", "model": "string", "calls": "int"}
    columns = [dg.TableColumn(name, kind) for name, kind in kinds_of.items()]
    table = dg.MetadataValue.table(rows, dg.TableSchema(columns=columns))
    return (
        [f"{stage} {gen_id}: the store has its task; {THREE_WAYS}" for stage, gen_id in again],
        {"calls": work.total_calls, "calls_by_model": table},
    )


def _over_replicated(
    generations: Sequence[Indexed], replicates: Mapping[str, int], *, drafts: bool
) -> list[str]:
    """Return the cells that have more members than `replication_config.csv` says. Selected drafts
    are counted where `drafts` is set alone: elsewhere nobody asked for a number of them."""
    cells = Counter(
        (one.stage, one.parent_gen_id or one.combo_id, one.template_id, one.llm_model_id)
        for one in generations
        if drafts or one.stage != "draft"
    )
    return [
        f"{stage} {template} by {model} of {above}: {count} of {replicates[stage]}"
        for (stage, above, template, model), count in cells.items()
        if count > replicates[stage]
    ]


def _row(one: Indexed) -> Row:
    """Return a member as a row; what its metadata lacks is empty, which no id comes of."""
    return Row(
        one.stage,
        one.gen_id,
        one.origin_cohort_id or "",
        one.parent_gen_id,
        one.combo_id or "",
        one.template_id or "",
        one.llm_model_id or "",
        one.effective_replicate or 0,
        one.mode or "llm",
    )


def _partition_findings(
    instance: dg.DagsterInstance, root: DataRoot, members: Sequence[Member], prefix: str
) -> list[str]:
    keys = {stage: registered(instance, stage, prefix=prefix) for stage in PIPELINE}
    there = {stage: set(found) for stage, found in keys.items()}
    missing = [
        f"{stage} {gen_id} is not a partition: `genid dagster sync` registers it"
        for stage, gen_id in members
        if gen_id not in there[stage]
    ]
    memberships = read_memberships(root)
    elsewhere, unknown = members_elsewhere(instance, root, prefix)
    named = elsewhere.union(memberships.cohorts_of())
    unowned = [
        f"{stage} {key} is not a member of any cohort: `genid dagster sync --prune` deletes it"
        for stage, found in keys.items()
        for key in found
        if (stage, key) not in named
    ]
    # Where another cohort's file is damaged, nobody can tell whose keys are whose.
    damaged = [str(problem) for problem in memberships.problems]
    return [*missing, *(damaged or ([] if unknown else unowned))]


def _results(
    spec: dg.AssetCheckSpec,
    severity: dg.AssetCheckSeverity,
    findings: Sequence[str],
    shown_too: Mapping[str, Any] = MappingProxyType({}),
    **partition: Any,
) -> Iterator[Any]:
    """Yield what a check found, under a partition whether the run has one or not, as events."""
    shown = [f"- {finding}" for finding in findings[:_SHOWN]]
    more = [f"- and {len(findings) - _SHOWN} more"] if len(findings) > _SHOWN else []
    listing = {"members": dg.MetadataValue.md("\n".join([*shown, *more]))} if findings else {}
    yield dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not findings,
        severity=severity,
        metadata={"findings": len(findings), **listing, **shown_too},
        **partition,
    )
    yield dg.Output(None, output_name=spec.get_python_identifier())
