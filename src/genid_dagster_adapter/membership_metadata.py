"""What Dagster shows of a built cohort: figures an operator reads, as tables and markdown."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from genid_store.catalog.memberships import read_membership
from genid_store.cohort.build import Built
from genid_store.cohort.compare import Comparison
from genid_store.cohort.planning.records import FillUp
from genid_store.fs.layout import DataRoot

_SHOWN = 50  # lines of a list


def stage_table(**columns: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return a table with one row a stage and one column for each mapping of stage to count."""
    records = [
        dg.TableRecord({"stage": stage, **{name: count[stage] for name, count in columns.items()}})
        for stage in next(iter(columns.values()))
    ]
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn("stage", "string"),
            *(dg.TableColumn(name, "int") for name in columns),
        ]
    )
    return dg.MetadataValue.table(records, schema)


def table_metadata(root: DataRoot, cohort_id: str) -> dict[str, Any]:
    """Return what Dagster shows of a cohort's membership.csv: where it is, how many rows it has."""
    return {
        "cohort_id": cohort_id,
        "dagster/uri": root.membership(cohort_id).as_uri(),
        "dagster/row_count": len(read_membership(root, cohort_id)),
    }


def membership_metadata(built: Built) -> dict[str, Any]:
    """Return the metadata of `cohort_membership`."""
    plan = built.plan
    metadata: dict[str, Any] = {
        "mode": str(plan.mode),
        "rollout": plan.rollout.label,
        "scheme": plan.rollout.scheme,
        "rows": stage_table(rows=plan.counts(), new=built.new, existing=built.existing),
        "repeated_work": len(built.repeats),
    }
    if built.repeats:
        lines = [f"- {one.stage} `{one.gen_id}`: {', '.join(one.held)}" for one in built.repeats]
        metadata["repeated_members"] = _list("the store has this work under another id", lines)
    if plan.fill_up is not None:
        metadata["fill_up"] = _fill_up(plan.fill_up)
    if built.changes is not None:
        metadata["rollout_changes"] = _changes(built.changes)
    if built.prepared.dropped:
        lines = [f"- {one.stage} `{one.gen_id}`" for one in built.prepared.dropped]
        metadata["dropped"] = _list(f"no longer members; kept: `{built.kept}`", lines)
    return metadata


def _fill_up(found: FillUp) -> dg.MarkdownMetadataValue:
    summary = (
        f"added {found.added} evaluation(s), {len(found.missing)} cell(s) lacked some, "
        f"{len(found.covered_essays)} essay(s) lacked none"
    )
    lines = [
        summary,
        "",
        "| essay | template | model | others | own | added |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{one.essay_gen_id}` | {one.template_id} | {one.llm_model_id} "
            f"| {one.others} | {one.own} | {one.added} |"
            for one in found.missing[:_SHOWN]
        ),
    ]
    return dg.MetadataValue.md("\n".join(lines))


def _changes(found: Comparison) -> dg.MarkdownMetadataValue:
    lines = [f"- {stage}: {count} id(s) differ" for stage, count in found.changed().items()]
    return _list(f"built as {found.before.label} before, as {found.after.label} now", lines)


def _list(title: str, lines: list[str]) -> dg.MarkdownMetadataValue:
    more = [f"- and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return dg.MetadataValue.md("\n".join([title, "", *lines[:_SHOWN], *more]))
