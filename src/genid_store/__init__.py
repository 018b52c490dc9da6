"""A store of paid generations and the cohorts over it, on plain files; no orchestrator."""

from genid_store.errors import Problem, StoreError
from genid_store.ids.minting import GenerationIds
from genid_store.ids.rollout import Rollout

__all__ = ["GenerationIds", "Problem", "Rollout", "StoreError"]
