"""What Dagster calls the assets, their groups and the partition sets: a host subclasses it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dagster as dg
from attrs import frozen

from genid_store.errors import Problem, StoreError
from genid_store.stages import PIPELINE, parent_stage

#: The assets of a cohort: its combos, its id, its members, their registration as partitions, and
#: that all of them are made.
COMBOS: Final = "selected_combo_mappings"
COHORT_ID: Final = "cohort_id"
MEMBERSHIP: Final = "cohort_membership"
REGISTRATION: Final = "register_cohort_partitions"
GENERATIONS: Final = "cohort_generations"
#: The data version of what no record hangs on by its content.
UNVERSIONED: Final = "INITIAL"
_LAST_EVENT: Final = str(2**62)


def stage_asset_name(stage: str) -> str:
    """Return the name of a stage's asset."""
    return f"{stage}_generation"


@frozen(kw_only=True)
class Translator:
    """Says of each asset, by its name (`draft_generation`, `cohort_membership` …), what its key,
    group, metadata and code version are: `key_prefix` and the name, `group_name`, none, and "1",
    unless a subclass says otherwise.

    `partition_prefix` begins the names of the partition sets, which are global to an instance; it
    is given with `key_prefix` ("" for none). StoreError: it is not, or `key_prefix` is one text.
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

    def settled(self, name: str, upstream: Iterable[dg.AssetKey]) -> dict[str, str]:
        """Return the tags by which an asset's record is stale for its code version alone. A member
        hangs on its own parent only, which its id names, and a cohort on the tables of its day: a
        further record upstream, where all partitions hang on all, makes neither stale."""
        tags = {"dagster/code_version": self.get_code_version(name)}
        for key in upstream:
            tags[f"dagster/input_data_version/{key.to_user_string()}"] = UNVERSIONED
            tags[f"dagster/input_event_pointer/{key.to_user_string()}"] = _LAST_EVENT
        return tags

    def of_stage(self, stage: str) -> dg.AssetKey:
        """Return the key of a stage's asset."""
        return self.get_asset_key(stage_asset_name(stage))

    def upstream(self, stage: str) -> dict[dg.AssetKey, str | None]:
        """Return what a stage's asset depends on, each with the stage that it is the asset of: the
        parent's, and for the pipeline's stages what registers their partitions."""
        found: dict[dg.AssetKey, str | None] = {}
        if stage in PIPELINE:
            found[self.get_asset_key(REGISTRATION)] = None
        above = parent_stage(stage)
        if above is not None and above != stage:
            found[self.of_stage(above)] = above
        return found

    @property
    def prefix(self) -> str:
        """The beginning of the partition sets' names."""
        return self.partition_prefix or ""
