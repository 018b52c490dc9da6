"""What Dagster shows of a cohort: figures an operator reads, as tables and lists."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from genid_store.catalog.memberships import read_membership
from genid_store.catalog.recorded import read_recorded
from genid_store.cohort.build import Built
from genid_store.fs.layout import DataRoot

_SHOWN = 50  # lines of a list


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
    shown = [f"- {line}" for line in lines[:_SHOWN]]
    more = [f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
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
