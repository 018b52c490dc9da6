"""The asset checks of a cohort: one step, each check by itself in the UI, none of them blocking.

Most of them are the audit, restricted to the cohort's members. An ERROR says that ids and store
contradict each other, a WARN that an operator should know.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dagster as dg

from genid_dagster_adapter.assets import cohort_of
from genid_dagster_adapter.ownership import members_elsewhere
from genid_dagster_adapter.partitions import cohorts_def, registered
from genid_dagster_adapter.setup import MEMBERSHIP, REGISTRATION, Setup
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import Member, read_membership, read_memberships
from genid_store.cohort.checks import CHECKS, findings_of
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.asked import Asked
from genid_store.generation.once import THREE_WAYS
from genid_store.generation.run import plan_run
from genid_store.stages import PIPELINE

_SHOWN = 50  # findings that one check lists
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
                    severity, _ = CHECKS[spec.name]
                    findings = findings_of(spec.name, index, members)
                    yield from _results(spec, dg.AssetCheckSeverity[severity], findings, **under)
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
