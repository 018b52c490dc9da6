"""What the adapter uses of Dagster beyond its public interface: all of it is listed here, so that a
version of Dagster without one of them is named by a test before anything else fails.

Nothing of the adapter is imported here.
"""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

PLAN = "a run tells which partitions it is going to make, so that automation asks for none of them"
BATCH = "many events are recorded at once; one by one each takes 12 ms or more"
TICK = "one condition evaluates two of Dagster's over what it has left: as a tree of conditions a "
TICK += "tick over 20,000 keys takes twice as long, and with nothing to do five times"

DRY = "a dry run knows where an instance has its databases, and creates none"

#: What is imported from modules that begin with an underscore, and what for.
IMPORTED = {
    "dagster._core.events.AssetMaterializationPlannedData": PLAN,
    "dagster._core.events.DagsterEventBatchMetadata": PLAN,
    "dagster._core.events.StepMaterializationData": BATCH,
    "dagster._core.events.generate_event_batch_id": PLAN,
    "dagster._core.instance.InstanceRef": DRY,
    "dagster._core.storage.event_log.SqliteEventLogStorage": BATCH,
}
#: What is used of classes without being documented.
USED = {
    "dagster.AutomationContext.asset_graph_view": TICK,
    "dagster.AutomationContext.evaluate_async": TICK,
    "dagster.AutomationContext.for_child_condition": TICK,
    "dagster.DagsterEvent.build_asset_materialization_planned_event": PLAN,
    "dagster.DagsterInstance.event_log_storage": BATCH,
    "dagster.DagsterInstance.get_latest_storage_id_by_partition": TICK,
    "dagster.DagsterInstance.report_dagster_event": PLAN,
    "dagster.DagsterInstance.wipe_asset_cached_status": BATCH,
    "dagster.OpExecutionContext.get_step_execution_context": PLAN,
    "dagster._core.asset_graph_view.entity_subset.EntitySubset."
    "compute_intersection_with_partition_keys": TICK,
    "dagster._core.asset_graph_view.entity_subset.EntitySubset."
    "expensively_compute_partition_keys": TICK,
    "dagster._core.instance.InstanceRef.event_storage_data": DRY,
    "dagster._core.instance.InstanceRef.from_dir": DRY,
    "dagster._core.instance.InstanceRef.storage_data": DRY,
    "dagster._core.storage.event_log.EventLogStorage.store_event_batch": BATCH,
    "dagster._core.storage.event_log.SqliteEventLogStorage.index_transaction": BATCH,
    "dagster._core.storage.event_log.SqliteEventLogStorage.prepare_insert_event": BATCH,
    "dagster._core.storage.event_log.SqliteEventLogStorage.store_asset_event": BATCH,
    "dagster._core.storage.event_log.SqliteEventLogStorage.store_asset_event_tags": BATCH,
}


def found(name: str) -> bool:
    """Say whether Dagster has what is called so: a module's attribute, or a class's."""
    above, _, last = name.rpartition(".")
    try:
        owner = import_module(above)
    except ModuleNotFoundError:
        module, _, kind = above.rpartition(".")
        try:
            owner = getattr(import_module(module), kind)
        except (ModuleNotFoundError, AttributeError):
            return False
    fields = getattr(owner, "__dataclass_fields__", {})
    return hasattr(owner, last) or last in fields


@pytest.mark.parametrize("name", [*IMPORTED, *USED])
def test_dagster_still_has_what_the_adapter_needs(name: str) -> None:
    """Otherwise the message says what is gone, and what it is needed for."""
    if not found(name):
        why = {**IMPORTED, **USED}[name]
        pytest.fail(f"Dagster {dg.__version__} has no {name} any more; by it {why}")


def test_what_is_gone_is_not_found() -> None:
    """A module, a class, an attribute."""
    assert not found("dagster._gone.Class.method")
    assert not found("dagster._core.events.Gone")
    assert not found("dagster.AutomationContext.gone")


def test_a_batch_of_events_can_be_said_to_be_one() -> None:
    """By an argument that few callers give."""
    assert "batch_metadata" in inspect.signature(dg.DagsterInstance.report_dagster_event).parameters


def test_nothing_else_is_imported_from_dagsters_private_modules(project: Path) -> None:
    """And each in one module: what is about instances, and what is about events."""
    imported = {
        f"{node.module}.{name.name}": path.name
        for path in (project / "src" / "genid_dagster_adapter").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._")
        for name in node.names
    }
    assert imported == {
        name: "instance.py" if ".instance." in name else "events.py" for name in IMPORTED
    }
