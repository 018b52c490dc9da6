"""Record in Dagster what became of each generation, as it finishes, and fail the run for the rest.

Used by the stage assets and by the asset that makes what is missing, so that both record alike.
"""

import contextlib
import math
from collections.abc import Iterable
from typing import Any

import dagster as dg

from genid_dagster_adapter.display import cohort_metadata
from genid_dagster_adapter.setup import Setup
from genid_dagster_adapter.translator import COMBOS, MEMBERSHIP, Translator, stage_asset_name
from genid_store.catalog.memberships import read_memberships
from genid_store.catalog.metadata import read_generation
from genid_store.fs.files import read_bytes
from genid_store.fs.jsonfile import read_json
from genid_store.fs.layout import PARSED, RAW_METADATA, DataRoot
from genid_store.generation import Outcome, content_version
from genid_store.generation.content import digest
from genid_store.stages import parent_key

_SHOWN = 20  # generations that one error lists
_PREVIEW = 500  # characters


class Recorder:
    """Records each outcome under its stage's asset, and remembers what did not become content."""

    def __init__(self, context: dg.AssetExecutionContext, root: DataRoot, setup: Setup) -> None:
        self.context, self.root, self.setup = context, root, setup
        self.cohorts = read_memberships(root).cohorts_of()
        self.incomplete: list[Outcome] = []

    def __call__(self, outcome: Outcome) -> None:
        if outcome.complete:
            self.context.log_event(
                materialization(
                    self.root,
                    outcome.stage,
                    outcome.gen_id,
                    self.setup.translator,
                    self.cohorts.get((outcome.stage, outcome.gen_id), ()),
                    outcome=outcome.kind,
                    seconds=round(outcome.seconds, 3),
                )
            )
        else:
            self.incomplete.append(outcome)
            self.context.log.warning(
                "%s %s %s: %s", outcome.stage, outcome.gen_id, outcome.kind, outcome.reason
            )

    def raise_for_failures(self, remedy: str = "", **metadata: Any) -> None:
        """Raise dg.Failure: some generation of this run has no content; lists them.

        Neither a policy of the step's nor one of the run's tries again: what failed waits for a
        human. A run that is killed is tried again where the project says so.
        """
        if not self.incomplete:
            return
        self.context.instance.add_run_tags(self.context.run.run_id, {"dagster/max_retries": "0"})
        count = len(self.incomplete)
        lines = [f"{count} generation(s) have no content; the others are recorded"]
        lines += [f"{o.stage} {o.gen_id} {o.kind}: {o.reason}" for o in self.incomplete[:_SHOWN]]
        lines += [f"and {count - _SHOWN} more"] if count > _SHOWN else []
        raise dg.Failure(
            description="\n".join([*lines, remedy]).strip(),
            metadata=metadata or None,
            allow_retries=False,
        )


def materialization(
    root: DataRoot,
    stage: str,
    gen_id: str,
    translator: Translator,
    cohorts: Iterable[str],
    **metadata: Any,
) -> dg.AssetMaterialization:
    """Return the event that records a generation whose content is on disk."""
    shown = {**_shown(root, stage, gen_id, translator), "cohorts": ", ".join(cohorts)}
    tags = translator.settled(stage_asset_name(stage), translator.upstream(stage))
    return dg.AssetMaterialization(
        translator.of_stage(stage),
        partition=gen_id,
        metadata={**shown, **metadata},
        tags={"dagster/data_version": content_version(root, stage, gen_id) or "", **tags},
    )


def cohort_materialization(
    root: DataRoot, cohort_id: str, translator: Translator, **metadata: Any
) -> dg.AssetMaterialization:
    """Return the event that records a cohort; its data version is the digest of its members."""
    tags = translator.settled(MEMBERSHIP, [translator.get_asset_key(COMBOS)])
    return dg.AssetMaterialization(
        translator.get_asset_key(MEMBERSHIP),
        partition=cohort_id,
        metadata={**cohort_metadata(root, cohort_id), **metadata},
        tags={"dagster/data_version": digest(read_bytes(root.membership(cohort_id))), **tags},
    )


def _shown(root: DataRoot, stage: str, gen_id: str, translator: Translator) -> dict[str, Any]:
    """Return what a partition shows: the signature, the parent as a link, the usage that the host's
    callable gave; where the text is, its length and beginning, and the score that a number is."""
    folder = root.generation(stage, gen_id)
    generation = read_generation(root, stage, gen_id)
    fields = generation.signature_fields().items()
    shown: dict[str, Any] = {name: value for name, value in fields if isinstance(value, str | int)}
    shown["path"] = dg.MetadataValue.path(str(folder))
    shown["dagster/uri"] = (folder / PARSED).absolute().as_uri()
    parent = parent_key(stage, generation.parent_gen_id)
    if parent is not None:
        above = translator.of_stage(parent[0]).to_user_string()
        link = f"/assets/{above}?view=partitions&partition={parent[1]}"
        shown["parent"] = dg.MetadataValue.md(f"[{parent[1]}]({link})")
    # Not every generation has the files, and what a host writes may be anything.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        usage = read_json(folder / RAW_METADATA)["genid"]["usage"]
        numbers = {key: one for key, one in usage.items() if type(one) in (int, float)}
        shown |= {f"usage/{key}": one for key, one in numbers.items()}
    with contextlib.suppress(OSError, ValueError):
        text = read_bytes(folder / PARSED).decode("utf-8", "replace")
        shown |= {"words": len(text.split()), "preview": dg.MetadataValue.text(text[:_PREVIEW])}
        if math.isfinite(score := float(text)):
            shown["score"] = score
    return shown
