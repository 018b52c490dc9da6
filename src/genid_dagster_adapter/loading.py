"""Hand generations and the cohort's id on to a host's own assets that take them as arguments, as
the store has them; nothing is written here."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from genid_dagster_adapter.translator import COHORT_ID
from genid_store.errors import StoreError
from genid_store.fs.layout import DataRoot
from genid_store.generation.content import read_text

COHORT_TAG = "genid/cohort_id"  # of the run that built a cohort


class _Loading(dg.IOManager):
    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Do nothing: what is handed on is on disk, or on record, already."""


class Texts(_Loading):
    """Loads the texts of one stage: one text where the run has a partition and that names one
    generation, else a mapping of id to text. Partitions without a text are left out of it."""

    def __init__(self, data_root: Path, stage: str) -> None:
        self.data_root, self.stage = data_root, stage

    def load_input(self, context: dg.InputContext) -> str | Mapping[str, str]:
        """StoreError: the one text that is asked for is not there, or one cannot be read."""
        root, keys = DataRoot.open(self.data_root), context.asset_partition_keys
        texts = {
            key: text for key in keys if (text := read_text(root, self.stage, key)) is not None
        }
        if not context.has_partition_key or len(keys) != 1:
            return texts
        if not texts:
            where, summary = f"{self.stage} {keys[0]}", "a text cannot be loaded"
            raise StoreError.of(summary, where, "has no text", "make it first")
        return texts[keys[0]]


class CohortId(_Loading):
    """Loads the id of the cohort that was built in this run (or in the run that it goes on with),
    else of the one that was built last."""

    def load_input(self, context: dg.InputContext) -> str:
        """StoreError: no cohort was built yet."""
        run = context.instance.get_run_by_id(context.step_context.run_id)
        if run is not None and COHORT_TAG in run.tags:
            return run.tags[COHORT_TAG]
        latest = context.instance.get_latest_materialization_event(context.asset_key)
        if latest is None or latest.asset_materialization is None:
            where = context.asset_key.to_user_string()
            raise StoreError.of("no cohort is known", where, "is not there yet", "build a cohort")
        return str(latest.asset_materialization.metadata[COHORT_ID].value)
