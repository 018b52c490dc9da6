"""The asset checks of a cohort, all in one step, none of them blocking.

The store defines those that audit the members; those about calls and partitions are defined here.
An ERROR means that ids and store contradict each other, a WARN that an operator should know.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import dagster as dg

from genid_dagster_adapter.loading import cohort_built_in
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
from genid_store.stages import Member, stage_names

_CALLS: Final = "calls_to_make"
_PARTITIONS: Final = "partitions_are_members"
#: name -> (severity of a finding, what the check asserts)
_CHECKS: Final = {
    **CHECKS,
    _CALLS: ("WARN", "How often making the rest calls the generator, by model."),
    _PARTITIONS: ("WARN", "Members are partitions, and partitions are members."),
}


def cohort_checks(setup: Setup) -> dg.AssetChecksDefinition:
    """Return the checks of `cohort_membership`, by cohort, and of `register_cohort_partitions`."""
    prefix, key_of = setup.translator.prefix, setup.translator.get_asset_key
    of_cohort = {"asset": key_of(MEMBERSHIP), "partitions_def": partitions_def(COHORTS, prefix)}
    targets: dict[str, dict[str, Any]] = dict.fromkeys(_CHECKS, of_cohort)
    targets[_PARTITIONS] = {"asset": key_of(REGISTRATION)}
    specs = [
        dg.AssetCheckSpec(name, description=text, **targets[name])
        for name, (_, text) in _CHECKS.items()
    ]

    @dg.multi_asset_check(name=setup.identifier("cohort_checks"), specs=specs, can_subset=True)
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[Any]:
        root, cohort_id = DataRoot.open(setup.data_root), _cohort_of(context)
        selected = {key.name for key in context.selected_asset_check_keys}
        members = read_membership(root, cohort_id)
        calls: dict[str, Any] = {}
        with StoreIndex.fresh(root) as index:
            found = {name: findings_of(name, index, members) for name in selected & CHECKS.keys()}
        if _CALLS in selected:
            found[_CALLS], calls = _calls(root, cohort_id, members)
        if _PARTITIONS in selected:
            found[_PARTITIONS] = _partition_findings(context.instance, root, members, prefix)
        for spec in (spec for spec in specs if spec.name in selected):
            findings = found[spec.name]
            shown: dict[str, Any] = {"findings": len(findings), **listing("members", "", findings)}
            # A result would have the run's partition; a run that builds a cohort may have none.
            yield dg.AssetCheckEvaluation(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=not findings,
                severity=dg.AssetCheckSeverity[_CHECKS[spec.name][0]],
                metadata=shown | (calls if spec.name == _CALLS else {}),
                partition=None if spec.partitions_def is None else cohort_id,
            )
            yield dg.Output(None, output_name=spec.get_python_identifier())

    return check


def _cohort_of(context: dg.AssetCheckExecutionContext) -> str:
    """Return the cohort to check: the run's partition, else the cohort that the run has built.
    StoreError: there is neither."""
    partition = context.run.tags.get("dagster/partition")
    cohort_id = partition or cohort_built_in(context.instance, context.run.run_id)
    if cohort_id is None:
        remedy = "launch it for a partition (a cohort), or together with the build"
        raise StoreError.of("no cohort is known", "run", "names no cohort", remedy)
    return cohort_id


def _calls(
    root: DataRoot, cohort_id: str, members: Sequence[Member]
) -> tuple[list[str], dict[str, Any]]:
    """Return the members that would be paid for a second time, which stops a run, and as metadata
    the calls that a run would make, by stage and model."""
    try:
        work = plan_run(root, cohort_id, members, Asked())
    except StoreError as error:
        return [f"not checked: {error.summary}"], {}
    ways = ", ".join(f"`{way}: true`" for way in REMEDY_WAYS)
    paid = [
        f"{stage} {gen_id}: the store has its task; {REMEDY} ({ways})"
        for (stage, gen_id), decision in work.waiting.items()
        if decision.label == "paid under another id"
    ]
    counts = work.calls.items()
    rows = [{"stage": stage, "model": model, "calls": count} for (stage, model), count in counts]
    return paid, {"calls": work.total_calls, "calls_by_model": table(rows)}


def _partition_findings(
    instance: dg.DagsterInstance, root: DataRoot, members: Sequence[Member], prefix: str
) -> list[str]:
    """Return the members that are not partitions, and the partitions that no cohort names."""
    sets = {name: registered(instance, name, prefix=prefix) for name in stage_names()}
    keys = dict.fromkeys((stage, key) for stage in sets for key in sets[stage])
    missing = [
        f"{stage} {gen_id} is not a partition: `genid dagster sync` registers it"
        for stage, gen_id in members
        if (stage, gen_id) not in keys
    ]
    memberships = read_memberships(root)
    # While a membership, here or in another data root, cannot be read, any key may be a member.
    if memberships.problems:
        return [*missing, *map(str, memberships.problems)]
    elsewhere, unknown = members_elsewhere(instance, root, prefix)
    named = elsewhere.union(keys if unknown else memberships.cohorts_of())
    return missing + [
        f"{stage} {key} is not a member of any cohort: `genid dagster sync --prune` unregisters it"
        for stage, key in keys
        if (stage, key) not in named
    ]
