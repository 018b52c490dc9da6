"""The adapter as a Dagster Component: `defs.yaml` alone sets it up.

    type: genid_dagster_adapter.component.GenidCohorts
    attributes:
      data_root: data
      generate: pipeline/host.py:generate

Paths are relative to the project's root. Whatever is left out has the default that
`build_definitions` gives it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import dagster as dg

from genid_dagster_adapter.definitions import build_definitions
from genid_store.generation import CONCURRENCY
from genid_store.generation.load import load_generator


class GenidCohorts(dg.Component, dg.Model, dg.Resolvable):
    """Cohorts with deterministic ids: their assets, checks, job and sensor.

    `generate` is `MODULE:CALLABLE` or `FILE.py:CALLABLE`; without it there are no stage assets. The
    rollout state is DD_DETERMINISTIC_GEN_IDS and DD_GEN_ID_SCHEME.
    """

    data_root: str
    generate: str | None = None
    key_prefix: Sequence[str] = ()
    group_name: str = "genid"
    partition_prefix: str | None = None
    concurrency: int = CONCURRENCY
    automation: Literal["stopped", "running"] = "stopped"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return `build_definitions(...)` with these attributes; the project chooses the executor
        of everything but the cohort job."""
        project = Path(context.project_root)
        return build_definitions(
            data_root=project / self.data_root,
            generate=None
            if self.generate is None
            else load_generator(_from(project, self.generate), where="generate"),
            key_prefix=self.key_prefix,
            group_name=self.group_name,
            partition_prefix=self.partition_prefix,
            concurrency=self.concurrency,
            automation=self.automation,
        )


def _from(project: Path, name: str) -> str:
    """Return a generator's name with a file's path made absolute."""
    place, separator, attribute = name.rpartition(":")
    return f"{project / place}{separator}{attribute}" if place.endswith(".py") else name
