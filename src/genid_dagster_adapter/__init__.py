"""Cohort membership in Dagster, behind the flag DD_DETERMINISTIC_GEN_IDS.

The seam that a host's code calls is re-exported here; Dagster itself is imported by the modules
that need it (`definitions`, `component` …) and never by importing this package.
"""

from genid_store import GenerationIds, Rollout

__all__ = ["GenerationIds", "Rollout"]
