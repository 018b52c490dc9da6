"""A cohort built by its Dagster assets in this process, as `cohort build` and `cohort run` do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from genid_store.cli._output import Progress
from genid_store.cohort.build import Options
from genid_store.cohort.building import Built, Preview, find_cohort_id, preview
from genid_store.errors import Problem, StoreError
from genid_store.fs.layout import DataRoot
from genid_store.ids.rollout import Rollout


def preview_cohort(
    root: DataRoot, cohort_id: str | None, rollout: Rollout, options: Mapping[str, Any]
) -> Preview:
    """Plan the cohort without writing. StoreError: a build would be refused."""
    values = dict(options)
    forbid = values.pop("forbid_regeneration")
    wanted = Options(rollout=rollout, cohort_id=cohort_id, **values)
    return preview(root, wanted, forbid_regeneration=forbid)


def build_in_dagster(
    root: DataRoot,
    cohort_id: str | None,
    rollout: Rollout,
    options: Mapping[str, Any],
    *,
    progress: Progress,
    key_prefix: Sequence[str] = (),
    partition_prefix: str = "",
) -> tuple[Built, Mapping[str, int]]:
    """Build and register a cohort; return what was built and the partitions added by stage.

    Everything is planned once before Dagster is asked, so that a refused build writes nothing, not
    even an instance. StoreError: the build is refused.
    """
    planned = preview_cohort(root, cohort_id, rollout, options).prepared.plan
    from genid_dagster_adapter.assets import BuildObserver
    from genid_dagster_adapter.definitions import build_definitions, cohort_job_name
    from genid_dagster_adapter.instance import open_instance
    from genid_dagster_adapter.launching import run_job

    built: list[Built] = []
    added: dict[str, int] = {}
    definitions = build_definitions(
        data_root=root.path,
        rollout=rollout,
        key_prefix=key_prefix,
        partition_prefix=partition_prefix,
        build_observer=BuildObserver(
            built=built.append, registered=added.update, progress=progress
        ),
        environ=os.environ,
    )
    with open_instance(root) as instance:
        run_job(
            definitions,
            cohort_job_name(key_prefix),
            instance,
            _config(planned.cohort_id, options, key_prefix),
        )
    return built[-1], added


def known_cohort_id(root: DataRoot, given: str | None, rollout: Rollout) -> str:
    """Return the id of a cohort that was built: given, else computed from the tables.

    StoreError: there is no such cohort.
    """
    cohort_id = given or find_cohort_id(root, Options(rollout=rollout))
    path = root.membership(cohort_id)
    if path.is_file():
        return cohort_id
    problem = Problem(
        where=root.relative(path),
        message="there is no such cohort",
        remedy="build it (`genid cohort build`), or look for it (`genid cohort list`)",
    )
    raise StoreError(f"the cohort {cohort_id} was not built", [problem])


def _config(
    cohort_id: str, options: Mapping[str, Any], key_prefix: Sequence[str]
) -> dict[str, dict[str, Any]]:
    def op(asset: str) -> str:  # as Dagster names an asset's op
        return "__".join([*key_prefix, asset]).replace("-", "_").replace(".", "_")

    return {
        op("selected_combo_mappings"): {
            "k_max": options["k_max"],
            "description_level": options["description_level"],
            "write_anew": options["write_combos"],
        },
        op("cohort_id"): {"cohort_id": cohort_id},
        op("cohort_membership"): {
            "forbid_regeneration": options["forbid_regeneration"],
            "rebuild_migrated": options["rebuild_migrated"],
        },
    }
