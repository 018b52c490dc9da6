"""The names of the assets, and what follows from a name; a host subclasses `Translator`.

Defines keys, groups, metadata, code versions and the dependencies between assets. What an event
shows belongs in `recording`, and what an asset does in `assets` and `generations`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.stages import PIPELINE, parent_stage, stage_names

COMBOS: Final = "selected_combo_mappings"
COHORT_ID: Final = "cohort_id"
MEMBERSHIP: Final = "cohort_membership"
REGISTRATION: Final = "register_cohort_partitions"
GENERATIONS: Final = "cohort_generations"
#: The assets that exist before a cohort's generations, each with the assets it depends on.
COHORT_ASSETS: Final = {
    COMBOS: [],
    COHORT_ID: [COMBOS],
    MEMBERSHIP: [COMBOS],
    REGISTRATION: [MEMBERSHIP],
}
_GENERATION: Final = "_generation"
#: The data version of an asset whose content no other asset's staleness depends on.
UNVERSIONED: Final = "INITIAL"
_LAST_EVENT: Final = str(2**62)


def stage_asset_name(stage: str) -> str:
    """Return the name of a stage's asset."""
    return f"{stage}{_GENERATION}"


@frozen(kw_only=True)
class Translator:
    """Map an asset's name (`draft_generation`, `cohort_membership` …) to its Dagster attributes.

    Without a subclass the key is `key_prefix` and the name, the group `group_name`, the metadata
    empty and the code version "1". `partition_prefix` begins the names of the partition sets.

    StoreError: `key_prefix` is a string, or is given without `partition_prefix` ("" for none).
    """

    key_prefix: Sequence[str] = ()
    group_name: str | None = "genid"
    partition_prefix: str | None = None

    def __attrs_post_init__(self) -> None:
        problems = []
        if isinstance(self.key_prefix, str):
            message, remedy = "is one text", f"give its parts: [{self.key_prefix!r}]"
            problems.append(Problem(where="key_prefix", message=message, remedy=remedy))
        if self.key_prefix and self.partition_prefix is None:
            example = "_".join(self.key_prefix)
            remedy = f'give one, e.g. "{example}_" ("" for the sets draft_gens, …)'
            message = "is missing beside key_prefix: partition sets are global to an instance"
            problems.append(Problem(where="partition_prefix", message=message, remedy=remedy))
        if problems:
            raise StoreError("the assets cannot be named", problems)

    def get_asset_key(self, name: str) -> dg.AssetKey:
        """Return an asset's key; every name must have a key of its own."""
        return dg.AssetKey([*self.key_prefix, name])

    def get_group_name(self, name: str) -> str | None:
        """Return an asset's group; None for Dagster's default group."""
        return self.group_name

    def get_metadata(self, name: str) -> Mapping[str, Any]:
        """Return the metadata that the catalog shows for an asset."""
        return {}

    def get_code_version(self, name: str) -> str:
        """Return an asset's code version; changing it makes existing partitions stale."""
        return "1"

    def of_stage(self, stage: str) -> dg.AssetKey:
        """Return the key of a stage's asset."""
        return self.get_asset_key(stage_asset_name(stage))

    def event(
        self,
        name: str,
        metadata: Mapping[str, Any],
        *,
        partition: str | None = None,
        version: str = UNVERSIONED,
    ) -> dg.AssetMaterialization:
        """Return the materialization of an asset, which only a new code version makes stale."""
        tags = {
            "dagster/data_version": version,
            "dagster/code_version": self.get_code_version(name),
        }
        # A generation depends on its own parent only, but Dagster maps all partitions to all:
        # without these tags, each new event upstream would make all of them stale.
        for key in map(self.get_asset_key, self.upstream(name)):
            tags[f"dagster/input_data_version/{key.to_user_string()}"] = UNVERSIONED
            tags[f"dagster/input_event_pointer/{key.to_user_string()}"] = _LAST_EVENT
        return dg.AssetMaterialization(
            self.get_asset_key(name), partition=partition, metadata=metadata, tags=tags
        )

    def upstream(self, name: str) -> list[str]:
        """Return the names of the assets that an asset depends on: a stage's on its parent stage's,
        and one of the pipeline's on the registration of partitions."""
        if name == GENERATIONS:
            return [MEMBERSHIP, *map(stage_asset_name, stage_names())]
        if name in COHORT_ASSETS:
            return COHORT_ASSETS[name]
        stage = name.removesuffix(_GENERATION)
        parent = parent_stage(stage)
        names = [REGISTRATION] if stage in PIPELINE else []
        # A stage may be its own parent's stage; its asset cannot depend on itself.
        return names if parent is None or parent == stage else [*names, stage_asset_name(parent)]

    @property
    def prefix(self) -> str:
        """The prefix of the partition sets' names, "" for none."""
        return self.partition_prefix or ""
