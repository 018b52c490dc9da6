"""A cohort's id and its manifest, which records its tables and the rollout of its build.

A computed id depends on the tables alone, so a cohort over a selection file must be given an id.
The rollout is not part of the id. The manifest has it only if it covers a stage; its absence means
off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from genid_store.cohort.inputs.tables import RawTables
from genid_store.errors import StoreError
from genid_store.fs.layout import check_segment
from genid_store.ids.rollout import Rollout
from genid_store.stages import PIPELINE

VARIABLE: Final = "DD_COHORT"

_UNSET: Final = frozenset({"", "0", "false", "none", "null"})
_PIPELINE_VERSION: Final = "2025-09-09"  # goes into the computed id


def make_manifest(tables: RawTables, combo_ids: Iterable[str], rollout: Rollout) -> dict[str, Any]:
    """Return the document of a manifest.json: sorted ids of combos, active templates and models,
    and the rollout if it covers a stage."""
    document: dict[str, Any] = {
        "combos": sorted(set(combo_ids)),
        "templates": {
            stage: sorted(row.template_id for row in tables.active_templates(stage))
            for stage in PIPELINE
        },
        "llms": {
            "generation": sorted(row.llm_model_id for row in tables.generation_models),
            "evaluation": sorted(row.llm_model_id for row in tables.evaluation_models),
        },
    }
    rollout.record_in(document)
    return document


def computed_cohort_id(manifest: Mapping[str, Any], selection: str | None) -> str:
    """Return the computed cohort id: `cohort-` and 12 hex digits of BLAKE2s.

    StoreError: the file `selection` names the cohort's members.
    """
    if selection is not None:
        summary, remedy = "the cohort needs an id", f"give the cohort an id, or set {VARIABLE}"
        message = "names the members, on which a computed cohort id does not depend"
        raise StoreError.of(summary, selection, message, remedy, ways=("cohort_id=ID",))
    signature = {name: manifest[name] for name in ("combos", "templates", "llms")}
    signature |= {"prompt_versions": None, "pipeline_version": _PIPELINE_VERSION}
    # The existing pipeline computes the same id, with ASCII escapes in its JSON.
    text = json.dumps(signature, sort_keys=True, separators=(",", ":"))
    return f"cohort-{hashlib.blake2s(text.encode('utf-8'), digest_size=6).hexdigest()}"


def given_cohort_id(option: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the cohort id that the operator gave by option, else by `DD_COHORT`, else None.

    In the variable, "", 0, false, none and null mean unset, in any letter case.

    StoreError: the id is not a safe path segment. That includes an empty option.
    """
    if option is not None:
        return check_segment(option, what="the cohort id", where="cohort id")
    variable = environ.get(VARIABLE, "")
    if variable.strip().lower() in _UNSET:
        return None
    return check_segment(variable, what="the cohort id", where=VARIABLE)
