"""Record in Dagster what became of each generation, as it finishes, and fail the run for the rest.

Used by the stage assets and by the asset that makes what is missing, so that both record alike.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import dagster as dg

from genid_dagster_adapter.setup import CODE_VERSION, Setup, stage_asset_name, upstream
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW_METADATA, DataRoot
from genid_store.generation import Kind, Outcome, content_version
from genid_store.stages import parent_key

#: The data version of what a generation does not depend on: its id names all that it is made from.
UNVERSIONED = "INITIAL"
_LAST_EVENT = str(2**62)
_SHOWN = 20  # generations that one error lists
_PREVIEW = 500  # characters


class Recorder:
    """Records each outcome under its stage's asset key, and remembers what did not become content.

    The setup's `observer` sees each outcome right after Dagster recorded it.
    """

    def __init__(self, context: dg.AssetExecutionContext, root: DataRoot, setup: Setup) -> None:
        self.context, self.root, self.setup = context, root, setup
        self.keys = setup.keys()
        self.cohorts = read_memberships(root).cohorts_of()
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
                    code_version=self.setup.code_version,
                    cohorts=", ".join(self.cohorts.get((outcome.stage, outcome.gen_id), ())),
                    outcome=outcome.kind,
                    seconds=round(outcome.seconds, 3),
                )
            )
        else:
            self.incomplete.append(outcome)
            self.context.log.warning(
                "%s %s %s: %s", outcome.stage, outcome.gen_id, outcome.kind, outcome.reason
            )
        if self.setup.observer is not None:
            self.setup.observer(outcome)

    def raise_for_failures(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Raise dg.Failure: some generation of this run has no content; lists them.

        Neither a policy of the step's nor one of the run's tries again: what failed waits for a
        human. A run that is killed is tried again where the project says so.
        """
        if not self.incomplete:
            return
        self.context.instance.add_run_tags(self.context.run.run_id, {"dagster/max_retries": "0"})
        listed = [f"{o.stage} {o.gen_id} {o.kind}: {o.reason}" for o in self.incomplete[:_SHOWN]]
        more = len(self.incomplete) - len(listed)
        summary = f"{len(self.incomplete)} generation(s) have no content; the others are recorded"
        rest = [f"and {more} more"] if more else []
        raise dg.Failure(
            description="\n".join([summary, *listed, *rest]),
            metadata=metadata,
            allow_retries=False,
        )


def materialization(
    root: DataRoot,
    stage: str,
    gen_id: str,
    asset: dg.AssetKey,
    *,
    code_version: str = CODE_VERSION,
    **metadata: Any,
) -> dg.AssetMaterialization:
    """Return the event that records a generation whose content is on disk.

    Its tags say what Dagster judges staleness by: another code version makes it stale; another
    parent's partition, or a registration, never does.
    """
    tags = {
        "dagster/data_version": content_version(root, stage, gen_id) or "",
        "dagster/code_version": code_version,
    }
    for dep in upstream(stage, asset):
        tags[f"dagster/input_data_version/{dep.to_user_string()}"] = UNVERSIONED
        tags[f"dagster/input_event_pointer/{dep.to_user_string()}"] = _LAST_EVENT
    shown = {**_of_generation(root, stage, gen_id, asset), **_of_text(root, stage, gen_id)}
    return dg.AssetMaterialization(
        asset, partition=gen_id, metadata={**shown, **metadata}, tags=tags
    )


def _of_generation(root: DataRoot, stage: str, gen_id: str, asset: dg.AssetKey) -> dict[str, Any]:
    """Return what a partition shows of what it was made from: the signature, the parent as a link,
    and what the host's callable said of the usage."""
    folder = root.generation(stage, gen_id)
    generation = read_generation(root, stage, gen_id)
    shown: dict[str, Any] = {"path": dg.MetadataValue.path(str(folder))}
    fields = generation.signature_fields().items()
    shown |= {name: value for name, value in fields if isinstance(value, str | int)}
    parent = parent_key(stage, generation.parent_gen_id)
    if parent is not None:
        above = "/".join([*asset.path[:-1], stage_asset_name(parent[0])])
        link = f"/assets/{above}?view=partitions&partition={parent[1]}"
        shown["parent"] = dg.MetadataValue.md(f"[{parent[1]}]({link})")
    try:
        usage = read_json(folder / RAW_METADATA)["genid"]["usage"]
        return shown | {f"usage/{key}": one for key, one in usage.items() if _is_number(one)}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return shown  # not every generation has one, and what a host writes may be anything


def _of_text(root: DataRoot, stage: str, gen_id: str) -> dict[str, Any]:
    """Return what a partition shows of its text: where it is, its length, its beginning, and where
    it is a number, the score."""
    path = root.generation(stage, gen_id) / PARSED
    shown: dict[str, Any] = {"dagster/uri": path.absolute().as_uri()}
    try:
        text = read_bytes(path).decode("utf-8", "replace")
    except OSError:
        return shown
    shown |= {"words": len(text.split()), "preview": dg.MetadataValue.text(text[:_PREVIEW])}
    try:
        score = float(text)
    except ValueError:
        return shown
    return {**shown, "score": score} if math.isfinite(score) else shown


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
