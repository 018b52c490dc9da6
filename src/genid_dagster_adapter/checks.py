"""The asset checks of a cohort, one step, none blocking: most are the audit of its members. An
ERROR says that ids and store contradict each other, a WARN that an operator should know."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from genid_dagster_adapter.assets import cohort_of
from genid_dagster_adapter.partitions import COHORTS, members_elsewhere, partitions_def, registered
from genid_dagster_adapter.recording import listing, table
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import MEMBERSHIP, REGISTRATION
from genid_store.catalog.index.query import StoreIndex
from genid_store.catalog.memberships import read_membership, read_memberships
from genid_store.cohort.checks import CHECKS, findings_of
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.records import Asked
from genid_store.generation.reuse import REMEDY, REMEDY_WAYS
from genid_store.generation.run import plan_run
from genid_store.stages import PIPELINE, Member

#: name -> (severity of a finding, what the check asserts)
_CHECKS = {
    **CHECKS,
    "calls_to_make": ("WARN", "How often making the rest calls the generator, by model."),
    "partitions_are_members": ("WARN", "Members are partitions, and partitions are members."),
}


def cohort_checks(setup: Setup) -> dg.AssetChecksDefinition:
    """Return the checks of `cohort_membership`, a cohort each, and the one of
    `register_cohort_partitions`."""
    prefix = setup.translator.prefix
    cohorts = {"asset": setup.key(MEMBERSHIP), "partitions_def": partitions_def(COHORTS, prefix)}
    asked: dict[str, dict[str, Any]] = dict.fromkeys(_CHECKS, cohorts)
    asked["partitions_are_members"] = {"asset": setup.key(REGISTRATION)}
    specs = [
        dg.AssetCheckSpec(name, description=words, **asked[name])
        for name, (_, words) in _CHECKS.items()
    ]

    @dg.multi_asset_check(name=setup.identifier("cohort_checks"), specs=specs, can_subset=True)
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        root, cohort_id = DataRoot.open(setup.data_root), cohort_of(context)
        wanted = {key.name for key in context.selected_asset_check_keys}
        members = read_membership(root, cohort_id)
        shown: dict[str, Any] = {}
        with StoreIndex.fresh(root) as index:
            found = {name: findings_of(name, index, members) for name in wanted & CHECKS.keys()}
        if "calls_to_make" in wanted:
            found["calls_to_make"], shown = _calls(root, cohort_id, members)
        if "partitions_are_members" in wanted:
            findings = _partition_findings(context.instance, root, members, prefix)
            found["partitions_are_members"] = findings
        for spec in (one for one in specs if one.name in wanted):
            findings = found[spec.name]
            # As an event, which has the partition whether the run has one or not.
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not findings,
                severity=dg.AssetCheckSeverity[_CHECKS[spec.name][0]],
                metadata={
                    "findings": len(findings),
                    **({"members": listing("", findings)} if findings else {}),
                    **(shown if spec.name == "calls_to_make" else {}),
                },
                partition=None if spec.partitions_def is None else cohort_id,
            )
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return check


def _calls(
    root: DataRoot, cohort_id: str, members: Sequence[Member]
) -> tuple[list[str], dict[str, Any]]:
    """Return the members that would be paid for although their task is there, which a run blocks,
    and the calls that a run would make, by stage and model."""
    try:
        work = plan_run(root, cohort_id, members, Asked())
    except StoreError as error:
        return [f"not checked: {error.summary}"], {}
    ways = ", ".join(f"`{way}: true`" for way in REMEDY_WAYS)
    again = [
        f"{stage} {gen_id}: the store has its task; {REMEDY} ({ways})"
        for (stage, gen_id), why in work.waiting.items()
        if why.label == "paid under another id"
    ]
    rows = [(*cell, count) for cell, count in work.calls.items()]
    calls = table({"stage": "string", "model": "string", "calls": "int"}, rows)
    return again, {"calls": work.total_calls, "calls_by_model": calls}


def _partition_findings(
    instance: dg.DagsterInstance, root: DataRoot, members: Sequence[Member], prefix: str
) -> list[str]:
    there = {stage: dict.fromkeys(registered(instance, stage, prefix=prefix)) for stage in PIPELINE}
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
        for stage, found in there.items()
        for key in found
        if (stage, key) not in named
    ]
    # Where another cohort's file is damaged, nobody can tell whose keys are whose.
    damaged = [str(problem) for problem in memberships.problems]
    return [*missing, *(damaged or ([] if unknown else unowned))]
