"""Every column of a row and every key of a metadata.json is identity, or excluded for a reason."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from genid import STAGES as SIGNATURES
from genid_store.cohort.planning.records import Row
from genid_store.cohort.seeding import METADATA_KEYS
from genid_store.stages import PIPELINE
from storekit import make_store

#: Every column of a membership row and every key of a metadata.json: the stages in whose signature
#: it is, or why it is in none.
IDENTITY: Final[Mapping[str, tuple[str, ...] | str]] = {
    "stage": PIPELINE,
    "gen_id": "is what the signature comes to",
    "origin_cohort_id": "says who asked first; the same task is the same generation in any cohort",
    "parent_gen_id": ("essay", "evaluation"),
    "combo_id": ("draft",),  # its descendants have it through parent_gen_id
    "template_id": PIPELINE,
    "llm_model_id": PIPELINE,  # an essay's only where it is not its draft's
    "replicate": PIPELINE,
    "mode": "follows from the template: its generator",
    "model_id": "an older name of llm_model_id, read in its place",
    "draft_template": "an older name of template_id, read in its place",
    "essay_template": "an older name of template_id, read in its place",
    "evaluation_template": "an older name of template_id, read in its place",
    "previous_gen_id": "says what the generation was called before a migration",
    "migration_plan": "says which migration gave the generation its id",
    "adopted_from": "says whose content was taken over",
}


def identity_fields(stage: str) -> set[str]:
    return {
        name for name, stages in IDENTITY.items() if not isinstance(stages, str) and stage in stages
    }


def keys_of(folder: Path) -> set[str]:
    keys: set[str] = set()
    for path in folder.rglob("metadata.json"):
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            continue
        keys |= document.keys() if isinstance(document, dict) else set()
    return keys


@pytest.mark.parametrize("stage", PIPELINE)
def test_the_identity_fields_are_those_of_the_signature(stage: str) -> None:
    """The stage itself is part of the canonical bytes; nothing else is added or left out."""
    fields = {attribute.name for attribute in SIGNATURES[stage].__attrs_attrs__}
    assert fields | {"stage"} == identity_fields(stage)


def test_every_column_of_a_row_is_declared() -> None:
    """A new column is a decision: identity or not."""
    assert set(Row._fields) <= IDENTITY.keys()


def test_every_key_that_is_seeded_is_declared_and_a_column() -> None:
    """Metadata says what the row says."""
    written = {key for keys in METADATA_KEYS.values() for key in keys}
    assert written <= IDENTITY.keys()
    assert written == set(Row._fields)


def test_every_key_of_real_metadata_is_declared(shared: Path) -> None:
    """Those of the reference scenarios."""
    assert keys_of(shared / "golden") <= IDENTITY.keys()


def test_every_key_of_odd_metadata_is_declared(tmp_path: Path) -> None:
    """Those of a generated store with all its oddities."""
    make_store(tmp_path, generations=120)
    assert keys_of(tmp_path / "gens") <= IDENTITY.keys()


def test_what_is_excluded_says_why() -> None:
    """A sentence each, and no stage that does not exist."""
    for name, declared in IDENTITY.items():
        if isinstance(declared, str):
            assert len(declared.split()) > 3, name
        else:
            assert set(declared) <= set(PIPELINE)
