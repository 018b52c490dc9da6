"""What Dagster calls the assets, their groups and the partition sets: a host subclasses it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.stages import PIPELINE, parent_stage, stage_names

#: The assets of a cohort: its combos, its id, its members, their registration as partitions, and
#: that all of them are made.
COMBOS: Final = "selected_combo_mappings"
COHORT_ID: Final = "cohort_id"
MEMBERSHIP: Final = "cohort_membership"
REGISTRATION: Final = "register_cohort_partitions"
GENERATIONS: Final = "cohort_generations"
#: What is made of a cohort before its generations, each with what it depends on.
COHORT_ASSETS: Final = {
    COMBOS: [],
    COHORT_ID: [COMBOS],
    MEMBERSHIP: [COMBOS],
    REGISTRATION: [MEMBERSHIP],
}
_GENERATION: Final = "_generation"
#: The data version of what no record hangs on by its content.
UNVERSIONED: Final = "INITIAL"
_LAST_EVENT: Final = str(2**62)


def stage_asset_name(stage: str) -> str:
    """Return the name of a stage's asset."""
    return f"{stage}{_GENERATION}"


@frozen(kw_only=True)
class Translator:
    """Says of each asset, by its name (`draft_generation`, `cohort_membership` …), what its key,
    group, metadata and code version are: `key_prefix` and the name, `group_name`, none, and "1",
    unless a subclass says otherwise.

    `partition_prefix`, which begins the names of the partition sets, is given with `key_prefix` (""
    for none). StoreError: it is not, or `key_prefix` is one text.
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
            named = "_".join(self.key_prefix)
            remedy = f'give one, e.g. "{named}_" ("" for the sets draft_gens, …)'
            message = "is missing beside key_prefix: partition sets are global to an instance"
            problems.append(Problem(where="partition_prefix", message=message, remedy=remedy))
        if problems:
            raise StoreError("the assets cannot be named", problems)

    def get_asset_key(self, name: str) -> dg.AssetKey:
        """Return an asset's key; no two names may have the same."""
        return dg.AssetKey([*self.key_prefix, name])

    def get_group_name(self, name: str) -> str | None:
        """Return an asset's group; None: Dagster's own for assets without one."""
        return self.group_name

    def get_metadata(self, name: str) -> Mapping[str, Any]:
        """Return what the catalog shows of an asset."""
        return {}

    def get_code_version(self, name: str) -> str:
        """Return an asset's code version; another one makes what is recorded stale."""
        return "1"

    def event(
        self,
        name: str,
        metadata: Mapping[str, Any],
        *,
        partition: str | None = None,
        version: str = UNVERSIONED,
    ) -> dg.AssetMaterialization:
        """Return the event that records an asset, which is stale for its code version alone. A
        member hangs on its own parent only, which its id names, and a cohort on the tables of its
        day: a further record upstream, where all partitions hang on all, makes neither stale."""
        tags = {
            "dagster/data_version": version,
            "dagster/code_version": self.get_code_version(name),
        }
        for key in self.upstream(name).values():
            tags[f"dagster/input_data_version/{key.to_user_string()}"] = UNVERSIONED
            tags[f"dagster/input_event_pointer/{key.to_user_string()}"] = _LAST_EVENT
        return dg.AssetMaterialization(
            self.get_asset_key(name), partition=partition, metadata=metadata, tags=tags
        )

    def of_stage(self, stage: str) -> dg.AssetKey:
        """Return the key of a stage's asset."""
        return self.get_asset_key(stage_asset_name(stage))

    def upstream(self, name: str) -> dict[str, dg.AssetKey]:
        """Return the assets that one depends on: a stage's on its parent's, and one of the
        pipeline's on what registers their partitions."""
        stage, names = name.removesuffix(_GENERATION), COHORT_ASSETS.get(name)
        if name == GENERATIONS:
            names = [MEMBERSHIP, *map(stage_asset_name, stage_names())]
        elif names is None:
            above = parent_stage(stage)
            names = [REGISTRATION] if stage in PIPELINE else []
            names += [] if above in (None, stage) else [stage_asset_name(str(above))]
        return {one: self.get_asset_key(one) for one in names}

    @property
    def prefix(self) -> str:
        """The beginning of the partition sets' names."""
        return self.partition_prefix or ""
