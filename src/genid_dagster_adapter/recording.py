"""Record in Dagster what became of each generation, as it finishes, and fail the run for the rest.

Used by the stage assets and by the job that makes what is missing, so that both record alike.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from genid_store.fs.layout import DataRoot
from genid_store.generation import Kind, Outcome, content_version

_SHOWN = 20  # generations that one error lists


class Recorder:
    """Records each outcome under its stage's asset key, and remembers what did not become content.

    `observer` sees each outcome right after Dagster recorded it.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext | dg.OpExecutionContext,
        root: DataRoot,
        keys: Mapping[str, dg.AssetKey],
        observer: Callable[[Outcome], None] | None = None,
    ) -> None:
        self.context, self.root, self.keys, self.observer = context, root, keys, observer
        self.counts: Counter[tuple[str, Kind]] = Counter()
        self.incomplete: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> None:
        self.counts[outcome.stage, outcome.kind] += 1
        if outcome.complete:
            self.context.log_event(
                materialization(
                    self.root,
                    outcome.stage,
                    outcome.gen_id,
                    self.keys[outcome.stage],
                    outcome=outcome.kind,
                    seconds=round(outcome.seconds, 3),
                )
            )
        else:
            self.incomplete.append(outcome)
            self.context.log.warning(
                "%s %s %s: %s", outcome.stage, outcome.gen_id, outcome.kind, outcome.reason
            )
        if self.observer is not None:
            self.observer(outcome)

    def raise_for_failures(self) -> None:
        """Raise dg.Failure: some generation of this run has no content; lists them. No policy of
        the project's tries the step again: what failed waits for a human."""
        if not self.incomplete:
            return
        told = [f"{o.stage} {o.gen_id} {o.kind}: {o.reason}" for o in self.incomplete[:_SHOWN]]
        more = len(self.incomplete) - len(told)
        summary = f"{len(self.incomplete)} generation(s) have no content; the others are recorded"
        rest = [f"and {more} more"] if more else []
        raise dg.Failure(
            description="\n".join([summary, *told, *rest]),
            allow_retries=False,
        )


def materialization(
    root: DataRoot, stage: str, gen_id: str, asset: dg.AssetKey, **metadata: Any
) -> dg.AssetMaterialization:
    """Return the event that records a generation whose content is on disk."""
    path = dg.MetadataValue.path(str(root.generation(stage, gen_id)))
    return dg.AssetMaterialization(
        asset,
        partition=gen_id,
        metadata={"path": path, **metadata},
        tags={"dagster/data_version": content_version(root, stage, gen_id) or ""},
    )
