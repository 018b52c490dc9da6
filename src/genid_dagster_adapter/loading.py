"""IO managers that pass texts and the cohort's id to a host's own assets as arguments; they load
what the store has and write nothing."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import dagster as dg

from genid_dagster_adapter.translator import COHORT_ID
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.content import read_text

#: The tag of the run that built a cohort. A re-execution has it, too: Dagster copies tags.
COHORT_TAG: Final = "genid/cohort_id"


def cohort_built_in(instance: dg.DagsterInstance, run_id: str) -> str | None:
    """Return the cohort that a run has built, or the run that it re-executes; None without one."""
    # A step's context has the run's tags as they were when the step began.
    run = instance.get_run_by_id(run_id)
    return None if run is None else run.tags.get(COHORT_TAG)


class _Loading(dg.IOManager):
    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Do nothing: the value is on disk or in an event already."""


class Texts(_Loading):
    """Load the texts of one stage: one text if the run has a partition that maps to one generation,
    otherwise a mapping of id to text, without an entry for a partition that has none."""

    def __init__(self, data_root: Path, stage: str) -> None:
        self.data_root, self.stage = data_root, stage

    def load_input(self, context: dg.InputContext) -> str | Mapping[str, str]:
        """Return the text or texts. StoreError: the only text does not exist, or one is damaged."""
        root, keys = DataRoot.open(self.data_root), context.asset_partition_keys
        found = ((key, read_text(root, self.stage, key)) for key in keys)
        texts = {key: text for key, text in found if text is not None}
        if not context.has_partition_key or len(keys) != 1:
            return texts
        if not texts:
            where, summary = f"{self.stage} {keys[0]}", "a text cannot be loaded"
            raise StoreError.of(summary, where, "has no text", "make it first")
        return texts[keys[0]]


class CohortId(_Loading):
    """Load the id of the cohort that the run has built, otherwise of the one built last."""

    def load_input(self, context: dg.InputContext) -> str:
        """Return the id. StoreError: no cohort has been built."""
        with suppress(dg.DagsterInvariantViolationError):  # `load_asset_value` has no step
            if cohort_id := cohort_built_in(context.instance, context.step_context.run_id):
                return cohort_id
        latest = context.instance.get_latest_materialization_event(context.asset_key)
        if latest is None or latest.asset_materialization is None:
            where = context.asset_key.to_user_string()
            raise StoreError.of("no cohort is known", where, "is not there yet", "build a cohort")
        return str(latest.asset_materialization.metadata[COHORT_ID].value)
